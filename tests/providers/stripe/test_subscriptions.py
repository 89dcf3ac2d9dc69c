"""Cards that Stripe's clock bills: from the first payment to the end."""

from __future__ import annotations

from datetime import timedelta

import pytest

from models.outcomes import ConfirmPayment, DeclineClass, OutcomeClass
from models.snapshots import ProviderInvoiceStatus, ProviderSubscriptionStatus
from providers.drafts import RefundDraft
from providers.failures import FailureKind, ProviderFailure
from tests.providers.stripe.conftest import Stage

Status = ProviderSubscriptionStatus


async def test_preparing_moves_no_money_and_committing_pays_the_first_invoice(stage: Stage) -> None:
    draft = await stage.subscription_draft()
    prepared = await stage.provider.prepare_subscription(draft)
    assert await stage.charges() == []
    before = await stage.provider.get_subscription("", prepared.provider_subscription_id)
    assert before.status is Status.INCOMPLETE

    after = await stage.provider.commit_subscription(draft, prepared)

    assert after.status is Status.ACTIVE
    assert after.provider_customer_id == draft.provider_customer_id
    assert after.latest_invoice is not None
    assert after.latest_invoice.first
    assert after.latest_invoice.status is ProviderInvoiceStatus.PAID
    assert after.latest_invoice.period_end == after.current_period_end
    [capture] = after.latest_invoice.captures
    assert (capture.amount_minor, capture.currency) == (19_900, "MXN")
    [charge] = await stage.charges()
    assert charge["status"] == "paid"
    assert charge["subscription_id"] == draft.subscription_id
    assert charge["invoice_id"] == draft.invoice_id


async def test_committing_twice_charges_once(stage: Stage) -> None:
    draft, prepared = await stage.subscribed()
    again = await stage.provider.commit_subscription(draft, prepared)
    assert again.status is Status.ACTIVE
    assert len(await stage.charges()) == 1


async def test_committing_what_was_paid_under_a_forgotten_key_is_no_failure(stage: Stage) -> None:
    draft, prepared = await stage.subscribed()
    stage.core.collection("stripe", "idempotency").clear()
    again = await stage.provider.commit_subscription(draft, prepared)
    assert again.status is Status.ACTIVE
    assert len(await stage.charges()) == 1


async def test_preparing_again_gives_the_same_subscription(stage: Stage) -> None:
    draft = await stage.subscription_draft()
    first = await stage.provider.prepare_subscription(draft)
    assert await stage.provider.prepare_subscription(draft, retry=True) == first


@pytest.mark.parametrize(
    ("card", "code", "decline_class"),
    [
        ("pm_card_chargeCustomerFail", "generic_decline", DeclineClass.SOFT),
        (
            "pm_card_visa_chargeDeclinedInsufficientFunds",
            "insufficient_funds",
            DeclineClass.SOFT,
        ),
        ("pm_card_visa_chargeDeclinedStolenCard", "stolen_card", DeclineClass.HARD),
        ("pm_card_visa_chargeDeclinedLostCard", "lost_card", DeclineClass.HARD),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", DeclineClass.CUSTOMER_ACTION),
    ],
)
async def test_a_decline_says_its_class_and_what_was_made(
    stage: Stage, card: str, code: str, decline_class: DeclineClass
) -> None:
    draft = await stage.subscription_draft(card)
    prepared = await stage.provider.prepare_subscription(draft)

    with pytest.raises(ProviderFailure) as caught:
        await stage.provider.commit_subscription(draft, prepared)

    failure = caught.value
    assert failure.kind is FailureKind.DECLINED
    assert failure.outcome is OutcomeClass.DECLINED
    assert failure.provider_object_id == prepared.provider_subscription_id
    assert failure.fallback_reason is None
    assert failure.request_id
    assert failure.decline is not None
    assert (failure.decline.code, failure.decline.decline_class) == (code, decline_class)
    [charge] = await stage.charges()
    assert charge["status"] == "declined"


