"""From a row to one sentence of a subscription's timeline. Pure: rows in, entries out, nothing is read.

Provider ids and references are fine for an operator; names, addresses, tokens and what a customer would pay
with (voucher references, CLABEs, pages) never come in here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from models.explaining import SLIP_BY_INSTRUMENT, at, money
from models.outcomes import Instrument, OutcomeClass
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

# Wide enough for any reason that a person writes, bounded against an accident.
_QUOTE_LENGTH_MAX = 200
ENGINE = "engine"
OUT_OF_BAND = "out_of_band"


class EntryKind(StrEnum):
    AUDIT = "audit"
    INVOICE = "invoice"
    ATTEMPT = "attempt"
    PAYMENT = "payment"
    REFUND = "refund"
    CREDIT = "credit"
    DISPUTE = "dispute"
    FALLBACK = "fallback"
    WEBHOOK = "webhook"
    EVENT = "event"


class TimelineEntry(BaseModel):
    """`title` is for people, `details` holds the ids. `actor`: `engine`, `provider:…`, `key:…`,
    `operator:…` or `customer`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "at": "2026-11-22T18:00:01Z",
                    "kind": "payment",
                    "title": "199.00 MXN arrived by conekta for the invoice.",
                    "actor": "provider:conekta",
                    "details": {"invoice_id": "01890a5d-ac96-774b-bcce-b302099a8061"},
                }
            ]
        }
    )

    at: datetime
    kind: EntryKind
    title: str
    actor: str
    details: dict[str, Any]


def _entry(
    moment: datetime, kind: EntryKind, title: str, actor: str, **details: object
) -> TimelineEntry:
    told = {name: value for name, value in details.items() if value is not None}
    return TimelineEntry(at=moment, kind=kind, title=title, actor=actor, details=told)


# Audit ---------------------------------------------------------------------------------------

_AUDIT_SENTENCES: dict[str, str] = {
    "trial_started": "The trial began.",
    "payment_succeeded": "It became {after_status}: a payment came in.",
    "payment_failed": "It became {after_status}: a payment is missing.",
    "paused": "It was paused.",
    "resumed": "It was resumed.",
    "resumed_unpaid": "It was resumed; a new period begins and is not paid yet.",
    "pause": "A pause was asked for, or when it ends was changed.",
    "resume.refused": "The pause could not be ended by itself.",
    "set_payment_method": "Another payment method pays from now on.",
    "canceled": "It ended: canceled.",
    "gave_up": "It ended: nobody paid in time.",
    "resume": "A cancellation or a pause was taken back.",
    "retry": "A new try at the open invoice was asked for.",
    "operator.retry": "An operator had the open invoice tried again at once.",
    "operator.reissue": "An operator had the slip replaced by a new one.",
    "operator.mark_paid": "An operator booked {money} that came in outside of the providers.",
    "operator.ask": "An operator had the provider asked at once what became of an attempt.",
    "operator.declare": "An operator declared that an attempt was {declared}.",
    "webhook.replayed": "An operator had a webhook delivered again.",
}


def of_audit(row: AuditEntry) -> TimelineEntry:
    after: Mapping[str, Any] = row.after or {}
    title = _audit_title(row.action, after)
    if after.get("reason"):
        title = f"{title.rstrip('.')}: “{str(after['reason'])[:_QUOTE_LENGTH_MAX]}”."
    details = {"action": row.action, "version": row.version}
    return _entry(
        row.at, EntryKind.AUDIT, title, row.actor, id=str(row.id), **details, after=dict(after)
    )


def _audit_title(action: str, after: Mapping[str, Any]) -> str:
    if action == "route.chosen":
        candidates = [str(name) for name in after.get("candidates", [])]
        order = ", then ".join(candidates) or "nobody"
        return f"The routing rules chose who collects: {order}."
    if action == "cancel":
        when = "at once" if after.get("immediately") else "at the end of what is paid"
        return f"A cancellation was asked for, {when}."
    if action == "payment.unapplied":
        return "Money came in that pays no invoice; it is kept in sight."
    sentence = _AUDIT_SENTENCES.get(action)
    if sentence is None:
        return f"{_words(action)}."
    return sentence.format(
        after_status=_words(str(after.get("status", "")), capital=False),
        money=_money_of(after),
        declared=_words(str(after.get("declared", "")), capital=False),
    )


# The money -----------------------------------------------------------------------------------


def of_invoice(row: Invoice) -> TimelineEntry:
    price = money(row.amount_minor, row.currency)
    due = f", due {at(row.due_date)}" if row.due_date > row.invoice_date else ""
    title = f"An invoice of {price} was made{due}."
    return _entry(
        row.invoice_date,
        EntryKind.INVOICE,
        title,
        ENGINE,
        invoice_id=str(row.id),
        provider_invoice_id=row.provider_invoice_id,
        status=row.status,
    )


