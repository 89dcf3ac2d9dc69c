"""Where an event belongs, and whether it says anything new: rules, without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from activities.event_facts import (
    AttemptFact,
    DueEvent,
    EventFacts,
    InvoiceFact,
    ProviderKey,
    SubscriptionFact,
    key_of,
)
from activities.event_targets import Disposition, Parked, Target, Verdict, judge
from models.events import EventKind, ProviderEvent
from models.outcomes import ProviderName
from models.snapshots import (
    Capture,
    InvoiceSnapshot,
    PaymentSnapshot,
    PaymentStatus,
    ProviderInvoiceStatus,
    ProviderSubscriptionStatus,
    SubscriptionSnapshot,
)
from tests.api.support import event

NOW = datetime.now(UTC)
SUBSCRIPTION, ATTEMPT, INVOICE = uuid4(), uuid4(), uuid4()
CAPTURE = Capture(provider_charge_id="ch_1", amount_minor=100, currency="MXN", captured_at=NOW)


def stripe_key(object_id: str, account: str = "default") -> ProviderKey:
    return ProviderKey("stripe", account, object_id)


def tried(**changes: Any) -> AttemptFact:
    values: dict[str, Any] = {
        "id": ATTEMPT,
        "subscription_id": SUBSCRIPTION,
        "provider": "stripe",
        "account": "default",
        "instrument": "oxxo",
        "outcome": "pending",
        "provider_object_id": "pi_1",
    }
    return AttemptFact(**values | changes)


def facts(attempt: AttemptFact | None = None, **changes: Any) -> EventFacts:
    values: dict[str, Any] = {}
    if attempt is not None:
        key = ProviderKey(attempt.provider, attempt.account, str(attempt.provider_object_id))
        values = {"attempts": {attempt.id: attempt}, "attempts_by_object": {key: attempt}}
    return EventFacts(**values | changes)


def payment(status: PaymentStatus = PaymentStatus.SUCCEEDED, **changes: Any) -> PaymentSnapshot:
    values: dict[str, Any] = {
        "provider": ProviderName.STRIPE,
        "provider_payment_id": "pi_1",
        "status": status,
        "amount_minor": 100,
        "currency": "MXN",
        "captures": [CAPTURE] if status is PaymentStatus.SUCCEEDED else [],
    }
    return PaymentSnapshot(**values | changes)


def bill(status: ProviderInvoiceStatus, **changes: Any) -> InvoiceSnapshot:
    values: dict[str, Any] = {
        "provider": ProviderName.STRIPE,
        "provider_invoice_id": "in_1",
        "status": status,
        "amount_minor": 100,
        "currency": "MXN",
        "period_start": NOW,
        "period_end": NOW,
        "created_at": NOW,
    }
    return InvoiceSnapshot(**values | changes)


def snapshot(**changes: Any) -> SubscriptionSnapshot:
    values: dict[str, Any] = {
        "provider": ProviderName.STRIPE,
        "provider_subscription_id": "sub_1",
        "provider_customer_id": "cus_1",
        "status": ProviderSubscriptionStatus.ACTIVE,
        "current_period_start": NOW,
        "current_period_end": NOW,
    }
    return SubscriptionSnapshot(**values | changes)


def verdict(
    said: ProviderEvent, known: EventFacts, tries: int = 1, age: timedelta = timedelta(0)
) -> Verdict:
    return judge(DueEvent(uuid4(), said, tries, NOW - age), known, NOW)


LOOK = EventKind.LOOK
TO_PAYMENT, TO_SUBSCRIPTION = Target(SUBSCRIPTION, ATTEMPT), Target(SUBSCRIPTION)


@pytest.mark.parametrize(
    ("attempt", "target"),
    [
        (tried(), TO_PAYMENT),
        (tried(outcome="unknown"), TO_PAYMENT),
        (tried(instrument="spei"), TO_PAYMENT),
        (tried(outcome="declined"), TO_SUBSCRIPTION),
        (tried(instrument="card"), TO_SUBSCRIPTION),
    ],
)
def test_an_open_voucher_hears_its_own_news(attempt: AttemptFact, target: Target) -> None:
    for said in (
        event(LOOK, attempt_id=str(ATTEMPT)),
        event(LOOK, provider_payment_id="pi_1"),
        event(LOOK, attempt_id="no uuid", provider_payment_id="pi_1"),
    ):
        assert verdict(said, facts(attempt)) == target


def test_workflow_ids_are_those_of_the_engine() -> None:
    assert TO_PAYMENT.workflow_id == f"payment/{ATTEMPT}"
    assert TO_SUBSCRIPTION.workflow_id == f"subscription/{SUBSCRIPTION}"
    assert TO_PAYMENT.next_best() == TO_SUBSCRIPTION
    assert TO_SUBSCRIPTION.next_best() is None


@pytest.mark.parametrize(
    "attempt", [tried(provider="conekta"), tried(account="other"), tried(id=uuid4())]
)
def test_an_attempt_of_another_provider_or_account_is_not_believed(attempt: AttemptFact) -> None:
    said = event(LOOK, attempt_id=str(ATTEMPT), provider_payment_id="pi_2")
    assert isinstance(verdict(said, facts(attempt)), Parked)


def test_invoices_and_subscriptions_lead_to_the_subscription() -> None:
    known = facts(
        invoices={stripe_key("in_1"): InvoiceFact(INVOICE, SUBSCRIPTION, "pending", 0)},
        subscriptions={SUBSCRIPTION: row()},
        subscriptions_by_object={stripe_key("sub_1"): row()},
    )
    for said in (
        event(LOOK, provider_invoice_id="in_1"),
        event(LOOK, subscription_id=str(SUBSCRIPTION)),
        event(LOOK, provider_subscription_id="sub_1"),
        event(LOOK, provider_invoice_id="in_2", provider_subscription_id="sub_1"),
    ):
        assert verdict(said, known) == TO_SUBSCRIPTION
    elsewhere = event(LOOK, provider_invoice_id="in_1", account="other")
    assert isinstance(verdict(elsewhere, known), Parked)


def row(**changes: Any) -> SubscriptionFact:
    values: dict[str, Any] = {
        "id": SUBSCRIPTION,
        "status": "active",
        "provider_subscription_id": "sub_1",
        "current_period_end": NOW,
        "cancel_at_period_end": False,
    }
    return SubscriptionFact(**values | changes)


def test_strangers_are_told_apart_after_some_tries() -> None:
    stranger = event(LOOK, provider_payment_id="pi_x")
    assert isinstance(verdict(stranger, facts(), tries=2), Parked)
    assert verdict(stranger, facts(), tries=3) is Disposition.NOT_OURS


@pytest.mark.parametrize("name", ["subscription_id", "attempt_id"])
def test_what_names_us_is_never_given_up(name: str) -> None:
    said = event(LOOK, **{name: str(uuid4())})
    young, old = (verdict(said, facts(), 99, timedelta(hours=age)) for age in (1, 25))
    assert young == Parked("waiting for its subscription")
    assert old == Parked("no such subscription")


def told(kind: EventKind, **values: Any) -> ProviderEvent:
    return event(kind, attempt_id=str(ATTEMPT), subscription_id=str(SUBSCRIPTION), **values)


KNOWN = {stripe_key("ch_1")}
SAME_MONEY = [
    (payment(PaymentStatus.PENDING), {}, "pending"),
    (payment(PaymentStatus.PREPARED), {}, "unknown"),
    (payment(), {"captures": KNOWN}, "succeeded"),
    (
        payment(amount_refunded_minor=40),
        {"captures": KNOWN, "refunded_minor_by_attempt": {ATTEMPT: 40}},
        "succeeded",
    ),
    (payment(PaymentStatus.EXPIRED), {}, "declined"),
    (payment(PaymentStatus.CANCELED), {}, "not_attempted"),
]
NEW_MONEY = [
    (payment(), {}, "pending"),
    (payment(), {"captures": {stripe_key("ch_2")}}, "succeeded"),
    (payment(), {"captures": {stripe_key("ch_1", "other")}}, "succeeded"),
    (payment(captures=[]), {}, "succeeded"),
    (payment(amount_refunded_minor=40), {"captures": KNOWN}, "succeeded"),
    (payment(PaymentStatus.EXPIRED), {}, "pending"),
    (payment(PaymentStatus.EXPIRED), {}, "unknown"),
    (payment(PaymentStatus.EXPIRED, captures=[CAPTURE]), {"captures": KNOWN}, "declined"),
]


@pytest.mark.parametrize(("said", "known", "outcome"), SAME_MONEY)
def test_money_that_is_booked_is_nothing_new(
    said: PaymentSnapshot, known: dict[str, Any], outcome: str
) -> None:
    heard = told(EventKind.PAYMENT, payment=said)
    found = verdict(heard, facts(tried(outcome=outcome), **known))
    assert found is Disposition.NOTHING_NEW


@pytest.mark.parametrize(("said", "known", "outcome"), NEW_MONEY)
def test_money_that_is_not_booked_is_told(
    said: PaymentSnapshot, known: dict[str, Any], outcome: str
) -> None:
    heard = told(EventKind.PAYMENT, payment=said)
    assert isinstance(verdict(heard, facts(tried(outcome=outcome), **known)), Target)


PAID, OPEN = ProviderInvoiceStatus.PAID, ProviderInvoiceStatus.OPEN


@pytest.mark.parametrize(
    ("said", "status", "booked", "new"),
    [
        (bill(OPEN), "pending", set(), False),
        (bill(OPEN, attempt_count=1), "pending", set(), True),
        (bill(PAID, captures=[CAPTURE]), "paid", KNOWN, False),
        (bill(PAID), "paid", set(), False),
        (bill(PAID, captures=[CAPTURE]), "paid", set(), True),
        (bill(PAID, captures=[CAPTURE]), "pending", KNOWN, True),
        (bill(PAID, captures=[CAPTURE], amount_refunded_minor=1), "paid", KNOWN, True),
        (bill(ProviderInvoiceStatus.VOID), "pending", set(), True),
    ],
)
def test_an_invoice_is_news_until_it_is_booked(
    said: InvoiceSnapshot, status: str, booked: set[ProviderKey], new: bool
) -> None:
    known = facts(
        invoices={stripe_key("in_1"): InvoiceFact(INVOICE, SUBSCRIPTION, status, 0)},
        captures=booked,
    )
    heard = event(EventKind.INVOICE, provider_invoice_id="in_1", invoice=said)
    expected = TO_SUBSCRIPTION if new else Disposition.NOTHING_NEW
    assert verdict(heard, known) == expected


CANCELED = ProviderSubscriptionStatus.CANCELED


@pytest.mark.parametrize(
    ("said", "ours", "new"),
    [
        (snapshot(), row(), False),
        (snapshot(status=CANCELED, cancel_at_period_end=True), row(status="canceled"), False),
        (snapshot(status=CANCELED), row(status="expired"), False),
        (snapshot(status=CANCELED), row(), True),
        (snapshot(status=ProviderSubscriptionStatus.PAST_DUE), row(), True),
        (snapshot(current_period_end=NOW + timedelta(days=30)), row(), True),
        (snapshot(cancel_at_period_end=True), row(), True),
        (snapshot(provider_subscription_id="sub_2"), row(), True),
        (snapshot(), row(provider_subscription_id=None), True),
    ],
)
def test_a_subscription_is_news_when_it_differs_from_the_row(
    said: SubscriptionSnapshot, ours: SubscriptionFact, new: bool
) -> None:
    known = facts(subscriptions={SUBSCRIPTION: ours})
    heard = event(EventKind.SUBSCRIPTION, subscription_id=str(SUBSCRIPTION), subscription=said)
    expected = TO_SUBSCRIPTION if new else Disposition.NOTHING_NEW
    assert verdict(heard, known) == expected


@pytest.mark.parametrize(
    ("event_type", "outcome", "new"),
    [
        ("charge.paid", "pending", True),
        ("charge.created", "pending", False),
        ("charge.created", "unknown", True),
        ("charge.expired", "declined", False),
        ("charge.expired", "pending", True),
        ("charge.expired", "succeeded", False),
        ("charge.refunded", "succeeded", True),
        ("refund.created", "succeeded", True),
        ("payment_intent.succeeded", "succeeded", True),
    ],
)
def test_a_look_is_an_echo_only_where_it_can_say_nothing_else(
    event_type: str, outcome: str, new: bool
) -> None:
    heard = told(LOOK, event_type=event_type)
    found = verdict(heard, facts(tried(outcome=outcome, instrument="card")))
    assert found == (TO_SUBSCRIPTION if new else Disposition.NOTHING_NEW)


def test_a_second_transfer_to_one_clabe_is_news() -> None:
    """Conekta tells of it by its charge alone, on an order that is paid already."""
    heard = told(LOOK, event_type="charge.paid", provider_charge_id="ch_1")
    paid = tried(outcome="succeeded", instrument="spei")
    assert verdict(heard, facts(paid)) == TO_SUBSCRIPTION
    known = facts(paid)
    known.captures = {key_of(heard, "ch_1")}
    assert verdict(heard, known) == Disposition.NOTHING_NEW


def test_a_dispute_has_a_workflow_of_its_own() -> None:
    """It names a charge, and whose that is has to be read."""
    found = verdict(told(EventKind.DISPUTE, event_type="charge.dispute.created"), facts())
    assert isinstance(found, Target)
    assert found.workflow_id == f"dispute/{found.dispute_event_id}"


def test_an_id_in_metadata_may_be_anything() -> None:
    for text in ("", "x", "{}", str(UUID(int=0)), "' OR 1=1 --"):
        said = event(LOOK, attempt_id=text or None, subscription_id=text or None)
        assert isinstance(verdict(said, facts(tried())), Parked)
