"""What one step changes, as rows: the batch that its transaction writes."""

from __future__ import annotations

from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel

from models.calendar import BillingInterval
from models.outcomes import Instrument, OutcomeClass, ProviderName
from models.plan_change import InvoiceLine
from models.states import SubscriptionStatus


class InvoiceProjection(BaseModel):
    """An invoice row as it should be. Fields that are None leave what is there."""

    id: UUID
    provider: ProviderName | None = None
    provider_invoice_id: str | None = None
    amount_minor: int
    currency: str
    amount_paid_minor: int = 0
    amount_refunded_minor: int | None = None
    status: str
    period_start: AwareDatetime | None = None
    period_end: AwareDatetime | None = None
    invoice_date: AwareDatetime
    due_date: AwareDatetime
    paid_at: AwareDatetime | None = None
    hosted_invoice_url: str | None = None
    invoice_pdf: str | None = None
    lines: list[InvoiceLine] = []  # Empty leaves what is there.


class AttemptProjection(BaseModel):
    """The outcome of an attempt. `instrument`, `amount_minor` and `started_at` are used when the row
    is new: a try that the provider made by its own clock."""

    id: UUID
    invoice_id: UUID
    provider: ProviderName
    instrument: Instrument
    amount_minor: int
    currency: str
    outcome: OutcomeClass
    reason: str | None = None
    provider_object_id: str | None = None
    started_at: AwareDatetime
    finished_at: AwareDatetime | None = None


class PaymentProjection(BaseModel):
    """A movement of money to be written into the ledger, once per provider's own id."""

    id: UUID
    invoice_id: UUID
    attempt_id: UUID | None = None
    provider: ProviderName | None  # None: no provider saw it, an operator booked it.
    provider_charge_id: str
    kind: str  # capture | refund | out_of_band
    amount_minor: int
    applied_minor: int
    currency: str
    occurred_at: AwareDatetime


class CreditProjection(BaseModel):
    """An entry of the credit ledger: + is credit given, - is credit used. `payment_id`: it is unapplied
    money of this capture."""

    id: UUID
    amount_minor: int
    currency: str
    reason: str
    invoice_id: UUID | None = None
    payment_id: UUID | None = None


class RefundProjection(BaseModel):
    """A refund that a rule asks for: written with the money that it gives back."""

    id: UUID
    invoice_id: UUID
    payment_id: UUID
    provider: ProviderName
    amount_minor: int
    currency: str
    reason: str


class FallbackProjection(BaseModel):
    id: UUID
    invoice_id: UUID | None = None
    attempted_provider: ProviderName
    fallback_provider: ProviderName
    reason: str
    timestamp: AwareDatetime


class AuditProjection(BaseModel):
    id: UUID
    actor: str
    action: str
    before: dict[str, Any]
    after: dict[str, Any]


class OutboundProjection(BaseModel):
    """What the app is told. The ledger numbers it: others than the workflow tell things too."""

    id: UUID
    type: str
    data: dict[str, Any]


class ReminderKind(StrEnum):
    PAYMENT = "payment"  # A voucher or transfer expires soon.
    RENEWAL = "renewal"  # A stored card is charged soon.
    TRIAL_END = "trial_end"


class ReminderProjection(BaseModel):
    """Tell the app at `due_at`, if the period still ends at `valid_for` and is to be renewed."""

    id: UUID
    kind: ReminderKind
    due_at: AwareDatetime
    valid_for: AwareDatetime


class AppliedEvent(BaseModel):
    """`id` is the inbox row's; `disposition` says in a word or two what was done with it."""

    id: UUID
    disposition: str


class SubscriptionProjection(BaseModel):
    """The subscription row as the workflow sees it at `version`."""

    id: UUID
    version: int
    status: SubscriptionStatus
    provider: ProviderName | None
    provider_subscription_id: str | None
    provider_customer_id: str | None
    payment_method_id: UUID | None
    current_period_start: AwareDatetime | None
    current_period_end: AwareDatetime | None
    paid_ahead_until: AwareDatetime | None
    trial_end: AwareDatetime | None
    cancel_at_period_end: bool
    canceled_at: AwareDatetime | None
    paused_at: AwareDatetime | None = None
    resume_at: AwareDatetime | None = None
    access_until: AwareDatetime | None
    pending_change: dict[str, Any] | None
    collection: dict[str, Any] | None = None
    risk: str | None = None
    plan_id: UUID
    billing_interval: BillingInterval
    quantity: int
    amount_minor: int
    credit_minor: int = 0
    next_step: str | None
    next_step_at: AwareDatetime | None


class ChangeBatch(BaseModel):
    """What one step may change, whether a subscription's or a purchase's. `owner` are the columns
    that say whose rows these are."""

    application_id: UUID
    organization_id: UUID
    invoices: list[InvoiceProjection] = []
    attempts: list[AttemptProjection] = []
    payments: list[PaymentProjection] = []
    fallbacks: list[FallbackProjection] = []
    audit: list[AuditProjection] = []
    outbound: list[OutboundProjection] = []
    reminders: list[ReminderProjection] = []
    applied_events: list[AppliedEvent] = []
    recorded_at: AwareDatetime

    @property
    def owner(self) -> dict[str, UUID]:
        raise NotImplementedError

    @property
    def version(self) -> int:
        raise NotImplementedError


class ProjectionBatch(ChangeBatch):
    """All that one step of a subscription changed, for one transaction (invariant 5)."""

    subscription: SubscriptionProjection
    credits: list[CreditProjection] = []
    refunds: list[RefundProjection] = []

    @property
    def owner(self) -> dict[str, UUID]:
        return {"application_id": self.application_id, "subscription_id": self.subscription.id}

    @property
    def version(self) -> int:
        return self.subscription.version
