"""A stored card's interval changes with the next period, webhooks all lost: Stripe makes the change."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from temporalio.client import WorkflowUpdateFailedError

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from models.calendar import BillingInterval
from models.commands import Cancel, Pause, PauseAt, Resume
from models.plan_change import Offer, Proration
from models.storage.tables import OutboundEvent
from models.subscription import SubscriptionTerms
from sandbox.faults import Fault, FaultMode
from tests.support.books import invoices_of
from tests.support.changing import Handle, change, offer, sell
from tests.workflows.test_cards import AUSTIN, holder
from workflows.subscription import SubscriptionWorkflow

DAY = timedelta(days=1)
NEXT_PERIOD = Proration.NEXT_PERIOD
MONTHLY_MINOR, YEARLY_MINOR = 1900, 19000


async def monthly(world: World) -> tuple[SubscriptionTerms, Handle, Offer]:
    """Paid monthly, and a yearly price to change to."""
    terms = await holder(world, AUSTIN.good)
    handle, result = await world.open(terms)
    assert result.status == "active"
    wanted = offer(terms, YEARLY_MINOR, interval=BillingInterval.YEARLY)
    await sell(world, terms, wanted)
    return terms, handle, wanted


def taken(world: World, terms: SubscriptionTerms) -> list[int]:
    return [
        one["amount_minor"]
        for one in world.core.charges
        if one["subscription_id"] == str(terms.subscription_id) and one["status"] == "paid"
    ]


async def told(world: World, terms: SubscriptionTerms) -> list[str]:
    """What the app heard of changes."""
    found = await world.all(
        select(OutboundEvent.type)
        .where(OutboundEvent.subscription_id == terms.subscription_id)
        .order_by(OutboundEvent.sequence)
    )
    return [one for one in found if ".change" in one]


def lose(world: World, *operations: str) -> None:
    """One call of each that is not made, and then one that is made and not answered."""
    for operation in operations:
        for mode in (FaultMode.ERROR, FaultMode.APPLIED_THEN_ERROR):
            world.core.faults.add(Fault(provider="stripe", operation=operation, mode=mode, count=1))


def schedules(world: World) -> list[dict[str, Any]]:
    return list(world.core.collection("stripe", "subscription_schedules").values())


async def test_the_preview_is_the_invoice(world: World) -> None:
    terms, handle, wanted = await monthly(world)
    await world.sleep(12 * DAY)
    before = await world.subscription(terms.subscription_id)
    decided, _ = await change(world, handle, wanted, NEXT_PERIOD)
    assert decided.amount_due_minor == 0
    assert decided.takes_effect_at == decided.next_invoice_at == before.current_period_end
    assert decided.next_invoice_minor == YEARLY_MINOR
    row = await world.subscription(terms.subscription_id)
    assert (row.billing_interval, row.amount_minor) == ("monthly", MONTHLY_MINOR)
    assert row.pending_change is not None

    await world.sleep(25 * DAY)
    row = await world.subscription(terms.subscription_id)
    assert (row.billing_interval, row.amount_minor) == ("yearly", YEARLY_MINOR)
    assert (row.status, row.pending_change) == ("active", None)
    assert taken(world, terms) == [MONTHLY_MINOR, decided.next_invoice_minor]
    [_, invoice] = await invoices_of(world, terms)
    assert invoice.period_start == decided.takes_effect_at
    assert [line["description"] for line in invoice.lines] == [wanted.title]
    assert (invoice.period_start, invoice.period_end) == (
        row.current_period_start, row.current_period_end,
    )  # fmt: skip
    assert await told(world, terms) == ["subscription.change_scheduled", "subscription.changed"]

    await world.sleep(330 * DAY)
    assert len(taken(world, terms)) == 2
    await world.sleep(40 * DAY)
    assert taken(world, terms) == [MONTHLY_MINOR, YEARLY_MINOR, YEARLY_MINOR]
    await check_invariants(world)


async def test_what_becomes_of_a_change_that_waits(world: World) -> None:
    """Many customers in one month, each of another mind; all of them wanted the year at first."""
    opened = [await monthly(world) for _ in range(9)]
    await world.sleep(5 * DAY)
    for _, handle, wanted in opened:
        await change(world, handle, wanted, NEXT_PERIOD)
    back, ended, undone, gone, dearer, sooner, declined, paused, dropped = opened

    terms, handle, _ = back
    await change(world, handle, terms.offer)
    cancel = Cancel(actor="test", immediately=False)
    for _, handle, _ in (ended, undone):
        await handle.execute_update(SubscriptionWorkflow.cancel, cancel)
    _, handle, _ = undone
    await handle.execute_update(SubscriptionWorkflow.resume, Resume(actor="test"))
    _, handle, _ = gone
    await handle.execute_update(SubscriptionWorkflow.cancel, Cancel(actor="test", immediately=True))
    terms, handle, wanted = dearer
    await change(world, handle, wanted.model_copy(update={"amount_minor": 25000}), NEXT_PERIOD)
    terms, handle, _ = sooner
    await change(world, handle, offer(terms, 2900), NEXT_PERIOD)
    terms, handle, _ = declined
    world.core.faults.add(
        Fault(provider="stripe", operation="invoices.pay", mode=FaultMode.DECLINE, count=1)
    )
    with pytest.raises(WorkflowUpdateFailedError):
        await change(world, handle, offer(terms, 2900))
    _, handle, _ = paused
    await handle.execute_update(
        SubscriptionWorkflow.pause, Pause(actor="test", at=PauseAt.PERIOD_END)
    )
    terms, handle, _ = dropped
    await release_there(world, terms)

    await world.sleep(40 * DAY)
    assert [taken(world, terms) for terms, _, _ in opened] == [
        [1900, 1900],  # taken back
        [1900],  # ended with its period
        [1900, 19000],  # was to end, and goes on as it was wished
        [1900],  # ended at once
        [1900, 25000],  # a dearer year
        [1900, 2900],  # another month instead of the year
        [1900, 1900],  # another month that was refused by the card: nothing waits any more
        [1900],  # paused: the wish is taken back
        [1900, 1900],  # taken back in Stripe's own dashboard
    ]
    for terms, _, _ in (back, declined, paused, dropped):
        row = await world.subscription(terms.subscription_id)
        assert (row.billing_interval, row.pending_change) == ("monthly", None)
        assert "subscription.change_unscheduled" in await told(world, terms)
    assert await statuses(world, opened) == [
        "active", "canceled", "active", "canceled", "active", "active", "active", "paused", "active",
    ]  # fmt: skip
    await check_invariants(world)


async def statuses(
    world: World, opened: list[tuple[SubscriptionTerms, Handle, Offer]]
) -> list[str]:
    return [(await world.subscription(terms.subscription_id)).status for terms, _, _ in opened]


async def release_there(world: World, terms: SubscriptionTerms) -> None:
    """What a person may do in Stripe's dashboard."""
    row = await world.subscription(terms.subscription_id)
    simulator = world.sandbox.state.stripe
    [schedule] = [
        one for one in schedules(world) if one["subscription"] == row.provider_subscription_id
    ]
    simulator.schedules.release({}, None, schedule["id"])


async def test_a_lost_answer_changes_nothing(world: World) -> None:
    """Of each call, when it was made and when it was not: what is told is what is billed."""
    kept, back = [await monthly(world) for _ in range(2)]
    lose(world, "subscription_schedules.create", "subscription_schedules.update")
    for _, handle, wanted in (kept, back):
        await world.while_time_passes(change(world, handle, wanted, NEXT_PERIOD))
    lose(world, "subscription_schedules.release")
    terms, handle, _ = back
    await world.while_time_passes(change(world, handle, terms.offer))
    assert not world.core.faults.active, "every answer was lost that was to be"
    await world.sleep(40 * DAY)
    assert [taken(world, terms) for terms, _, _ in (kept, back)] == [[1900, 19000], [1900, 1900]]
    assert [one["status"] for one in schedules(world)] == ["active", "released"]
    await check_invariants(world)
