"""What webhooks are turned into."""

from __future__ import annotations

import time

import pytest

from models.events import EventKind, ProviderEvent
from models.outcomes import ProviderName
from models.snapshots import PaymentStatus, ProviderSubscriptionStatus
from providers.failures import WebhookMalformed
from providers.polar import PolarProvider
from tests.providers.polar.drafts import (
    AMOUNT_MINOR,
    Buyer,
    benefit_draft,
    checkout_draft,
    customer_draft,
    grant_draft,
    paid_page,
    product_draft,
    refund_draft,
)
from tests.providers.polar.signing import GOOD, SECRET, Json, build, encoded, event, signed
from tests.sandbox.polar.world import World, running_world

OURS = {
    "attempt_id": "att_1",
    "invoice_id": "inv_1",
    "organization_id": "org_1",
    "purchase_id": "pur_1",
    "subscription_id": "sub_1",
}


def order(**change: object) -> Json:
    return {
        "id": "ord_1",
        "status": "paid",
        "paid": True,
        "billing_reason": "purchase",
        "created_at": "2026-11-01T10:02:59Z",
        "net_amount": 1900,
        "tax_amount": 380,
        "total_amount": 2280,
        "refunded_amount": 0,
        "currency": "usd",
        "checkout_id": "che_1",
        "subscription_id": None,
        "customer": {"id": "cus_1", "external_id": "org_1"},
        "metadata": OURS,
        **change,
    }


def checkout(**change: object) -> Json:
    return {
        "id": "che_1",
        "status": "open",
        "url": "https://polar.sh/checkout/polar_c_x",
        "expires_at": "2026-11-02T10:00:00Z",
        "net_amount": 1900,
        "currency": "usd",
        "external_customer_id": "org_1",
        "metadata": OURS,
        **change,
    }


def subscription(**change: object) -> Json:
    return {
        "id": "sub_p",
        "customer_id": "cus_1",
        "status": "active",
        "current_period_start": "2026-11-01T10:00:00Z",
        "current_period_end": "2026-12-01T10:00:00Z",
        "metadata": OURS,
        **change,
    }


def grant(**change: object) -> Json:
    return {
        "id": "gra_1",
        "benefit_id": "ben_1",
        "customer_id": "cus_1",
        "order_id": "ord_1",
        "subscription_id": None,
        "is_granted": True,
        "granted_at": "2026-11-01T10:03:00Z",
        "is_revoked": False,
        "revoked_at": None,
        "error": None,
        "customer": {"id": "cus_1", "external_id": "org_1"},
        "properties": {"invented": ["yesterday"]},
        **change,
    }


def parse(body: Json) -> ProviderEvent:
    raw = encoded(body)
    return build(webhook_secrets=[SECRET]).parse_webhook(raw, signed(raw))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b"[" * 100_000,
        encoded({"type": 5, "data": {}}),
        encoded({"type": "order.paid"}),
        encoded({"type": "order.paid", "data": []}),
        encoded(event("order.paid", order(id=None))),
        encoded(event("order.paid", order(net_amount="much"))),
        encoded(event("order.paid", order(created_at="yesterday"))),
        encoded(event("order.paid", order(), timestamp="yesterday")),
        encoded(event("checkout.updated", checkout(net_amount=None))),
        encoded(event("subscription.updated", subscription(status="invented_yesterday"))),
        encoded(event("benefit_grant.created", grant(benefit_id=None))),
    ],
)
def test_authentic_but_unreadable(raw: bytes) -> None:
    with pytest.raises(WebhookMalformed):
        build(webhook_secrets=[SECRET]).parse_webhook(raw, signed(raw))


def test_what_is_unreadable_is_not_repeated() -> None:
    raw = encoded(event("order.paid", order(net_amount="ana@example.com")))
    with pytest.raises(WebhookMalformed) as raised:
        build(webhook_secrets=[SECRET]).parse_webhook(raw, signed(raw))
    assert "net_amount" in str(raised.value)
    assert "ana@" not in str(raised.value)


