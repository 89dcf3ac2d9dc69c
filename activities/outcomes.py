"""From what a provider failed to say to the outcome of an attempt, and how to find out after all."""

from __future__ import annotations

from uuid import UUID

from activities.results import (
    CHANGE_PREFIX,
    UNDONE,
    SubscriptionIds,
    change_invoice_id,
    nothing,
    of_invoice,
    of_payment,
    of_subscription,
)
from activities.signatures.attempts import AttemptResult
from models.outcomes import Instrument, OutcomeClass, ProviderName
from models.snapshots import PaymentStatus, ProviderInvoiceStatus, ProviderSubscriptionStatus
from models.storage.tables import ChargeAttempt
from providers.failures import ProviderFailure
from providers.protocol import PaymentProvider


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


# Canceled: we were undoing it, and the answer was lost. Once more, for its invoice may still be open.
_UNDOABLE = frozenset({ProviderSubscriptionStatus.INCOMPLETE, ProviderSubscriptionStatus.CANCELED})


async def settle(
    provider: PaymentProvider, attempt_id: UUID, attempt: ChargeAttempt
) -> AttemptResult:
    """What became of the attempt, for good. Raises ProviderFailure while the provider is away."""
    object_id = attempt.provider_object_id or ""
    if Instrument(attempt.instrument) is not Instrument.CARD:
        return await _settle_payment(provider, attempt, object_id)
    if object_id.startswith(CHANGE_PREFIX):
        invoice = await provider.cancel_invoice(change_invoice_id(object_id))
        return of_invoice(attempt_id, invoice)
    if "/" in object_id:
        # What is written down as pending waits for the customer, who may be in front of the bank's
        # page at this moment: it is adopted, not undone.
        waits = OutcomeClass(attempt.outcome) is OutcomeClass.PENDING
        return await _settle_subscription(provider, attempt_id, object_id, undo=not waits)
    return _retried(of_invoice(attempt_id, await provider.get_invoice(object_id)))


def _retried(result: AttemptResult) -> AttemptResult:
    """A retry happens without the customer: an invoice that is still open was not paid by it."""
    if result.outcome is not OutcomeClass.PENDING:
        return result
    return result.model_copy(update={"outcome": OutcomeClass.DECLINED, "next_action": None})


async def _settle_payment(
    provider: PaymentProvider, attempt: ChargeAttempt, object_id: str
) -> AttemptResult:
    snapshot = await provider.get_payment(object_id)
    if snapshot.status is PaymentStatus.PREPARED:
        snapshot = await provider.cancel_payment(object_id)
    # What nobody has seen yet was canceled by us alone: just now, or when the answer was lost.
    unseen = OutcomeClass(attempt.outcome) is OutcomeClass.UNKNOWN
    if unseen and snapshot.status is PaymentStatus.CANCELED:
        return _undone(attempt.id, provider.name, object_id)
    return of_payment(attempt.id, snapshot)


async def _settle_subscription(
    provider: PaymentProvider, attempt_id: UUID, packed: str, *, undo: bool
) -> AttemptResult:
    ids = SubscriptionIds.unpack(packed)
    snapshot = await provider.get_subscription(
        ids.provider_customer_id, ids.provider_subscription_id
    )
    if undo and snapshot.status in _UNDOABLE:
        snapshot = await provider.cancel_subscription(
            ids.provider_customer_id, ids.provider_subscription_id, at_period_end=False
        )
        paid = (
            snapshot.latest_invoice is not None
            and snapshot.latest_invoice.status is ProviderInvoiceStatus.PAID
        )
        if not paid:
            return _undone(attempt_id, provider.name, packed)
    return of_subscription(attempt_id, packed, snapshot)


def _undone(attempt_id: UUID, provider: ProviderName, object_id: str) -> AttemptResult:
    result = nothing(attempt_id, provider, UNDONE)
    return result.model_copy(update={"provider_object_id": object_id})
