"""Where a provider's event belongs, and whether it says anything that we do not know. Pure rules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from activities.event_facts import (
    AttemptFact,
    DueEvent,
    EventFacts,
    SubscriptionFact,
    captures_of,
    key_of,
)
from models.commands import (
    dispute_workflow_id,
    late_workflow_id,
    payment_workflow_id,
    purchase_workflow_id,
    subscription_workflow_id,
)
from models.events import EventKind, ProviderEvent
from models.ids import our_id
from models.outcomes import OPEN_OUTCOMES, PAID_BY_HAND, OutcomeClass
from models.snapshots import (
    PaymentSnapshot,
    PaymentStatus,
    ProviderInvoiceStatus,
    ProviderSubscriptionStatus,
    SubscriptionSnapshot,
)
from models.states import TERMINAL_STATUSES, InvoiceStatus

# Strangers' events are looked up this often: our own row may be a moment behind the provider.
NOT_OURS_TRIES = 3
PATIENCE = timedelta(hours=24)

_UNPAID = frozenset({OutcomeClass.DECLINED, OutcomeClass.NOT_ATTEMPTED})
# Looks that come beside the payment's own event, and the outcomes to which they add nothing. Listed one by
# one: refunds are looks too, and must never be taken for old news.
_ECHOES: dict[str, frozenset[OutcomeClass]] = {
    "charge.created": frozenset(OutcomeClass) - {OutcomeClass.UNKNOWN},
    "charge.paid": frozenset({OutcomeClass.SUCCEEDED}),
    # Also once it was paid: an order offers several charges, and those that nobody used expire.
    "charge.expired": _UNPAID | {OutcomeClass.SUCCEEDED},
    "charge.canceled": _UNPAID | {OutcomeClass.SUCCEEDED},
}
_UNPAID_ENDS = frozenset({PaymentStatus.DECLINED, PaymentStatus.EXPIRED, PaymentStatus.CANCELED})


@dataclass(frozen=True)
class Target:
    """A workflow that should hear of an event. `attempt_id` is set when it is a payment's own; either
    `subscription_id` or `purchase_id` says whose."""

    subscription_id: UUID | None
    attempt_id: UUID | None = None
    purchase_id: UUID | None = None
    dispute_event_id: UUID | None = (
        None  # Nobody's yet: a workflow of its own finds out whose it is.
    )
    follow_id: UUID | None = None  # The inbox row, where a workflow of its own follows the money.

    @property
    def workflow_id(self) -> str:
        if self.dispute_event_id is not None:
            return dispute_workflow_id(self.dispute_event_id)
        if self.follow_id is not None:
            return late_workflow_id(self.follow_id)
        if self.attempt_id is not None:
            return payment_workflow_id(self.attempt_id)
        if self.purchase_id is not None:
            return purchase_workflow_id(self.purchase_id)
        return subscription_workflow_id(self.subscription_id) if self.subscription_id else ""

    def next_best(self) -> Target | None:
        """Who hears of it when this one is over."""
        if self.attempt_id is None:
            return None
        return Target(self.subscription_id, purchase_id=self.purchase_id)


class Disposition(StrEnum):
    """Why a row was settled without a workflow."""

    APPLIED = "applied"
    NOTHING_NEW = "nothing_new"
    NOT_OURS = "not_ours"


@dataclass(frozen=True)
class Parked:
    """Kept, and tried again: what it belongs to may be on its way."""

    reason: str


Verdict = Target | Disposition | Parked


def judge(due: DueEvent, facts: EventFacts, moment: datetime) -> Verdict:
    event = due.event
    if event.kind is EventKind.DISPUTE:
        return Target(None, dispute_event_id=due.id)
    if _says_nothing(event):
        return Disposition.NOTHING_NEW
    target = find_target(event, facts)
    for_the_books = event.failed_refund is not None or target is None or target.purchase_id is None
    if event.money_back and for_the_books:
        # It asks nothing of the subscription: its books follow, whether it lives or has ended. And who is
        # meant may not be seen here: a provider names a refunded invoice by its payment alone.
        known = target is not None and is_nothing_new(event, target, facts)
        owner = target.subscription_id if target is not None else None
        return Disposition.NOTHING_NEW if known else Target(owner, follow_id=due.id)
    if target is None:
        return _without_target(due, moment)
    if is_nothing_new(event, target, facts):
        return Disposition.NOTHING_NEW
    return target


def find_target(event: ProviderEvent, facts: EventFacts) -> Target | None:
    """By our own rows only: metadata may name any id, but the row has to be this provider's."""
    attempt = find_attempt(event, facts)
    if attempt is not None:
        waits = attempt.outcome in OPEN_OUTCOMES and attempt.instrument in PAID_BY_HAND
        payment_id = attempt.id if waits else None
        if attempt.subscription_id is not None:
            return Target(attempt.subscription_id, payment_id)
        if attempt.purchase_id is not None:
            return Target(None, payment_id, attempt.purchase_id)
    if event.provider_invoice_id is not None:
        invoice = facts.invoices.get(key_of(event, event.provider_invoice_id))
        if invoice is not None and invoice.subscription_id is not None:
            return Target(invoice.subscription_id)
    subscription = _find_subscription(event, facts)
    return Target(subscription.id) if subscription is not None else None


