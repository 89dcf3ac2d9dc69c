"""Subscriptions on the provider's clock: opened in two steps, followed, ended, and never charged twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from models.outcomes import OutcomeClass
from models.snapshots import (
    ProviderInvoiceStatus,
    ProviderSubscriptionStatus,
    SubscriptionSnapshot,
)
from providers.capabilities import Capability
from providers.failures import FailureKind, ProviderFailure
from tests.providers.contract.bench import AMOUNT_MINOR, Bench, unknown_id
from tests.providers.contract.failing import answer_or_failure, failure_of
from tests.providers.contract.needs import needs

Status = ProviderSubscriptionStatus
Ids = tuple[str, str]


def ids_of(found: SubscriptionSnapshot) -> Ids:
    return found.provider_customer_id, found.provider_subscription_id


@needs(Capability.CARD_SUBSCRIPTION)
async def test_what_is_prepared_charges_nobody_and_is_found_again(bench: Bench) -> None:
    draft = await bench.ready_to_subscribe()
    prepared = await bench.provider.prepare_subscription(draft)
    assert await bench.adapter().prepare_subscription(draft, retry=True) == prepared
    found = await bench.provider.get_subscription(
        draft.provider_customer_id, prepared.provider_subscription_id
    )
    assert found.status is Status.INCOMPLETE
    await bench.advance(days=0.5)
    assert await bench.book("paid") == []


@needs(Capability.CARD_SUBSCRIPTION)
async def test_committing_once_and_again_charges_once(bench: Bench) -> None:
    draft = await bench.ready_to_subscribe()
    prepared = await bench.provider.prepare_subscription(draft)
    first = await bench.provider.commit_subscription(draft, prepared)
    assert first.status is Status.ACTIVE
    invoice = first.latest_invoice
    assert invoice is not None
    assert (invoice.status, invoice.first) == (ProviderInvoiceStatus.PAID, True)
    assert (invoice.amount_minor, invoice.currency) == (draft.amount_minor, draft.currency)
    assert await bench.adapter().commit_subscription(draft, prepared) == first
    assert [entry["amount_minor"] for entry in await bench.book("paid")] == [AMOUNT_MINOR]


@needs(Capability.CARD_SUBSCRIPTION)
async def test_both_the_prepared_and_the_told_id_find_it(bench: Bench) -> None:
    draft = await bench.ready_to_subscribe()
    prepared = await bench.provider.prepare_subscription(draft)
    told = await bench.provider.commit_subscription(draft, prepared)
    for id_ in (prepared.provider_subscription_id, told.provider_subscription_id):
        found = await bench.provider.get_subscription(draft.provider_customer_id, id_)
        assert found == told


@needs(Capability.CARD_SUBSCRIPTION)
async def test_a_refused_card_is_a_decline_and_stays_one(bench: Bench) -> None:
    draft = await bench.ready_to_subscribe(bench.profile.broke_token)
    prepared = await bench.provider.prepare_subscription(draft)
    for _ in range(2):
        failure = await failure_of(bench, bench.provider.commit_subscription(draft, prepared))
        assert failure.outcome is OutcomeClass.DECLINED
        assert failure.decline is not None
        assert failure.decline.code == "insufficient_funds"
        assert failure.fallback_reason is None
    assert await bench.book("paid", "pending") == []


@needs(Capability.CARD_SUBSCRIPTION)
async def test_what_was_prepared_is_canceled_for_good(bench: Bench) -> None:
    """Then the request that was still on its way comes to nothing."""
    draft = await bench.ready_to_subscribe()
    prepared = await bench.provider.prepare_subscription(draft)
    ids = (draft.provider_customer_id, prepared.provider_subscription_id)
    for _ in range(2):
        ended = await bench.provider.cancel_subscription(*ids, at_period_end=False)
        assert ended.status is Status.CANCELED
    late = await answer_or_failure(bench.provider.commit_subscription(draft, prepared))
    if isinstance(late, ProviderFailure):
        assert late.outcome is OutcomeClass.NOT_ATTEMPTED
    else:
        assert late.status is Status.CANCELED
    await bench.advance(days=40)
    assert await bench.book("paid", "pending") == []


async def test_canceling_now_ends_it_for_ever(bench: Bench) -> None:
    ids = ids_of(await bench.subscribed())
    for at_period_end in (False, False, True):
        ended = await bench.provider.cancel_subscription(*ids, at_period_end=at_period_end)
        assert ended.status is Status.CANCELED
    assert (await bench.provider.get_subscription(*ids)).status is Status.CANCELED
    await bench.advance(days=70)
    assert len(await bench.book("paid")) == 1


@needs(Capability.CANCEL_AT_PERIOD_END)
async def test_canceling_at_the_end_can_be_undone_until_then(bench: Bench) -> None:
    running = await bench.subscribed()
    ids = ids_of(running)
    for _ in range(2):
        ending = await bench.provider.cancel_subscription(*ids, at_period_end=True)
        assert (ending.status, ending.cancel_at_period_end) == (Status.ACTIVE, True)
        assert ending.current_period_end == running.current_period_end
    for _ in range(2):
        kept = await bench.provider.keep_subscription(*ids)
        assert (kept.status, kept.cancel_at_period_end) == (Status.ACTIVE, False)
    assert len(await bench.book("paid")) == 1


@needs(Capability.CANCEL_AT_PERIOD_END)
async def test_after_the_end_of_the_period_nothing_is_charged(bench: Bench) -> None:
    ids = ids_of(await bench.subscribed())
    await bench.provider.cancel_subscription(*ids, at_period_end=True)
    await bench.advance(days=70)
    assert len(await bench.book("paid")) == 1


async def test_a_renewal_is_another_invoice_that_can_be_read(bench: Bench) -> None:
    before = await bench.subscribed()
    await bench.renew(before.provider_subscription_id)
    after = await bench.provider.get_subscription(*ids_of(before))
    first, second = before.latest_invoice, after.latest_invoice
    assert first is not None
    assert second is not None
    assert second.provider_invoice_id != first.provider_invoice_id
    assert second.status is ProviderInvoiceStatus.PAID
    assert not second.first
    assert after.current_period_end > before.current_period_end
    read = await bench.provider.get_invoice(second.provider_invoice_id)
    assert (read.status, read.amount_minor) == (second.status, AMOUNT_MINOR)
    assert [capture.amount_minor for capture in read.captures] == [AMOUNT_MINOR]
    assert len(await bench.book("paid")) == 2


async def test_a_renewal_that_failed_is_past_due(bench: Bench) -> None:
    late, invoice = await bench.unpaid_renewal()
    assert late.status is Status.PAST_DUE
    assert invoice.status is ProviderInvoiceStatus.OPEN
    assert invoice.captures == []


@needs(Capability.RETRY_INVOICE)
async def test_an_unpaid_invoice_is_charged_once_by_one_attempt(bench: Bench) -> None:
    late, invoice = await bench.unpaid_renewal()
    for _ in range(2):
        paid = await bench.provider.retry_invoice(
            invoice.provider_invoice_id, attempt_id="attempt-2", provider_payment_method_id=None
        )
        assert paid.status is ProviderInvoiceStatus.PAID
    assert (await bench.provider.get_subscription(*ids_of(late))).status is Status.ACTIVE
    assert len(await bench.book("paid")) == 2


@needs(Capability.RETRY_INVOICE)
async def test_a_retry_that_is_refused_is_a_decline(bench: Bench) -> None:
    _, invoice = await bench.unpaid_renewal()
    await bench.fault(bench.profile.operations["retry_invoice"].name, "decline")
    retry = bench.provider.retry_invoice(
        invoice.provider_invoice_id, attempt_id="attempt-2", provider_payment_method_id=None
    )
    failure = await failure_of(bench, retry)
    assert failure.outcome is OutcomeClass.DECLINED
    assert failure.decline is not None
    assert failure.fallback_reason is None
    found = await bench.provider.get_invoice(invoice.provider_invoice_id)
    assert found.status is ProviderInvoiceStatus.OPEN


@needs(Capability.TRIAL)
async def test_a_trial_has_nothing_to_pay_until_its_end(bench: Bench) -> None:
    trial_end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=14)
    draft = await bench.ready_to_subscribe(trial_end=trial_end)
    prepared = await bench.provider.prepare_subscription(draft)
    assert prepared.provider_invoice_id is None
    trying = await bench.provider.commit_subscription(draft, prepared)
    assert trying.status is Status.TRIALING
    assert trying.trial_end == trial_end
    assert await bench.book("paid", "pending") == []
    await bench.advance(days=15)
    paid = await bench.provider.get_subscription(*ids_of(trying))
    assert paid.status is Status.ACTIVE
    assert [entry["amount_minor"] for entry in await bench.book("paid")] == [AMOUNT_MINOR]


@needs(Capability.FIRST_PAYMENT_IN_BROWSER)
async def test_without_a_card_the_customer_is_asked(bench: Bench) -> None:
    draft = await bench.ready_to_subscribe()
    draft = draft.model_copy(update={"provider_payment_method_id": None})
    prepared = await bench.provider.prepare_subscription(draft)
    waiting = await bench.provider.commit_subscription(draft, prepared)
    assert waiting.status is Status.INCOMPLETE
    assert waiting.latest_invoice is not None
    assert waiting.latest_invoice.next_action is not None
    assert await bench.book("paid") == []


@pytest.mark.parametrize("at_period_end", [True, False])
async def test_one_that_nobody_made_is_not_found(bench: Bench, at_period_end: bool) -> None:
    ids = (await bench.customer(), unknown_id("sub"))
    for call in (
        bench.provider.get_subscription(*ids),
        bench.provider.cancel_subscription(*ids, at_period_end=at_period_end),
        bench.provider.keep_subscription(*ids),
    ):
        failure = await failure_of(bench, call)
        assert failure.kind is FailureKind.NOT_FOUND


async def test_an_invoice_that_nobody_made_is_not_found(bench: Bench) -> None:
    failure = await failure_of(bench, bench.provider.get_invoice(unknown_id("in")))
    assert failure.kind is FailureKind.NOT_FOUND
