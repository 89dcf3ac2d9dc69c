"""Every way in which a call can go wrong, and that repeating it never makes a second of anything."""

from __future__ import annotations

import socket
from collections.abc import Awaitable

import pytest

from models.outcomes import FallbackReason, Instrument, OutcomeClass
from models.snapshots import PaymentStatus, ProviderSubscriptionStatus
from providers.drafts import CustomerDraft
from providers.failures import FailureKind, ProviderFailure
from providers.stripe import StripeProvider
from tests.providers.stripe.conftest import API_KEY, Stage

# Long enough for an answer on a busy machine, short enough to wait for in a test.
SHORT_SECONDS = 0.5

CUSTOMER = CustomerDraft(organization_id="organization-1", name="Ana López", email="ana@example.mx")


async def failure_of(work: Awaitable[object]) -> ProviderFailure:
    with pytest.raises(ProviderFailure) as caught:
        await work
    # Nothing of what the customer typed, and no key, may reach a log or a history.
    assert "ana" not in str(caught.value).lower()
    assert API_KEY not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value


@pytest.mark.parametrize(
    ("mode", "kind", "reason"),
    [
        ("down", FailureKind.UNKNOWN, FallbackReason.UNAVAILABLE),
        ("error", FailureKind.UNKNOWN, FallbackReason.API_ERROR),
        ("rate_limit", FailureKind.UNAVAILABLE, FallbackReason.API_ERROR),
        ("applied_then_error", FailureKind.UNKNOWN, FallbackReason.API_ERROR),
    ],
)
async def test_each_fault_has_its_class(
    stage: Stage, mode: str, kind: FailureKind, reason: FallbackReason
) -> None:
    await stage.fault("customers.create", mode)
    failure = await failure_of(stage.provider.ensure_customer(CUSTOMER))
    assert (failure.kind, failure.fallback_reason) == (kind, reason)


async def test_a_rate_limit_says_when_to_come_back(stage: Stage) -> None:
    await stage.fault("customers.create", "rate_limit", seconds=7)
    failure = await failure_of(stage.provider.ensure_customer(CUSTOMER))
    assert failure.retry_after_seconds == 7
    assert failure.outcome is OutcomeClass.NOT_ATTEMPTED


@pytest.mark.parametrize("mode", ["slow", "applied_then_timeout"])
async def test_an_answer_that_does_not_come_is_unknown(stage: Stage, mode: str) -> None:
    provider = stage.new_provider(timeout_seconds=SHORT_SECONDS)
    await stage.fault("customers.create", mode, seconds=1)
    failure = await failure_of(provider.ensure_customer(CUSTOMER))
    assert (failure.kind, failure.fallback_reason) == (FailureKind.UNKNOWN, FallbackReason.TIMEOUT)
    assert failure.outcome is OutcomeClass.UNKNOWN


async def test_a_refused_connection_is_known_not_to_have_happened() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    provider = StripeProvider(api_key=API_KEY, api_base=f"http://127.0.0.1:{port}")
    failure = await failure_of(provider.ensure_customer(CUSTOMER))
    await provider.aclose()
    assert failure.kind is FailureKind.UNAVAILABLE
    assert failure.fallback_reason is FallbackReason.UNAVAILABLE


async def test_a_wrong_key_is_our_configuration(stage: Stage) -> None:
    provider = stage.new_provider(api_key="sk_test_other")
    failure = await failure_of(provider.ensure_customer(CUSTOMER))
    assert failure.kind is FailureKind.MISCONFIGURED
    assert failure.fallback_reason is FallbackReason.PROVIDER_NOT_CONFIGURED
    assert failure.request_id


async def test_the_same_key_for_another_request_is_rejected(stage: Stage) -> None:
    await stage.provider.ensure_customer(CUSTOMER)
    other = CUSTOMER.model_copy(update={"email": "other@example.mx"})
    failure = await failure_of(stage.provider.ensure_customer(other))
    assert (failure.kind, failure.code) == (FailureKind.REJECTED, "idempotency_error")


@pytest.mark.parametrize("mode", ["applied_then_timeout", "applied_then_error"])
async def test_a_customer_is_made_once(stage: Stage, mode: str) -> None:
    provider = stage.new_provider(timeout_seconds=SHORT_SECONDS)
    await stage.fault("customers.create", mode)
    await failure_of(provider.ensure_customer(CUSTOMER))
    customer_id = await provider.ensure_customer(CUSTOMER, retry=True)
    assert list(stage.core.collection("stripe", "customers")) == [customer_id]


@pytest.mark.parametrize("mode", ["applied_then_timeout", "applied_then_error"])
async def test_a_subscription_is_prepared_once(stage: Stage, mode: str) -> None:
    provider = stage.new_provider(timeout_seconds=SHORT_SECONDS)
    draft = await stage.subscription_draft()
    await stage.fault("subscriptions.create", mode)
    await failure_of(provider.prepare_subscription(draft))
    prepared = await provider.prepare_subscription(draft, retry=True)
    assert list(stage.core.collection("stripe", "subscriptions")) == [
        prepared.provider_subscription_id
    ]


@pytest.mark.parametrize("mode", ["applied_then_timeout", "applied_then_error"])
async def test_a_first_payment_whose_answer_is_lost_can_be_asked_for(
    stage: Stage, mode: str
) -> None:
    provider = stage.new_provider(timeout_seconds=SHORT_SECONDS)
    draft = await stage.subscription_draft()
    prepared = await provider.prepare_subscription(draft)
    await stage.fault("invoices.pay", mode)
    failure = await failure_of(provider.commit_subscription(draft, prepared))
    assert failure.outcome is OutcomeClass.UNKNOWN
    assert failure.provider_object_id == prepared.provider_subscription_id

    found = await provider.get_subscription("", prepared.provider_subscription_id)

    assert found.status is ProviderSubscriptionStatus.ACTIVE
    assert await provider.commit_subscription(draft, prepared) == found
    assert len(await stage.charges()) == 1