@pytest.mark.parametrize("name", ["order.paid", "order.updated"])
def test_a_paid_order_is_the_payment_of_its_page(name: str) -> None:
    read = parse(event(name, order()))
    assert read.provider is ProviderName.POLAR
    assert read.kind is EventKind.PAYMENT
    assert (read.attempt_id, read.subscription_id) == ("att_1", "sub_1")
    assert read.organization_id == "org_1"
    assert read.provider_payment_id == "che_1"
    assert read.occurred_at.isoformat() == "2026-11-01T10:03:00.123456+00:00"
    assert read.livemode is True
    payment = read.payment
    assert payment is not None
    assert payment.status is PaymentStatus.SUCCEEDED
    assert payment.provider_payment_id == "che_1"
    [capture] = payment.captures
    assert (capture.provider_charge_id, capture.amount_minor) == ("ord_1", 1900)


def test_a_refunded_order_says_how_much() -> None:
    for status, refunded in (("partially_refunded", 500), ("refunded", 1900)):
        read = parse(event("order.refunded", order(status=status, refunded_amount=refunded)))
        assert read.payment is not None
        assert read.payment.amount_refunded_minor == refunded
        assert read.payment.status is PaymentStatus.SUCCEEDED
        assert len(read.payment.captures) == 1


@pytest.mark.parametrize("status", ["draft", "pending", "void", "invented_yesterday"])
def test_an_order_without_money_says_where_to_look(status: str) -> None:
    read = parse(event("order.created", order(status=status, paid=False)))
    assert read.kind is EventKind.LOOK
    assert (read.provider_payment_id, read.attempt_id) == ("che_1", "att_1")
    assert read.payment is None


def test_a_renewal_is_an_invoice_of_polars_clock() -> None:
    """Polar copies our metadata to it, but it is no payment of the page."""
    later = order(billing_reason="subscription_cycle", subscription_id="sub_p")
    read = parse(event("order.paid", later))
    assert read.kind is EventKind.LOOK
    assert (read.provider_subscription_id, read.provider_invoice_id) == ("sub_p", "ord_1")
    assert read.attempt_id is None
    first = order(billing_reason="subscription_create", subscription_id="sub_p")
    assert parse(event("order.paid", first)).kind is EventKind.PAYMENT


def test_other_peoples_sales_are_left_alone() -> None:
    for body in (
        event("order.paid", order(metadata={})),
        event("order.paid", order(metadata=None)),
        event("order.paid", order(metadata={"attempt_id": 5})),
        event("checkout.updated", checkout(metadata={})),
        event("refund.created", {"id": "ref_1"}),
        event("customer.state_changed", {"id": "cus_1"}),
        event("order_of_tomorrow.created", {}),
    ):
        assert parse(body).kind is EventKind.IGNORED


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("open", PaymentStatus.PENDING),
        ("confirmed", PaymentStatus.PENDING),
        ("expired", PaymentStatus.EXPIRED),
        ("failed", PaymentStatus.DECLINED),
        ("invented_yesterday", PaymentStatus.PENDING),
    ],
)
def test_the_status_of_a_page(status: str, expected: PaymentStatus) -> None:
    read = parse(event("checkout.updated", checkout(status=status)))
    assert read.kind is EventKind.PAYMENT
    assert read.provider_payment_id == "che_1"
    assert read.payment is not None
    assert read.payment.status is expected


def test_a_page_that_succeeded_does_not_name_its_order() -> None:
    read = parse(event("checkout.updated", checkout(status="succeeded")))
    assert read.kind is EventKind.LOOK
    assert (read.provider_payment_id, read.attempt_id) == ("che_1", "att_1")
    free = parse(event("checkout.updated", checkout(status="succeeded", net_amount=0)))
    assert free.kind is EventKind.PAYMENT


@pytest.mark.parametrize(
    "name", ["created", "updated", "active", "canceled", "revoked", "invented_yesterday"]
)
def test_a_subscription_carries_its_snapshot(name: str) -> None:
    read = parse(event(f"subscription.{name}", subscription(cancel_at_period_end=True)))
    assert read.kind is EventKind.SUBSCRIPTION
    assert (read.subscription_id, read.provider_subscription_id) == ("sub_1", "sub_p")
    assert read.subscription is not None
    assert read.subscription.status is ProviderSubscriptionStatus.ACTIVE
    assert read.subscription.cancel_at_period_end


def test_a_subscription_that_carries_a_benefit_is_not_told_twice() -> None:
    carrier = subscription(metadata={"grant_id": "g"})
    assert parse(event("subscription.created", carrier)).kind is EventKind.IGNORED


