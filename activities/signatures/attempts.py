"""Tries at collecting money, and what a provider says of a payment or a subscription."""

from __future__ import annotations

from abc import ABC, abstractmethod
from uuid import UUID

from pydantic import AwareDatetime, BaseModel
from temporalio import activity

from activities.signatures.subscriptions import SubscriptionReference
from models.outcomes import FallbackReason, NextAction, OutcomeClass, ProviderName
from models.projections import InvoiceProjection
from models.purchase import Terms
from models.snapshots import Decline, InvoiceSnapshot, PaymentSnapshot, SubscriptionSnapshot
from models.subscription import SubscriptionTerms


class AttemptRequest(BaseModel, frozen=True):
    """One try at one invoice: what the ledger has to say before the provider is called."""

    attempt_id: UUID
    provider: ProviderName
    terms: Terms
    invoice: InvoiceProjection
    started_at: AwareDatetime
    payment_method_id: UUID | None = None


class IssuePayment(AttemptRequest):
    """Make a voucher, a transfer or a page that the customer can pay until `expires_at`."""

    expires_at: AwareDatetime
    remind_at: AwareDatetime | None = None
    expiry_grace_seconds: int
    # Whether the parent has a caller to answer as soon as there is something to pay.
    somebody_waits: bool = True


class OpenProviderSubscription(AttemptRequest):
    terms: SubscriptionTerms
    trial_end: AwareDatetime | None = None


class RetryInvoice(AttemptRequest):
    terms: SubscriptionTerms
    provider_invoice_id: str
    provider_customer_id: str | None = None


class SettleAttempt(BaseModel, frozen=True):
    """Ask the provider what became of an attempt whose answer was lost: adopt it or undo it."""

    attempt_id: UUID
    provider: ProviderName


class AttemptResult(BaseModel, frozen=True):
    """What came of an attempt. The snapshots are the provider's truth at that moment."""

    attempt_id: UUID
    provider: ProviderName
    outcome: OutcomeClass
    reason: str | None = None
    fallback_reason: FallbackReason | None = None
    provider_object_id: str | None = None
    decline: Decline | None = None
    next_action: NextAction | None = None
    payment: PaymentSnapshot | None = None
    invoice: InvoiceSnapshot | None = None
    subscription: SubscriptionSnapshot | None = None


class PaymentReference(BaseModel, frozen=True):
    provider: ProviderName
    provider_payment_id: str


class PendingPaymentResult(BaseModel, frozen=True):
    """How a voucher or transfer ended, for the workflow that asked for it."""

    attempt: AttemptResult
    event_ids: list[UUID] = []


class ProviderCalls(ABC):
    """Remote activities, on the queue of the provider that they name."""

    @activity.defn(name="issue_payment")
    @abstractmethod
    async def issue_payment(self, request: IssuePayment) -> AttemptResult: ...

    @activity.defn(name="open_provider_subscription")
    @abstractmethod
    async def open_provider_subscription(
        self, request: OpenProviderSubscription
    ) -> AttemptResult: ...

    @activity.defn(name="retry_invoice")
    @abstractmethod
    async def retry_invoice(self, request: RetryInvoice) -> AttemptResult: ...

    @activity.defn(name="settle_attempt")
    @abstractmethod
    async def settle_attempt(self, request: SettleAttempt) -> AttemptResult: ...

    @activity.defn(name="read_payment")
    @abstractmethod
    async def read_payment(self, reference: PaymentReference) -> PaymentSnapshot: ...

    @activity.defn(name="void_payment")
    @abstractmethod
    async def void_payment(self, reference: PaymentReference) -> PaymentSnapshot: ...

    @activity.defn(name="read_subscription")
    @abstractmethod
    async def read_subscription(self, reference: SubscriptionReference) -> SubscriptionSnapshot: ...

    @activity.defn(name="cancel_subscription")
    @abstractmethod
    async def cancel_subscription(
        self, reference: SubscriptionReference
    ) -> SubscriptionSnapshot: ...

    @activity.defn(name="keep_subscription")
    @abstractmethod
    async def keep_subscription(self, reference: SubscriptionReference) -> SubscriptionSnapshot: ...
