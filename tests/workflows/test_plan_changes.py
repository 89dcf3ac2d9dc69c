"""Changing what is sold while vouchers pay for it: the preview, the slip, the money, the next period."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.client import WorkflowQueryFailedError

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from models.billing_policy import BillingPolicy, OnUnpaid
from models.calendar import BillingInterval
from models.commands import ChangePlan
from models.outcomes import Instrument
from models.plan_change import Proration
from models.subscription import SubscriptionTerms
from tests.support.books import attempts_of, invoices_of, live_references
from tests.support.changing import Handle, change, credit_of, offer
from workflows.subscription import SubscriptionWorkflow

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def active(world: World, **changes: object) -> tuple[SubscriptionTerms, Handle]:
    """Paid an hour after it was opened; from then on nobody pays by itself."""
    world.payer.after = HOUR
    terms = await world.terms(Instrument.OXXO, **changes)  # type: ignore[arg-type]
    handle, _ = await world.open(terms)
    await world.sleep(3 * DAY + HOUR)
    return terms, handle


async def test_an_upgrade_takes_effect_when_its_slip_is_paid(world: World) -> None:
    terms, handle = await active(world)
    world.payer.after = None
    wanted = offer(terms, 39900)

    decided, result = await change(world, handle, wanted)

    row = await world.subscription(terms.subscription_id)
    [slip] = [i for i in await invoices_of(world, terms) if i.status == "pending"]
    assert decided.takes_effect_at is None
    assert (result.status, row.amount_minor) == ("active", 19900), "not paid: not theirs yet"
    assert (
        slip.amount_minor
        == decided.amount_due_minor
        == sum(line["amount_minor"] for line in slip.lines)
    )
    assert row.pending_change is not None
    assert row.pending_change["invoice_id"] == str(slip.id)
    assert len(live_references(world)) == 1

    end = row.current_period_end
    world.payer.after = HOUR
    await world.sleep(3 * DAY + HOUR)
    row = await world.subscription(terms.subscription_id)
    assert (row.amount_minor, row.pending_change, row.current_period_end) == (39900, None, end)
    await check_invariants(world)

    await world.sleep(30 * DAY)
    assert [i.amount_minor for i in await invoices_of(world, terms)][-1] == 39900
    await check_invariants(world)


async def test_an_upgrade_that_nobody_pays_lapses_and_costs_nothing(world: World) -> None:
    terms, handle = await active(world)
    world.payer.after = None
    await change(world, handle, offer(terms, 39900))
    await world.sleep(5 * DAY)

    row = await world.subscription(terms.subscription_id)
    assert (row.status, row.amount_minor, row.pending_change) == ("active", 19900, None)
    assert [i.status for i in await invoices_of(world, terms)] == ["paid", "void"]
    assert live_references(world) == []
    assert await credit_of(world, terms) == 0
    await check_invariants(world)


async def test_an_upgrade_is_taken_back_by_asking_for_what_there_is(world: World) -> None:
    terms, handle = await active(world)
    world.payer.after = None
    await change(world, handle, offer(terms, 39900))
    with pytest.raises(WorkflowQueryFailedError, match="waits for its payment"):
        await change(world, handle, offer(terms, 49900))

    await change(world, handle, terms.offer)
    await world.sleep(HOUR)
    row = await world.subscription(terms.subscription_id)
    assert (row.pending_change, live_references(world)) == (None, [])
    await check_invariants(world)


async def test_a_downgrade_is_credit_that_the_next_renewals_eat(world: World) -> None:
    """Yearly to monthly: a new period begins, and the rest of the year pays for many months."""
    terms, handle = await active(world, interval=BillingInterval.YEARLY, amount_minor=120000)
    wanted = offer(terms, 15000, interval=BillingInterval.MONTHLY)

    decided, _ = await change(world, handle, wanted)

    row = await world.subscription(terms.subscription_id)
    invoice = (await invoices_of(world, terms))[-1]
    credit = await credit_of(world, terms)
    assert (invoice.amount_minor, invoice.status) == (0, "paid")
    assert sum(line["amount_minor"] for line in invoice.lines) == 0
    assert credit == decided.credit_minor
    assert 120000 - 15000 - 1200 < credit < 120000 - 15000
    assert row.current_period_end == decided.next_invoice_at
    attempts = len(await attempts_of(world, terms))

    await world.sleep(100 * DAY)
    assert await credit_of(world, terms) == credit - 3 * 15000
    assert len(await attempts_of(world, terms)) == attempts, "no provider was called"

    await world.sleep(150 * DAY)
    assert await credit_of(world, terms) == 0
    amounts = [i.amount_minor for i in await invoices_of(world, terms)]
    last = next(a for a in amounts[2:] if a)
    assert last == 15000 - credit % 15000
    await check_invariants(world)


async def test_a_change_with_the_next_period_is_billed_and_shown_then(world: World) -> None:
    terms, handle = await active(world)
    await change(world, handle, offer(terms, 9900, quantity=2), Proration.NEXT_PERIOD)
    row = await world.subscription(terms.subscription_id)
    assert (row.amount_minor, row.quantity) == (19900, 1)
    assert row.pending_change is not None
    assert row.current_period_end is not None
    assert row.pending_change["at"] == row.current_period_end.isoformat()

    await world.sleep(29 * DAY)
    row = await world.subscription(terms.subscription_id)
    assert (row.amount_minor, row.quantity, row.pending_change) == (19800, 2, None)
    assert [i.amount_minor for i in await invoices_of(world, terms)] == [19900, 19800]
    await check_invariants(world)


async def test_a_renewal_slip_at_the_old_price_is_voided_and_issued_anew(world: World) -> None:
    terms, handle = await active(world)
    world.payer.after = None
    await world.sleep(26 * DAY)
    assert len(live_references(world)) == 1, "the renewal is being collected"

    await change(world, handle, offer(terms, 9900), Proration.NONE)
    await world.sleep(HOUR)

    renewal = (await invoices_of(world, terms))[-1]
    assert (renewal.amount_minor, renewal.status) == (9900, "pending")
    assert len(live_references(world)) == 1
    await check_invariants(world)
    world.payer.after = HOUR
    await world.sleep(5 * DAY)
    row = await world.subscription(terms.subscription_id)
    assert (row.status, row.amount_minor) == ("active", 9900)
    await check_invariants(world)


async def test_the_new_plans_rules_hold_from_the_effect_on(world: World) -> None:
    """Its renewal's slip was issued under the old rules: one more would follow, and then the end."""
    terms, handle = await active(world)
    world.payer.after = None
    rules = BillingPolicy(vouchers_max=1, on_unpaid=OnUnpaid.PAUSE)
    command = ChangePlan(
        actor="test", offer=offer(terms, 29900), proration=Proration.NEXT_PERIOD, policy=rules
    )
    await handle.execute_update(SubscriptionWorkflow.change, command)
    await world.sleep(26 * DAY)
    row = await world.subscription(terms.subscription_id)
    assert (row.status, row.amount_minor, len(live_references(world))) == ("active", 19900, 1)
    await world.sleep(3 * DAY)
    row = await world.subscription(terms.subscription_id)
    assert (row.status, row.amount_minor, live_references(world)) == ("paused", 29900, [])
