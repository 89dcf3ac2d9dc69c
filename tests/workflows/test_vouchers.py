"""Cash vouchers and transfers through their whole life, webhooks all lost: the workflow looks."""

from __future__ import annotations

import calendar
from datetime import datetime, timedelta
from itertools import count, pairwise
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from models.calendar import BillingInterval
from models.commands import Cancel, Resume
from models.outcomes import Instrument
from models.storage.tables import FallbackEvent, Payment
from sandbox.faults import Fault, FaultMode
from tests.support.books import attempts_of, invoices_of, live_references, told_by_the_clock
from workflows.subscription import SubscriptionWorkflow

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def test_a_voucher_is_issued_and_paid(world: World) -> None:
    terms = await world.terms(Instrument.OXXO)
    _, result = await world.open(terms)
    [attempt] = await attempts_of(world, terms)
    assert (result.status, attempt.outcome) == ("incomplete", "pending")
    assert attempt.next_action is not None
    vouchers = attempt.next_action["vouchers"]
    assert vouchers[0]["reference"] in live_references(world)
    assert len(vouchers) == 2, "both networks of one order are shown"

    world.payer.after = 5 * HOUR
    await world.sleep(3 * DAY + HOUR)

    row = await world.subscription(terms.subscription_id)
    [invoice] = await invoices_of(world, terms)
    assert (row.status, invoice.status, invoice.amount_paid_minor) == ("active", "paid", 19900)
    assert row.current_period_start == invoice.period_start
    await check_invariants(world)


async def test_an_expired_voucher_is_issued_again_and_three_are_the_end(world: World) -> None:
    terms = await world.terms(Instrument.OXXO)
    await world.open(terms)
    first = live_references(world)
    await world.sleep(3 * DAY + HOUR)
    second = live_references(world)
    assert len(second) == 1
    assert first != second
    await check_invariants(world)

    await world.sleep(30 * DAY)

    row = await world.subscription(terms.subscription_id)
    outcomes = [(a.outcome, a.reason) for a in await attempts_of(world, terms)]
    assert row.status == "expired"
    assert outcomes == [("declined", "expired")] * 3
    assert [i.status for i in await invoices_of(world, terms)] == ["failed"]
    assert live_references(world) == []
    await check_invariants(world)


async def test_the_customer_is_reminded_only_while_it_is_unpaid(world: World) -> None:
    terms = await world.terms(Instrument.OXXO)
    await world.open(terms)
    await world.sleep(DAY + HOUR)
    assert await told_by_the_clock(world, terms) == []
    await world.sleep(DAY)
    assert await told_by_the_clock(world, terms) == ["payment.reminder"]
    assert await told_by_the_clock(world, terms) == ["payment.reminder"], "told once"

    other = await world.terms(Instrument.OXXO)
    world.payer.after = HOUR
    await world.open(other)
    await world.sleep(3 * DAY + HOUR)
    assert (await world.subscription(other.subscription_id)).status == "active"
    assert await told_by_the_clock(world, other) == []


async def test_the_app_hears_that_a_trial_ends_soon(world: World) -> None:
    terms = await world.terms(Instrument.OXXO, trial_days=14)
    await world.open(terms)
    await world.sleep(10 * DAY)
    assert await told_by_the_clock(world, terms) == []
    await world.sleep(DAY + HOUR)
    assert await told_by_the_clock(world, terms) == ["trial.will_end"]


async def test_cancel_now_voids_the_voucher(world: World) -> None:
    terms = await world.terms(Instrument.OXXO)
    handle, _ = await world.open(terms)
    result = await handle.execute_update(
        SubscriptionWorkflow.cancel, Cancel(actor="test", immediately=True)
    )
    assert result.status == "canceled"
    assert await handle.result() == "canceled"
    assert live_references(world) == []
    assert [i.status for i in await invoices_of(world, terms)] == ["void"]
    assert [a.outcome for a in await attempts_of(world, terms)] == ["declined"]
    await check_invariants(world)


async def test_cancel_at_period_end_can_be_taken_back_and_then_happens(world: World) -> None:
    world.payer.after = HOUR
    terms = await world.terms(Instrument.OXXO)
    handle, _ = await world.open(terms)
    await world.sleep(3 * DAY + HOUR)
    await handle.execute_update(SubscriptionWorkflow.cancel, Cancel(actor="test"))
    assert (await world.subscription(terms.subscription_id)).cancel_at_period_end
    await handle.execute_update(SubscriptionWorkflow.resume, Resume(actor="test"))
    assert not (await world.subscription(terms.subscription_id)).cancel_at_period_end

    await handle.execute_update(SubscriptionWorkflow.cancel, Cancel(actor="test"))
    await world.sleep(31 * DAY)
    row = await world.subscription(terms.subscription_id)
    assert row.status == "canceled"
    assert row.canceled_at is not None
    assert row.current_period_end is not None
    assert row.canceled_at - row.current_period_end < timedelta(minutes=1)
    assert len(await invoices_of(world, terms)) == 1, "nothing is billed after the cancellation"
    await check_invariants(world)


@pytest.mark.parametrize("operation", ["orders.create", "charges.create", "customers.create"])
@pytest.mark.parametrize("mode", [FaultMode.APPLIED_THEN_TIMEOUT, FaultMode.APPLIED_THEN_ERROR])
async def test_a_lost_answer_leaves_exactly_one_live_voucher(
    world: World, operation: str, mode: FaultMode
) -> None:
    world.core.faults.add(Fault(provider="conekta", operation=operation, mode=mode, count=1))
    terms = await world.terms(Instrument.OXXO)
    await world.open(terms)
    await world.sleep(HOUR)
    assert len(live_references(world)) == 1
    assert [a.outcome for a in await attempts_of(world, terms)] == ["pending"]
    await check_invariants(world)