def find_attempt(event: ProviderEvent, facts: EventFacts) -> AttemptFact | None:
    attempt_id = our_id(event.attempt_id)
    attempt = facts.attempts.get(attempt_id) if attempt_id else None
    if attempt is not None and (attempt.provider, attempt.account) == (
        event.provider.value,
        event.account,
    ):
        return attempt
    if event.provider_payment_id is None:
        return None
    return facts.attempts_by_object.get(key_of(event, event.provider_payment_id))


def _find_subscription(event: ProviderEvent, facts: EventFacts) -> SubscriptionFact | None:
    subscription_id = our_id(event.subscription_id)
    if subscription_id in facts.subscriptions:
        return facts.subscriptions[subscription_id]
    if event.provider_subscription_id is None:
        return None
    return facts.subscriptions_by_object.get(key_of(event, event.provider_subscription_id))


def _without_target(due: DueEvent, moment: datetime) -> Verdict:
    event = due.event
    names_us = event.subscription_id is not None or event.attempt_id is not None
    if not names_us and due.tries >= NOT_OURS_TRIES:
        return Disposition.NOT_OURS
    if moment - due.received_at > PATIENCE:
        return Parked("no such subscription")
    return Parked("waiting for its subscription")


def _says_nothing(event: ProviderEvent) -> bool:
    """Known without looking: something can be paid, and nobody has tried yet."""
    if event.kind is EventKind.PAYMENT and event.payment is not None:
        return event.payment.status in {PaymentStatus.PREPARED, PaymentStatus.PENDING}
    if event.kind is EventKind.INVOICE and event.invoice is not None:
        unpaid = event.invoice.status is ProviderInvoiceStatus.OPEN
        return unpaid and event.invoice.attempt_count == 0
    return False


def is_nothing_new(event: ProviderEvent, target: Target, facts: EventFacts) -> bool:
    """Whether our rows say already what the event says. In doubt it is news: a workflow that is told
    twice does nothing, one that is not told does not know."""
    if event.kind is EventKind.PAYMENT and event.payment is not None:
        return _payment_is_known(event, event.payment, facts)
    if event.kind is EventKind.INVOICE:
        return _invoice_is_known(event, facts)
    if event.kind is EventKind.SUBSCRIPTION and event.subscription is not None:
        if target.subscription_id is None:
            return False
        row = facts.subscriptions.get(target.subscription_id)
        return row is not None and _subscription_is_known(event.subscription, row)
    if event.kind is EventKind.LOOK:
        return _is_echo(event, facts)
    return False


def _is_echo(event: ProviderEvent, facts: EventFacts) -> bool:
    attempt = find_attempt(event, facts)
    if attempt is None or attempt.outcome not in _ECHOES.get(event.event_type, ()):
        return False
    if event.event_type != "charge.paid":
        return True
    # A customer who transfers twice to one CLABE is told of by this alone: only money that is booked
    # already is an echo.
    charge_id = event.provider_charge_id
    return charge_id is not None and key_of(event, charge_id) in facts.captures


def _captures_are_known(event: ProviderEvent, facts: EventFacts) -> bool:
    return all(
        key_of(event, capture.provider_charge_id) in facts.captures
        for capture in captures_of(event)
    )


def _payment_is_known(event: ProviderEvent, payment: PaymentSnapshot, facts: EventFacts) -> bool:
    attempt = find_attempt(event, facts)
    if attempt is None:
        return False
    refunded_minor = facts.refunded_minor_by_attempt.get(attempt.id, 0)
    if payment.amount_refunded_minor != refunded_minor:
        return False
    if payment.status is PaymentStatus.SUCCEEDED:
        return bool(payment.captures) and _captures_are_known(event, facts)
    return payment.status in _UNPAID_ENDS and not payment.captures and attempt.outcome in _UNPAID


def _invoice_is_known(event: ProviderEvent, facts: EventFacts) -> bool:
    invoice = event.invoice
    if invoice is None or invoice.status is not ProviderInvoiceStatus.PAID:
        return False
    row = facts.invoices.get(key_of(event, invoice.provider_invoice_id))
    return (
        row is not None
        and row.status == InvoiceStatus.PAID
        and row.amount_refunded_minor == invoice.amount_refunded_minor
        and _captures_are_known(event, facts)
    )


def _subscription_is_known(snapshot: SubscriptionSnapshot, row: SubscriptionFact) -> bool:
    if snapshot.provider_subscription_id != row.provider_subscription_id:
        return False
    if snapshot.status is ProviderSubscriptionStatus.CANCELED:
        # Over on both sides: what the periods were no longer matters.
        return row.status in TERMINAL_STATUSES
    return (
        snapshot.status.value == row.status
        and snapshot.current_period_end == row.current_period_end
        and snapshot.cancel_at_period_end == row.cancel_at_period_end
    )
