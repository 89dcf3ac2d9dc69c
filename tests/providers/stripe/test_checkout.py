"""Hosted pages: what is asked, what is paid, and what nobody can pay any more."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from models.events import EventKind, ProviderEvent
from models.outcomes import FallbackReason, OutcomeClass, Redirect
from models.snapshots import PaymentSnapshot, PaymentStatus
from providers.capabilities import Capability
from providers.drafts import BenefitDraft, CheckoutDraft, GrantDraft, ProductDraft, RefundDraft
from providers.failures import FailureKind, ProviderFailure
from tests.providers.stripe.conftest import Stage

AMOUNT = 1900


async def draft_of(stage: Stage, **changes: Any) -> CheckoutDraft:
    usual: dict[str, Any] = {
        "attempt_id": stage.next_id("attempt"),
        "invoice_id": stage.next_id("invoice"),
        "organization_id": "organization-1",
        "purchase_id": "purchase-1",
        "provider_customer_id": changes.get("provider_customer_id") or await stage.customer(),
        "description": "E-book",
        "amount_minor": AMOUNT,
        "currency": "USD",
        "success_url": "https://shop.example/thanks?session={CHECKOUT_SESSION_ID}",
        "expires_at": stage.now() + timedelta(hours=2),
    }
    return CheckoutDraft.model_validate(usual | changes)


async def opened(stage: Stage, **changes: Any) -> PaymentSnapshot:
    return await stage.provider.create_checkout(await draft_of(stage, **changes))


async def paid(stage: Stage, **changes: Any) -> PaymentSnapshot:
    page = await opened(stage, **changes)
    await stage.control(f"payments/{page.provider_payment_id}/pay")
    return await stage.provider.get_payment(page.provider_payment_id)


def news(stage: Stage, *types: str) -> list[ProviderEvent]:
    """Events as the adapter reads them, signed as the simulator signs."""
    read = []
    for body in stage.events(*types):
        raw = json.dumps(body, separators=(",", ":")).encode()
        signed = stage.core.webhooks.signers["stripe"](raw)
        headers = {name.lower(): value for name, value in signed.items()}
        read.append(stage.provider.parse_webhook(raw, headers))
    return read


async def test_a_page_waits_for_the_customer(stage: Stage) -> None:
    draft = await draft_of(stage)
    page = await stage.provider.create_checkout(draft)
    assert page.status is PaymentStatus.PENDING
    assert (page.amount_minor, page.currency) == (AMOUNT, "USD")
    assert page.attempt_id == draft.attempt_id
    assert isinstance(page.next_action, Redirect)
    assert page.next_action.expires_at == page.expires_at == draft.expires_at.replace(microsecond=0)
    assert await stage.provider.get_payment(page.provider_payment_id) == page
    assert await stage.charges() == []


async def test_a_lifetime_that_stripe_does_not_have_becomes_a_day(stage: Stage) -> None:
    page = await opened(stage, expires_at=stage.now() + timedelta(days=3))
    assert page.expires_at is not None
    assert timedelta(hours=23) < page.expires_at - stage.now() <= timedelta(hours=24)


async def test_a_paid_page_knows_its_charge(stage: Stage) -> None:
    found = await paid(stage, subscription_id="subscription-9", invoice_id="invoice-9")
    assert found.status is PaymentStatus.SUCCEEDED
    assert [capture.amount_minor for capture in found.captures] == [AMOUNT]
    assert found.attempt_id is not None
    [booked] = await stage.charges()
    assert booked["status"] == "paid"
    assert booked["reference"] == found.provider_payment_id
    assert (booked["subscription_id"], booked["invoice_id"]) == ("subscription-9", "invoice-9")


async def test_a_declined_card_leaves_the_page_open(stage: Stage) -> None:
    page = await opened(stage)
    await stage.fault("checkout.sessions.confirm", "decline")
    result = await stage.control(f"payments/{page.provider_payment_id}/pay")
    assert result["status"] == "declined"
    assert await stage.provider.get_payment(page.provider_payment_id) == page
    [event] = news(stage, "payment_intent.payment_failed")
    assert event.kind is EventKind.IGNORED
    await stage.control(f"payments/{page.provider_payment_id}/pay")
    found = await stage.provider.get_payment(page.provider_payment_id)
    assert found.status is PaymentStatus.SUCCEEDED
    assert len(found.captures) == 1


async def test_a_paid_page_is_paid_once(stage: Stage) -> None:
    found = await paid(stage)
    again = await stage.control(f"payments/{found.provider_payment_id}/pay")
    assert again["status"] == "refused"
    assert len(await stage.charges()) == 1


async def test_a_page_that_is_canceled_takes_no_money(stage: Stage) -> None:
    page = await opened(stage)
    canceled = await stage.provider.cancel_payment(page.provider_payment_id)
    assert canceled.status is PaymentStatus.EXPIRED
    assert canceled.next_action is None
    refused = await stage.control(f"payments/{page.provider_payment_id}/pay")
    assert refused["status"] == "refused"
    assert await stage.provider.cancel_payment(page.provider_payment_id) == canceled


async def test_the_customer_was_faster_than_the_cancellation(stage: Stage) -> None:
    found = await paid(stage)
    assert await stage.provider.cancel_payment(found.provider_payment_id) == found


async def test_a_page_runs_out_by_the_clock(stage: Stage) -> None:
    page = await opened(stage)
    await stage.advance(hours=2, seconds=1)
    found = await stage.provider.get_payment(page.provider_payment_id)
    assert found.status is PaymentStatus.EXPIRED
    [event] = news(stage, "checkout.session.expired")
    assert event.kind is EventKind.PAYMENT
    assert event.payment == found


async def test_a_person_can_let_a_page_run_out(stage: Stage) -> None:
    page = await opened(stage)
    result = await stage.control(f"payments/{page.provider_payment_id}/expire")
    assert result["status"] == "expired"


async def test_money_is_refunded_by_the_pages_id(stage: Stage) -> None:
    found = await paid(stage)
    draft = RefundDraft(
        refund_id="refund-1",
        provider_payment_id=found.provider_payment_id,
        amount_minor=AMOUNT,
        currency="USD",
        reason="requested_by_customer",
        already_refunded_minor=0,
    )
    first = await stage.provider.refund(draft)
    assert await stage.provider.refund(draft) == first
    after = await stage.provider.get_payment(found.provider_payment_id)
    assert after.amount_refunded_minor == AMOUNT


async def test_an_unpaid_page_has_nothing_to_refund(stage: Stage) -> None:
    page = await opened(stage)
    draft = RefundDraft(
        refund_id="refund-1",
        provider_payment_id=page.provider_payment_id,
        amount_minor=AMOUNT,
        currency="USD",
        reason="requested_by_customer",
        already_refunded_minor=0,
    )
    with pytest.raises(ProviderFailure) as raised:
        await stage.provider.refund(draft)
    assert raised.value.kind is FailureKind.REJECTED


async def test_a_product_is_made_once_and_sold_at_the_drafts_price(stage: Stage) -> None:
    product = ProductDraft(product_id="book-1", name="Book", amount_minor=500, currency="USD")
    product_id = await stage.provider.ensure_product(product)
    renamed = product.model_copy(update={"name": "Book, second edition"})
    assert await stage.provider.ensure_product(renamed) == product_id
    page = await opened(stage, provider_product_id=product_id)
    assert page.amount_minor == AMOUNT


async def test_the_same_attempt_gets_the_same_page(stage: Stage) -> None:
    draft = await draft_of(stage)
    first = await stage.provider.create_checkout(draft)
    assert await stage.provider.create_checkout(draft, retry=True) == first


@pytest.mark.parametrize(
    ("mode", "kind", "reason"),
    [
        ("down", FailureKind.UNAVAILABLE, FallbackReason.UNAVAILABLE),
        ("applied_then_error", FailureKind.UNAVAILABLE, FallbackReason.API_ERROR),
        ("applied_then_timeout", FailureKind.UNAVAILABLE, FallbackReason.TIMEOUT),
        ("rate_limit", FailureKind.UNAVAILABLE, FallbackReason.API_ERROR),
    ],
)
async def test_a_page_that_nobody_saw_was_not_attempted(
    stage: Stage, mode: str, kind: FailureKind, reason: FallbackReason
) -> None:
    draft = await draft_of(stage)
    await stage.fault("checkout.sessions.create", mode)
    hasty = stage.new_provider(timeout_seconds=0.3)
    with pytest.raises(ProviderFailure) as raised:
        await hasty.create_checkout(draft)
    assert raised.value.kind is kind
    assert raised.value.outcome is OutcomeClass.NOT_ATTEMPTED
    assert raised.value.fallback_reason is reason
    assert (await stage.provider.create_checkout(draft)).status is PaymentStatus.PENDING


async def test_news_of_a_paid_page_say_look(stage: Stage) -> None:
    """A session names no charge; and the intent's own news are left alone."""
    found = await paid(stage, subscription_id="subscription-9")
    [event] = news(stage, "checkout.session.completed")
    assert event.kind is EventKind.LOOK
    assert event.provider_payment_id == found.provider_payment_id
    assert event.attempt_id == found.attempt_id
    assert event.subscription_id == "subscription-9"
    assert event.organization_id == "organization-1"
    kinds = {e.kind for e in news(stage, "payment_intent.created", "payment_intent.succeeded")}
    assert kinds == {EventKind.IGNORED}