@pytest.mark.parametrize("mode", [FaultMode.DOWN, FaultMode.ERROR, FaultMode.RATE_LIMIT])
async def test_an_outage_falls_back_for_this_voucher_alone(world: World, mode: FaultMode) -> None:
    world.payer.after = 5 * HOUR
    world.core.faults.add(Fault(provider="conekta", mode=mode))
    terms = await world.terms(Instrument.OXXO)
    await world.open(terms)
    assert (await attempts_of(world, terms))[-1].provider == "stripe"
    [fallback] = await world.all(select(FallbackEvent))
    assert (fallback.attempted_provider, fallback.fallback_provider) == ("conekta", "stripe")
    assert fallback.reason == ("unavailable" if mode is FaultMode.DOWN else "api_error")
    await check_invariants(world)

    world.core.faults.clear()
    await world.sleep(32 * DAY)
    assert (await attempts_of(world, terms))[-1].provider == "conekta", "next month asks again"
    await check_invariants(world)


async def test_spei_is_a_clabe_that_is_paid(world: World) -> None:
    terms = await world.terms(Instrument.SPEI)
    await world.open(terms)
    [attempt] = await attempts_of(world, terms)
    assert attempt.next_action is not None
    assert len(attempt.next_action["clabe"]) == 18
    world.payer.after = HOUR
    await world.sleep(3 * DAY + HOUR)
    assert (await world.subscription(terms.subscription_id)).status == "active"
    await check_invariants(world)


async def test_a_missed_renewal_is_past_due_and_recovers(world: World) -> None:
    world.payer.after = HOUR
    terms = await world.terms(Instrument.OXXO)
    await world.open(terms)
    await world.sleep(3 * DAY + HOUR)
    world.payer.after = None
    await world.sleep(29 * DAY + 12 * HOUR)
    row = await world.subscription(terms.subscription_id)
    assert row.status == "past_due"
    assert row.access_until is not None
    assert row.current_period_end is not None
    assert row.access_until > row.current_period_end, "access outlives the first missed payment"
    await check_invariants(world)
    world.payer.after = HOUR
    await world.sleep(3 * DAY + HOUR)
    assert (await world.subscription(terms.subscription_id)).status == "active"
    await check_invariants(world)


async def test_a_trial_is_billed_at_its_end(world: World) -> None:
    world.payer.after = HOUR
    terms = await world.terms(Instrument.OXXO, trial_days=14)
    _, result = await world.open(terms)
    assert result.status == "trialing"
    await world.sleep(20 * DAY)
    row = await world.subscription(terms.subscription_id)
    [invoice] = await invoices_of(world, terms)
    assert row.status == "trialing" or row.status == "active"
    assert invoice.status == "paid"
    assert invoice.period_start == row.trial_end
    await check_invariants(world)


@pytest.mark.parametrize(
    ("begins", "zone", "interval", "periods"),
    [
        ((1, 31), "America/Mexico_City", BillingInterval.MONTHLY, 120),
        ((8, 31), "Pacific/Auckland", BillingInterval.MONTHLY, 24),
        ((2, 29), "Pacific/Auckland", BillingInterval.YEARLY, 10),
    ],
    ids=["the 31st in Mexico City", "the 31st in Auckland", "29 February in Auckland"],
)
async def test_years_without_drift(
    world: World,
    begins: tuple[int, int],
    zone: str,
    interval: BillingInterval,
    periods: int,
) -> None:
    """Each slip is paid in the hour after it was issued, and the day of the month is kept for ever:
    where a month lacks it, it is that month's last, for that month alone."""
    await world.sleep(await until_noon(world, begins, zone))
    world.payer.after = HOUR
    terms = await world.terms(Instrument.OXXO, time_zone=zone, interval=interval)
    handle, _ = await world.open(terms)
    length = timedelta(days=366) if interval is BillingInterval.YEARLY else timedelta(days=30.5)
    await world.sleep(length * periods - 5 * DAY)
    row = await world.subscription(terms.subscription_id)
    paid = [invoice for invoice in await invoices_of(world, terms) if invoice.status == "paid"]
    assert row.status == "active"
    assert len(paid) in {periods, periods + 1}
    assert all(a.period_end == b.period_start for a, b in pairwise(paid))
    starts = [one.period_start.astimezone(ZoneInfo(zone)) for one in paid if one.period_start]
    for start in starts:
        last = calendar.monthrange(start.year, start.month)[1]
        assert start.day == min(begins[1], last), "the anchor day, or the month's last"
        assert start.time() == starts[0].time(), "the same hour, whatever the clocks do"
    assert len(await world.all(select(Payment.id))) == len(paid)
    history = await handle.fetch_history()
    assert len(history.events) < 100, "every period begins with a fresh history"
    await check_invariants(world)


async def until_noon(world: World, day: tuple[int, int], zone: str) -> timedelta:
    """From now to the next such day's noon there; 29 February may be years away."""
    now = (await world.env.get_current_time()).astimezone(ZoneInfo(zone))
    month, number = day
    years = (year for year in count(now.year) if number <= calendar.monthrange(year, month)[1])
    noons = (datetime(year, month, number, 12, tzinfo=ZoneInfo(zone)) for year in years)
    return next(noon for noon in noons if noon > now) - now
