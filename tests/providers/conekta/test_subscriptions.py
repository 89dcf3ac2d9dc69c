"""Card subscriptions: opened, billed by Conekta's clock, refused, retried, ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from models.outcomes import DeclineClass, OutcomeClass
from models.snapshots import ProviderInvoiceStatus, ProviderSubscriptionStatus
from providers.failures import FailureKind
from tests.providers.conekta.drafts import (
    AMOUNT_MINOR,
    ATTEMPT_ID,
    BROKE_TOKEN,
    SUBSCRIPTION_ID,
    failure_of,
    refund_draft,
    subscription_draft,
)
from tests.providers.conekta.subscribing import Subscriber
from tests.sandbox.conekta.world import World

DAY_SECONDS = 86_400
PLAN_ID = f"abono_{SUBSCRIPTION_ID}_{ATTEMPT_ID}"
OPEN, PAID = ProviderInvoiceStatus.OPEN, ProviderInvoiceStatus.PAID
ACTIVE, CANCELED = ProviderSubscriptionStatus.ACTIVE, ProviderSubscriptionStatus.CANCELED
PAST_DUE = ProviderSubscriptionStatus.PAST_DUE
INCOMPLETE = ProviderSubscriptionStatus.INCOMPLETE


async def test_preparing_makes_a_plan_and_charges_nobody(subscriber: Subscriber) -> None:
    draft, prepared = await subscriber.prepared()
    assert prepared.provider_subscription_id == PLAN_ID
    assert prepared.provider_invoice_id is None
    assert "/" not in PLAN_ID, "the ledger packs ids with it"
    [plan] = subscriber.world.core.collection("conekta", "plans").values()
    assert (plan["name"], plan["amount"], plan["currency"]) == ("Plan Pro", AMOUNT_MINOR, "MXN")
    assert (plan["interval"], plan["frequency"]) == ("month", 1)
    assert subscriber.at_conekta() == []
    assert await subscriber.charges() == []
    found = await subscriber.get(PLAN_ID)
    assert (found.status, found.provider_subscription_id) == (INCOMPLETE, PLAN_ID)
    assert found.latest_invoice is None
    assert await subscriber.provider.prepare_subscription(draft) == prepared


@pytest.mark.parametrize(("interval", "days"), [("monthly", (28, 31)), ("yearly", (365, 366))])
async def test_a_good_card_is_charged_at_once(
    subscriber: Subscriber, interval: str, days: tuple[int, int]
) -> None:
    opened = await subscriber.subscribed(billing_interval=interval)
    assert opened.status is ACTIVE
    assert opened.provider_subscription_id.startswith("sub_")
    assert opened.provider_customer_id == subscriber.customer_id
    assert opened.trial_end is None
    assert not opened.cancel_at_period_end
    length = opened.current_period_end - opened.current_period_start
    assert days[0] <= length.days <= days[1]
    invoice = opened.latest_invoice
    assert invoice is not None
    assert invoice.status is PAID
    assert invoice.first
    assert invoice.attempt_count == 1
    assert invoice.provider_subscription_id == opened.provider_subscription_id
    assert invoice.amount_minor == AMOUNT_MINOR
    assert [capture.amount_minor for capture in invoice.captures] == [AMOUNT_MINOR]
    assert (invoice.period_start, invoice.period_end) == (
        opened.current_period_start,
        opened.current_period_end,
    )
    [entry] = await subscriber.world.book()
    assert (entry["status"], entry["subscription_id"]) == ("paid", SUBSCRIPTION_ID)
    assert entry["id"] == invoice.captures[0].provider_charge_id


async def test_both_ids_find_it(subscriber: Subscriber) -> None:
    opened = await subscriber.subscribed()
    assert await subscriber.get(opened.provider_subscription_id) == opened
    assert await subscriber.get(PLAN_ID) == opened
    assert opened.latest_invoice is not None
    order_id = opened.latest_invoice.provider_invoice_id
    assert await subscriber.provider.get_invoice(order_id) == opened.latest_invoice
    failure = await failure_of(subscriber.get("sub_unknown"))
    assert failure.kind is FailureKind.NOT_FOUND


async def test_a_refused_card_leaves_nothing_that_could_charge_it_again(
    subscriber: Subscriber,
) -> None:
    """Conekta creates the subscription all the same, past due, and would retry by itself."""
    draft, prepared = await subscriber.prepared(BROKE_TOKEN)
    failure = await failure_of(subscriber.provider.commit_subscription(draft, prepared))
    assert failure.outcome is OutcomeClass.DECLINED
    assert failure.decline is not None
    assert failure.decline.code == "insufficient_funds"
    assert failure.decline.decline_class is DeclineClass.SOFT
    assert failure.fallback_reason is None
    assert [s["status"] for s in subscriber.at_conekta()] == ["canceled"]
    await subscriber.world.advance(400 * DAY_SECONDS)
    assert await subscriber.charges() == ["declined"]
    after = await subscriber.get(PLAN_ID)
    assert after.status is CANCELED
    assert after.latest_invoice is not None
    assert after.latest_invoice.status is OPEN
    assert after.latest_invoice.decline == failure.decline


async def test_another_card_is_another_attempt(subscriber: Subscriber) -> None:
    draft, prepared = await subscriber.prepared(BROKE_TOKEN)
    await failure_of(subscriber.provider.commit_subscription(draft, prepared))
    second = "0199a1b2-0000-7000-8000-00000000000b"
    opened = await subscriber.subscribed(attempt_id=second)
    assert opened.status is ACTIVE
    assert await subscriber.charges() == ["declined", "paid"]


async def test_a_refused_start_says_so_as_long_as_it_is_there(
    world: World, subscriber: Subscriber
) -> None:
    """What a lost answer leads to: the subscription is read before it is undone."""
    draft, prepared = await subscriber.prepared(BROKE_TOKEN)
    await world.fault("subscriptions.create", "applied_then_error")
    await failure_of(subscriber.provider.commit_subscription(draft, prepared))
    found = await subscriber.get(PLAN_ID)
    assert found.status is INCOMPLETE
    assert found.latest_invoice is not None
    assert found.latest_invoice.first
    assert found.latest_invoice.status is OPEN
    assert found.latest_invoice.attempt_count == 1
    assert found.latest_invoice.decline is not None
    assert found.latest_invoice.decline.code == "insufficient_funds"


async def test_a_card_that_is_not_the_customers(subscriber: Subscriber) -> None:
    draft = subscription_draft(subscriber.customer_id, "src_other")
    prepared = await subscriber.provider.prepare_subscription(draft)
    failure = await failure_of(subscriber.provider.commit_subscription(draft, prepared))
    assert failure.kind is FailureKind.NOT_FOUND
    assert subscriber.at_conekta() == []


async def test_a_trial_is_charged_at_its_end(world: World, subscriber: Subscriber) -> None:
    trial_end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=14)
    opened = await subscriber.subscribed(trial_end=trial_end)
    assert opened.status is ProviderSubscriptionStatus.TRIALING
    assert opened.trial_end == opened.current_period_end == trial_end
    assert opened.latest_invoice is None
    assert await subscriber.charges() == []
    await world.advance(14 * DAY_SECONDS + 10)
    billed = await subscriber.get(opened.provider_subscription_id)
    assert billed.status is ACTIVE
    assert billed.current_period_start == trial_end
    assert billed.latest_invoice is not None
    assert not billed.latest_invoice.first, "the trial's bill of nothing was the first"


async def test_a_card_that_is_refused_after_its_trial_is_past_due(
    world: World, subscriber: Subscriber
) -> None:
    trial_end = datetime.now(UTC) + timedelta(days=14)
    opened = await subscriber.subscribed(token=BROKE_TOKEN, trial_end=trial_end)
    await world.advance(14 * DAY_SECONDS + 10)
    assert (await subscriber.get(opened.provider_subscription_id)).status is PAST_DUE


async def test_the_clock_renews(world: World, subscriber: Subscriber) -> None:
    opened = await subscriber.subscribed()
    await world.advance(62 * DAY_SECONDS)
    renewed = await subscriber.get(opened.provider_subscription_id)
    assert renewed.status is ACTIVE
    assert renewed.current_period_start > opened.current_period_end
    assert renewed.latest_invoice is not None
    assert renewed.latest_invoice.status is PAID
    assert not renewed.latest_invoice.first
    assert await subscriber.charges() == ["paid"] * 3
    assert opened.latest_invoice is not None
    old = await subscriber.provider.get_invoice(opened.latest_invoice.provider_invoice_id)
    assert old.captures == opened.latest_invoice.captures
    assert old.period_start == old.period_end == opened.current_period_start, (
        "an order does not say what it is for, and its subscription knows the latest only"
    )


async def test_a_failed_renewal_and_a_retry(subscriber: Subscriber) -> None:
    opened = await subscriber.subscribed()
    failed = await subscriber.renew(opened.provider_subscription_id, "failed")
    assert failed.status is PAST_DUE
    invoice = failed.latest_invoice
    assert invoice is not None
    assert (invoice.status, invoice.attempt_count, invoice.first) == (OPEN, 1, False)
    assert invoice.decline is not None
    assert invoice.decline.code == "card_declined"
    assert invoice.period_start == opened.current_period_end
    paid = await subscriber.retry(invoice.provider_invoice_id)
    assert paid.status is PAID
    assert paid.attempt_count == 2
    assert paid.provider_invoice_id == invoice.provider_invoice_id
    assert paid.period_start == invoice.period_start
    assert (await subscriber.get(opened.provider_subscription_id)).status is ACTIVE
    assert await subscriber.retry(invoice.provider_invoice_id) == paid
    assert await subscriber.charges() == ["paid", "declined", "paid"]


async def test_a_retry_that_is_refused_again(world: World, subscriber: Subscriber) -> None:
    opened = await subscriber.subscribed()
    failed = await subscriber.renew(opened.provider_subscription_id, "failed")
    assert failed.latest_invoice is not None
    order_id = failed.latest_invoice.provider_invoice_id
    await world.fault("subscriptions.retry", "decline")
    failure = await failure_of(subscriber.retry(order_id))
    assert failure.kind is FailureKind.DECLINED
    assert failure.decline is not None
    assert failure.decline.code == "card_declined"
    assert (await subscriber.provider.get_invoice(order_id)).attempt_count == 2


async def test_a_retry_with_another_card(subscriber: Subscriber) -> None:
    opened = await subscriber.subscribed(token="tok_test_visa_1881")
    failed = await subscriber.renew(opened.provider_subscription_id, "failed")
    assert failed.latest_invoice is not None
    order_id = failed.latest_invoice.provider_invoice_id
    broke = await subscriber.card(BROKE_TOKEN)
    failure = await failure_of(subscriber.retry(order_id, broke))
    assert failure.decline is not None
    assert failure.decline.code == "insufficient_funds"
    good = await subscriber.card()
    assert (await subscriber.retry(order_id, good)).status is PAID
    [subscription] = subscriber.at_conekta()
    assert subscription["card_id"] == good, "and of the cycles to come"


async def test_what_is_over_is_not_retried(subscriber: Subscriber) -> None:
    opened = await subscriber.subscribed()
    failed = await subscriber.renew(opened.provider_subscription_id, "failed")
    assert failed.latest_invoice is not None
    await subscriber.cancel(opened.provider_subscription_id)
    failure = await failure_of(subscriber.retry(failed.latest_invoice.provider_invoice_id))
    assert failure.kind is FailureKind.REJECTED


async def test_conekta_s_own_retries_wait_until_the_engine_has_given_up(
    world: World, subscriber: Subscriber
) -> None:
    opened = await subscriber.subscribed()
    failed = await subscriber.renew(opened.provider_subscription_id, "failed")
    until_due = (opened.current_period_end - opened.current_period_start).total_seconds()
    await world.advance(until_due + 15 * DAY_SECONDS)
    assert (await subscriber.get(opened.provider_subscription_id)).status is PAST_DUE
    assert len(await subscriber.charges()) == 2
    await world.advance(2 * DAY_SECONDS)
    found = await subscriber.get(opened.provider_subscription_id)
    assert found.latest_invoice is not None
    assert failed.latest_invoice is not None
    assert found.latest_invoice.provider_invoice_id == failed.latest_invoice.provider_invoice_id
    assert found.latest_invoice.attempt_count == 2


@pytest.mark.parametrize("by_plan", [False, True])
async def test_cancel_now(world: World, subscriber: Subscriber, by_plan: bool) -> None:
    opened = await subscriber.subscribed()
    id_ = PLAN_ID if by_plan else opened.provider_subscription_id
    for _ in range(2):
        ended = await subscriber.cancel(id_)
        assert ended.status is CANCELED
        assert ended.canceled_at is not None
        assert ended.provider_subscription_id == opened.provider_subscription_id
    await world.advance(62 * DAY_SECONDS)
    assert await subscriber.charges() == ["paid"]


async def test_cancel_at_period_end_stops_billing_at_once(
    world: World, subscriber: Subscriber
) -> None:
    opened = await subscriber.subscribed()
    for _ in range(2):
        ending = await subscriber.cancel(opened.provider_subscription_id, at_period_end=True)
        assert ending == opened.model_copy(update={"cancel_at_period_end": True, "is_paused": True})
    assert [s["status"] for s in subscriber.at_conekta()] == ["paused"]
    await world.advance(62 * DAY_SECONDS)
    assert await subscriber.charges() == ["paid"], "whatever the engine does or does not do"
    assert (await subscriber.get(opened.provider_subscription_id)).status is ACTIVE
    ended = await subscriber.cancel(opened.provider_subscription_id)
    assert ended.status is CANCELED
    again = await subscriber.cancel(opened.provider_subscription_id, at_period_end=True)
    assert again.status is CANCELED


async def test_a_cancellation_is_taken_back(world: World, subscriber: Subscriber) -> None:
    opened = await subscriber.subscribed()
    await subscriber.cancel(opened.provider_subscription_id, at_period_end=True)
    for _ in range(2):
        assert await subscriber.keep(opened.provider_subscription_id) == opened
    await world.advance(31 * DAY_SECONDS)
    assert await subscriber.charges() == ["paid", "paid"]
    await subscriber.cancel(opened.provider_subscription_id)
    failure = await failure_of(subscriber.keep(opened.provider_subscription_id))
    assert failure.kind is FailureKind.REJECTED


async def test_a_trial_that_is_canceled_for_its_end_is_still_a_trial(
    world: World, subscriber: Subscriber
) -> None:
    opened = await subscriber.subscribed(trial_end=datetime.now(UTC) + timedelta(days=14))
    ending = await subscriber.cancel(opened.provider_subscription_id, at_period_end=True)
    assert ending.status is ProviderSubscriptionStatus.TRIALING
    assert ending.cancel_at_period_end
    await world.advance(31 * DAY_SECONDS)
    assert await subscriber.charges() == []


@pytest.mark.parametrize("operation", ["pause", "resume", "cancel"])
async def test_a_change_whose_answer_was_lost_can_be_asked_for_again(
    world: World, subscriber: Subscriber, operation: str
) -> None:
    opened = await subscriber.subscribed()
    id_ = opened.provider_subscription_id
    if operation == "resume":
        await subscriber.cancel(id_, at_period_end=True)
    await world.fault(f"subscriptions.{operation}", "applied_then_error")
    for expected in (FailureKind.UNKNOWN, None):
        if operation == "resume":
            call = subscriber.keep(id_)
        else:
            call = subscriber.cancel(id_, at_period_end=operation == "pause")
        if expected is not None:
            assert (await failure_of(call)).kind is expected
        else:
            found = await call
            assert found.cancel_at_period_end is (operation == "pause")
            assert (found.status is CANCELED) is (operation == "cancel")


async def test_a_renewal_is_paid_back_by_its_order(subscriber: Subscriber) -> None:
    opened = await subscriber.subscribed()
    assert opened.latest_invoice is not None
    draft = refund_draft(opened.latest_invoice.provider_invoice_id)
    assert (await subscriber.provider.refund(draft)).status == "succeeded"
    after = await subscriber.get(opened.provider_subscription_id)
    assert after.status is ACTIVE, "paid back is still paid: ending it is another decision"
    assert after.latest_invoice is not None
    assert after.latest_invoice.amount_refunded_minor == AMOUNT_MINOR
