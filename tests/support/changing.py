"""Changing plans in a world: previews and changes as the API sends them, and what came of them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from temporalio.client import WorkflowHandle

from abono.simulate.world import World
from models.calendar import BillingInterval
from models.change_rules import Decision
from models.commands import ChangePlan, CommandResult
from models.plan_change import Offer, Proration
from models.storage.tables import CreditEntry, PlanPrice, new_id
from models.subscription import SubscriptionTerms
from workflows.subscription import SubscriptionWorkflow

Handle = WorkflowHandle[SubscriptionWorkflow, Any]


def offer(
    terms: SubscriptionTerms,
    unit_minor: int,
    *,
    quantity: int = 1,
    interval: BillingInterval | None = None,
) -> Offer:
    """Another price of the same plan: enough for everything that money has to do with."""
    return Offer(
        plan_id=terms.plan_id,
        plan_name=f"Pro {unit_minor}",
        billing_interval=interval or terms.billing_interval,
        quantity=quantity,
        amount_minor=unit_minor * quantity,
    )


async def preview(handle: Handle, command: ChangePlan) -> Decision:
    return await handle.query(SubscriptionWorkflow.preview_change, command)


async def change(
    world: World,
    handle: Handle,
    wanted: Offer,
    proration: Proration = Proration.PRORATE,
) -> tuple[Decision, CommandResult]:
    """Previewed and changed at one instant."""
    at = await world.env.get_current_time()
    command = ChangePlan(actor="test", offer=wanted, proration=proration, at=at)
    found = await preview(handle, command)
    return found, await handle.execute_update(SubscriptionWorkflow.change, command)


async def credit_of(world: World, terms: SubscriptionTerms) -> int:
    """The ledger's sum, which the row has to agree with."""
    entries = select(CreditEntry.amount_minor).where(
        CreditEntry.subscription_id == terms.subscription_id
    )
    total: int = sum(await world.all(entries))
    assert (await world.subscription(terms.subscription_id)).credit_minor == total
    return total


async def sell(world: World, terms: SubscriptionTerms, wanted: Offer) -> None:
    """The price list has the offer's unit price, where providers keep the ids of their prices."""
    key = (wanted.plan_id, terms.currency, wanted.billing_interval)
    if key == (terms.plan_id, terms.currency, terms.billing_interval):
        return
    await world.add(
        PlanPrice(
            id=new_id(),
            application_id=terms.application_id,
            plan_id=wanted.plan_id,
            currency=terms.currency,
            billing_interval=wanted.billing_interval,
            amount_minor=wanted.amount_minor // wanted.quantity,
            provider_plan_ids={},
        )
    )
