"""Cards at the provider that bills them: opening a subscription, charging its open invoice again, and
storing an instrument. The same promises as for vouchers: the three books agree, whatever dies."""

from __future__ import annotations

import asyncio
from typing import Literal, cast
from uuid import UUID

import pytest
from sqlalchemy.exc import NoResultFound
from temporalio.exceptions import ApplicationError

from activities.payment_methods import PaymentMethodActivities
from activities.results import SubscriptionIds
from activities.signatures.attempts import SettleAttempt
from activities.signatures.payment_methods import ClosePaymentMethod
from activities.signatures.subscriptions import SubscriptionReference
from models.outcomes import DeclineClass, FallbackReason, OutcomeClass, ProviderName
from models.snapshots import Decline, ProviderSubscriptionStatus
from models.storage.tables import ProviderCustomer, new_id
from providers.failures import FailureKind, ProviderFailure
from providers.protocol import PaymentProvider
from providers.registry import ProviderRegistry
from sandbox.faults import FaultMode
from tests.activities.running import run
from tests.activities.stage import Act, Interrupted, Killed, Stage, die

STRIPE = ProviderName.STRIPE
PENDING, DECLINED = OutcomeClass.PENDING, OutcomeClass.DECLINED
SUCCEEDED, UNKNOWN = OutcomeClass.SUCCEEDED, OutcomeClass.UNKNOWN
NOT_ATTEMPTED = OutcomeClass.NOT_ATTEMPTED

LOST = [FaultMode.APPLIED_THEN_TIMEOUT, FaultMode.APPLIED_THEN_ERROR]
PREPARING = ["prices.create", "subscriptions.create"]
THREE_D_SECURE = "pm_card_authenticationRequired"


def payments_of(stage: Stage, invoice_id: UUID) -> list[dict[str, object]]:
    return [c for c in stage.charges(invoice_id) if c["status"] == "paid"]


# Opening.


async def test_a_good_card_pays_at_once(stage: Stage) -> None:
    request = await stage.opening()
    result = await run(stage.calls.open_provider_subscription, request)
    assert result.outcome is SUCCEEDED
    assert result.subscription is not None
    assert result.subscription.status is ProviderSubscriptionStatus.ACTIVE
    ids = SubscriptionIds.unpack(str(result.provider_object_id))
    assert ids.provider_subscription_id == result.subscription.provider_subscription_id
    assert (await stage.attempt(request.attempt_id)).provider_object_id == ids.pack()
    await stage.check_books(result)


@pytest.mark.parametrize(
    ("card", "decline_class"),
    [
        ("pm_card_chargeDeclinedInsufficientFunds", DeclineClass.SOFT),
        ("pm_card_visa_chargeDeclinedStolenCard", DeclineClass.HARD),
        ("pm_card_chargeDeclinedExpiredCard", DeclineClass.CUSTOMER_ACTION),
    ],
)
async def test_a_declined_card_is_a_result(
    stage: Stage, card: str, decline_class: DeclineClass
) -> None:
    _, result = await stage.declined_opening(card)
    assert result.decline is not None
    assert result.decline.decline_class is decline_class
    assert result.fallback_reason is None
    await stage.check_books(result)


async def test_a_card_that_asks_its_holder_is_pending(stage: Stage) -> None:
    request = await stage.opening(THREE_D_SECURE)
    result = await run(stage.calls.open_provider_subscription, request)
    assert result.outcome is PENDING
    assert result.next_action is not None
    await stage.check_books(result)


@pytest.mark.parametrize("operation", PREPARING)
@pytest.mark.parametrize("mode", [FaultMode.DOWN, FaultMode.RATE_LIMIT])
async def test_an_outage_before_the_payment_is_no_attempt(
    stage: Stage, operation: str, mode: FaultMode
) -> None:
    request = await stage.opening()
    stage.fault("stripe", operation, mode)
    result = await run(stage.calls.open_provider_subscription, request)
    assert result.outcome is NOT_ATTEMPTED
    assert result.fallback_reason is not None
    await stage.check_books(result)


