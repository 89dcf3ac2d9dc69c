"""What is sold, and for how much.

A price is what the next subscription agrees to. Those that run carry theirs in their own terms, so
nothing here reaches them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import PlanWriter, Principal, Reader
from api.clock import now
from api.context import Context
from api.idempotency import Answer, RunOnce
from api.openapi import problems
from api.pagination import Cursor, Limit, Page, newest_first, page, split_page
from api.responses import PlanPriceView, PlanView
from api.schemas import CreatePlan, PlanPriceInput, UpdatePlan
from api.tenancy import get_scoped, scoped
from models.errors import NotFound
from models.storage.tables import AuditEntry, PlanPrice, SubscriptionPlan, new_id

router = APIRouter(prefix="/plans", tags=["Plans"])


@router.post(
    "",
    status_code=201,
    response_model=PlanView,
    responses=problems(401, 403, 409, 413, 422, 503),
    summary="Create a plan",
)
async def create_plan(
    body: CreatePlan, context: Context, principal: PlanWriter, once: RunOnce
) -> JSONResponse:
    """Nothing is made at a provider before somebody subscribes."""

    async def prepare(session: AsyncSession, plan_id: UUID) -> Answer:
        plan, prices = _rows(body, principal, plan_id)
        session.add(plan)
        await session.flush()
        session.add_all(prices)
        await session.flush()
        return Answer(201, _view(plan, prices).model_dump(mode="json"))

    return await once.create(context, principal.application_id, prepare)


def _rows(
    body: CreatePlan, principal: Principal, plan_id: UUID
) -> tuple[SubscriptionPlan, list[PlanPrice]]:
    moment = now()
    plan = SubscriptionPlan(
        id=plan_id,
        application_id=principal.application_id,
        name=body.name,
        description=body.description,
        features=body.features,
        limits=body.limits,
        trial_days=body.trial_days,
        billing_policy=body.billing_policy.stored(),
        is_active=True,
        created_at=moment,
        updated_at=moment,
    )
    return plan, [_price_row(price, plan) for price in body.prices]


def _price_row(price: PlanPriceInput, plan: SubscriptionPlan) -> PlanPrice:
    return PlanPrice(
        id=new_id(),
        application_id=plan.application_id,
        plan_id=plan.id,
        currency=price.currency,
        billing_interval=price.billing_interval.value,
        amount_minor=price.amount_minor,
        provider_plan_ids={},
    )


@router.get(
    "", response_model=Page[PlanView], responses=problems(401, 403, 422), summary="List plans"
)
async def list_plans(
    context: Context,
    principal: Reader,
    is_active: bool | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Page[PlanView]:
    """Newest first, each with its prices."""
    statement = scoped(select(SubscriptionPlan), principal)
    if is_active is not None:
        statement = statement.where(SubscriptionPlan.is_active == is_active)
    statement = newest_first(statement, SubscriptionPlan.id, cursor, limit)
    async with context.sessions() as session:
        rows, more = split_page((await session.scalars(statement)).all(), limit)
        prices = await _prices(session, [row.id for row in rows], principal)
    views = [_view(row, prices[row.id]) for row in rows]
    return page(views, more, rows[-1].id if rows else None)


@router.get(
    "/{plan_id}", response_model=PlanView, responses=problems(401, 403, 404), summary="Read a plan"
)
async def read_plan(plan_id: UUID, context: Context, principal: Reader) -> PlanView:
    """With its prices, and what each is called at the providers that have billed it."""
    async with context.sessions() as session:
        row = await get_scoped(session, SubscriptionPlan, plan_id, principal)
        prices = await _prices(session, [plan_id], principal)
    return _view(row, prices[plan_id])


@router.patch(
    "/{plan_id}",
    response_model=PlanView,
    responses=problems(401, 403, 404, 413, 422),
    summary="Change a plan, or take it off sale",
)
async def update_plan(
    plan_id: UUID, body: UpdatePlan, context: Context, principal: PlanWriter
) -> PlanView:
    """Only what is sent changes. New subscriptions, and changes to this plan, get the new price; running
    ones keep theirs. One that is off sale is not opened anew, and who has it keeps it."""
    async with context.sessions.begin() as session:
        plan = await _locked(session, plan_id, principal)
        prices = (await _prices(session, [plan_id], principal))[plan_id]
        before = _view(plan, prices).model_dump(mode="json")
        _change(plan, body)
        if "prices" in body.model_fields_set:
            await _replace_prices(session, plan, prices, body.prices)
            prices = (await _prices(session, [plan_id], principal))[plan_id]
        after = _view(plan, prices).model_dump(mode="json")
        changed = [name for name in body.model_fields_set if before[name] != after[name]]
        if changed:
            plan.updated_at = now()
            session.add(_audit(plan, principal, before, after, changed))
    return _view(plan, prices)


async def _locked(session: AsyncSession, plan_id: UUID, principal: Principal) -> SubscriptionPlan:
    """One change of a plan at a time."""
    statement = select(SubscriptionPlan).where(SubscriptionPlan.id == plan_id).with_for_update()
    found: SubscriptionPlan | None = await session.scalar(scoped(statement, principal))
    if found is None:
        raise NotFound("There is no plan with this id.")
    return found


def _change(plan: SubscriptionPlan, body: UpdatePlan) -> None:
    for name in body.model_fields_set - {"prices", "billing_policy"}:
        setattr(plan, name, getattr(body, name))
    if "billing_policy" in body.model_fields_set:
        plan.billing_policy = body.billing_policy.stored()


async def _replace_prices(
    session: AsyncSession,
    plan: SubscriptionPlan,
    there: Sequence[PlanPrice],
    wanted: Sequence[PlanPriceInput],
) -> None:
    rows = {(row.currency, row.billing_interval): row for row in there}
    for price in wanted:
        row = rows.pop((price.currency, price.billing_interval.value), None)
        if row is None:
            session.add(_price_row(price, plan))
        elif row.amount_minor != price.amount_minor:
            # What it was called at the providers stands for the old amount.
            row.amount_minor, row.provider_plan_ids = price.amount_minor, {}
    for row in rows.values():
        await session.delete(row)
    await session.flush()


def _audit(
    plan: SubscriptionPlan,
    principal: Principal,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    changed: Sequence[str],
) -> AuditEntry:
    return AuditEntry(
        id=new_id(),
        application_id=plan.application_id,
        version=0,
        actor=principal.actor,
        action="plan.update",
        before={name: before[name] for name in changed},
        after={"plan_id": str(plan.id)} | {name: after[name] for name in changed},
        at=now(),
    )


async def _prices(
    session: AsyncSession, plan_ids: list[UUID], principal: Principal
) -> dict[UUID, list[PlanPrice]]:
    statement = select(PlanPrice).where(PlanPrice.plan_id.in_(plan_ids)).order_by(PlanPrice.id)
    by_plan: dict[UUID, list[PlanPrice]] = defaultdict(list)
    for row in await session.scalars(scoped(statement, principal)):
        by_plan[row.plan_id].append(row)
    return by_plan


def _view(plan: SubscriptionPlan, prices: Sequence[PlanPrice]) -> PlanView:
    by_provider: dict[str, dict[str, str]] = defaultdict(dict)
    for price in prices:
        for provider, provider_plan_id in price.provider_plan_ids.items():
            kind = f"{price.currency}/{price.billing_interval}"
            by_provider[provider][kind] = provider_plan_id
    own = {
        name: getattr(plan, name)
        for name in PlanView.model_fields
        if name not in {"prices", "provider_plan_ids"}
    }
    return PlanView(
        **own,
        prices=[PlanPriceView.model_validate(price) for price in prices],
        provider_plan_ids=dict(by_provider),
    )
