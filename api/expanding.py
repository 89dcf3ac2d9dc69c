"""`expand=plan,latest_invoice`: what an answer names by id, sent along with it, under `expanded`.

One query for each kind of object and page. What may be asked for is a list of each route.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Depends, Query
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Principal
from api.invoice_views import InvoiceView, InvoiceWithMoney
from api.plan_views import plan_view, prices_of
from api.responses import OrganizationView, PaymentMethodView, PlanView, SubscriptionView
from api.shop_views import ProductView, PurchaseView, product_views
from api.subscription_views import subscription_views
from api.tenancy import scoped
from models.errors import InvalidRequest
from models.storage.base import Base
from models.storage.tables import (
    Invoice,
    Organization,
    PaymentMethod,
    Product,
    Subscription,
    SubscriptionPlan,
)

EXPAND_CODES = ("expand_not_supported",)
_LENGTH_MAX = 200

_Table = TypeVar("_Table", bound=Base)


def _absent(**more: Any) -> Any:
    return Field(default=None, exclude_if=lambda value: value is None, **more)


_EXPANDED = "What `expand` asked for; left out when nothing was."


class SubscriptionExpansion(BaseModel):
    plan: PlanView | None = _absent()
    organization: OrganizationView | None = _absent()
    payment_method: PaymentMethodView | None = _absent()
    latest_invoice: InvoiceView | None = _absent()


class SubscriptionDetail(SubscriptionView):
    """A subscription, with what was asked for beside it."""

    expanded: SubscriptionExpansion | None = _absent(description=_EXPANDED)


class InvoiceExpansion(BaseModel):
    subscription: SubscriptionView | None = _absent()
    organization: OrganizationView | None = _absent()


class InvoiceListed(InvoiceView):
    """An invoice without its attempts and payments, with what was asked for beside it."""

    expanded: InvoiceExpansion | None = _absent(description=_EXPANDED)


class InvoiceDetail(InvoiceWithMoney):
    """An invoice with all that belongs to it, and what was asked for beside it."""

    expanded: InvoiceExpansion | None = _absent(description=_EXPANDED)


class PurchaseExpansion(BaseModel):
    product: ProductView | None = _absent()
    organization: OrganizationView | None = _absent()


class PurchaseDetail(PurchaseView):
    """A purchase, with what was asked for beside it."""

    expanded: PurchaseExpansion | None = _absent(description=_EXPANDED)


def _expand(view: type[BaseModel]) -> Any:
    names = sorted(view.model_fields)
    any_of_them = f"({'|'.join(names)})"
    described: Any = Query(
        default=None,
        max_length=_LENGTH_MAX,
        description=f"Objects to send along, as a comma list: {', '.join(names)}.",
        examples=[",".join(names[:2])],
        json_schema_extra={"pattern": f"^{any_of_them}(,{any_of_them})*$"},
    )

    def read(expand: str | None = described) -> frozenset[str]:
        wanted = frozenset() if expand is None else frozenset(expand.split(","))
        if not wanted <= set(names):
            raise InvalidRequest(
                f"What can be expanded here: {', '.join(names)}.",
                code="expand_not_supported",
                errors=[
                    {
                        "field": "expand",
                        "code": "not_supported",
                        "message": f"should be a comma list of {', '.join(names)}",
                    }
                ],
            )
        return wanted

    return Depends(read)


ExpandSubscription = Annotated[frozenset[str], _expand(SubscriptionExpansion)]
ExpandInvoice = Annotated[frozenset[str], _expand(InvoiceExpansion)]
ExpandPurchase = Annotated[frozenset[str], _expand(PurchaseExpansion)]


class Expander:
    """Loads what is named, each object once."""

    def __init__(self, session: AsyncSession, principal: Principal, wanted: frozenset[str]) -> None:
        self._session = session
        self._principal = principal
        self._wanted = wanted

    async def subscriptions(self, views: Sequence[SubscriptionView]) -> list[SubscriptionDetail]:
        plans = await self._plans(view.plan_id for view in views)
        organizations = await self._organizations(view.organization_id for view in views)
        methods = await self._simple(
            "payment_method",
            PaymentMethod,
            PaymentMethodView,
            (view.payment_method_id for view in views),
        )
        invoices = await self._simple(
            "latest_invoice", Invoice, InvoiceView, (view.latest_invoice_id for view in views)
        )
        return [
            SubscriptionDetail(
                **_fields(view),
                expanded=self._asked(
                    SubscriptionExpansion(
                        plan=plans.get(view.plan_id),
                        organization=organizations.get(view.organization_id),
                        payment_method=methods.get(view.payment_method_id),
                        latest_invoice=invoices.get(view.latest_invoice_id),
                    )
                ),
            )
            for view in views
        ]

    async def invoices(self, views: Sequence[InvoiceView]) -> list[InvoiceExpansion | None]:
        """What belongs to each, in their order."""
        organizations = await self._organizations(view.organization_id for view in views)
        subscriptions: dict[UUID | None, SubscriptionView] = {}
        if "subscription" in self._wanted:
            rows = await self._rows(Subscription, (view.subscription_id for view in views))
            shown = await subscription_views(self._session, rows, self._principal)
            subscriptions = {view.id: view for view in shown}
        return [
            self._asked(
                InvoiceExpansion(
                    subscription=subscriptions.get(view.subscription_id),
                    organization=organizations.get(view.organization_id),
                )
            )
            for view in views
        ]

    async def purchases(self, views: Sequence[PurchaseView]) -> list[PurchaseDetail]:
        organizations = await self._organizations(view.organization_id for view in views)
        products: dict[UUID, ProductView] = {}
        if "product" in self._wanted:
            rows = await self._rows(Product, (view.product_id for view in views))
            shown = await product_views(self._session, rows, self._principal)
            products = {view.id: view for view in shown}
        return [
            PurchaseDetail(
                **_fields(view),
                expanded=self._asked(
                    PurchaseExpansion(
                        product=products.get(view.product_id),
                        organization=organizations.get(view.organization_id),
                    )
                ),
            )
            for view in views
        ]

    def _asked(self, expansion: Any) -> Any:
        return expansion if self._wanted else None

    async def _plans(self, ids: Iterable[UUID]) -> dict[UUID, PlanView]:
        if "plan" not in self._wanted:
            return {}
        rows = await self._rows(SubscriptionPlan, ids)
        prices = await prices_of(self._session, [row.id for row in rows], self._principal)
        return {row.id: plan_view(row, prices[row.id]) for row in rows}

    async def _organizations(self, ids: Iterable[UUID]) -> dict[Any, OrganizationView]:
        return await self._simple("organization", Organization, OrganizationView, ids)

    async def _simple(
        self, name: str, table: type[Base], view: type[Any], ids: Iterable[UUID | None]
    ) -> dict[Any, Any]:
        if name not in self._wanted:
            return {}
        shown = [view.model_validate(row) for row in await self._rows(table, ids)]
        return {one.id: one for one in shown}

    async def _rows(self, table: type[_Table], ids: Iterable[UUID | None]) -> list[_Table]:
        named = {id_ for id_ in ids if id_ is not None}
        statement = select(table).where(table.__table__.c.id.in_(named))
        return list(await self._session.scalars(scoped(statement, self._principal)))


def _fields(view: BaseModel) -> dict[str, Any]:
    return {name: getattr(view, name) for name in type(view).model_fields}