@pytest.mark.parametrize("operation", PREPARING)
async def test_one_lost_answer_before_the_payment_does_no_harm(
    stage: Stage, operation: str
) -> None:
    request = await stage.opening()
    stage.fault("stripe", operation, FaultMode.APPLIED_THEN_ERROR, count=1)
    result = await run(stage.calls.open_provider_subscription, request)
    assert result.outcome is SUCCEEDED
    await stage.check_books(result)


@pytest.mark.parametrize("mode", LOST)
async def test_a_lost_payment_is_unknown_and_then_adopted(stage: Stage, mode: FaultMode) -> None:
    request = await stage.opening()
    stage.fault("stripe", "invoices.pay", mode, count=1)
    result = await run(stage.calls.open_provider_subscription, request)
    assert result.outcome is UNKNOWN
    settled = await stage.settle(request.attempt_id, STRIPE)
    assert settled.outcome is SUCCEEDED
    assert settled.invoice is not None
    assert [c.amount_minor for c in settled.invoice.captures] == [request.invoice.amount_minor]
    await stage.check_books(settled)


async def test_a_payment_that_did_not_happen_is_undone(stage: Stage) -> None:
    request = await stage.opening()
    stage.fault("stripe", "invoices.pay", FaultMode.DOWN, count=1)
    assert (await run(stage.calls.open_provider_subscription, request)).outcome is UNKNOWN
    settled = await stage.settle(request.attempt_id, STRIPE)
    assert settled.outcome is NOT_ATTEMPTED
    await stage.check_books(settled)
    ids = SubscriptionIds.unpack(str(settled.provider_object_id))
    reference = SubscriptionReference(
        provider=STRIPE,
        provider_customer_id=ids.provider_customer_id,
        provider_subscription_id=ids.provider_subscription_id,
    )
    found = await run(stage.calls.read_subscription, reference)
    assert found.status is ProviderSubscriptionStatus.CANCELED, "nothing can be paid there any more"


@pytest.mark.parametrize(
    "mode", [FaultMode.APPLIED_THEN_TIMEOUT, FaultMode.APPLIED_THEN_ERROR, FaultMode.DOWN]
)
async def test_undoing_whose_answer_is_lost_is_no_decline(stage: Stage, mode: FaultMode) -> None:
    """Asked again, the subscription is canceled: by us. No card was refused."""
    request = await stage.opening()
    stage.fault("stripe", "invoices.pay", FaultMode.DOWN, count=1)
    stage.fault("stripe", "subscriptions.cancel", mode, count=1)
    assert (await run(stage.calls.open_provider_subscription, request)).outcome is UNKNOWN
    assert (await stage.settle(request.attempt_id, STRIPE)).outcome is UNKNOWN
    settled = await stage.settle(request.attempt_id, STRIPE)
    assert settled.outcome is NOT_ATTEMPTED
    await stage.check_books(settled)


