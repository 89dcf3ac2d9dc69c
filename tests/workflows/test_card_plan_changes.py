"""Changing what a stored card pays for: collected to the centavo, once, and billed right afterwards."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.client import WorkflowUpdateFailedError

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from models.calendar import BillingInterval
from models.change_rules import Decision
from models.outcomes import Instrument
from models.plan_change import Offer, Proration
from models.storage.tables import Subscription
from models.subscription import SubscriptionTerms
from sandbox.faults import Fault, FaultMode
from tests.support.books import attempts_of, invoices_of
from tests.support.changing import Handle, change, credit_of, offer, sell

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def active(
    world: World, *, amount_minor: int = 1900, interval: BillingInterval = BillingInterval.MONTHLY
) -> tuple[SubscriptionTerms, Handle]:
    terms = await world.terms(
        Instrument.CARD,
        card="pm_card_visa",
        country="US",
        currency="USD",
        amount_minor=amount_minor,
        interval=interval,
        time_zone="America/Chicago",
    )
    handle, result = await world.open(terms)
    assert result.status == "active"
    return terms, handle


def taken(world: World) -> list[int]:
    return [c["amount_minor"] for c in world.core.charges if c["status"] in {"paid", "succeeded"}]


def begins_as_previewed(row: Subscription, decided: Decision) -> bool:
    """The provider begins a period when it is told to: seconds after the preview's instant."""
    assert row.current_period_end is not None
    assert decided.next_invoice_at is not None
    return abs(row.current_period_end - decided.next_invoice_at) < timedelta(minutes=1)


async def test_upgrades_in_one_period_are_charged_to_the_centavo(world: World) -> None:
    terms, handle = await active(world)
    for days, (unit, quantity) in ((9, (1900, 5)), (7, (1900, 3)), (3, (2900, 3))):
        await world.sleep(days * DAY)
        before, credit = sum(taken(world)), await credit_of(world, terms)
        wanted = offer(terms, unit, quantity=quantity)
        decided, result = await change(world, handle, wanted)

        row = await world.subscription(terms.subscription_id)
        assert result.status == "active"
        assert (row.amount_minor, row.quantity) == (unit * quantity, quantity)
        assert row.pending_change is None
        assert sum(taken(world)) - before == decided.amount_due_minor
        assert await credit_of(world, terms) == credit + decided.credit_change_minor
        assert row.current_period_end is not None
        await check_invariants(world)
    invoices = await invoices_of(world, terms)
    assert [i.status for i in invoices] == ["paid"] * 4
    for invoice in invoices[1:]:
        assert invoice.amount_minor == sum(line["amount_minor"] for line in invoice.lines)

    credit = await credit_of(world, terms)
    await world.sleep(14 * DAY)
    assert taken(world)[-1] == 8700 - credit
    assert await credit_of(world, terms) == 0
    await check_invariants(world)


async def test_yearly_to_monthly_is_paid_by_the_rest_of_the_year(world: World) -> None:
    terms, handle = await active(world, amount_minor=12000, interval=BillingInterval.YEARLY)
    await world.sleep(180 * DAY)
    wanted = offer(terms, 1500, interval=BillingInterval.MONTHLY)
    await sell(world, terms, wanted)

    decided, _ = await change(world, handle, wanted)

    row = await world.subscription(terms.subscription_id)
    assert row.billing_interval == "monthly"
    assert begins_as_previewed(row, decided)
    assert decided.next_invoice_minor == 0
    assert await credit_of(world, terms) == decided.credit_minor > 3000
    await world.sleep(62 * DAY)
    assert taken(world) == [12000], "the credit paid for all that came"
    assert await credit_of(world, terms) == decided.credit_minor - 2 * 1500
    await check_invariants(world)

    await world.sleep(92 * DAY)
    assert sum(taken(world)[1:]) == 5 * 1500 - decided.credit_minor, "what the credit could not pay"
    assert await credit_of(world, terms) == 0
    await check_invariants(world)


