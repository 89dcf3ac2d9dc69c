"""Benefits of one organization: read here; given and taken away in their workflow."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Principal, Reader, Writer
from api.context import ApiContext, Context
from api.idempotency import Answer, Once, RunOnce
from api.openapi import accepted, problems
from api.pagination import Cursor, Limit, Page, newest_first, page, split_page
from api.shop_views import OrganizationBenefitView, organization_benefit
from api.tenancy import get_scoped, scoped
from models.commands import BenefitChange, BenefitResult
from models.errors import Conflict
from models.purchase import BENEFIT_PROVIDERS
from models.storage.tables import Benefit, BenefitGrant, Organization

router = APIRouter(prefix="/organizations/{organization_id}/benefits", tags=["Benefits"])

_CHANGED = accepted(OrganizationBenefitView) | problems(
    401,
    403,
    404,
    409,
    413,
    422,
    503,
    codes=(
        "provider_not_configured",
        "benefit_granted_by_purchase",
        "benefit_not_granted",
        "benefit_refused",
    ),
)


@router.post(
    "/{benefit_id}/grant",
    response_model=OrganizationBenefitView,
    responses=_CHANGED,
    summary="Give a benefit without a sale",
)
async def grant_benefit(
    organization_id: UUID, benefit_id: UUID, context: Context, principal: Writer, once: RunOnce
) -> JSONResponse:
    """Polar grants through a subscription that costs nothing, which its customer can see in Polar's portal.
    202 while the provider does not answer; whoever has it already has it still."""
    change = _Change(context, principal, organization_id, benefit_id, granted=True)
    return await change.run(once)


@router.post(
    "/{benefit_id}/revoke",
    response_model=OrganizationBenefitView,
    responses=_CHANGED,
    summary="Take a benefit away that was given without a sale",
)
async def revoke_benefit(
    organization_id: UUID, benefit_id: UUID, context: Context, principal: Writer, once: RunOnce
) -> JSONResponse:
    """What came with a purchase goes with a refund in full, not alone: 409."""
    change = _Change(context, principal, organization_id, benefit_id, granted=False)
    return await change.run(once)


@router.get(
    "",
    response_model=Page[OrganizationBenefitView],
    responses=problems(401, 403, 404, 422),
    summary="List an organization's benefits",
)
async def list_benefits(
    organization_id: UUID,
    context: Context,
    principal: Reader,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Page[OrganizationBenefitView]:
    """Those that it has, waits for, or had."""
    theirs = select(BenefitGrant).where(BenefitGrant.organization_id == organization_id)
    statement = newest_first(scoped(theirs, principal), BenefitGrant.id, cursor, limit)
    async with context.sessions() as session:
        await get_scoped(session, Organization, organization_id, principal)
        rows, more = split_page((await session.scalars(statement)).all(), limit)
        named = select(Benefit).where(Benefit.id.in_([row.benefit_id for row in rows]))
        benefits = {one.id: one for one in await session.scalars(scoped(named, principal))}
    views = [organization_benefit(organization_id, benefits[row.benefit_id], row) for row in rows]
    return page(views, more, rows[-1].id if rows else None)


@router.get(
    "/{benefit_id}",
    response_model=OrganizationBenefitView,
    responses=problems(401, 403, 404),
    summary="Read whether an organization has a benefit",
)
async def read_benefit(
    organization_id: UUID, benefit_id: UUID, context: Context, principal: Reader
) -> OrganizationBenefitView:
    """`status` is null when it never had it."""
    async with context.sessions() as session:
        await get_scoped(session, Organization, organization_id, principal)
        return await _view(session, principal, organization_id, benefit_id)


class _Change:
    """One request to give or to take away."""

    def __init__(
        self,
        context: ApiContext,
        principal: Principal,
        organization_id: UUID,
        benefit_id: UUID,
        *,
        granted: bool,
    ) -> None:
        self._context = context
        self._principal = principal
        self._organization_id = organization_id
        self._benefit_id = benefit_id
        self._granted = granted

    async def run(self, once: Once) -> JSONResponse:
        return await once.run(
            self._context, self._principal.application_id, self._prepare, self._act
        )

    async def _prepare(self, session: AsyncSession, change_id: UUID) -> BenefitChange:
        await get_scoped(session, Organization, self._organization_id, self._principal)
        await get_scoped(session, Benefit, self._benefit_id, self._principal)
        providers = [name for name in self._context.providers.names() if name in BENEFIT_PROVIDERS]
        if not providers:
            raise _refused(BenefitResult(refusal="provider_not_configured"))
        return BenefitChange(
            actor=self._principal.actor,
            change_id=change_id,
            application_id=self._principal.application_id,
            organization_id=self._organization_id,
            benefit_id=self._benefit_id,
            provider=providers[0],
            granted=self._granted,
        )

    async def _act(self, change: BenefitChange) -> Answer:
        result = await self._context.jobs.change_benefit(change)
        if result is not None and result.refusal is not None:
            raise _refused(result)
        async with self._context.sessions() as session:
            view = await _view(session, self._principal, self._organization_id, self._benefit_id)
        return Answer(202 if result is None else 200, view.model_dump(mode="json"))


def _refused(result: BenefitResult) -> Conflict:
    if result.refusal == "provider_not_configured":
        return Conflict(
            "Nobody who hands out benefits is configured here.", code="provider_not_configured"
        )
    if result.refusal == "granted_by_purchase":
        return Conflict(
            result.detail or "The benefit came with a purchase: refund that in full.",
            code="benefit_granted_by_purchase",
        )
    if result.refusal == "not_granted":
        return Conflict("The organization does not have this benefit.", code="benefit_not_granted")
    return Conflict(result.detail or "The provider refuses it.", code="benefit_refused")


async def _view(
    session: AsyncSession, principal: Principal, organization_id: UUID, benefit_id: UUID
) -> OrganizationBenefitView:
    benefit = await get_scoped(session, Benefit, benefit_id, principal)
    theirs = select(BenefitGrant).where(
        BenefitGrant.organization_id == organization_id, BenefitGrant.benefit_id == benefit_id
    )
    grant = await session.scalar(scoped(theirs, principal))
    return organization_benefit(organization_id, benefit, grant)