def of_paid_invoice(row: Invoice) -> TimelineEntry:
    until = f" It pays until {at(row.period_end)}." if row.period_end else ""
    return _entry(
        row.paid_at or row.invoice_date,
        EntryKind.INVOICE,
        f"The invoice of {money(row.amount_minor, row.currency)} was paid in full.{until}",
        ENGINE,
        invoice_id=str(row.id),
        status=row.status,
    )


def of_attempt(row: ChargeAttempt) -> TimelineEntry:
    amount = money(row.amount_minor, row.currency)
    instrument = Instrument(row.instrument)
    if instrument is Instrument.CARD:
        title = f"{_capital(row.provider)} was asked to charge {amount} to the card."
    else:
        slip = SLIP_BY_INSTRUMENT[instrument]
        title = f"{_capital(row.provider)} was asked for a {slip} of {amount}."
    return _attempt_entry(row, row.started_at, title, ENGINE)


_ENDING_BY_OUTCOME: dict[OutcomeClass, str] = {
    OutcomeClass.SUCCEEDED: "{provider} collected {amount}.",
    OutcomeClass.DECLINED: "{provider} did not collect {amount}{reason}.",
    OutcomeClass.NOT_ATTEMPTED: "{provider} charged nothing{reason}.",
    OutcomeClass.PENDING: "{provider} waits for the customer to pay {amount}.",
    OutcomeClass.UNKNOWN: "{provider} has not said whether {amount} was collected.",
}


def of_finished_attempt(row: ChargeAttempt) -> TimelineEntry:
    reason = f" ({_words(row.reason, capital=False)})" if row.reason else ""
    title = _ENDING_BY_OUTCOME[OutcomeClass(row.outcome)].format(
        provider=_capital(row.provider), amount=money(row.amount_minor, row.currency), reason=reason
    )
    moment = row.finished_at or row.started_at
    return _attempt_entry(row, moment, title, f"provider:{row.provider}")


def _attempt_entry(row: ChargeAttempt, moment: datetime, title: str, actor: str) -> TimelineEntry:
    return _entry(
        moment,
        EntryKind.ATTEMPT,
        title,
        actor,
        attempt_id=str(row.id),
        invoice_id=str(row.invoice_id),
        provider=row.provider,
        provider_object_id=row.provider_object_id,
        outcome=row.outcome,
        reason=row.reason,
    )


def of_payment(row: Payment) -> TimelineEntry:
    amount = money(row.amount_minor, row.currency)
    title = _PAYMENT_SENTENCES.get(row.kind, _of_other_payment)(row, amount)
    actor = f"provider:{row.provider}" if row.provider else "operator"
    outside = row.kind == OUT_OF_BAND
    return _entry(
        # What an operator books may be days old: it belongs where it was booked.
        row.recorded_at if outside else row.occurred_at,
        EntryKind.PAYMENT,
        title,
        actor,
        payment_id=str(row.id),
        invoice_id=str(row.invoice_id),
        attempt_id=str(row.attempt_id) if row.attempt_id else None,
        provider_charge_id=row.provider_charge_id,
        applied_minor=row.applied_minor,
    )


def _of_capture(row: Payment, amount: str) -> str:
    return f"{amount} arrived by {row.provider} {_what_for(row)}."


def _of_outside(row: Payment, amount: str) -> str:
    return f"{amount}, received {at(row.occurred_at)} outside of the providers, was booked {_what_for(row)}."


def _what_for(row: Payment) -> str:
    if row.applied_minor == 0:
        return "for no invoice: it is kept in sight"
    if row.applied_minor < row.amount_minor:
        rest = money(row.amount_minor - row.applied_minor, row.currency)
        return f"for the invoice; {rest} of it is too much and kept in sight"
    return "for the invoice"


def _of_refund(row: Payment, amount: str) -> str:
    return f"{amount} went back to the customer by {row.provider}."


def _of_refund_reversal(row: Payment, amount: str) -> str:
    return f"{amount} came back from {row.provider}: the refund failed after it had gone."


def _of_dispute(row: Payment, amount: str) -> str:
    return f"{amount} was taken back through the customer's bank."


def _of_dispute_reversal(row: Payment, amount: str) -> str:
    return f"{amount} came back: the dispute was won."


def _of_other_payment(row: Payment, amount: str) -> str:
    return f"{amount} moved ({_words(row.kind, capital=False)})."


_PAYMENT_SENTENCES: dict[str, Callable[[Payment, str], str]] = {
    "capture": _of_capture,
    OUT_OF_BAND: _of_outside,
    "refund": _of_refund,
    "refund_reversal": _of_refund_reversal,
    "dispute": _of_dispute,
    "dispute_reversal": _of_dispute_reversal,
}


