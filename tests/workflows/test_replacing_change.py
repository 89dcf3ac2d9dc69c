"""Another plan with the next period at Conekta, which changes none: stopped, ended, opened anew."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from models.calendar import BillingInterval
from models.commands import Cancel, Pause, PauseAt, Resume, SetPaymentMethod
from models.plan_change import Offer, Proration
from models.subscription import SubscriptionTerms
from sandbox.faults import Fault, FaultMode
from tests.support.books import invoices_of
from tests.support.changing import Handle, change, offer
from tests.workflows.test_cards import MEXICO_CITY, holder
from workflows.subscription import SubscriptionWorkflow

DAY = timedelta(days=1)
NEXT_PERIOD = Proration.NEXT_PERIOD
Opened = tuple[SubscriptionTerms, Handle, Offer]


async def monthly(world: World) -> Opened:
    terms = await holder(world, MEXICO_CITY.good, MEXICO_CITY)
    handle, result = await world.open(terms)
    assert result.status == "active"
    return terms, handle, offer(terms, 2900)


def at_conekta(world: World, terms: SubscriptionTerms) -> list[dict[str, Any]]:
    found = world.core.collection("conekta", "subscriptions").values()
    return [one for one in found if str(terms.subscription_id) in one["plan_id"]]


async def booked(world: World, terms: SubscriptionTerms) -> list[tuple[str, int]]:
    return [(one.status, one.amount_minor) for one in await invoices_of(world, terms)]


def live(world: World, terms: SubscriptionTerms) -> list[str]:
    """More than one would bill twice."""
    return [one["status"] for one in at_conekta(world, terms) if one["status"] != "canceled"]


def lose(world: World, *operations: str) -> None:
    """One call of each that is not made, and then one that is made and not answered."""
    for operation in operations:
        for mode in (FaultMode.ERROR, FaultMode.APPLIED_THEN_ERROR):
            world.core.faults.add(
                Fault(provider="conekta", operation=operation, mode=mode, count=1)
            )


async def test_the_next_period_is_another_subscription_there(world: World) -> None:
    terms, handle, wanted = await monthly(world)
    yearly = offer(terms, 19000, interval=BillingInterval.YEARLY)
    await world.sleep(12 * DAY)
    before = await world.subscription(terms.subscription_id)
    decided, _ = await change(world, handle, wanted, NEXT_PERIOD)
    assert decided.takes_effect_at == decided.next_invoice_at == before.current_period_end
    assert live(world, terms) == ["paused"], "whatever happens to us, the old price is not billed"
    row = await world.subscription(terms.subscription_id)
    assert (row.status, row.amount_minor) == ("active", 1900)

    await world.sleep(25 * DAY)
    row = await world.subscription(terms.subscription_id)
    assert (row.status, row.amount_minor, row.pending_change) == ("active", 2900, None)
    assert await booked(world, terms) == [("paid", 1900), ("paid", decided.next_invoice_minor)]
    assert live(world, terms) == ["active"]
    await world.sleep(20 * DAY)
    await change(world, handle, yearly, NEXT_PERIOD)
    await world.sleep(30 * DAY)
    row = await world.subscription(terms.subscription_id)
    assert (row.status, row.billing_interval) == ("active", "yearly")
    assert [minor for _, minor in await booked(world, terms)] == [1900, 2900, 19000]
    assert live(world, terms) == ["active"]
    await check_invariants(world)


async def test_what_becomes_of_a_change_that_waits(world: World) -> None:
    opened = [await monthly(world) for _ in range(8)]
    await world.sleep(5 * DAY)
    for _, handle, wanted in opened:
        await change(world, handle, wanted, NEXT_PERIOD)
    back, ended, undone, gone, dearer, paused, resumed_there, ended_there = opened

    terms, handle, _ = back
    await change(world, handle, terms.offer)
    for _, handle, _ in (ended, undone):
        await handle.execute_update(
            SubscriptionWorkflow.cancel, Cancel(actor="test", immediately=False)
        )
    await undone[1].execute_update(SubscriptionWorkflow.resume, Resume(actor="test"))
    await gone[1].execute_update(
        SubscriptionWorkflow.cancel, Cancel(actor="test", immediately=True)
    )
    terms, handle, _ = dearer
    await change(world, handle, offer(terms, 3900), NEXT_PERIOD)
    await paused[1].execute_update(
        SubscriptionWorkflow.pause, Pause(actor="test", at=PauseAt.PERIOD_END)
    )
    cycles = world.sandbox.state.conekta.cycles
    [one] = at_conekta(world, resumed_there[0])
    cycles.go_on(one)
    [one] = at_conekta(world, ended_there[0])
    cycles.end(one, "by_hand")

    await world.sleep(40 * DAY)
    assert [await booked(world, terms) for terms, _, _ in opened] == [
        [("paid", 1900), ("paid", 1900)],  # taken back
        [("paid", 1900)],  # ended with its period
        [("paid", 1900), ("paid", 2900)],  # was to end, and goes on as it was wished
        [("paid", 1900)],  # ended at once
        [("paid", 1900), ("paid", 3900)],  # another wish
        [("paid", 1900)],  # paused
        [("paid", 1900), ("paid", 1900)],  # somebody let it go on in Conekta's panel
        [("paid", 1900)],  # or ended it there: nobody is charged who has left
    ]
    assert [live(world, terms) for terms, _, _ in opened] == [
        ["active"], [], ["active"], [], ["active"], ["paused"], ["active"], [],
    ]  # fmt: skip
    await check_invariants(world)


async def test_a_card_that_is_refused_then_is_asked_again(world: World) -> None:
    terms, handle, wanted = await monthly(world)
    await change(world, handle, wanted, NEXT_PERIOD)
    world.core.faults.add(
        Fault(provider="conekta", operation="subscriptions.create", mode=FaultMode.DECLINE, count=1)
    )
    await world.sleep(31 * DAY)
    row = await world.subscription(terms.subscription_id)
    assert (row.status, row.amount_minor) == ("past_due", 2900)
    assert live(world, terms) == []
    token = "tok_test_mastercard_4444"
    card = await world.store_card(terms.organization_id, token, MEXICO_CITY.provider)
    await handle.execute_update(
        SubscriptionWorkflow.set_payment_method,
        SetPaymentMethod(actor="test", payment_method_id=card),
    )
    row = await world.subscription(terms.subscription_id)
    assert row.status == "active"
    assert await booked(world, terms) == [("paid", 1900), ("paid", 2900)]
    assert live(world, terms) == ["active"]
    await world.sleep(32 * DAY)
    assert [minor for _, minor in await booked(world, terms)] == [1900, 2900, 2900]
    await check_invariants(world)


async def test_a_lost_answer_opens_one(world: World) -> None:
    terms, handle, wanted = await monthly(world)
    lose(
        world, "subscriptions.pause", "subscriptions.cancel", "subscriptions.create", "plans.create"
    )
    await world.while_time_passes(change(world, handle, wanted, NEXT_PERIOD))
    await world.sleep(40 * DAY)
    assert [minor for status, minor in await booked(world, terms) if status == "paid"] == [
        1900,
        2900,
    ]
    assert live(world, terms) == ["active"]
    assert [one["amount_minor"] for one in world.core.charges if one["status"] == "paid"] == [
        1900,
        2900,
    ]
    assert not world.core.faults.active
    await check_invariants(world)


async def test_a_change_now_is_refused(world: World) -> None:
    _, handle, wanted = await monthly(world)
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await change(world, handle, wanted, Proration.NONE)
    assert "change it with `next_period`" in str(refused.value.cause)
