"""What a provider says about one of its objects, in our words: read back, or carried by a webhook.

A snapshot is a whole truth at one moment, never a difference, so applying it twice is harmless.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, ConfigDict

from models.calendar import BillingInterval
from models.outcomes import DeclineClass, NextAction, ProviderName


class _Snapshot(BaseModel):
    model_config = ConfigDict(frozen=True)


class PaymentStatus(StrEnum):
    PREPARED = "prepared"  # Exists at the provider, but nothing about it can be paid yet.
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    EXPIRED = "expired"
    CANCELED = "canceled"


class Capture(_Snapshot):
    """Money that really moved towards us, once. `provider_charge_id` is unique per provider."""

    provider_charge_id: str
    amount_minor: int
    currency: str
    captured_at: AwareDatetime


class Decline(_Snapshot):
    decline_class: DeclineClass
    code: str  # The provider's own code, for support; rules use the class.


class PaymentSnapshot(_Snapshot):
    """A one-off payment: a voucher, a transfer, a single card charge."""

    provider: ProviderName
    provider_payment_id: str
    status: PaymentStatus
    amount_minor: int
    currency: str
    captures: list[Capture] = []
    amount_refunded_minor: int = 0
    expires_at: AwareDatetime | None = None
    next_action: NextAction | None = None
    decline: Decline | None = None
    attempt_id: str | None = None  # Our reference, as the provider carries it.


class ProviderInvoiceStatus(StrEnum):
    OPEN = "open"
    PAID = "paid"
    VOID = "void"
    UNCOLLECTIBLE = "uncollectible"


class InvoiceSnapshot(_Snapshot):
    """An invoice that the provider's own billing clock made."""

    provider: ProviderName
    provider_invoice_id: str
    provider_subscription_id: str | None = None
    status: ProviderInvoiceStatus
    amount_minor: int
    currency: str
    captures: list[Capture] = []
    amount_refunded_minor: int = 0
    period_start: AwareDatetime
    period_end: AwareDatetime
    created_at: AwareDatetime
    attempt_count: int = 0
    decline: Decline | None = None  # Of the latest try, while the invoice is open.
    next_action: NextAction | None = None
    hosted_invoice_url: str | None = None
    invoice_pdf: str | None = None
    first: bool = False  # The invoice that opens the subscription.
    credit_applied_minor: int = 0  # What our credit took off the amount.


class ProviderSubscriptionStatus(StrEnum):
    INCOMPLETE = "incomplete"
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    PAUSED = "paused"
    CANCELED = "canceled"


class SubscriptionSnapshot(_Snapshot):
    """A subscription that the provider bills by its own clock."""

    provider: ProviderName
    provider_subscription_id: str
    provider_customer_id: str
    status: ProviderSubscriptionStatus
    current_period_start: AwareDatetime
    current_period_end: AwareDatetime
    trial_end: AwareDatetime | None = None
    cancel_at_period_end: bool = False
    is_paused: bool = False  # Bills nothing until it is resumed.
    is_collectable: bool = False  # Paused, but what was open before can still be paid there.
    canceled_at: AwareDatetime | None = None
    latest_invoice: InvoiceSnapshot | None = None
    billing_interval: BillingInterval | None = None  # None: not told.
    holds_change: bool = False  # The provider was told of a change that it makes on a date.


class GrantSnapshot(_Snapshot):
    """A benefit (a role, a repository, a key) that a customer has, waits for, or had.

    The same benefit may be granted several times over, by several purchases: access ends only when
    no grant of it is left. A grant that waits for the customer (who has to connect an account) is
    neither granted nor revoked and says why in `error_code`.
    """

    provider: ProviderName
    provider_grant_id: str
    provider_benefit_id: str
    provider_customer_id: str
    organization_id: str | None = None  # Ours, as far as the provider's customer carries it.
    is_granted: bool
    is_revoked: bool
    error_code: str | None = None
    granted_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None
    changed_at: AwareDatetime | None = None  # By the provider's clock: which of two words is later.


class RefundSnapshot(_Snapshot):
    provider: ProviderName
    provider_refund_id: str
    provider_payment_id: str | None = None
    status: str  # pending | succeeded | failed
    amount_minor: int
    currency: str
    failure_code: str | None = None  # The provider's own word, once it failed.


class DisputeStatus(StrEnum):
    OPEN = "open"
    WON = "won"  # The money stays, or came back: also an inquiry that ended without a dispute.
    LOST = "lost"


class DisputeSnapshot(_Snapshot):
    """A payment that the customer has taken back through the bank.

    Providers name the payment in different ways, so everything by which our books may know it is here:
    the charge's ids as captures carry them, the payment's or order's id, the invoice's. `amount_minor`
    None: the whole payment. `withdrawn`: the provider took the money for the time being, or for good.
    """

    provider: ProviderName
    provider_dispute_id: str
    status: DisputeStatus
    provider_charge_ids: list[str] = []
    provider_payment_id: str | None = None
    amount_minor: int | None = None
    currency: str | None = None
    withdrawn: bool = False
    reason: str | None = None
    evidence_due_at: AwareDatetime | None = None
    opened_at: AwareDatetime


class PaymentMethodSnapshot(_Snapshot):
    """What may be kept of an instrument: never its number."""

    provider: ProviderName
    provider_payment_method_id: str
    provider_customer_id: str
    type: str
    last4: str | None = None
    brand: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None