async def test_authentication_is_an_incomplete_subscription_with_a_client_secret(
    stage: Stage,
) -> None:
    draft, prepared = await stage.subscribed("pm_card_authenticationRequired")
    waiting = await stage.provider.get_subscription("", prepared.provider_subscription_id)
    assert waiting.status is Status.INCOMPLETE
    assert waiting.latest_invoice is not None
    action = waiting.latest_invoice.next_action
    assert isinstance(action, ConfirmPayment)
    assert [c["status"] for c in await stage.charges()] == ["pending"]

    await stage.control(f"payments/{action.client_secret}/pay")

    done = await stage.provider.get_subscription("", prepared.provider_subscription_id)
    assert done.status is Status.ACTIVE
    assert done.latest_invoice is not None
    assert done.latest_invoice.next_action is None
    assert [c["status"] for c in await stage.charges()] == ["paid"]
    assert draft.invoice_id == (await stage.charges())[0]["invoice_id"]


async def test_a_failed_authentication_leaves_the_invoice_open(stage: Stage) -> None:
    _, prepared = await stage.subscribed("pm_card_authenticationRequired")
    assert prepared.provider_invoice_id is not None
    found = await stage.provider.get_invoice(prepared.provider_invoice_id)
    assert isinstance(found.next_action, ConfirmPayment)
    await stage.control(f"payments/{found.next_action.client_secret}/expire")
    after = await stage.provider.get_invoice(prepared.provider_invoice_id)
    assert after.status is ProviderInvoiceStatus.OPEN
    assert after.decline is not None
    assert after.decline.decline_class is DeclineClass.CUSTOMER_ACTION


async def test_without_a_card_the_customer_pays_in_the_browser(stage: Stage) -> None:
    draft = await stage.subscription_draft(None)
    prepared = await stage.provider.prepare_subscription(draft)
    waiting = await stage.provider.commit_subscription(draft, prepared)
    assert waiting.status is Status.INCOMPLETE
    assert waiting.latest_invoice is not None
    assert isinstance(waiting.latest_invoice.next_action, ConfirmPayment)
    assert await stage.charges() == []


async def test_a_trial_has_nothing_to_pay_and_is_billed_at_its_end(stage: Stage) -> None:
    trial_end = stage.now() + timedelta(days=14)
    draft = await stage.subscription_draft(trial_end=trial_end)
    prepared = await stage.provider.prepare_subscription(draft)
    assert prepared.provider_invoice_id is None
    trialing = await stage.provider.commit_subscription(draft, prepared)
    assert trialing.status is Status.TRIALING
    assert trialing.trial_end is not None
    assert abs(trialing.trial_end - trial_end) < timedelta(seconds=1)
    assert trialing.current_period_end == trialing.trial_end
    assert trialing.latest_invoice is not None
    assert trialing.latest_invoice.captures == []

    await stage.advance(days=14, seconds=2)

    active = await stage.provider.get_subscription("", prepared.provider_subscription_id)
    assert active.status is Status.ACTIVE
    assert active.current_period_start == trialing.trial_end
    assert active.latest_invoice is not None
    assert not active.latest_invoice.first
    assert [c["amount_minor"] for c in await stage.charges()] == [19_900]


async def test_the_clock_renews_each_month(stage: Stage) -> None:
    _, prepared = await stage.subscribed()
    subscription_id = prepared.provider_subscription_id
    first = await stage.provider.get_subscription("", subscription_id)

    await stage.advance(days=95)

    now = await stage.provider.get_subscription("", subscription_id)
    assert now.status is Status.ACTIVE
    assert now.current_period_start > first.current_period_end
    charges = await stage.charges()
    assert len(charges) == 4
    # The metadata names the first invoice; a renewal is none of ours until the engine adopts it.
    assert [c["invoice_id"] is None for c in charges] == [False, True, True, True]