async def test_monthly_to_yearly_is_charged_less_what_is_left(world: World) -> None:
    terms, handle = await active(world)
    await world.sleep(10 * DAY)
    wanted = offer(terms, 19000, interval=BillingInterval.YEARLY)
    await sell(world, terms, wanted)
    decided, _ = await change(world, handle, wanted)
    assert taken(world) == [1900, decided.amount_due_minor]
    assert 19000 - 1900 < decided.amount_due_minor < 19000
    row = await world.subscription(terms.subscription_id)
    assert begins_as_previewed(row, decided)
    await world.sleep(100 * DAY)
    assert len(taken(world)) == 2
    await check_invariants(world)


@pytest.mark.parametrize("proration", [Proration.NONE, Proration.NEXT_PERIOD])
async def test_a_later_price_is_billed_with_the_next_period(
    world: World, proration: Proration
) -> None:
    terms, handle = await active(world)
    await change(world, handle, offer(terms, 2900), proration)
    row = await world.subscription(terms.subscription_id)
    at_once = proration is Proration.NONE
    assert row.amount_minor == (2900 if at_once else 1900)
    assert (row.pending_change is None) is at_once
    await world.sleep(32 * DAY)
    row = await world.subscription(terms.subscription_id)
    assert (row.amount_minor, row.pending_change) == (2900, None)
    assert taken(world) == [1900, 2900]
    await check_invariants(world)


async def test_a_scheduled_change_is_taken_back(world: World) -> None:
    terms, handle = await active(world)
    await change(world, handle, offer(terms, 2900), Proration.NEXT_PERIOD)
    await change(world, handle, terms.offer)
    await world.sleep(32 * DAY)
    assert taken(world) == [1900, 1900]
    await check_invariants(world)


async def test_a_declined_change_changes_nothing(world: World) -> None:
    terms, handle = await active(world)
    await world.sleep(10 * DAY)
    world.core.faults.add(
        Fault(provider="stripe", operation="invoices.pay", mode=FaultMode.DECLINE, count=1)
    )
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await change(world, handle, offer(terms, 2900))
    assert "nothing has changed" in str(refused.value.cause)

    row = await world.subscription(terms.subscription_id)
    assert (row.status, row.amount_minor, row.pending_change) == ("active", 1900, None)
    assert [i.status for i in await invoices_of(world, terms)] == ["paid", "void"]
    await world.sleep(30 * DAY)
    assert taken(world) == [1900, 1900]
    await check_invariants(world)


LOST = [FaultMode.APPLIED_THEN_TIMEOUT, FaultMode.APPLIED_THEN_ERROR]
STEPS = [
    "invoices.create",
    "invoices.add_lines",
    "invoices.finalize",
    "invoices.pay",
    "subscriptions.update",
    "invoiceitems.create",
]


@pytest.mark.parametrize("operation", STEPS)
@pytest.mark.parametrize("mode", LOST)
async def test_a_lost_answer_never_charges_twice(
    world: World, operation: str, mode: FaultMode
) -> None:
    terms, handle = await active(world)
    await world.sleep(10 * DAY)
    wanted: Offer = offer(terms, 19000, interval=BillingInterval.YEARLY)
    await sell(world, terms, wanted)
    world.core.faults.add(Fault(provider="stripe", operation=operation, mode=mode, count=1))
    try:
        decided, _ = await change(world, handle, wanted)
    except WorkflowUpdateFailedError:
        # It was made sure that it cannot be paid any more: the customer may ask again.
        row = await world.subscription(terms.subscription_id)
        assert (row.amount_minor, taken(world)) == (1900, [1900])
        await check_invariants(world)
        decided, _ = await change(world, handle, wanted)
    await world.sleep(2 * DAY)
    row = await world.subscription(terms.subscription_id)
    assert (row.amount_minor, row.billing_interval) == (19000, "yearly")
    assert taken(world) == [1900, decided.amount_due_minor]
    assert {a.outcome for a in await attempts_of(world, terms)} <= {
        "succeeded", "not_attempted", "declined",
    }  # fmt: skip
    await check_invariants(world)
