"""Products and purchases as the API takes and shows them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, IPvAnyAddress
from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Principal
from api.responses import FallbackView
from api.schemas import AmountMinor, Currency, Metadata, Name, Url
from api.tenancy import scoped
from models.outcomes import NextAction, OutcomeClass
from models.storage.tables import (
    Benefit,
    BenefitGrant,
    ChargeAttempt,
    FallbackEvent,
    Product,
    Purchase,
)

_BENEFITS_MAX = 20


def _shown(*, sent: bool, **values: Any) -> ConfigDict:
    extra: Any = {"examples": [values]}
    if sent:
        return ConfigDict(extra="forbid", frozen=True, json_schema_extra=extra)
    return ConfigDict(from_attributes=True, json_schema_extra=extra)


class BenefitInput(BaseModel):
    """`properties` are Polar's own for this type, such as `guild_token` and `role_id` for Discord."""

    model_config = _shown(sent=True, type="custom", description="Thank you", properties={})

    type: Literal["custom", "discord", "github_repository", "downloadables", "license_keys"]
    description: Name
    properties: Annotated[dict[str, Any], Field(max_length=50)] = {}


class CreateProduct(BaseModel):
    """Something that is sold once. Its price never changes: make another product."""

    model_config = _shown(
        sent=True,
        name="Handbook",
        amount_minor=4900,
        currency="USD",
        benefits=[{"type": "custom", "description": "Thank you", "properties": {}}],
    )

    name: Name
    amount_minor: AmountMinor
    currency: Currency
    benefits: Annotated[list[BenefitInput], Field(max_length=_BENEFITS_MAX)] = []


class CreatePurchase(BaseModel):
    """The customer pays on a page of the provider's and comes back to `success_url`."""

    model_config = _shown(
        sent=True,
        organization_id="01890a5d-ac96-774b-bcce-b302099a8057",
        product_id="01890a5d-ac96-774b-bcce-b302099a8070",
        success_url="https://shop.example/thanks",
        metadata={"order": "8412"},
    )

    organization_id: UUID
    product_id: UUID
    success_url: Url
    ip_address: IPvAnyAddress | None = None
    metadata: Metadata = {}


class BenefitView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    type: str
    description: str
    properties: dict[str, Any]


class ProductView(BaseModel):
    """`provider_product_ids`: what it is called at each provider that has sold it so far."""

    model_config = _shown(
        sent=False,
        id="01890a5d-ac96-774b-bcce-b302099a8070",
        name="Handbook",
        amount_minor=4900,
        currency="USD",
        benefits=[],
        is_active=True,
        provider_product_ids={},
        created_at="2026-11-22T18:00:00Z",
    )

    id: UUID
    name: str
    amount_minor: int
    currency: str
    benefits: list[BenefitView]
    is_active: bool
    provider_product_ids: dict[str, str]
    created_at: datetime


class GrantedBenefitView(BaseModel):
    """`status`: null before it is paid for, then waiting, granted or revoked; `error_code` says why it
    waits."""

    id: UUID
    type: str
    description: str
    status: str | None
    provider: str | None
    error_code: str | None


class OrganizationBenefitView(BaseModel):
    """`status`: waiting (for the provider, or for the customer: `error_code` says why), granted or
    revoked; null when the organization never had it."""

    model_config = _shown(
        sent=False,
        benefit_id="01890a5d-ac96-774b-bcce-b302099a8074",
        organization_id="01890a5d-ac96-774b-bcce-b302099a8057",
        type="custom",
        description="Thank you",
        status="granted",
        provider="polar",
        error_code=None,
        purchase_id=None,
        updated_at="2026-11-22T18:00:01Z",
    )

    benefit_id: UUID
    organization_id: UUID
    type: str
    description: str
    status: str | None
    provider: str | None
    error_code: str | None
    purchase_id: UUID | None
    updated_at: datetime | None


class PurchaseView(BaseModel):
    """`status`: pending, paid, expired, refunded or failed. `next_action` leads to the page."""

    model_config = _shown(
        sent=False,
        id="01890a5d-ac96-774b-bcce-b302099a8071",
        organization_id="01890a5d-ac96-774b-bcce-b302099a8057",
        product_id="01890a5d-ac96-774b-bcce-b302099a8070",
        status="pending",
        provider="polar",
        amount_minor=4900,
        currency="USD",
        next_action={"type": "redirect", "url": "https://pay.example/checkout/1"},
        fallback=None,
        benefits=[],
        paid_at=None,
        workflow_id="purchase/01890a5d-ac96-774b-bcce-b302099a8071",
        metadata={"order": "8412"},
        created_at="2026-11-22T18:00:00Z",
        updated_at="2026-11-22T18:00:01Z",
    )

    id: UUID
    organization_id: UUID
    product_id: UUID
    status: str
    provider: str | None
    amount_minor: int
    currency: str
    next_action: NextAction | None
    fallback: FallbackView | None
    benefits: list[GrantedBenefitView]
    paid_at: datetime | None
    workflow_id: str
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime


async def product_views(
    session: AsyncSession, rows: Sequence[Product], principal: Principal
) -> list[ProductView]:
    benefits = await _benefits(session, [row.id for row in rows], principal)
    return [product_view(row, benefits[row.id]) for row in rows]


def product_view(row: Product, benefits: Sequence[Benefit]) -> ProductView:
    own = {name: getattr(row, name) for name in ProductView.model_fields if name != "benefits"}
    return ProductView(**own, benefits=[BenefitView.model_validate(one) for one in benefits])


async def purchase_views(
    session: AsyncSession, rows: Sequence[Purchase], principal: Principal
) -> list[PurchaseView]:
    """Four queries for a whole page, whatever its length."""
    ids = [row.id for row in rows]
    benefits = await _benefits(session, [row.product_id for row in rows], principal)
    pending = select(ChargeAttempt).where(
        ChargeAttempt.purchase_id.in_(ids), ChargeAttempt.outcome == OutcomeClass.PENDING
    )
    actions = {
        attempt.purchase_id: attempt.next_action
        for attempt in await session.scalars(scoped(pending, principal))
    }
    happened = select(FallbackEvent).where(FallbackEvent.purchase_id.in_(ids))
    fallbacks = {
        event.purchase_id: FallbackView.model_validate(event)
        for event in await session.scalars(
            scoped(happened.order_by(FallbackEvent.timestamp), principal)
        )
    }
    grants = await _grants(session, rows, principal)
    return [
        PurchaseView(
            **{name: getattr(row, name) for name in PurchaseView.model_fields if name in _OWN},
            next_action=actions.get(row.id),
            fallback=fallbacks.get(row.id),
            benefits=[
                _granted(one, grants.get((row.organization_id, one.id)))
                for one in benefits[row.product_id]
            ],
            metadata=row.metadata_,
        )
        for row in rows
    ]


async def purchase_view(session: AsyncSession, row: Purchase, principal: Principal) -> PurchaseView:
    return (await purchase_views(session, [row], principal))[0]


_OWN = frozenset(PurchaseView.model_fields) - {"next_action", "fallback", "benefits", "metadata"}


def _granted(benefit: Benefit, grant: BenefitGrant | None) -> GrantedBenefitView:
    return GrantedBenefitView(
        id=benefit.id,
        type=benefit.type,
        description=benefit.description,
        status=grant.status if grant else None,
        provider=grant.provider if grant else None,
        error_code=grant.error_code if grant else None,
    )


def organization_benefit(
    organization_id: UUID, benefit: Benefit, grant: BenefitGrant | None
) -> OrganizationBenefitView:
    return OrganizationBenefitView(
        benefit_id=benefit.id,
        organization_id=organization_id,
        type=benefit.type,
        description=benefit.description,
        status=grant.status if grant else None,
        provider=grant.provider if grant else None,
        error_code=grant.error_code if grant else None,
        purchase_id=grant.purchase_id if grant else None,
        updated_at=grant.updated_at if grant else None,
    )


async def _benefits(
    session: AsyncSession, product_ids: list[UUID], principal: Principal
) -> dict[UUID, list[Benefit]]:
    statement = select(Benefit).where(Benefit.product_id.in_(product_ids)).order_by(Benefit.id)
    by_product: dict[UUID, list[Benefit]] = defaultdict(list)
    for row in await session.scalars(scoped(statement, principal)):
        by_product[row.product_id].append(row)
    return by_product


async def _grants(
    session: AsyncSession, rows: Sequence[Purchase], principal: Principal
) -> dict[tuple[UUID, UUID], BenefitGrant]:
    statement = (
        select(BenefitGrant)
        .join(Benefit, Benefit.id == BenefitGrant.benefit_id)
        .where(
            and_(
                BenefitGrant.organization_id.in_([row.organization_id for row in rows]),
                Benefit.product_id.in_([row.product_id for row in rows]),
            )
        )
    )
    found = await session.scalars(scoped(statement, principal))
    return {(grant.organization_id, grant.benefit_id): grant for grant in found}
