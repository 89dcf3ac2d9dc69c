"""From Conekta's subscriptions, and the orders that bill their cycles, to our snapshots.

Money decides, not Conekta's words: a subscription is active when its latest order is paid, incomplete
while nothing was ever paid, and past due when a later cycle was refused.
"""

from __future__ import annotations

from typing import NamedTuple

from models.outcomes import ProviderName
from models.snapshots import (
    Decline,
    InvoiceSnapshot,
    PaymentSnapshot,
    PaymentStatus,
    ProviderInvoiceStatus,
    ProviderSubscriptionStatus,
    SubscriptionSnapshot,
)
from providers.conekta import failures, mapping
from providers.conekta.mapping import ConektaOrder, Tolerant, instant

# Conekta's shortest cycle is a week, and its example has ten seconds between these two times.
_FIRST_CYCLE_SECONDS_MAX = 86_400
_ENDED = frozenset({"canceled", "expired"})
_CLOSED = frozenset({PaymentStatus.CANCELED, PaymentStatus.EXPIRED})


class ConektaSubscription(Tolerant):
    id: str
    status: str | None = None
    plan_id: str | None = None
    card_id: str | None = None
    customer_id: str | None = None
    last_billing_cycle_order_id: str | None = None
    billing_cycle_start: int | None = None
    billing_cycle_end: int | None = None
    trial_start: int | None = None
    trial_end: int | None = None
    subscription_start: int | None = None
    created_at: int | None = None
    canceled_at: int | None = None

    @property
    def began_at(self) -> int:
        return self.subscription_start or self.created_at or 0

    @property
    def has_trial(self) -> bool:
        """Without a trial its two ends are missing, or equal."""
        start = self.trial_start or self.began_at
        return self.trial_end is not None and self.trial_end > start

    @property
    def is_over(self) -> bool:
        return self.status in _ENDED

    @property
    def is_paused(self) -> bool:
        return self.status == "paused"


class Cycle(NamedTuple):
    start: int
    end: int
    first: bool


def subscription_snapshot(
    operation: str, customer_id: str, found: ConektaSubscription, order: ConektaOrder | None
) -> SubscriptionSnapshot:
    """`order` is the one of `last_billing_cycle_order_id`; None while nothing was billed.

    A paused subscription is one that we paused, or ended for the end of its period (see
    `Subscriptions.cancel_at_period_end`): the engine knows which. It is shown as what was paid for.
    """
    if order is None and not found.has_trial and found.status in {"active", "past_due"}:
        raise failures.unreadable(operation, "a billed subscription does not name its order")
    cycle = _cycle(operation, found, order)
    invoice = None if order is None else invoice_snapshot(operation, order, found)
    return SubscriptionSnapshot(
        provider=ProviderName.CONEKTA,
        provider_subscription_id=found.id,
        provider_customer_id=customer_id,
        status=_status(found, invoice),
        current_period_start=instant(cycle.start),
        current_period_end=instant(cycle.end),
        trial_end=instant(found.trial_end) if found.trial_end and found.has_trial else None,
        cancel_at_period_end=found.is_paused,
        is_paused=found.is_paused,
        canceled_at=instant(found.canceled_at) if found.canceled_at else None,
        latest_invoice=invoice,
    )


def invoice_snapshot(
    operation: str, order: ConektaOrder, found: ConektaSubscription | None
) -> InvoiceSnapshot:
    """The order of a billing cycle as an invoice. Orders do not say what period they are for: without
    their subscription, or for an older cycle, only the moment at which the period began is known."""
    payment = mapping.payment_snapshot(operation, order)
    created_at = order.created_at or 0
    cycle = Cycle(created_at, created_at, first=False)
    if found is not None and found.last_billing_cycle_order_id == order.id:
        cycle = _cycle(operation, found, order)
    status = _invoice_status(payment)
    return InvoiceSnapshot(
        provider=ProviderName.CONEKTA,
        provider_invoice_id=order.id,
        provider_subscription_id=found.id if found is not None else None,
        status=status,
        amount_minor=payment.amount_minor,
        currency=payment.currency,
        captures=payment.captures,
        amount_refunded_minor=payment.amount_refunded_minor,
        period_start=instant(cycle.start),
        period_end=instant(cycle.end),
        created_at=instant(created_at),
        # Each try is one charge.
        attempt_count=sum(not charge.is_payable for charge in order.charge_list),
        decline=_decline(payment) if status is ProviderInvoiceStatus.OPEN else None,
        first=cycle.first,
    )


def _status(
    found: ConektaSubscription, invoice: InvoiceSnapshot | None
) -> ProviderSubscriptionStatus:
    if found.is_over:
        return ProviderSubscriptionStatus.CANCELED
    if invoice is None or found.status == "in_trial":
        # Conekta says in_trial also of one without a trial, for the moment before its first charge.
        if found.has_trial:
            return ProviderSubscriptionStatus.TRIALING
        return ProviderSubscriptionStatus.INCOMPLETE
    if invoice.status is ProviderInvoiceStatus.PAID:
        return ProviderSubscriptionStatus.ACTIVE
    if invoice.first:
        return ProviderSubscriptionStatus.INCOMPLETE
    if found.status == "past_due" or invoice.decline is not None:
        return ProviderSubscriptionStatus.PAST_DUE
    return ProviderSubscriptionStatus.ACTIVE


def _cycle(operation: str, found: ConektaSubscription, order: ConektaOrder | None) -> Cycle:
    start, end = found.billing_cycle_start, found.billing_cycle_end
    if order is None and found.has_trial:
        start, end = found.trial_start or found.began_at, found.trial_end
    if found.is_over and (start is None or end is None):
        start = end = found.began_at
    if start is None or end is None:
        raise failures.unreadable(operation, "the subscription has no billing cycle")
    if order is not None and order.created_at is not None and order.created_at >= end:
        # Whether a cycle moves on before or after it was paid is documented nowhere. An order from
        # after the cycle is for the next one; taken for the old one its failure would look stale.
        return Cycle(end, end + (end - start), first=False)
    near_the_start = abs(start - found.began_at) < _FIRST_CYCLE_SECONDS_MAX
    return Cycle(start, end, first=near_the_start and not found.has_trial)


def _invoice_status(payment: PaymentSnapshot) -> ProviderInvoiceStatus:
    if payment.status is PaymentStatus.SUCCEEDED:
        return ProviderInvoiceStatus.PAID
    if payment.status in _CLOSED:
        return ProviderInvoiceStatus.VOID
    return ProviderInvoiceStatus.OPEN


def _decline(payment: PaymentSnapshot) -> Decline | None:
    if payment.status is not PaymentStatus.DECLINED:
        return None
    return payment.decline or failures.decline_of("declined")
