"""An invoice that is not paid, to its end and back, on both clocks. All webhooks are lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from models.billing_policy import BillingPolicy, OnUnpaid
from models.commands import RetryPayment
from models.outcomes import Instrument
from models.subscription import SubscriptionTerms
from tests.support.books import attempts_of, invoices_of, live_references
from tests.support.outbound import told
from tests.workflows.test_cards import AUSTIN, DAY, Wallet, holder, renew
from tests.workflows.test_cards import wallet as wallet
from workflows.subscription import SubscriptionWorkflow

HOUR = timedelta(hours=1)
SHORT = BillingPolicy(
    retry_after_days=(1, 2), past_due_window=timedelta(days=5), access_grace=timedelta(days=2)
)
STOLEN = "pm_card_visa_chargeDeclinedStolenCard"
BROKE = "pm_card_visa_chargeDeclinedInsufficientFunds"


def kept(on_unpaid: OnUnpaid) -> BillingPolicy:
    return SHORT.model_copy(update={"on_unpaid": on_unpaid})


def turn_cards_into(world: World, token: str) -> None:
    """What the bank says of the stored cards changes."""
    for method in world.core.collection("stripe", "payment_methods").values():
        method["_token"] = token
    refused = world.core.collection("conekta", "card_failures")
    for source_id in world.core.collection("conekta", "payment_sources"):
        refused[source_id] = "insufficient_funds"


async def missed(
    world: World, policy: BillingPolicy, card: str = BROKE, wallet: Wallet = AUSTIN
) -> tuple[SubscriptionTerms, Any]:
    """A subscription whose card is refused from its second period on."""
    terms = await holder(world, wallet.good, wallet, policy=policy)
    handle, _ = await world.open(terms)
    await world.sleep(25 * DAY)
    turn_cards_into(world, card)
    await world.sleep(7 * DAY)
    return terms, handle


async def retry(world: World, terms: SubscriptionTerms, handle: Any, card: str | None) -> str:
    method = await world.store_card(terms.organization_id, card) if card else None
    command = RetryPayment(actor="test", payment_method_id=method)
    result = await handle.execute_update(SubscriptionWorkflow.retry_payment, command)
    return str(result.status)


@pytest.mark.parametrize("on_unpaid", OnUnpaid)
async def test_a_card_that_is_never_good_again(world: World, on_unpaid: OnUnpaid) -> None:
    terms, _ = await missed(world, kept(on_unpaid))
    await world.sleep(8 * DAY)
    row = await world.subscription(terms.subscription_id)
    ends = {"cancel": "expired", "pause": "paused", "keep_past_due": "past_due"}
    assert row.status == ends[on_unpaid]
    outcomes = [a.outcome for a in await attempts_of(world, terms)]
    assert outcomes == ["succeeded", *["declined"] * 3], "one by the provider, two retries"
    assert row.current_period_end is not None
    assert row.access_until == row.current_period_end + 2 * DAY, "the grace is not taken back"
    if on_unpaid is OnUnpaid.CANCEL:
        assert row.collection is None
    else:
        assert row.collection is not None
        assert row.collection["attempts_left"] == 0
        assert row.collection["last_decline"]["class"] == "soft"
    failures = await told(world, "invoice.payment_failed")
    assert [event["attempts_left"] for event in failures] == [2, 1, 0]
    assert failures[-1]["next_attempt_at"] is None
    await check_invariants(world)


async def test_what_is_paused_unpaid_is_not_billed_by_its_provider(
    world: World, wallet: Wallet
) -> None:
    """Months later another card pays once, for the period in which it pays."""
    terms, handle = await missed(world, kept(OnUnpaid.PAUSE), wallet=wallet)
    await world.sleep(8 * DAY)
    assert (await world.subscription(terms.subscription_id)).status == "paused"
    tries, before = list(world.core.charges), await invoices_of(world, terms)
    await world.sleep(100 * DAY)
    assert world.core.charges == tries, "nobody is asked for money"
    better = await world.store_card(terms.organization_id, wallet.good, wallet.provider)
    command = RetryPayment(actor="test", payment_method_id=better)
    result = await handle.execute_update(SubscriptionWorkflow.retry_payment, command)
    assert result.status == "active"
    assert [c["status"] for c in world.core.charges].count("paid") == 2
    assert len(await invoices_of(world, terms)) == len(before) == 2
    row, now = await world.subscription(terms.subscription_id), await world.env.get_current_time()
    assert row.current_period_start is not None
    assert row.current_period_end is not None
    assert row.current_period_start <= now < row.current_period_end
    assert row.access_until == row.current_period_end
    await check_invariants(world)
    await world.sleep(32 * DAY)
    assert [i.status for i in await invoices_of(world, terms)] == ["paid"] * 3, "and it goes on"
    assert (await world.subscription(terms.subscription_id)).status == "active"
    await check_invariants(world)


async def test_another_card_brings_back_what_was_kept_past_due(world: World) -> None:
    terms, handle = await missed(world, kept(OnUnpaid.KEEP_PAST_DUE))
    await world.sleep(8 * DAY)
    assert await retry(world, terms, handle, AUSTIN.good) == "active"
    row = await world.subscription(terms.subscription_id)
    assert (row.collection, row.access_until) == (None, row.current_period_end)
    await check_invariants(world)


async def test_a_hard_decline_is_not_retried_until_the_customer_acts(world: World) -> None:
    terms, handle = await missed(world, BillingPolicy(), STOLEN)
    row = await world.subscription(terms.subscription_id)
    assert row.status == "past_due"
    assert row.collection is not None
    assert row.collection["last_decline"]["class"] == "hard"
    assert (row.collection["attempts_left"], row.collection["next_attempt_at"]) == (0, None)
    await world.sleep(6 * DAY)
    assert [a.outcome for a in await attempts_of(world, terms)] == ["succeeded", "declined"]
    assert await retry(world, terms, handle, AUSTIN.good) == "active"
    await check_invariants(world)


async def test_another_card_begins_the_schedule_anew(world: World) -> None:
    terms, handle = await missed(world, SHORT)
    await world.sleep(2 * DAY)
    assert await retry(world, terms, handle, BROKE) == "past_due"
    row = await world.subscription(terms.subscription_id)
    assert row.collection is not None
    assert row.collection["attempts_left"] == 2
    await world.sleep(4 * DAY)
    assert (await world.subscription(terms.subscription_id)).status == "past_due"
    await world.sleep(3 * DAY)
    assert (await world.subscription(terms.subscription_id)).status == "expired"
    await check_invariants(world)


async def test_nobody_asks_more_often_than_the_networks_allow(world: World) -> None:
    terms, handle = await missed(world, BillingPolicy(), STOLEN)
    for _ in range(10):
        assert await retry(world, terms, handle, None) == "past_due"
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await retry(world, terms, handle, None)
    assert "card networks" in str(caught.value.cause)
    assert len(await attempts_of(world, terms)) == 1 + 1 + 10


async def test_a_payment_by_another_way_is_found_without_its_webhook(world: World) -> None:
    terms, _ = await missed(world, BillingPolicy(), STOLEN)
    await renew(world, terms, "paid")
    await world.sleep(DAY + HOUR)
    row = await world.subscription(terms.subscription_id)
    assert row.status == "active"
    await check_invariants(world)


async def test_a_payment_in_the_last_hours_is_not_ended_unseen(world: World) -> None:
    terms, _ = await missed(world, SHORT)
    await world.sleep(3 * DAY - 2 * HOUR)
    await renew(world, terms, "paid")
    await world.sleep(5 * DAY)
    assert (await world.subscription(terms.subscription_id)).status == "active"
    await check_invariants(world)


@pytest.mark.parametrize("on_unpaid", OnUnpaid)
async def test_vouchers_that_nobody_pays(world: World, on_unpaid: OnUnpaid) -> None:
    world.payer.after = HOUR
    policy = kept(on_unpaid).model_copy(update={"vouchers_max": 2})
    terms = await world.terms(Instrument.OXXO, policy=policy)
    handle, _ = await world.open(terms)
    await world.sleep(20 * DAY)
    world.payer.after = None
    await world.sleep(30 * DAY)
    row = await world.subscription(terms.subscription_id)
    ends = {"cancel": "expired", "pause": "paused", "keep_past_due": "past_due"}
    assert row.status == ends[on_unpaid]
    assert len(await attempts_of(world, terms)) == 1 + 2, "no slip after the last one"
    assert live_references(world) == []
    await check_invariants(world)
    if on_unpaid is OnUnpaid.CANCEL:
        return
    await world.sleep(30 * DAY)
    world.payer.after = HOUR
    await retry(world, terms, handle, None)
    await world.sleep(4 * DAY)
    row = await world.subscription(terms.subscription_id)
    paid = await invoices_of(world, terms)
    if on_unpaid is OnUnpaid.PAUSE:
        assert row.status == "active"
        assert len(paid) == 2, "the months in which it was paused are not billed"
    await check_invariants(world)