async def test_a_renewal_that_fails_is_past_due_until_it_is_retried(stage: Stage) -> None:
    draft, prepared = await stage.subscribed()
    subscription_id = prepared.provider_subscription_id
    first = await stage.provider.get_subscription("", subscription_id)

    await stage.control(f"subscriptions/stripe/{subscription_id}/renew", {"outcome": "failed"})

    late = await stage.provider.get_subscription("", subscription_id)
    assert late.status is Status.PAST_DUE
    assert late.current_period_start == first.current_period_end
    assert late.latest_invoice is not None
    invoice = await stage.provider.get_invoice(late.latest_invoice.provider_invoice_id)
    assert invoice.status is ProviderInvoiceStatus.OPEN
    assert (invoice.period_start, invoice.period_end) == (
        late.current_period_start,
        late.current_period_end,
    )
    assert invoice.attempt_count == 1
    assert invoice.decline is not None
    assert invoice.decline.code == "insufficient_funds"

    paid = await stage.provider.retry_invoice(
        invoice.provider_invoice_id, attempt_id="retry-1", provider_payment_method_id=None
    )

    assert paid.status is ProviderInvoiceStatus.PAID
    assert paid.captures[0].provider_charge_id == invoice.provider_invoice_id
    assert (await stage.provider.get_subscription("", subscription_id)).status is Status.ACTIVE
    assert [c["status"] for c in await stage.charges()] == ["paid", "paid"]
    again = await stage.provider.retry_invoice(
        invoice.provider_invoice_id,
        attempt_id="retry-2",
        provider_payment_method_id=draft.provider_payment_method_id,
    )
    assert again.status is ProviderInvoiceStatus.PAID
    assert len(await stage.charges()) == 2


async def test_renewing_a_past_due_subscription_retries_its_open_invoice(stage: Stage) -> None:
    _, prepared = await stage.subscribed()
    path = f"subscriptions/stripe/{prepared.provider_subscription_id}/renew"
    failed = await stage.control(path, {"outcome": "failed"})
    paid = await stage.control(path, {"outcome": "paid"})
    assert paid["invoice"] == failed["invoice"]
    assert paid["status"] == "active"
    following = await stage.control(path, {"outcome": "paid"})
    assert following["invoice"] != paid["invoice"]


async def test_a_retry_that_is_declined_names_the_invoice(stage: Stage) -> None:
    draft, prepared = await stage.subscribed()
    answer = await stage.control(
        f"subscriptions/stripe/{prepared.provider_subscription_id}/renew", {"outcome": "failed"}
    )
    bad = await stage.card(draft.provider_customer_id, "pm_card_chargeCustomerFail")
    with pytest.raises(ProviderFailure) as caught:
        await stage.provider.retry_invoice(
            answer["invoice"], attempt_id="retry-1", provider_payment_method_id=bad
        )
    assert caught.value.kind is FailureKind.DECLINED
    assert caught.value.provider_object_id == answer["invoice"]


async def test_a_retry_that_needs_the_customer_says_so(stage: Stage) -> None:
    draft, prepared = await stage.subscribed()
    answer = await stage.control(
        f"subscriptions/stripe/{prepared.provider_subscription_id}/renew", {"outcome": "failed"}
    )
    card = await stage.card(draft.provider_customer_id, "pm_card_authenticationRequired")
    with pytest.raises(ProviderFailure) as caught:
        await stage.provider.retry_invoice(
            answer["invoice"], attempt_id="retry-1", provider_payment_method_id=card
        )
    assert caught.value.decline is not None
    assert caught.value.decline.decline_class is DeclineClass.CUSTOMER_ACTION


async def test_paying_with_another_card_makes_it_the_card_of_renewals(stage: Stage) -> None:
    draft, prepared = await stage.subscribed()
    path = f"subscriptions/stripe/{prepared.provider_subscription_id}/renew"
    failed = await stage.control(path, {"outcome": "failed"})
    other = await stage.card(draft.provider_customer_id, "pm_card_mastercard")
    await stage.provider.retry_invoice(
        failed["invoice"], attempt_id="retry-1", provider_payment_method_id=other
    )
    kept = stage.core.collection("stripe", "subscriptions")[prepared.provider_subscription_id]
    assert kept["default_payment_method"] == other


async def test_a_card_that_went_bad_fails_at_the_next_renewal(stage: Stage) -> None:
    draft, prepared = await stage.subscribed()
    method_id = str(draft.provider_payment_method_id)
    stage.core.collection("stripe", "payment_methods")[method_id]["_token"] = (
        "pm_card_chargeCustomerFail"
    )
    await stage.advance(days=32)
    late = await stage.provider.get_subscription("", prepared.provider_subscription_id)
    assert late.status is Status.PAST_DUE
    assert stage.events("invoice.payment_failed")