@pytest.mark.parametrize("mode", ["down", "rate_limit", "error"])
async def test_a_charge_that_cannot_be_read_back_is_not_called_unattempted(
    stage: Stage, mode: str
) -> None:
    draft = await stage.subscription_draft()
    prepared = await stage.provider.prepare_subscription(draft)
    await stage.fault("subscriptions.retrieve", mode)
    failure = await failure_of(stage.provider.commit_subscription(draft, prepared))
    assert failure.outcome is OutcomeClass.UNKNOWN
    assert failure.provider_object_id == prepared.provider_subscription_id
    assert len(await stage.charges()) == 1


async def test_a_first_payment_that_was_not_tried_is_tried_again(stage: Stage) -> None:
    draft = await stage.subscription_draft()
    prepared = await stage.provider.prepare_subscription(draft)
    await stage.fault("invoices.pay", "rate_limit")
    failure = await failure_of(stage.provider.commit_subscription(draft, prepared))
    assert failure.outcome is OutcomeClass.NOT_ATTEMPTED
    done = await stage.provider.commit_subscription(draft, prepared)
    assert done.status is ProviderSubscriptionStatus.ACTIVE


async def test_a_declined_charge_stays_declined_under_its_key(stage: Stage) -> None:
    draft = await stage.subscription_draft()
    prepared = await stage.provider.prepare_subscription(draft)
    await stage.fault("invoices.pay", "decline")
    first = await failure_of(stage.provider.commit_subscription(draft, prepared))
    again = await failure_of(stage.provider.commit_subscription(draft, prepared))
    assert first.kind is again.kind is FailureKind.DECLINED
    next_attempt = draft.model_copy(update={"attempt_id": "attempt-next"})
    done = await stage.provider.commit_subscription(next_attempt, prepared)
    assert done.status is ProviderSubscriptionStatus.ACTIVE


@pytest.mark.parametrize("instrument", [Instrument.OXXO, Instrument.SPEI])
@pytest.mark.parametrize("mode", ["applied_then_timeout", "applied_then_error"])
async def test_a_voucher_whose_answer_is_lost_can_be_asked_for(
    stage: Stage, mode: str, instrument: Instrument
) -> None:
    provider = stage.new_provider(timeout_seconds=SHORT_SECONDS)
    draft = await stage.payment_draft(instrument)
    await stage.fault("payment_intents.create", mode)
    await failure_of(provider.prepare_payment(draft))
    payment_id = await provider.prepare_payment(draft, retry=True)
    await stage.fault("payment_intents.confirm", mode)
    failure = await failure_of(provider.commit_payment(draft, payment_id))
    assert failure.outcome is OutcomeClass.UNKNOWN
    assert failure.provider_object_id == payment_id

    found = await provider.get_payment(payment_id)

    assert found.status is PaymentStatus.PENDING
    assert found.next_action is not None
    assert await provider.commit_payment(draft, payment_id) == found
    assert len(await stage.charges()) == 1


async def test_a_cancellation_whose_answer_is_lost_is_repeated(stage: Stage) -> None:
    provider = stage.new_provider(timeout_seconds=SHORT_SECONDS)
    _, prepared = await stage.subscribed()
    await stage.fault("subscriptions.cancel", "applied_then_timeout")
    subscription_id = prepared.provider_subscription_id
    await failure_of(provider.cancel_subscription("", subscription_id, at_period_end=False))
    done = await provider.cancel_subscription("", subscription_id, at_period_end=False)
    assert done.status is ProviderSubscriptionStatus.CANCELED


async def test_a_voucher_cancellation_whose_answer_is_lost_is_repeated(stage: Stage) -> None:
    provider = stage.new_provider(timeout_seconds=SHORT_SECONDS)
    draft = await stage.payment_draft(Instrument.OXXO)
    payment_id = await provider.prepare_payment(draft)
    await provider.commit_payment(draft, payment_id)
    await stage.fault("payment_intents.cancel", "applied_then_timeout")
    await failure_of(provider.cancel_payment(payment_id))
    assert (await provider.cancel_payment(payment_id)).status is PaymentStatus.CANCELED


async def test_a_type_that_the_account_lacks_is_our_configuration(stage: Stage) -> None:
    draft = await stage.payment_draft(Instrument.SPEI)
    payment_id = await stage.provider.prepare_payment(draft)
    # As on an account whose dashboard dropped the type while the filter still names it.
    kept = stage.core.collection("stripe", "idempotency")[f"payment:{draft.attempt_id}"]
    kept["body"]["payment_method_types"] = ["card"]
    failure = await failure_of(stage.provider.prepare_payment(draft))
    assert failure.kind is FailureKind.MISCONFIGURED
    assert failure.fallback_reason is FallbackReason.PROVIDER_NOT_CONFIGURED
    assert failure.provider_object_id == payment_id


async def test_an_answer_that_lacks_what_it_promises_is_unknown(stage: Stage) -> None:
    _, prepared = await stage.subscribed()
    subscription_id = prepared.provider_subscription_id
    kept = stage.core.collection("stripe", "subscriptions")[subscription_id]
    status, kept["status"] = kept["status"], "dreaming"
    failure = await failure_of(stage.provider.get_subscription("", subscription_id))
    kept["status"] = status
    assert failure.kind is FailureKind.UNKNOWN
    assert stage.recorder.problems
    stage.recorder.problems.clear()
