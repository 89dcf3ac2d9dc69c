"""What is sold, and for how much.

A price is what the next subscription agrees to. Those that run carry theirs in their own terms, so
nothing here reaches them.
"""

from __future__ import annotations

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
from api.lists import PageAsked, newest
from api.openapi import problems
from api.pagination import Page
from api.plan_views import plan_view, prices_of
from api.responses import PlanView
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
        return Answer(201, plan_view(plan, prices).model_dump(mode="json"))

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
    asked: PageAsked,
    is_active: bool | None = None,
) -> Page[PlanView]:
    """Newest first, each with its prices."""
    filters = {SubscriptionPlan.is_active: is_active}
    async with context.sessions() as session:
        found = await newest(session, SubscriptionPlan, principal, asked, filters)
        prices = await prices_of(session, [row.id for row in found.rows], principal)
    return found.page([plan_view(row, prices[row.id]) for row in found.rows])


@router.get(
    "/{plan_id}", response_model=PlanView, responses=problems(401, 403, 404), summary="Read a plan"
)
async def read_plan(plan_id: UUID, context: Context, principal: Reader) -> PlanView:
    """With its prices, and what each is called at the providers that have billed it."""
    async with context.sessions() as session:
        row = await get_scoped(session, SubscriptionPlan, plan_id, principal)
        prices = await prices_of(session, [plan_id], principal)
    return plan_view(row, prices[plan_id])


@router.patch(
    "/{plan_id}",
    response_model=PlanView,
    responses=problems(401, 403, 404, 413, 422),
    summary="Change a plan, or take it off sale",
)
async def update_plan(
    plan_id: UUID, body: UpdatePlan, context: Context, principal: PlanWriter, once: RunOnce
) -> JSONResponse:
    """Only what is sent changes. New subscriptions, and changes to this plan, get the new price; running
    ones keep theirs. One that is off sale is not opened anew, and who has it keeps it."""

    async def prepare(session: AsyncSession, _: UUID) -> Answer:
        plan = await _locked(session, plan_id, principal)
        prices = (await prices_of(session, [plan_id], principal))[plan_id]
        before = plan_view(plan, prices).model_dump(mode="json")
        _change(plan, body)
        if "prices" in body.model_fields_set:
            await _replace_prices(session, plan, prices, body.prices)
            prices = (await prices_of(session, [plan_id], principal))[plan_id]
        after = plan_view(plan, prices).model_dump(mode="json")
        changed = [name for name in body.model_fields_set if before[name] != after[name]]
        if changed:
            plan.updated_at = now()
            session.add(_audit(plan, principal, before, after, changed))
        return Answer(200, plan_view(plan, prices).model_dump(mode="json"))

    return await once.create(context, principal.application_id, prepare)


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
