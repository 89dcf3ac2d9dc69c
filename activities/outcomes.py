"""From what a provider said, or failed to say, to the outcome of an attempt. Pure but for `settle`."""

from __future__ import annotations

from uuid import UUID

from activities.signatures import AttemptResult
from models.outcomes import FallbackReason, Instrument, OutcomeClass, ProviderName
from models.snapshots import (
    InvoiceSnapshot,
    PaymentSnapshot,
    PaymentStatus,
    ProviderInvoiceStatus,
    ProviderSubscriptionStatus,
    SubscriptionSnapshot,
)
from models.storage.tables import ChargeAttempt
from models.subscription import SubscriptionTerms
from providers.protocol import FailureKind, PaymentProvider, PreparedSubscription, ProviderFailure

OUTCOME_BY_PAYMENT_STATUS: dict[PaymentStatus, OutcomeClass] = {
    PaymentStatus.PREPARED: OutcomeClass.UNKNOWN,
    PaymentStatus.PENDING: OutcomeClass.PENDING,
    PaymentStatus.SUCCEEDED: OutcomeClass.SUCCEEDED,
    PaymentStatus.DECLINED: OutcomeClass.DECLINED,
    PaymentStatus.EXPIRED: OutcomeClass.DECLINED,
    PaymentStatus.CANCELED: OutcomeClass.DECLINED,
}


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
    elif invoice.next_action is not None:
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
    started = snapshot.status in {
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


def of_prepare_failure(
    attempt_id: UUID, provider: ProviderName, failure: ProviderFailure
) -> AttemptResult:
    """Nothing that can be paid exists yet, so even a lost answer is `not_attempted`."""
    return AttemptResult(
        attempt_id=attempt_id,
        provider=provider,
        outcome=OutcomeClass.NOT_ATTEMPTED,
        reason=failure.code or str(failure.kind),
        fallback_reason=failure.fallback_reason,
        decline=failure.decline,
    )


def of_failure(
    attempt_id: UUID, provider: ProviderName, object_id: str, failure: ProviderFailure
) -> AttemptResult:
    return AttemptResult(
        attempt_id=attempt_id,
        provider=provider,
        outcome=failure.outcome,
        reason=failure.code or str(failure.kind),
        fallback_reason=failure.fallback_reason,
        provider_object_id=object_id,
        decline=failure.decline,
    )


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


def still_unknown(attempt_id: UUID, provider: ProviderName) -> AttemptResult:
    return AttemptResult(
        attempt_id=attempt_id, provider=provider, outcome=OutcomeClass.UNKNOWN, reason="unknown"
    )


def pack(provider_customer_id: str, prepared: PreparedSubscription) -> str:
    """All that is needed to ask about a prepared subscription, as one ledger value."""
    parts = [provider_customer_id, prepared.provider_subscription_id]
    return "/".join([*parts, prepared.provider_invoice_id or ""])


def unpack(packed: str) -> tuple[str, PreparedSubscription]:
    customer_id, subscription_id, invoice_id = packed.split("/")
    return customer_id, PreparedSubscription(
        provider_subscription_id=subscription_id, provider_invoice_id=invoice_id or None
    )


async def settle(
    provider: PaymentProvider, attempt_id: UUID, attempt: ChargeAttempt, terms: SubscriptionTerms
) -> AttemptResult:
    """What became of the attempt, for good. Raises ProviderFailure while the provider is away."""
    object_id = attempt.provider_object_id or ""
    if Instrument(attempt.instrument) is not Instrument.CARD:
        return await _settle_payment(provider, attempt_id, object_id)
    if "/" in object_id:
        return await _settle_subscription(provider, attempt_id, object_id)
    return of_invoice(attempt_id, await provider.get_invoice(object_id))


async def _settle_payment(
    provider: PaymentProvider, attempt_id: UUID, object_id: str
) -> AttemptResult:
    snapshot = await provider.get_payment(object_id)
    if snapshot.status is PaymentStatus.PREPARED:
        snapshot = await provider.cancel_payment(object_id)
        if snapshot.status is PaymentStatus.CANCELED:
            return _undone(attempt_id, provider.name, object_id)
    return of_payment(attempt_id, snapshot)


async def _settle_subscription(
    provider: PaymentProvider, attempt_id: UUID, packed: str
) -> AttemptResult:
    customer_id, prepared = unpack(packed)
    snapshot = await provider.get_subscription(customer_id, prepared.provider_subscription_id)
    if snapshot.status is ProviderSubscriptionStatus.INCOMPLETE:
        snapshot = await provider.cancel_subscription(
            customer_id, prepared.provider_subscription_id, at_period_end=False
        )
        paid = (
            snapshot.latest_invoice is not None
            and snapshot.latest_invoice.status is ProviderInvoiceStatus.PAID
        )
        if not paid:
            return _undone(attempt_id, provider.name, packed)
    return of_subscription(attempt_id, packed, snapshot)


def _undone(attempt_id: UUID, provider: ProviderName, object_id: str) -> AttemptResult:
    result = nothing(
        attempt_id, provider, str(FailureKind.UNKNOWN), fallback_reason=FallbackReason.TIMEOUT
    )
    return result.model_copy(update={"provider_object_id": object_id})
