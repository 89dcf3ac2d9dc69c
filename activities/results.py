"""From what a provider said to the outcome of an attempt. Pure, so that workflows use it too."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from activities.signatures.attempts import AttemptResult
from models.outcomes import FallbackReason, OutcomeClass, ProviderName, Redirect
from models.redaction import hide_action, hide_invoice, hide_payment, hide_subscription
from models.snapshots import (
    InvoiceSnapshot,
    PaymentSnapshot,
    PaymentStatus,
    ProviderInvoiceStatus,
    ProviderSubscriptionStatus,
    SubscriptionSnapshot,
)

OUTCOME_BY_PAYMENT_STATUS: dict[PaymentStatus, OutcomeClass] = {
    PaymentStatus.PREPARED: OutcomeClass.UNKNOWN,
    PaymentStatus.PENDING: OutcomeClass.PENDING,
    PaymentStatus.SUCCEEDED: OutcomeClass.SUCCEEDED,
    PaymentStatus.DECLINED: OutcomeClass.DECLINED,
    PaymentStatus.EXPIRED: OutcomeClass.DECLINED,
    PaymentStatus.CANCELED: OutcomeClass.DECLINED,
}


# Why an attempt that may have happened is known not to have: it was undone, or had not begun.
UNDONE, NEVER_PREPARED = "undone", "never_prepared"
UNDONE_REASONS = frozenset({UNDONE, NEVER_PREPARED})


def of_payment(attempt_id: UUID, snapshot: PaymentSnapshot) -> AttemptResult:
    outcome = OUTCOME_BY_PAYMENT_STATUS[snapshot.status]
    return AttemptResult(
        attempt_id=attempt_id,
        provider=snapshot.provider,
        outcome=outcome,
        reason=None if outcome is not OutcomeClass.DECLINED else str(snapshot.status),
        provider_object_id=snapshot.provider_payment_id,
        decline=snapshot.decline,
        next_action=snapshot.next_action,
        payment=snapshot,
    )


def of_invoice(attempt_id: UUID, invoice: InvoiceSnapshot) -> AttemptResult:
    """An invoice that is still open after a try waits for the customer, or was refused."""
    if invoice.status is ProviderInvoiceStatus.PAID:
        outcome = OutcomeClass.SUCCEEDED
    elif invoice.next_action is not None and invoice.decline is None:
        outcome = OutcomeClass.PENDING
    else:
        outcome = OutcomeClass.DECLINED
    return AttemptResult(
        attempt_id=attempt_id,
        provider=invoice.provider,
        outcome=outcome,
        reason=str(invoice.status) if outcome is OutcomeClass.DECLINED else None,
        provider_object_id=invoice.provider_invoice_id,
        decline=invoice.decline,
        next_action=invoice.next_action,
        invoice=invoice,
    )


def of_subscription(attempt_id: UUID, packed: str, snapshot: SubscriptionSnapshot) -> AttemptResult:
    invoice = snapshot.latest_invoice
    paid = invoice is not None and invoice.status is ProviderInvoiceStatus.PAID
    # Money that came in is a success, even when the subscription was canceled a moment later.
    started = paid or snapshot.status in {
        ProviderSubscriptionStatus.ACTIVE,
        ProviderSubscriptionStatus.TRIALING,
    }
    if started:
        outcome = OutcomeClass.SUCCEEDED
    elif invoice is not None and invoice.next_action is not None:
        outcome = OutcomeClass.PENDING
    else:
        outcome = OutcomeClass.DECLINED
    return AttemptResult(
        attempt_id=attempt_id,
        provider=snapshot.provider,
        outcome=outcome,
        reason=str(snapshot.status) if outcome is OutcomeClass.DECLINED else None,
        provider_object_id=packed,
        decline=invoice.decline if invoice is not None else None,
        next_action=None if started or invoice is None else invoice.next_action,
        invoice=invoice,
        subscription=snapshot,
    )


def on_hosted_page(result: AttemptResult) -> AttemptResult:
    """Send the customer to the provider's page for the first invoice instead of into its browser SDK,
    which the app may not have."""
    page = result.invoice.hosted_invoice_url if result.invoice is not None else None
    if result.outcome is not OutcomeClass.PENDING or page is None:
        return result
    return result.model_copy(update={"next_action": Redirect(url=page)})


def nothing(
    attempt_id: UUID,
    provider: ProviderName,
    reason: str,
    fallback_reason: FallbackReason | None = None,
) -> AttemptResult:
    return AttemptResult(
        attempt_id=attempt_id,
        provider=provider,
        outcome=OutcomeClass.NOT_ATTEMPTED,
        reason=reason,
        fallback_reason=fallback_reason,
    )


def declared_not_executed(attempt_id: UUID, provider: ProviderName) -> AttemptResult:
    """An operator looked into the provider's panel while its API did not answer: the next one may be
    asked. Should the money arrive after all, it is booked as late."""
    return nothing(attempt_id, provider, "declared_not_executed", FallbackReason.UNAVAILABLE)


def still_unknown(attempt_id: UUID, provider: ProviderName) -> AttemptResult:
    return AttemptResult(
        attempt_id=attempt_id, provider=provider, outcome=OutcomeClass.UNKNOWN, reason="unknown"
    )


# In the ledger, the invoice of a change is told apart from one of the provider's clock: what becomes
# of a lost answer is that it is voided.
CHANGE_PREFIX = "change:"


def change_object(provider_invoice_id: str) -> str:
    return f"{CHANGE_PREFIX}{provider_invoice_id}"


def change_invoice_id(object_id: str) -> str:
    return object_id.removeprefix(CHANGE_PREFIX)


class SubscriptionIds(NamedTuple):
    """All that is needed to ask about a prepared subscription; one value in the ledger."""

    provider_customer_id: str
    provider_subscription_id: str
    provider_invoice_id: str | None

    def pack(self) -> str:
        return f"{self[0]}/{self[1]}/{self[2] or ''}"

    @classmethod
    def unpack(cls, packed: str) -> SubscriptionIds:
        customer_id, subscription_id, invoice_id = packed.split("/")
        return cls(customer_id, subscription_id, invoice_id or None)


def for_history(result: AttemptResult) -> AttemptResult:
    """The result as a workflow may hold it: without the secret that belongs to the browser."""
    return result.model_copy(
        update={
            "next_action": hide_action(result.next_action),
            "payment": hide_payment(result.payment),
            "invoice": hide_invoice(result.invoice),
            "subscription": hide_subscription(result.subscription),
        }
    )
