"""From a request to change a subscription to the offer that its workflow is asked to sell."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Principal
from api.billing_policy import merge_policy
from api.schemas import AMOUNT_MINOR_MAX, ChangeSubscription
from api.tenancy import get_scoped
from models.calendar import BillingInterval
from models.commands import ChangePlan
from models.errors import ChangeNotSupported, Conflict, CurrencyNotSupported, InvalidRequest
from models.outcomes import Instrument, ProviderName
from models.plan_change import Offer, Proration
from models.storage.tables import PlanPrice, Subscription, SubscriptionPlan
from models.subscription import CLOCK_BY_INSTRUMENT, BillingClock
from providers.capabilities import Capability
from providers.registry import ProviderRegistry

# What the provider has to be able to do for the same change with the next period.
CAPABILITY_LATER = {
    Capability.CHANGE_PLAN: Capability.CHANGE_PLAN_LATER,
    Capability.CHANGE_INTERVAL: Capability.CHANGE_INTERVAL_LATER,
}


async def prepare_change(
    session: AsyncSession,
    row: Subscription,
    body: ChangeSubscription,
    principal: Principal,
    providers: ProviderRegistry,
) -> ChangePlan:
    """Everything that can be refused without the workflow is refused here; what is not named stays."""
    plan = await get_scoped(session, SubscriptionPlan, body.plan_id or row.plan_id, principal)
    offer = await _offer(session, row, plan, body, principal)
    _require_ability(row, offer, body.proration, providers)
    return ChangePlan(
        actor=principal.actor,
        offer=offer,
        policy=merge_policy(plan.billing_policy) if plan.id != row.plan_id else None,
        proration=body.proration,
        at=body.proration_date,
    )


async def _offer(
    session: AsyncSession,
    row: Subscription,
    plan: SubscriptionPlan,
    body: ChangeSubscription,
    principal: Principal,
) -> Offer:
    interval = body.billing_interval or BillingInterval(row.billing_interval)
    quantity = row.quantity if body.quantity is None else body.quantity
    unit_minor = row.amount_minor // row.quantity
    if (plan.id, interval) != (row.plan_id, row.billing_interval):
        # The price that a subscription has is kept, whatever its plan costs others by now.
        if not plan.is_active:
            raise Conflict("The plan is no longer on sale.", code="plan_not_active")
        unit_minor = await _price(session, plan.id, row.currency, interval, principal)
    return Offer(
        plan_id=plan.id,
        plan_name=plan.name,
        billing_interval=interval,
        quantity=quantity,
        amount_minor=total_of(unit_minor, quantity),
    )


def total_of(unit_minor: int, quantity: int) -> int:
    """Raises InvalidRequest when no provider could collect so much."""
    total_minor = unit_minor * quantity
    if total_minor > AMOUNT_MINOR_MAX:
        raise InvalidRequest(
            "The quantity makes the price larger than any provider collects.",
            errors=[{"field": "quantity", "code": "too_large", "message": "is too large"}],
        )
    return total_minor


async def _price(
    session: AsyncSession,
    plan_id: UUID,
    currency: str,
    interval: BillingInterval,
    principal: Principal,
) -> int:
    statement = select(PlanPrice.amount_minor).where(
        PlanPrice.plan_id == plan_id,
        PlanPrice.currency == currency,
        PlanPrice.billing_interval == interval,
        PlanPrice.application_id == principal.application_id,
    )
    found: int | None = await session.scalar(statement)
    if found is None:
        raise CurrencyNotSupported(
            f"The plan has no {interval} price in {currency}, and a subscription keeps its currency."
        )
    return found


def _require_ability(
    row: Subscription, offer: Offer, proration: Proration, providers: ProviderRegistry
) -> None:
    """A provider that bills by its own clock has to be able to change what it bills."""
    if CLOCK_BY_INSTRUMENT[Instrument(row.payment_method_type)] is BillingClock.ENGINE:
        return
    provider = providers.get(ProviderName(row.provider)) if row.provider else None
    if provider is None or _is_sold_already(row, offer):
        return
    anew = offer.billing_interval != row.billing_interval
    at_once = Capability.CHANGE_INTERVAL if anew else Capability.CHANGE_PLAN
    wanted = CAPABILITY_LATER[at_once] if proration is Proration.NEXT_PERIOD else at_once
    for capability in (wanted, Capability.PRORATE):
        if capability is Capability.PRORATE and proration is not Proration.PRORATE:
            continue
        if capability not in provider.capabilities.supports:
            raise ChangeNotSupported(provider.capabilities.refusals[capability])


def _is_sold_already(row: Subscription, offer: Offer) -> bool:
    """Naming what there is takes a change back that waits."""
    wanted = (offer.plan_id, offer.billing_interval, offer.quantity, offer.amount_minor)
    return wanted == (row.plan_id, row.billing_interval, row.quantity, row.amount_minor)