def test_a_period_that_is_over_may_have_no_end() -> None:
    body = subscription(status="canceled", current_period_end=None, ended_at="2026-11-03T00:00:00")
    read = parse(event("subscription.revoked", body))
    assert read.subscription is not None
    assert read.subscription.current_period_end.isoformat() == "2026-11-03T00:00:00+00:00"


@pytest.mark.parametrize("name", ["created", "updated", "cycled", "revoked"])
def test_a_grant_carries_its_snapshot(name: str) -> None:
    read = parse(event(f"benefit_grant.{name}", grant()))
    assert read.kind is EventKind.BENEFIT
    assert read.organization_id == "org_1"
    assert read.grant is not None
    assert read.grant.provider_grant_id == "gra_1"
    assert (read.grant.is_granted, read.grant.error_code) == (True, None)


def test_created_does_not_mean_granted() -> None:
    error = {"type": "BenefitActionRequiredError", "message": "connect", "timestamp": "x"}
    waiting = grant(is_granted=False, granted_at=None, error=error)
    read = parse(event("benefit_grant.created", waiting))
    assert read.grant is not None
    assert (read.grant.is_granted, read.grant.is_revoked) == (False, False)
    assert read.grant.error_code == "BenefitActionRequiredError"


def test_an_event_without_a_time_happened_now() -> None:
    read = parse(event("order.paid", order(), timestamp=None))
    assert abs(read.occurred_at.timestamp() - time.time()) < 60


def test_events_of_a_simulator_are_not_live() -> None:
    raw = encoded(GOOD)
    provider = build(webhook_secrets=[SECRET], api_base="https://sandbox-api.polar.sh")
    assert provider.parse_webhook(raw, signed(raw)).livemode is False


async def test_every_event_of_the_simulator_is_understood() -> None:
    """Delivered over HTTP with the signature that the simulator made, for all that can happen."""
    async with running_world(deliver=True) as world:
        provider = build(api_base=world.api_base, webhook_secrets=[world.webhook_secret])
        await live_through_everything(world, provider)
        await world.core.webhooks.drain()
        read = [provider.parse_webhook(raw, headers) for raw, headers in world.inbox.received]
        await provider.aclose()
    assert len(read) == len(world.core.webhooks.events)
    assert {e.event_type for e in read} == set(world.event_types())
    assert len({e.provider_event_id for e in read}) == len(read)
    by_family = {e.event_type.partition(".")[0]: e for e in read}
    assert {"order", "checkout", "subscription", "benefit_grant"} <= set(by_family)
    paid = [e for e in read if e.event_type == "order.paid"]
    assert {e.kind for e in paid} == {EventKind.PAYMENT}
    assert {e.payment.amount_minor for e in paid if e.payment is not None} == {AMOUNT_MINOR}
    statuses = {e.payment.status for e in read if e.payment is not None}
    assert statuses == {PaymentStatus.PENDING, PaymentStatus.SUCCEEDED, PaymentStatus.EXPIRED}
    grants = [e.grant for e in read if e.grant is not None]
    assert {(g.is_granted, g.is_revoked) for g in grants} == {
        (True, False),
        (False, False),
        (False, True),
    }
    assert {g.organization_id for g in grants} == {"org_1"}


async def live_through_everything(world: World, provider: PolarProvider) -> None:
    customer_id = await provider.ensure_customer(customer_draft())
    benefits = [
        await provider.ensure_benefit(benefit_draft(kind)) for kind in ("custom", "discord")
    ]
    product_id = await provider.ensure_product(product_draft(provider_benefit_ids=tuple(benefits)))
    buyer = Buyer(customer_id, product_id)
    paid = await paid_page(provider, world, buyer)
    await provider.refund(refund_draft(paid.provider_payment_id, amount_minor=100))
    rest = refund_draft(paid.provider_payment_id, refund_id="ref_2", amount_minor=1800)
    await provider.refund(rest)
    draft = grant_draft(customer_id, benefits[1])
    waiting = await provider.grant_benefit(draft)
    await world.pay(waiting.provider_grant_id)
    await provider.revoke_benefit(draft)
    page = await provider.create_checkout(checkout_draft(buyer, attempt_id="att_2"))
    await world.expire(page.provider_payment_id)
