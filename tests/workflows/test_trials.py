"""Trials, with a card and without: nothing is charged before the end, and then once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio.client import WorkflowUpdateFailedError

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from models.commands import Cancel, RetryPayment, SetPaymentMethod
from models.outcomes import Instrument
from sandbox.faults import Fault, FaultMode
from tests.support.books import attempts_of, invoices_of, told_by_the_clock
from tests.workflows.test_cards import AUSTIN, MEXICO_CITY, Wallet, holder
from tests.workflows.test_cards import wallet as wallet
from tests.workflows.test_pausing import refusal_of, spoil
from workflows.subscription import SubscriptionWorkflow

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def test_a_trial_without_a_card_is_paid_by_one_that_comes_in_time(
    world: World, wallet: Wallet
) -> None:
    terms = await world.terms(Instrument.CARD, trial_days=14, **wallet.customer)
    handle, result = await world.open(terms)
    assert (result.status, result.settled) == ("trialing", True)
    await world.sleep(5 * DAY)
    card = await world.store_card(terms.organization_id, wallet.good, wallet.provider)
    command = SetPaymentMethod(actor="test", payment_method_id=card)
    result = await handle.execute_update(SubscriptionWorkflow.set_payment_method, command)
    assert result.status == "trialing"
    await world.sleep(8 * DAY)
    assert world.core.charges == []
    assert await told_by_the_clock(world, terms) == ["trial.will_end"]
    await world.sleep(2 * DAY)
    row = await world.subscription(terms.subscription_id)
    [invoice] = await invoices_of(world, terms)
    assert (row.status, row.provider, row.payment_method_id) == ("active", wallet.provider, card)
    assert invoice.status == "paid"
    assert row.trial_end is not None
    assert row.current_period_start is not None
    assert abs(row.current_period_start - row.trial_end) < timedelta(minutes=1)
    assert [c["status"] for c in world.core.charges] == ["paid"]
    await world.sleep(32 * DAY)
    assert len(await invoices_of(world, terms)) == 2, "and it renews"
    await check_invariants(world)


async def test_without_a_card_at_the_end_it_is_past_due_and_a_card_saves_it(
    world: World, wallet: Wallet
) -> None:
    terms = await world.terms(Instrument.CARD, trial_days=2, **wallet.customer)
    handle, _ = await world.open(terms)
    await world.sleep(2 * DAY + HOUR)
    assert (await world.subscription(terms.subscription_id)).status == "past_due"
    retry = SubscriptionWorkflow.retry_payment
    bare = RetryPayment(actor="test")
    assert "name one" in await refusal_of(handle.execute_update(retry, bare))
    card = await world.store_card(terms.organization_id, wallet.good, wallet.provider)
    named = RetryPayment(actor="test", payment_method_id=card)
    result = await handle.execute_update(retry, named)
    assert result.status == "active"
    [invoice] = await invoices_of(world, terms)
    assert (invoice.status, len(world.core.charges)) == ("paid", 1)
    await check_invariants(world)


async def test_nobody_ever_brings_a_card(world: World) -> None:
    terms = await world.terms(Instrument.CARD, trial_days=90, **AUSTIN.customer)
    await world.open(terms)
    await world.sleep(91 * DAY)
    assert (await world.subscription(terms.subscription_id)).status == "past_due"
    await world.sleep(16 * DAY)
    row = await world.subscription(terms.subscription_id)
    assert (row.status, world.core.charges) == ("expired", [])
    assert [i.status for i in await invoices_of(world, terms)] == ["failed"]
    await check_invariants(world)


@pytest.mark.parametrize("immediately", [True, False])
async def test_a_trial_that_is_canceled_charges_nothing(world: World, immediately: bool) -> None:
    for card in (None, AUSTIN.good):
        terms = await world.terms(Instrument.CARD, trial_days=7, card=card, **AUSTIN.customer)
        handle, _ = await world.open(terms)
        cancel = Cancel(actor="test", immediately=immediately)
        await handle.execute_update(SubscriptionWorkflow.cancel, cancel)
        await world.sleep(30 * DAY)
        row = await world.subscription(terms.subscription_id)
        assert (row.status, world.core.charges) == ("canceled", [])
        assert await told_by_the_clock(world, terms) == []
    await check_invariants(world)


async def test_a_card_that_is_refused_at_the_end_is_tried_again(
    world: World, wallet: Wallet
) -> None:
    """Stripe lets go of its object after a day, Conekta at once: the retry makes another."""
    terms = await world.terms(Instrument.CARD, trial_days=2, **wallet.customer)
    handle, _ = await world.open(terms)
    card = await world.store_card(terms.organization_id, wallet.refused, wallet.provider)
    command = SetPaymentMethod(actor="test", payment_method_id=card)
    await handle.execute_update(SubscriptionWorkflow.set_payment_method, command)
    await world.sleep(2 * DAY + HOUR)
    assert (await world.subscription(terms.subscription_id)).status == "past_due"
    await check_invariants(world)
    spoil(world, wallet, wallet.good)
    await world.sleep(4 * DAY)
    assert (await world.subscription(terms.subscription_id)).status == "active"
    outcomes = [a.outcome for a in await attempts_of(world, terms)]
    assert outcomes == ["declined", "succeeded"]
    await check_invariants(world)


async def test_a_provider_that_is_away_at_the_end_of_a_trial(world: World) -> None:
    terms = await world.terms(Instrument.CARD, trial_days=2, **AUSTIN.customer)
    handle, _ = await world.open(terms)
    card = await world.store_card(terms.organization_id, AUSTIN.good)
    command = SetPaymentMethod(actor="test", payment_method_id=card)
    await handle.execute_update(SubscriptionWorkflow.set_payment_method, command)
    world.core.faults.add(Fault(provider="stripe", mode=FaultMode.DOWN))
    await world.sleep(5 * DAY)
    assert (await world.subscription(terms.subscription_id)).status == "past_due"
    world.core.faults.clear()
    result = await handle.execute_update(SubscriptionWorkflow.set_payment_method, command)
    assert result.status == "active", "an open invoice is charged at once"
    await check_invariants(world)


async def test_another_card_pays_from_the_next_period_on(world: World, wallet: Wallet) -> None:
    terms = await holder(world, wallet.good, wallet)
    handle, _ = await world.open(terms)
    await world.sleep(3 * DAY)
    other = await world.store_card(terms.organization_id, wallet.good, wallet.provider)
    command = SetPaymentMethod(actor="test", payment_method_id=other)
    change = SubscriptionWorkflow.set_payment_method
    assert (await handle.execute_update(change, command)).status == "active"
    assert len(world.core.charges) == 1
    assert (await world.subscription(terms.subscription_id)).payment_method_id == other
    foreign = MEXICO_CITY if wallet is AUSTIN else AUSTIN
    elsewhere = await world.store_card(terms.organization_id, foreign.good, foreign.provider)
    wrong = command.model_copy(update={"payment_method_id": elsewhere})
    assert "a card does not move" in await refusal_of(handle.execute_update(change, wrong))
    await world.sleep(31 * DAY)
    assert (await world.subscription(terms.subscription_id)).status == "active"
    assert len(world.core.charges) == 2
    await check_invariants(world)


async def test_a_voucher_has_no_stored_method(world: World) -> None:
    world.payer.after = HOUR
    terms = await world.terms(Instrument.SPEI, trial_days=10)
    handle, result = await world.open(terms)
    assert result.status == "trialing"
    command = SetPaymentMethod(actor="test", payment_method_id=terms.plan_id)
    with pytest.raises(WorkflowUpdateFailedError):
        await handle.execute_update(SubscriptionWorkflow.set_payment_method, command)
    await world.sleep(6 * DAY)
    assert await invoices_of(world, terms) == []
    await world.sleep(DAY + HOUR)
    assert await told_by_the_clock(world, terms) == ["trial.will_end"]
    await world.sleep(4 * DAY)
    [invoice] = await invoices_of(world, terms)
    row = await world.subscription(terms.subscription_id)
    assert (invoice.status, invoice.period_start) == ("paid", row.trial_end)
    await check_invariants(world)