async def test_cancel_at_period_end_can_be_undone_and_repeated(stage: Stage) -> None:
    _, prepared = await stage.subscribed()
    customer_id, subscription_id = "", prepared.provider_subscription_id

    async def cancel_later() -> bool:
        found = await stage.provider.cancel_subscription(
            customer_id, subscription_id, at_period_end=True
        )
        return found.cancel_at_period_end

    assert await cancel_later()
    kept = await stage.provider.keep_subscription(customer_id, subscription_id)
    assert not kept.cancel_at_period_end
    assert kept.status is Status.ACTIVE
    assert await cancel_later()

    await stage.advance(days=32)

    ended = await stage.provider.get_subscription(customer_id, subscription_id)
    assert ended.status is Status.CANCELED
    assert len(await stage.charges()) == 1
    assert stage.events("customer.subscription.deleted")


async def test_canceling_now_twice_returns_what_is_there(stage: Stage) -> None:
    _, prepared = await stage.subscribed()
    subscription_id = prepared.provider_subscription_id
    first = await stage.provider.cancel_subscription("", subscription_id, at_period_end=False)
    assert first.status is Status.CANCELED
    assert first.canceled_at is not None
    again = await stage.provider.cancel_subscription("", subscription_id, at_period_end=False)
    assert again == first
    later = await stage.provider.cancel_subscription("", subscription_id, at_period_end=True)
    assert later == first
    with pytest.raises(ProviderFailure) as caught:
        await stage.provider.keep_subscription("", subscription_id)
    assert caught.value.kind is FailureKind.REJECTED


async def test_after_a_cancellation_nobody_can_pay_the_first_invoice(stage: Stage) -> None:
    draft = await stage.subscription_draft("pm_card_authenticationRequired")
    prepared = await stage.provider.prepare_subscription(draft)
    await stage.provider.commit_subscription(draft, prepared)
    canceled = await stage.provider.cancel_subscription(
        "", prepared.provider_subscription_id, at_period_end=False
    )
    assert canceled.status is Status.CANCELED
    assert canceled.latest_invoice is not None
    assert canceled.latest_invoice.status is ProviderInvoiceStatus.VOID
    assert canceled.latest_invoice.next_action is None
    assert [c["status"] for c in await stage.charges()] == ["canceled"]
    # A commit that comes late, under another key, finds it canceled and moves nothing.
    late = draft.model_copy(update={"attempt_id": "attempt-later"})
    assert (await stage.provider.commit_subscription(late, prepared)).status is Status.CANCELED
    assert [c["status"] for c in await stage.charges()] == ["canceled"]


async def test_a_first_payment_that_nobody_makes_ends_after_23_hours(stage: Stage) -> None:
    _, prepared = await stage.subscribed(None)
    await stage.advance(hours=23, seconds=2)
    ended = await stage.provider.get_subscription("", prepared.provider_subscription_id)
    assert ended.status is Status.CANCELED
    assert ended.latest_invoice is not None
    assert ended.latest_invoice.status is ProviderInvoiceStatus.VOID


async def test_unknown_objects_are_not_found(stage: Stage) -> None:
    for reading in (
        stage.provider.get_subscription("", "sub_none"),
        stage.provider.get_invoice("in_none"),
        stage.provider.get_payment("pi_none"),
        stage.provider.cancel_subscription("", "sub_none", at_period_end=False),
    ):
        with pytest.raises(ProviderFailure) as caught:
            await reading
        assert caught.value.kind is FailureKind.NOT_FOUND


async def test_an_invoice_is_refunded_through_its_own_id(stage: Stage) -> None:
    _, prepared = await stage.subscribed()
    assert prepared.provider_invoice_id is not None
    draft = RefundDraft(
        refund_id="refund-1",
        provider_payment_id=prepared.provider_invoice_id,
        amount_minor=5_000,
        currency="MXN",
        reason="goodwill",
        already_refunded_minor=0,
    )
    made = await stage.provider.refund(draft)
    assert (made.status, made.amount_minor, made.currency) == ("succeeded", 5_000, "MXN")
    assert await stage.provider.refund(draft) == made
    invoice = await stage.provider.get_invoice(prepared.provider_invoice_id)
    assert invoice.amount_refunded_minor == 5_000
    assert [c["amount_minor"] for c in await stage.charges() if c["kind"] == "refund"] == [5_000]
    too_much = draft.model_copy(update={"refund_id": "refund-2", "amount_minor": 19_900})
    with pytest.raises(ProviderFailure) as caught:
        await stage.provider.refund(too_much)
    assert caught.value.kind is FailureKind.REJECTED
