"""Every kind of row as one sentence that a person enjoys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from api import sentences
from models.outcomes import OutcomeClass
from models.states import SubscriptionEvent
from models.storage.tables import (
    AuditEntry,
    ChargeAttempt,
    CreditEntry,
    Dispute,
    FallbackEvent,
    Invoice,
    OutboundEvent,
    Payment,
    Refund,
    WebhookEvent,
)

NOW = datetime(2026, 11, 22, 18, tzinfo=UTC)
ID = UUID(int=7)


def audit(action: str, actor: str = "engine", **after: Any) -> AuditEntry:
    return AuditEntry(id=ID, version=3, actor=actor, action=action, before={}, after=after, at=NOW)


def attempt(**changes: Any) -> ChargeAttempt:
    values: dict[str, Any] = {
        "id": ID,
        "invoice_id": ID,
        "provider": "conekta",
        "instrument": "oxxo",
        "amount_minor": 19900,
        "currency": "MXN",
        "outcome": "pending",
        "next_action": {"vouchers": [{"reference": "93000262276908"}]},
        "started_at": NOW,
        "finished_at": NOW,
    }
    return ChargeAttempt(**values | changes)


def payment(kind: str, **changes: Any) -> Payment:
    values: dict[str, Any] = {
        "id": ID,
        "invoice_id": ID,
        "provider": "conekta",
        "provider_charge_id": "ch_1",
        "kind": kind,
        "amount_minor": 19900,
        "applied_minor": 19900,
        "currency": "MXN",
        "occurred_at": NOW,
        "recorded_at": NOW,
    }
    return Payment(**values | changes)


def invoice(**changes: Any) -> Invoice:
    values: dict[str, Any] = {
        "id": ID,
        "amount_minor": 19900,
        "currency": "MXN",
        "status": "paid",
        "invoice_date": NOW,
        "due_date": NOW + timedelta(days=3),
        "paid_at": NOW,
        "period_end": NOW + timedelta(days=30),
    }
    return Invoice(**values | changes)


def webhook(**changes: Any) -> WebhookEvent:
    values: dict[str, Any] = {
        "id": ID,
        "provider": "conekta",
        "provider_event_id": "evt_1",
        "event_type": "order.paid",
        "payload": {"secret": "hidden"},
        "received_at": NOW,
        "applied_at": NOW,
        "disposition": "applied",
        "attempts": 1,
    }
    return WebhookEvent(**values | changes)


FALLBACK = FallbackEvent(
    id=ID,
    attempted_provider="conekta",
    fallback_provider="stripe",
    reason="api_error",
    timestamp=NOW,
)
REFUND = Refund(
    id=ID,
    invoice_id=ID,
    payment_id=ID,
    provider="stripe",
    amount_minor=5000,
    currency="MXN",
    status="pending",
    actor="key:abk_test",
    created_at=NOW,
)


def credit(amount_minor: int) -> CreditEntry:
    return CreditEntry(
        id=ID, amount_minor=amount_minor, currency="MXN", reason="paid_twice", created_at=NOW
    )


def dispute(**changes: Any) -> Dispute:
    values: dict[str, Any] = {
        "id": ID,
        "provider": "stripe",
        "provider_dispute_id": "dp_1",
        "amount_minor": 19900,
        "currency": "MXN",
        "reason": "product_not_received",
        "status": "open",
        "opened_at": NOW,
    }
    return Dispute(**values | changes)


EVENT = OutboundEvent(id=ID, sequence=4, type="invoice.paid", data={}, created_at=NOW)
OPERATOR = "key:abk_test"

TITLES: list[tuple[sentences.TimelineEntry, str]] = [
    (
        sentences.of_audit(audit("payment_failed", status="past_due")),
        "It became past due: a payment is missing.",
    ),
    (
        sentences.of_audit(audit("route.chosen", candidates=["conekta", "stripe"])),
        "The routing rules chose who collects: conekta, then stripe.",
    ),
    (sentences.of_audit(audit("route.chosen")), "The routing rules chose who collects: nobody."),
    (
        sentences.of_audit(audit("cancel", OPERATOR, immediately=True)),
        "A cancellation was asked for, at once.",
    ),
    (
        sentences.of_audit(audit("cancel", OPERATOR, immediately=False)),
        "A cancellation was asked for, at the end of what is paid.",
    ),
    (
        sentences.of_audit(audit("operator.retry", OPERATOR, reason="customer called")),
        "An operator had the open invoice tried again at once: “customer called”.",
    ),
    (
        sentences.of_audit(
            audit("operator.mark_paid", amount_minor=5000, currency="MXN", reason="deposit")
        ),
        "An operator booked 50.00 MXN that came in outside of the providers: “deposit”.",
    ),
    (
        sentences.of_audit(audit("operator.declare", declared="not_executed")),
        "An operator declared that an attempt was not executed.",
    ),
    (
        sentences.of_audit(audit("payment.unapplied", unapplied_minor=1)),
        "Money came in that pays no invoice; it is kept in sight.",
    ),
    (sentences.of_audit(audit("plan.changed_somehow")), "Plan changed somehow."),
    (
        sentences.of_invoice(invoice()),
        "An invoice of 199.00 MXN was made, due 2026-11-25 18:00 UTC.",
    ),
    (sentences.of_invoice(invoice(due_date=NOW)), "An invoice of 199.00 MXN was made."),
    (
        sentences.of_paid_invoice(invoice()),
        "The invoice of 199.00 MXN was paid in full. It pays until 2026-12-22 18:00 UTC.",
    ),
    (sentences.of_attempt(attempt()), "Conekta was asked for a voucher of 199.00 MXN."),
    (
        sentences.of_attempt(attempt(instrument="card", provider="stripe")),
        "Stripe was asked to charge 199.00 MXN to the card.",
    ),
    (
        sentences.of_finished_attempt(attempt(outcome="declined", reason="insufficient_funds")),
        "Conekta did not collect 199.00 MXN (insufficient funds).",
    ),
    (
        sentences.of_payment(payment("capture")),
        "199.00 MXN arrived by conekta for the invoice.",
    ),
    (
        sentences.of_payment(payment("capture", applied_minor=0)),
        "199.00 MXN arrived by conekta for no invoice: it is kept in sight.",
    ),
    (
        sentences.of_payment(payment("capture", applied_minor=10000)),
        "199.00 MXN arrived by conekta for the invoice; 99.00 MXN of it is too much and kept"
        " in sight.",
    ),
    (
        sentences.of_payment(payment("out_of_band", provider=None)),
        "199.00 MXN, received 2026-11-22 18:00 UTC outside of the providers, was booked for the"
        " invoice.",
    ),
    (
        sentences.of_payment(payment("refund")),
        "199.00 MXN went back to the customer by conekta.",
    ),
    (
        sentences.of_payment(payment("refund_reversal")),
        "199.00 MXN came back from conekta: the refund failed after it had gone.",
    ),
    (
        sentences.of_payment(payment("dispute")),
        "199.00 MXN was taken back through the customer's bank.",
    ),
    (
        sentences.of_payment(payment("dispute_reversal")),
        "199.00 MXN came back: the dispute was won.",
    ),
    (sentences.of_payment(payment("new_kind")), "199.00 MXN moved (new kind)."),
    (
        sentences.of_refund(REFUND),
        "A refund of 50.00 MXN by stripe was ordered; it is pending.",
    ),
    (sentences.of_credit(credit(500)), "5.00 MXN was credited to the customer (paid twice)."),
    (sentences.of_credit(credit(-500)), "5.00 MXN of the credit was used (paid twice)."),
    (
        sentences.of_dispute(dispute(evidence_due_at=NOW)),
        "The customer's bank disputes 199.00 MXN (product not received); evidence is due 2026-11-22"
        " 18:00 UTC.",
    ),
    (
        sentences.of_closed_dispute(dispute(status="lost", closed_at=NOW)),
        "The dispute about 199.00 MXN was closed: lost.",
    ),
    (sentences.of_fallback(FALLBACK), "Stripe was asked instead of conekta (api error)."),
    (sentences.of_webhook(webhook()), "Conekta reported order.paid."),
    (
        sentences.of_applied_webhook(webhook(disposition="nothing_new")),
        "The report order.paid of conekta was dealt with: our books said it already.",
    ),
    (
        sentences.of_applied_webhook(webhook(disposition="some_other")),
        "The report order.paid of conekta was dealt with: some other.",
    ),
    (sentences.of_event(EVENT), "The app was told invoice.paid."),
]


@pytest.mark.parametrize(("entry", "title"), TITLES, ids=[title for _, title in TITLES])
def test_the_sentence(entry: sentences.TimelineEntry, title: str) -> None:
    assert entry.title == title
    assert entry.at == NOW
    text = entry.model_dump_json()
    assert "93000262276908" not in text, "what a customer would pay with stays out"
    assert "hidden" not in text


def test_every_kind_has_a_sentence() -> None:
    assert {entry.kind for entry, _ in TITLES} == set(sentences.EntryKind)


@pytest.mark.parametrize("event", SubscriptionEvent)
def test_every_move_has_words_of_its_own(event: SubscriptionEvent) -> None:
    title = sentences.of_audit(audit(str(event), status="active")).title
    assert title.startswith(("It ", "The trial"))


@pytest.mark.parametrize("outcome", OutcomeClass)
def test_every_outcome_has_a_sentence(outcome: OutcomeClass) -> None:
    title = sentences.of_finished_attempt(attempt(outcome=str(outcome))).title
    assert title.startswith("Conekta")


def test_who_acted_is_said() -> None:
    assert sentences.of_audit(audit("cancel", OPERATOR)).actor == OPERATOR
    assert sentences.of_payment(payment("capture")).actor == "provider:conekta"
    assert sentences.of_payment(payment("out_of_band", provider=None)).actor == "operator"


def test_a_long_reason_is_cut() -> None:
    title = sentences.of_audit(audit("operator.retry", reason="x" * 1000)).title
    assert len(title) < 300