def of_refund(row: Refund) -> TimelineEntry:
    amount = money(row.amount_minor, row.currency)
    return _entry(
        row.created_at,
        EntryKind.REFUND,
        f"A refund of {amount} by {row.provider} was ordered; it is {_words(row.status, capital=False)}.",
        row.actor,
        refund_id=str(row.id),
        invoice_id=str(row.invoice_id),
        payment_id=str(row.payment_id),
        provider_refund_id=row.provider_refund_id,
        failure_code=row.failure_code,
    )


def of_credit(row: CreditEntry) -> TimelineEntry:
    amount = money(abs(row.amount_minor), row.currency)
    what = "was credited to the customer" if row.amount_minor > 0 else "of the credit was used"
    return _entry(
        row.created_at,
        EntryKind.CREDIT,
        f"{amount} {what} ({_words(row.reason, capital=False)}).",
        ENGINE,
        credit_entry_id=str(row.id),
        invoice_id=str(row.invoice_id) if row.invoice_id else None,
    )


def of_dispute(row: Dispute) -> TimelineEntry:
    reason = f" ({_words(row.reason, capital=False)})" if row.reason else ""
    until = f"; evidence is due {at(row.evidence_due_at)}" if row.evidence_due_at else ""
    title = f"The customer's bank disputes {money(row.amount_minor, row.currency)}{reason}{until}."
    return _dispute_entry(row, row.opened_at, title)


def of_closed_dispute(row: Dispute) -> TimelineEntry:
    amount = money(row.amount_minor, row.currency)
    title = f"The dispute about {amount} was closed: {_words(row.status, capital=False)}."
    return _dispute_entry(row, row.closed_at or row.opened_at, title)


def _dispute_entry(row: Dispute, moment: datetime, title: str) -> TimelineEntry:
    return _entry(
        moment,
        EntryKind.DISPUTE,
        title,
        f"provider:{row.provider}",
        dispute_id=str(row.id),
        invoice_id=str(row.invoice_id) if row.invoice_id else None,
        provider_dispute_id=row.provider_dispute_id,
        status=row.status,
    )


# What was heard and told ---------------------------------------------------------------------


def of_fallback(row: FallbackEvent) -> TimelineEntry:
    title = (
        f"{_capital(row.fallback_provider)} was asked instead of {row.attempted_provider}"
        f" ({_words(row.reason, capital=False)})."
    )
    return _entry(
        row.timestamp,
        EntryKind.FALLBACK,
        title,
        ENGINE,
        invoice_id=str(row.invoice_id) if row.invoice_id else None,
        reason=row.reason,
    )


def of_webhook(row: WebhookEvent) -> TimelineEntry:
    title = f"{_capital(row.provider)} reported {row.event_type}."
    return _webhook_entry(row, row.received_at, title, f"provider:{row.provider}")


_DISPOSITIONS: dict[str, str] = {
    "applied": "it changed something",
    "nothing_new": "our books said it already",
    "stale": "it spoke of something that lies behind us",
    "read_back": "the provider was read instead",
    "late_payment": "it was money for a slip that had been given up",
    "unapplied_money": "it was money that pays no invoice",
    "subscription_is_over": "the subscription was over",
    "purchase_is_over": "the purchase was over",
}


def of_applied_webhook(row: WebhookEvent) -> TimelineEntry:
    said = row.disposition or "applied"
    meaning = _DISPOSITIONS.get(said, _words(said, capital=False))
    title = f"The report {row.event_type} of {row.provider} was dealt with: {meaning}."
    return _webhook_entry(row, row.applied_at or row.received_at, title, ENGINE)


def _webhook_entry(row: WebhookEvent, moment: datetime, title: str, actor: str) -> TimelineEntry:
    return _entry(
        moment,
        EntryKind.WEBHOOK,
        title,
        actor,
        webhook_id=str(row.id),
        provider_event_id=row.provider_event_id,
        event_type=row.event_type,
        disposition=row.disposition,
        tries=row.attempts,
    )


def of_event(row: OutboundEvent) -> TimelineEntry:
    return _entry(
        row.created_at,
        EntryKind.EVENT,
        f"The app was told {row.type}.",
        ENGINE,
        event_id=str(row.id),
        sequence=row.sequence,
        type=row.type,
    )


def _money_of(values: Mapping[str, Any]) -> str:
    amount, currency = values.get("amount_minor"), values.get("currency")
    return money(int(amount), str(currency)) if amount is not None and currency else "money"


def _words(text: str, *, capital: bool = True) -> str:
    said = text.replace("_", " ").replace(".", " ")
    return _capital(said) if capital else said


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
