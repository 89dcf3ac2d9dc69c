"""Webhooks: only authentic ones are read, and all that the simulator sends can be read."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from models.events import EventKind, ProviderEvent
from models.outcomes import Instrument, PayVoucher
from models.snapshots import (
    DisputeStatus,
    PaymentStatus,
    ProviderInvoiceStatus,
    ProviderSubscriptionStatus,
)
from providers.drafts import RefundDraft
from providers.failures import WebhookMalformed, WebhookRejected
from providers.stripe import StripeProvider
from tests.providers.stripe.conftest import API_KEY, WEBHOOK_SECRET, Stage, serving


def provider_with(*secrets: str) -> StripeProvider:
    return StripeProvider(api_key=API_KEY, webhook_secrets=secrets)


def signature(body: bytes, *secrets: str, age_seconds: int = 0) -> dict[str, str]:
    timestamp = int(time.time()) - age_seconds
    signed = f"{timestamp}.".encode() + body
    macs = [hmac.new(s.encode(), signed, hashlib.sha256).hexdigest() for s in secrets]
    return {"stripe-signature": ",".join([f"t={timestamp}", *(f"v1={mac}" for mac in macs)])}


def event_body(event_type: str = "customer.created", **changes: Any) -> bytes:
    event = {
        "id": "evt_1",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": 1_793_000_000,
        "type": event_type,
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "data": {"object": {"id": "cus_1", "object": "customer"}},
        **changes,
    }
    return json.dumps(event).encode()


def test_an_authentic_event_is_read() -> None:
    body = event_body()
    event = provider_with(WEBHOOK_SECRET).parse_webhook(body, signature(body, WEBHOOK_SECRET))
    assert event.provider_event_id == "evt_1"
    assert event.event_type == "customer.created"
    assert event.kind is EventKind.IGNORED


def test_both_secrets_are_good_while_they_are_rotated() -> None:
    body = event_body()
    rotating = provider_with("whsec_new", "whsec_old")
    for secrets in (("whsec_old",), ("whsec_new",), ("whsec_old", "whsec_new")):
        assert rotating.parse_webhook(body, signature(body, *secrets)).provider_event_id == "evt_1"
    with pytest.raises(WebhookRejected):
        rotating.parse_webhook(body, signature(body, "whsec_other"))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"stripe-signature": ""},
        {"stripe-signature": "nonsense"},
        {"stripe-signature": "t=abc,v1=00"},
        {"stripe-signature": f"t={int(time.time())},v1=é"},
        {"stripe-signature": f"t={int(time.time())}"},
        signature(event_body(), "whsec_other"),
        signature(event_body("invoice.paid"), WEBHOOK_SECRET),
        signature(event_body(), WEBHOOK_SECRET, age_seconds=301),
    ],
)
def test_anything_else_is_rejected(headers: dict[str, str]) -> None:
    with pytest.raises(WebhookRejected):
        provider_with(WEBHOOK_SECRET).parse_webhook(event_body(), headers)


@pytest.mark.parametrize("secrets", [(), ("",), ("  ",)])
def test_without_a_secret_everything_is_rejected(secrets: tuple[str, ...]) -> None:
    body = event_body()
    with pytest.raises(WebhookRejected):
        provider_with(*secrets).parse_webhook(body, signature(body, *(secrets or ("x",))))


def test_a_body_that_is_no_text_is_rejected() -> None:
    body = b"\xff\xfe"
    with pytest.raises(WebhookRejected):
        provider_with(WEBHOOK_SECRET).parse_webhook(body, signature(body, WEBHOOK_SECRET))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b'{"object": "event"}',
        b'{"id": "evt_1", "object": "v2.core.event", "type": "v1.invoice.paid"}',
        event_body("customer.subscription.updated"),
        event_body("invoice.paid", data={"object": {"id": "in_1", "object": "invoice"}}),
        event_body("payment_intent.succeeded", data={}),
        event_body(created="yesterday"),
        event_body(created=2**63),
        event_body(created=1e300),
    ],
)
def test_an_authentic_body_that_cannot_be_read_is_malformed(body: bytes) -> None:
    with pytest.raises(WebhookMalformed):
        provider_with(WEBHOOK_SECRET).parse_webhook(body, signature(body, WEBHOOK_SECRET))


def parsed(stage: Stage, *types: str) -> list[ProviderEvent]:
    """What the adapter makes of the events that were sent, in their order."""
    found = []
    for event in stage.events(*types):
        body = json.dumps(event).encode()
        found.append(stage.provider.parse_webhook(body, signature(body, WEBHOOK_SECRET)))
    return found


async def test_subscription_and_invoice_events_carry_snapshots(stage: Stage) -> None:
    draft, prepared = await stage.subscribed()

    [created] = parsed(stage, "customer.subscription.created")
    assert created.kind is EventKind.SUBSCRIPTION
    assert created.subscription_id == draft.subscription_id
    assert created.provider_subscription_id == prepared.provider_subscription_id
    assert created.subscription is not None
    assert created.subscription.status is ProviderSubscriptionStatus.INCOMPLETE

    [paid] = parsed(stage, "invoice.paid")
    assert paid.kind is EventKind.INVOICE
    assert paid.subscription_id == draft.subscription_id
    assert paid.attempt_id == draft.attempt_id
    assert paid.invoice is not None
    assert paid.invoice.status is ProviderInvoiceStatus.PAID
    assert paid.invoice.first
    read = await stage.provider.get_invoice(str(prepared.provider_invoice_id))
    assert paid.invoice == read

    [draft_event] = parsed(stage, "invoice.created")
    assert draft_event.kind is EventKind.IGNORED
    assert {e.kind for e in parsed(stage, "payment_intent.succeeded")} == {EventKind.IGNORED}


async def test_a_renewal_does_not_claim_the_first_attempt(stage: Stage) -> None:
    draft, prepared = await stage.subscribed()
    path = f"subscriptions/stripe/{prepared.provider_subscription_id}/renew"
    await stage.control(path, {"outcome": "failed"})
    [failed] = parsed(stage, "invoice.payment_failed")
    assert failed.kind is EventKind.INVOICE
    assert failed.subscription_id == draft.subscription_id
    assert failed.attempt_id is None
    assert failed.invoice is not None
    assert failed.invoice.status is ProviderInvoiceStatus.OPEN
    assert not failed.invoice.first
    first = parsed(stage, "invoice.paid")[0].invoice
    assert first is not None
    assert failed.invoice.period_start == first.period_end
    updates = [e.subscription for e in parsed(stage, "customer.subscription.updated")]
    assert updates[-1] is not None
    assert updates[-1].status is ProviderSubscriptionStatus.PAST_DUE


async def test_voucher_events_carry_the_payment(stage: Stage) -> None:
    draft = await stage.payment_draft(Instrument.OXXO)
    payment_id = await stage.provider.prepare_payment(draft)
    pending = await stage.provider.commit_payment(draft, payment_id)
    [issued] = parsed(stage, "payment_intent.requires_action")
    assert issued.kind is EventKind.PAYMENT
    assert (issued.attempt_id, issued.provider_payment_id) == (draft.attempt_id, payment_id)
    assert issued.subscription_id == draft.subscription_id
    assert issued.payment == pending

    assert isinstance(pending.next_action, PayVoucher)
    number = pending.next_action.vouchers[0].reference
    await stage.control(f"payments/{number}/expire")
    await stage.control(f"payments/{number}/pay")

    [expired] = parsed(stage, "payment_intent.payment_failed")
    assert expired.payment is not None
    assert expired.payment.status is PaymentStatus.EXPIRED
    [succeeded] = parsed(stage, "payment_intent.succeeded")
    assert succeeded.payment is not None
    read = await stage.provider.get_payment(payment_id)
    assert succeeded.payment.status is read.status is PaymentStatus.SUCCEEDED
    assert [(c.provider_charge_id, c.amount_minor) for c in succeeded.payment.captures] == [
        (c.provider_charge_id, c.amount_minor) for c in read.captures
    ]


async def test_money_by_transfer_has_to_be_read(stage: Stage) -> None:
    draft = await stage.payment_draft(Instrument.SPEI)
    payment_id = await stage.provider.prepare_payment(draft)
    await stage.provider.commit_payment(draft, payment_id)
    clabe = (await stage.charges())[0]["reference"]
    await stage.control(f"payments/{clabe}/pay", {"amount_minor": 100})
    await stage.control(f"payments/{clabe}/pay")
    moved = parsed(stage, "payment_intent.partially_funded", "payment_intent.succeeded")
    assert [event.kind for event in moved] == [EventKind.LOOK, EventKind.LOOK]
    assert {event.provider_payment_id for event in moved} == {payment_id}
    assert {event.attempt_id for event in moved} == {draft.attempt_id}


async def test_a_refund_says_look(stage: Stage) -> None:
    draft = await stage.payment_draft(Instrument.SPEI)
    payment_id = await stage.provider.prepare_payment(draft)
    await stage.provider.commit_payment(draft, payment_id)
    await stage.control(f"payments/{(await stage.charges())[0]['reference']}/pay")
    await stage.provider.refund(
        RefundDraft(
            refund_id="refund-1",
            provider_payment_id=payment_id,
            amount_minor=100,
            currency="MXN",
            reason="duplicate",
            already_refunded_minor=0,
        )
    )
    [refunded] = parsed(stage, "charge.refunded")
    assert refunded.kind is EventKind.LOOK
    assert refunded.provider_payment_id == payment_id
    assert refunded.attempt_id == draft.attempt_id


def dispute_event(status: str, *amounts: int, kind: str = "created") -> ProviderEvent:
    taken = {"object": "balance_transaction", "id": "txn_1"}
    dispute = {
        "id": "du_1",
        "object": "dispute",
        "amount": 1900,
        "currency": "usd",
        "balance_transactions": [{**taken, "amount": amount} for amount in amounts],
        "charge": "ch_1",
        "payment_intent": "pi_1",
        "created": 1_793_000_000,
        "evidence_details": {"due_by": 1_793_700_000},
        "reason": "fraudulent",
        "status": status,
        "metadata": {},
    }
    body = event_body(f"charge.dispute.{kind}", data={"object": dispute})
    return provider_with(WEBHOOK_SECRET).parse_webhook(body, signature(body, WEBHOOK_SECRET))


@pytest.mark.parametrize(
    ("status", "amounts", "expected", "withdrawn"),
    [
        ("needs_response", [-1900], DisputeStatus.OPEN, True),
        ("warning_needs_response", [], DisputeStatus.OPEN, False),
        ("under_review", [-1900], DisputeStatus.OPEN, True),
        ("said_tomorrow", [-1900], DisputeStatus.OPEN, True),
        ("won", [-1900, 1900], DisputeStatus.WON, True),
        ("warning_closed", [], DisputeStatus.WON, False),
        ("lost", [-1900], DisputeStatus.LOST, True),
    ],
)
def test_a_dispute_in_our_words(
    status: str, amounts: list[int], expected: DisputeStatus, withdrawn: bool
) -> None:
    event = dispute_event(status, *amounts)
    assert event.kind is EventKind.DISPUTE
    assert event.dispute is not None
    assert (event.dispute.status, event.dispute.withdrawn) == (expected, withdrawn)
    assert (event.dispute.amount_minor, event.dispute.currency) == (1900, "USD")
    assert event.dispute.provider_charge_ids == ["ch_1"]
    assert event.provider_payment_id == event.dispute.provider_payment_id == "pi_1"


async def test_every_event_is_delivered_signed_and_can_be_read(stage: Stage) -> None:
    heard: list[ProviderEvent] = []

    async def receive(request: Request) -> Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        heard.append(stage.provider.parse_webhook(await request.body(), headers))
        return Response(status_code=200)

    receiver = Starlette(routes=[Route("/stripe", receive, methods=["POST"])])
    async with serving(receiver) as url:
        stage.core.webhooks.base_url = url
        draft, prepared = await stage.subscribed()
        path = f"subscriptions/stripe/{prepared.provider_subscription_id}/renew"
        await stage.control(path, {"outcome": "failed"})
        await stage.control(path, {"outcome": "paid"})
        await stage.provider.detach_payment_method(
            draft.provider_customer_id, str(draft.provider_payment_method_id)
        )
        await stage.provider.cancel_subscription(
            "", prepared.provider_subscription_id, at_period_end=False
        )
        await stage.subscribed("pm_card_authenticationRequired")
        for instrument in (Instrument.OXXO, Instrument.SPEI):
            payment = await stage.payment_draft(instrument)
            payment_id = await stage.provider.prepare_payment(payment)
            await stage.provider.commit_payment(payment, payment_id)
            await stage.provider.cancel_payment(payment_id)
        await asyncio.wait_for(stage.core.webhooks.drain(), 10)
        await stage.core.webhooks.aclose()
    sent = {event["id"] for event in stage.events()}
    assert {event.provider_event_id for event in heard} == sent
    assert {record["status"] for record in stage.core.webhooks.events} == {"delivered"}
    assert all(event.account == "default" for event in heard)