async def test_the_page_can_be_opened_and_paid_in_a_browser(stage: Stage) -> None:
    page = await opened(stage)
    assert isinstance(page.next_action, Redirect)
    url = page.next_action.url
    assert url.startswith(f"{stage.url}/stripe/checkout/")
    assert "<button>Pay</button>" in (await stage.http.get(url)).text
    left = await stage.http.post(url)
    assert left.status_code == 303
    thanks = f"https://shop.example/thanks?session={page.provider_payment_id}"
    assert left.headers["location"] == thanks
    assert "complete" in (await stage.http.post(url)).text
    assert (await stage.http.get(f"{url}x")).status_code == 404


async def test_benefits_are_refused_by_type(stage: Stage) -> None:
    assert Capability.BENEFIT not in stage.provider.capabilities.supports
    benefit = BenefitDraft(benefit_id="b", type="custom", description="Note")
    grant = GrantDraft(
        grant_id="g", organization_id="o", provider_customer_id="c", provider_benefit_id="b"
    )
    for call in (
        stage.provider.ensure_benefit(benefit),
        stage.provider.grant_benefit(grant),
        stage.provider.revoke_benefit(grant),
        stage.provider.list_grants("c"),
    ):
        with pytest.raises(ProviderFailure) as raised:
            await call
        assert raised.value.kind is FailureKind.UNSUPPORTED
