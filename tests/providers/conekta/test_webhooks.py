"""Which webhooks are believed, and what they are turned into."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding

from models.events import EventKind, ProviderEvent
from models.outcomes import Instrument, ProviderName
from models.snapshots import DisputeStatus, PaymentStatus
from providers.conekta import ConektaProvider
from providers.failures import WebhookMalformed, WebhookRejected
from tests.providers.conekta.drafts import (
    AMOUNT_MINOR,
    open_payment,
    payment_draft,
    references,
    refund_draft,
)
from tests.sandbox.conekta.world import API_KEY, World, private_key, public_pem, running_world

SECRET = "relay-secret"
PING = {"type": "webhook_ping", "data": {"livemode": False, "action": "webhook_ping"}}


def build(**settings: Any) -> ConektaProvider:
    """An adapter that only reads webhooks: it never opens a connection."""
    return ConektaProvider(api_key=API_KEY, **settings)


def signed(raw: bytes, key_name: str = "conekta") -> dict[str, str]:
    signature = private_key(key_name).sign(raw, padding.PKCS1v15(), hashes.SHA256())
    return {"digest": base64.b64encode(signature).decode()}


def relayed(raw: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"x-conekta-signature": hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()}


def encoded(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()


def event(event_type: str, subject: dict[str, Any], **change: Any) -> dict[str, Any]:
    return {
        "id": "68c620525342d8001673a408",
        "object": "event",
        "type": event_type,
        "created_at": 1757814866,
        "livemode": False,
        "data": {"object": subject, "previous_attributes": {}},
        **change,
    }


def order(**change: Any) -> dict[str, Any]:
    return {
        "object": "order",
        "id": "ord_1",
        "amount": 20000,
        "currency": "MXN",
        "payment_status": "pending_payment",
        "metadata": {"attempt_id": "att_1", "subscription_id": "sub_1"},
        "charges": None,
        **change,
    }


def parse(body: dict[str, Any]) -> ProviderEvent:
    raw = encoded(body)
    return build(webhook_public_keys=public_pem("conekta")).parse_webhook(raw, signed(raw))


# Whom to believe


def test_a_good_signature() -> None:
    raw = encoded(PING)
    read = build(webhook_public_keys=public_pem("conekta")).parse_webhook(raw, signed(raw))
    assert read.kind is EventKind.IGNORED
    assert read.event_type == "webhook_ping"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"digest": ""},
        {"digest": "not base64!"},
        {"digest": "ñ"},
        {"digest": base64.b64encode(b"x" * 256).decode()},
        {"digest": "sha-256=" + signed(encoded(PING))["digest"]},
        signed(encoded(PING), "somebody else"),
        signed(encoded(PING) + b" "),
        signed(b""),
        relayed(encoded(PING)),
    ],
)
def test_a_bad_signature(headers: dict[str, str]) -> None:
    """Missing, malformed, of another key, of another body, of a scheme that is not configured."""
    provider = build(webhook_public_keys=public_pem("conekta"))
    with pytest.raises(WebhookRejected):
        provider.parse_webhook(encoded(PING), headers)


def test_the_same_json_written_another_way_is_not_what_was_signed() -> None:
    raw = encoded(PING)
    again = json.dumps(json.loads(raw), separators=(",", ":")).encode()
    provider = build(webhook_public_keys=public_pem("conekta"))
    with pytest.raises(WebhookRejected):
        provider.parse_webhook(again, signed(raw))


def test_while_keys_rotate_both_are_good() -> None:
    raw = encoded(PING)
    provider = build(webhook_public_keys=public_pem("old") + public_pem("new"))
    for name in ("old", "new"):
        provider.parse_webhook(raw, signed(raw, name))
    with pytest.raises(WebhookRejected):
        provider.parse_webhook(raw, signed(raw, "somebody else"))


@pytest.mark.parametrize(
    "written",
    [
        lambda pem: pem.replace("\n", "\\n"),
        lambda pem: pem.replace("\n", " "),
        lambda pem: pem.replace("\n", ""),
        lambda pem: pem.replace("\n", "\r\n"),
        lambda pem: f"\n  {pem}  \n",
    ],
)
def test_keys_as_panels_and_environments_write_them(written: Any) -> None:
    raw = encoded(PING)
    both = written(public_pem("old") + public_pem("new"))
    provider = build(webhook_public_keys=both)
    for name in ("old", "new"):
        provider.parse_webhook(raw, signed(raw, name))


def test_keys_that_are_no_keys_stop_the_start() -> None:
    other = ed25519.Ed25519PrivateKey.generate().public_key()
    pem = other.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    broken = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"
    for text in ("nonsense", pem.decode(), broken):
        with pytest.raises(ValueError):  # noqa: PT011 - the message is cryptography's
            build(webhook_public_keys=text)


def test_the_hmac_of_a_relay() -> None:
    raw = encoded(PING)
    provider = build(webhook_secrets=["older", SECRET])
    provider.parse_webhook(raw, relayed(raw))
    provider.parse_webhook(raw, relayed(raw, "older"))
    for headers in (
        {},
        {"x-conekta-signature": ""},
        {"x-conekta-signature": "ñ"},
        relayed(raw, "other"),
        relayed(raw + b" "),
        signed(raw),
    ):
        with pytest.raises(WebhookRejected):
            provider.parse_webhook(raw, headers)


def test_both_schemes_at_once() -> None:
    raw = encoded(PING)
    provider = build(webhook_public_keys=public_pem("conekta"), webhook_secrets=[SECRET])
    provider.parse_webhook(raw, signed(raw))
    provider.parse_webhook(raw, relayed(raw))
    with pytest.raises(WebhookRejected):
        provider.parse_webhook(raw, relayed(raw, ""))


@pytest.mark.parametrize("settings", [{}, {"webhook_secrets": [""]}, {"webhook_public_keys": " "}])
def test_without_a_key_nothing_is_believed(settings: dict[str, Any]) -> None:
    raw = encoded(PING)
    provider = build(**settings)
    for headers in ({}, signed(raw), relayed(raw, "")):
        with pytest.raises(WebhookRejected):
            provider.parse_webhook(raw, headers)


# What they say


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b'{"type": 5}',
        b"[" * 100_000,
        encoded(event("order.paid", order(id=None))),
        encoded(event("order.paid", order(amount="much"))),
        encoded(event("order.paid", order(), id=None)),
        encoded(event("order.paid", order(), created_at=10**20)),
        encoded(event("subscription.paid", {"id": 5})),
    ],
)
def test_authentic_but_unreadable(raw: bytes) -> None:
    provider = build(webhook_public_keys=public_pem("conekta"))
    with pytest.raises(WebhookMalformed):
        provider.parse_webhook(raw, signed(raw))


def test_an_order_carries_its_snapshot_and_our_ids() -> None:
    charge = {
        "id": "68c6",
        "status": "paid",
        "amount": 20000,
        "paid_at": 1757814860,
        "payment_method": {"object": "cash_payment", "reference": "1", "expires_at": 1757900000},
    }
    body = event("order.paid", order(payment_status="paid", charges={"data": [charge]}))
    read = parse(body)
    assert read.provider is ProviderName.CONEKTA
    assert read.provider_event_id == "68c620525342d8001673a408"
    assert read.kind is EventKind.PAYMENT
    assert read.subscription_id == "sub_1"
    assert read.attempt_id == "att_1"
    assert read.provider_payment_id == "ord_1"
    assert read.occurred_at.timestamp() == 1757814866
    assert read.payment is not None
    assert read.payment.status is PaymentStatus.SUCCEEDED
    assert [capture.provider_charge_id for capture in read.payment.captures] == ["68c6"]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, PaymentStatus.PREPARED),
        ("pending_payment", PaymentStatus.PENDING),
        ("partially_paid", PaymentStatus.PENDING),
        ("declined", PaymentStatus.DECLINED),
        ("expired", PaymentStatus.EXPIRED),
        ("canceled", PaymentStatus.CANCELED),
        ("voided", PaymentStatus.CANCELED),
        ("invented_yesterday", PaymentStatus.PENDING),
    ],
)
def test_the_status_of_an_order(status: str | None, expected: PaymentStatus) -> None:
    read = parse(event("order.updated", order(payment_status=status)))
    assert read.payment is not None
    assert read.payment.status is expected


@pytest.mark.parametrize("status", ["paid", "refunded", "charged_back"])
def test_a_paid_order_that_does_not_list_its_charges_is_to_be_read(status: str) -> None:
    read = parse(event("order.paid", order(payment_status=status)))
    assert read.kind is EventKind.LOOK
    assert read.provider_payment_id == "ord_1"
    assert read.attempt_id == "att_1"


def test_an_order_without_an_amount_is_to_be_read() -> None:
    assert parse(event("order.updated", order(amount=None))).kind is EventKind.LOOK


def test_money_on_an_order_that_expired_is_money() -> None:
    charge = {"id": "68c6", "status": "paid", "amount": 20000}
    body = order(payment_status="expired", charges={"data": [charge]})
    read = parse(event("order.updated", body))
    assert read.payment is not None
    assert read.payment.status is PaymentStatus.SUCCEEDED


def test_part_of_the_money_is_shown_while_the_rest_is_awaited() -> None:
    charges = [
        {"id": "a", "status": "paid", "amount": 5000},
        {"id": "b", "status": "pending_payment", "amount": 15000},
    ]
    body = order(payment_status="partially_paid", charges={"data": charges})
    read = parse(event("order.updated", body))
    assert read.payment is not None
    assert read.payment.status is PaymentStatus.PENDING
    assert [capture.amount_minor for capture in read.payment.captures] == [5000]


def test_a_store_that_takes_its_payment_back() -> None:
    charge = {"id": "68c6", "status": "reversed", "amount": 20000}
    body = order(payment_status="paid", amount_refunded=0, charges={"data": [charge]})
    read = parse(event("order.updated", body))
    assert read.payment is not None
    assert len(read.payment.captures) == 1
    assert read.payment.amount_refunded_minor == 20000


def test_a_charge_only_says_where_to_look() -> None:
    read = parse(event("charge.paid", {"object": "charge", "id": "68c6", "order_id": "ord_1"}))
    assert read.kind is EventKind.LOOK
    assert read.provider_payment_id == "ord_1"
    assert read.attempt_id is None


def test_a_subscription_only_says_where_to_look() -> None:
    for name in ("created", "paid", "payment_failed", "invented_yesterday"):
        read = parse(event(f"subscription.{name}", {"object": "subscription", "id": "sub_c"}))
        assert read.kind is EventKind.LOOK
        assert read.provider_subscription_id == "sub_c"


@pytest.mark.parametrize(
    ("event_type", "status", "expected"),
    [
        ("charge.chargeback.created", "action_required", DisputeStatus.OPEN),
        ("charge.chargeback.under_review", "under_review", DisputeStatus.OPEN),
        ("charge.chargeback.updated", "said_tomorrow", DisputeStatus.OPEN),
        ("charge.chargeback.updated", "covered", DisputeStatus.WON),
        ("charge.chargeback.won", "won", DisputeStatus.WON),
        ("charge.chargeback.lost", "lost", DisputeStatus.LOST),
    ],
)
def test_a_chargeback_names_its_charge_alone(
    event_type: str, status: str, expected: DisputeStatus
) -> None:
    subject = {"id": "chbk_1", "charge_id": "68c6", "status": status, "created_at": 1_793_000_000}
    read = parse(event(event_type, subject))
    assert read.kind is EventKind.DISPUTE
    assert read.dispute is not None
    assert (read.dispute.status, read.dispute.provider_charge_ids) == (expected, ["68c6"])
    assert (read.dispute.amount_minor, read.dispute.withdrawn) == (None, False)


def test_an_order_that_was_charged_back_says_that_the_money_is_gone() -> None:
    chargeback = {"id": "chbk_1", "status": "action_required", "reason": "unrecognized"}
    charge = {"id": "68c6", "status": "charged_back", "amount": 20000, "chargeback": chargeback}
    subject = order(payment_status="charged_back", charges={"data": [charge]})
    read = parse(event("order.charged_back", subject))
    assert read.kind is EventKind.DISPUTE
    assert read.dispute is not None
    assert (read.dispute.provider_dispute_id, read.dispute.withdrawn) == ("chbk_1", True)
    assert read.dispute.provider_charge_ids == ["68c6"]


@pytest.mark.parametrize(
    "body",
    [
        PING,
        event("customer.created", {"id": "cus_1"}),
        event("invented.yesterday", {"id": "1"}),
        event("order", {}, data={"object": None}),
        event("order.paid", {}, data={}),
    ],
)
def test_what_is_stored_and_left_alone(body: dict[str, Any]) -> None:
    assert parse(body).kind is EventKind.IGNORED


def test_a_ping_without_an_id_is_named_by_its_bytes() -> None:
    assert parse(PING).provider_event_id == parse(PING).provider_event_id
    assert parse(PING).provider_event_id != parse({**PING, "x": 1}).provider_event_id


def test_numbers_where_texts_are_expected_and_fields_that_nobody_knows() -> None:
    charge = {
        "id": "68c6",
        "status": "pending_payment",
        "amount": 20000,
        "fee": 1,
        "payment_method": {
            "object": "cash_payment",
            "reference": 99000000000000000001,
            "agreement": 1756893,
            "expires_at": 1757900000,
            "store_names": ["7-Eleven"],
        },
    }
    read = parse(event("order.pending_payment", order(charges={"data": [charge]})))
    assert read.payment is not None
    assert references(read.payment) == ["99000000000000000001"]


async def test_every_event_of_the_simulator_is_understood() -> None:
    """Delivered over HTTP with the signature that the simulator made, for all that can happen."""
    async with running_world(deliver=True) as world:
        provider = build(
            api_base=world.api_base, webhook_public_keys=world.simulator.public_key_pem
        )
        await live_through_everything(world, provider)
        await world.core.webhooks.drain()
        read = [provider.parse_webhook(raw, headers) for raw, headers in world.inbox.received]
        await provider.aclose()
    assert len(read) == len(world.core.webhooks.events)
    assert {e.event_type for e in read} == set(world.event_types())
    for seen in read:
        assert seen.provider_payment_id is not None
        if seen.event_type.startswith("order."):
            assert seen.kind is EventKind.PAYMENT
            assert seen.subscription_id == "sub_1"
            assert seen.attempt_id is not None
            assert seen.payment is not None
            assert seen.payment.amount_minor == AMOUNT_MINOR
        else:
            assert seen.kind is EventKind.LOOK
    statuses = {e.payment.status for e in read if e.payment is not None}
    assert statuses == set(PaymentStatus)


async def live_through_everything(world: World, provider: ConektaProvider) -> None:
    from tests.providers.conekta.drafts import customer_draft

    customer_id = await provider.ensure_customer(customer_draft())

    async def opened(name: str, instrument: Instrument) -> tuple[str, list[str]]:
        draft = payment_draft(customer_id, attempt_id=name, instrument=instrument)
        snapshot = await open_payment(provider, draft)
        return snapshot.provider_payment_id, references(snapshot)

    for instrument in (Instrument.OXXO, Instrument.SPEI):
        paid_id, paid_references = await opened("paid", instrument)
        for _ in range(2):
            await world.pay(paid_references[0])
        await provider.refund(refund_draft(paid_id))
        _, expired_references = await opened("expired", instrument)
        await world.expire(expired_references[0])
        await world.pay(expired_references[0])
        canceled_id, _ = await opened("canceled", instrument)
        await provider.cancel_payment(canceled_id)
    draft = payment_draft(customer_id, attempt_id="declined")
    payment_id = await provider.prepare_payment(draft)
    await world.fault("charges.create", "decline")
    with pytest.raises(Exception, match="declined"):
        await provider.commit_payment(draft, payment_id)