@pytest.mark.parametrize("step", ["prepare", "commit"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_worker_that_died_anywhere_charges_once(
    stage: Stage, step: str, when: Literal["before", "after"]
) -> None:
    request = await stage.opening()
    dying = stage.interrupted(STRIPE, f"{step}_subscription", when)
    with pytest.raises(Killed):
        await run(dying.open_provider_subscription, request)
    again = await run(stage.calls.open_provider_subscription, request, attempt=2)
    settled = await stage.resolved(again)
    await stage.check_books(settled)
    if settled.outcome is NOT_ATTEMPTED:
        fields = stage.attempt_fields(
            STRIPE, invoice=request.invoice, payment_method_id=request.payment_method_id
        )
        successor = type(request)(**fields)
        settled = await run(stage.calls.open_provider_subscription, successor)
    assert settled.outcome is SUCCEEDED
    assert len(payments_of(stage, request.invoice.id)) == 1


async def test_two_runs_of_one_opening_charge_once(stage: Stage) -> None:
    request = await stage.opening()
    asleep, wake = asyncio.Event(), asyncio.Event()

    async def sleep() -> None:
        asleep.set()
        await wake.wait()

    hung = stage.interrupted(STRIPE, "prepare_subscription", "before", sleep)
    first = asyncio.create_task(run(hung.open_provider_subscription, request))
    await asleep.wait()
    second = await run(stage.calls.open_provider_subscription, request, attempt=2)
    wake.set()
    await first
    assert second.outcome is SUCCEEDED
    assert len(payments_of(stage, request.invoice.id)) == 1
    await stage.check_books(second)


async def test_settling_leaves_the_holder_of_a_card_the_time_to_answer(stage: Stage) -> None:
    """Pending is written, its result is lost, and the repetition asks what became of it: the
    customer is in front of the bank's page, so it is adopted as it is."""
    request = await stage.opening(THREE_D_SECURE)
    await run(stage.calls.open_provider_subscription, request)
    again = await run(stage.calls.open_provider_subscription, request, attempt=2)
    settled = await stage.resolved(again)
    assert settled.outcome is PENDING
    assert settled.next_action is not None
    await stage.check_books(settled)


async def test_money_that_beat_the_cancellation_is_not_declined(stage: Stage) -> None:
    """The lost payment reaches the provider between the look and the cancellation: it is money, so
    the attempt succeeded, although its subscription is over."""
    request = await stage.opening()
    with pytest.raises(Killed):
        await run(
            stage.interrupted(STRIPE, "commit_subscription", "before").open_provider_subscription,
            request,
        )
    attempt = await stage.attempt(request.attempt_id)
    ids = SubscriptionIds.unpack(str(attempt.provider_object_id))

    async def pay() -> None:
        provider = stage.providers.get(STRIPE)
        assert provider is not None
        method = await stage.method(cast(UUID, request.payment_method_id))
        await provider.retry_invoice(
            str(ids.provider_invoice_id),
            attempt_id=str(request.attempt_id),
            provider_payment_method_id=method.provider_payment_method_id,
        )

    late = stage.interrupted(STRIPE, "cancel_subscription", "before", pay)
    settled = await run(
        late.settle_attempt, SettleAttempt(attempt_id=request.attempt_id, provider=STRIPE)
    )
    assert len(payments_of(stage, request.invoice.id)) == 1
    assert settled.outcome is SUCCEEDED
    assert settled.invoice is not None
    assert len(settled.invoice.captures) == 1
    await stage.check_books(settled)


# Charging the open invoice again.


async def test_another_card_pays_the_open_invoice(stage: Stage) -> None:
    opening, opened = await stage.declined_opening()
    retry = stage.retry_of(opening, opened, payment_method_id=await stage.card("pm_card_visa"))
    result = await run(stage.calls.retry_invoice, retry)
    assert result.outcome is SUCCEEDED
    assert result.provider_object_id == retry.provider_invoice_id
    await stage.check_books(result)


async def test_the_same_bad_card_is_declined_again(stage: Stage) -> None:
    opening, opened = await stage.declined_opening()
    retry = stage.retry_of(opening, opened, payment_method_id=opening.payment_method_id)
    result = await run(stage.calls.retry_invoice, retry)
    assert result.outcome is DECLINED
    assert result.decline is not None
    await stage.check_books(result)


async def test_a_retry_that_the_provider_could_not_take_is_no_attempt(stage: Stage) -> None:
    opening, opened = await stage.declined_opening()
    stage.fault("stripe", "invoices.pay", FaultMode.RATE_LIMIT)
    retry = stage.retry_of(opening, opened, payment_method_id=opening.payment_method_id)
    result = await run(stage.calls.retry_invoice, retry)
    assert (result.outcome, result.fallback_reason) == (NOT_ATTEMPTED, FallbackReason.API_ERROR)
    await stage.check_books(result)


@pytest.mark.parametrize("mode", [FaultMode.APPLIED_THEN_ERROR, FaultMode.DOWN])
async def test_a_lost_retry_is_unknown_until_the_invoice_was_read(
    stage: Stage, mode: FaultMode
) -> None:
    opening, opened = await stage.declined_opening()
    retry = stage.retry_of(opening, opened, payment_method_id=await stage.card("pm_card_visa"))
    stage.fault("stripe", "invoices.pay", mode, count=1)
    assert (await run(stage.calls.retry_invoice, retry)).outcome is UNKNOWN
    settled = await stage.settle(retry.attempt_id, STRIPE)
    assert settled.outcome is (DECLINED if mode is FaultMode.DOWN else SUCCEEDED)
    await stage.check_books(settled)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_worker_that_died_in_a_retry_charges_once(
    stage: Stage, when: Literal["before", "after"]
) -> None:
    opening, opened = await stage.declined_opening()
    retry = stage.retry_of(opening, opened, payment_method_id=await stage.card("pm_card_visa"))
    with pytest.raises(Killed):
        await run(stage.interrupted(STRIPE, "retry_invoice", when).retry_invoice, retry)
    settled = await stage.resolved(await run(stage.calls.retry_invoice, retry, attempt=2))
    assert settled.outcome is (SUCCEEDED if when == "after" else DECLINED)
    await stage.check_books(settled)
    assert len(payments_of(stage, opening.invoice.id)) == (1 if when == "after" else 0)


async def test_a_retry_does_not_start_while_the_first_payment_is_open(stage: Stage) -> None:
    opening = await stage.opening(THREE_D_SECURE)
    opened = await run(stage.calls.open_provider_subscription, opening)
    retry = stage.retry_of(opening, opened, payment_method_id=await stage.card("pm_card_visa"))
    result = await run(stage.calls.retry_invoice, retry)
    assert (result.outcome, result.reason) == (NOT_ATTEMPTED, "another_attempt_is_open")
    assert payments_of(stage, opening.invoice.id) == []


# Storing a card.


async def test_a_card_is_stored_without_its_token(stage: Stage) -> None:
    request = await stage.waiting_method("tok_visa")
    result = await run(stage.methods.add_payment_method, request)
    assert (result.status, result.failure_code) == ("active", None)
    method = await stage.method(request.payment_method_id)
    assert (method.status, method.last4, method.brand) == ("active", "4242", "visa")
    assert method.setup_token is None
    assert method.is_default, "the first one is the default"
    assert str(method.provider_payment_method_id).startswith("pm_")
    [customer] = await stage.books.all(ProviderCustomer)
    assert customer.provider_customer_id == method.provider_customer_id


@pytest.mark.parametrize("set_as_default", [True, False])
async def test_there_is_one_default(stage: Stage, set_as_default: bool) -> None:
    first = await stage.card("tok_visa")
    request = await stage.waiting_method("tok_mastercard", set_as_default=set_as_default)
    await run(stage.methods.add_payment_method, request)
    assert (await stage.method(first)).is_default is not set_as_default
    assert (await stage.method(request.payment_method_id)).is_default is set_as_default
    assert len(await stage.books.all(ProviderCustomer)) == 1


@pytest.mark.parametrize("token", ["tok_unheard_of", "pm_unheard_of"])
async def test_a_token_that_the_provider_refuses_is_a_failed_method(
    stage: Stage, token: str
) -> None:
    request = await stage.waiting_method(token)
    result = await run(stage.methods.add_payment_method, request)
    assert result.status == "failed"
    assert result.failure_code is not None
    assert result.failure_message is not None
    assert token not in result.model_dump_json()
    method = await stage.method(request.payment_method_id)
    assert (method.status, method.failure_code) == ("failed", result.failure_code)
    assert (method.setup_token, method.is_default) == (None, False)


async def test_a_card_that_its_bank_declines_is_a_failed_method(stage: Stage) -> None:
    """The sandbox attaches every card, so the bank's answer is given here."""
    request = await stage.waiting_method("tok_visa")

    async def decline() -> None:
        raise ProviderFailure(
            FailureKind.DECLINED,
            "Stripe answered 402",
            code="card_declined",
            decline=Decline(decline_class=DeclineClass.HARD, code="stolen_card"),
        )

    result = await run(attaching(stage, "before", decline).add_payment_method, request)
    assert (result.status, result.failure_code) == ("failed", "stolen_card")
    assert (await stage.method(request.payment_method_id)).setup_token is None


@pytest.mark.parametrize("operation", ["customers.create", "payment_methods.attach"])
@pytest.mark.parametrize(
    "mode", [FaultMode.DOWN, FaultMode.RATE_LIMIT, FaultMode.APPLIED_THEN_ERROR]
)
async def test_a_provider_that_is_away_is_asked_again(
    stage: Stage, operation: str, mode: FaultMode
) -> None:
    request = await stage.waiting_method("tok_visa")
    stage.fault("stripe", operation, mode, count=1)
    with pytest.raises(ApplicationError) as away:
        await run(stage.methods.add_payment_method, request)
    assert not away.value.non_retryable
    method = await stage.method(request.payment_method_id)
    assert (method.status, method.setup_token) == ("pending", "tok_visa")
    again = await run(stage.methods.add_payment_method, request, attempt=2)
    assert again.status == "active"
    assert len(stage.core.collection("stripe", "customers")) == 1
    assert len(stage.core.collection("stripe", "payment_methods")) == 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_worker_that_died_stores_one_card(
    stage: Stage, when: Literal["before", "after"]
) -> None:
    request = await stage.waiting_method("tok_visa")
    with pytest.raises(Killed):
        await run(attaching(stage, when).add_payment_method, request)
    assert (await run(stage.methods.add_payment_method, request, attempt=2)).status == "active"
    assert (await run(stage.methods.add_payment_method, request, attempt=3)).status == "active"
    assert len(stage.core.collection("stripe", "payment_methods")) == 1


async def test_without_a_key_the_method_fails(stage: Stage) -> None:
    request = await stage.waiting_method("tok_visa")
    nobody = PaymentMethodActivities(stage.books.sessions, ProviderRegistry({}))
    result = await run(nobody.add_payment_method, request)
    assert (result.status, result.failure_code) == ("failed", "provider_not_configured")


async def test_closing_gives_up_what_still_waits_and_nothing_else(stage: Stage) -> None:
    waiting = await stage.waiting_method("tok_visa")
    closing = ClosePaymentMethod(request=waiting, failure_code="provider_unavailable")
    await run(stage.methods.close_payment_method, closing)
    method = await stage.method(waiting.payment_method_id)
    assert (method.status, method.failure_code) == ("failed", "provider_unavailable")
    assert method.setup_token is None

    active = await stage.waiting_method("tok_visa")
    await run(stage.methods.add_payment_method, active)
    late = ClosePaymentMethod(request=active, failure_code="provider_unavailable")
    await run(stage.methods.close_payment_method, late)
    assert (await stage.method(active.payment_method_id)).status == "active"


async def test_a_method_that_became_active_meanwhile_is_not_called_failed(stage: Stage) -> None:
    """A run that hung hears a refusal (its token was used), while its replacement had stored the
    card: the answer is what the row says."""
    request = await stage.waiting_method("tok_visa")

    async def overtaken() -> None:
        await run(stage.methods.add_payment_method, request, attempt=2)
        raise ProviderFailure(FailureKind.REJECTED, "token was used", code="token_already_used")

    result = await run(attaching(stage, "before", overtaken).add_payment_method, request)
    assert (await stage.method(request.payment_method_id)).status == "active"
    assert result.status == "active"


async def test_anothers_organization_is_not_found(stage: Stage) -> None:
    request = await stage.waiting_method("tok_visa", application_id=new_id())
    with pytest.raises(NoResultFound):
        await run(stage.methods.add_payment_method, request)
    assert stage.core.collection("stripe", "customers") == {}


def attaching(
    stage: Stage, when: Literal["before", "after"], act: Act = die
) -> PaymentMethodActivities:
    """A worker that dies, or does `act`, around the call that attaches the card."""
    real = stage.providers.get(STRIPE)
    assert real is not None
    standing_in = Interrupted(real, "attach_payment_method", when, act)
    registry = ProviderRegistry({STRIPE: cast(PaymentProvider, standing_in)})
    return PaymentMethodActivities(stage.books.sessions, registry)
