"""The event vocabulary: what providers report, after verification, in our words."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, ConfigDict

from models.outcomes import ProviderName
from models.snapshots import (
    DisputeSnapshot,
    GrantSnapshot,
    InvoiceSnapshot,
    PaymentSnapshot,
    RefundSnapshot,
    SubscriptionSnapshot,
)


class EventKind(StrEnum):
    PAYMENT = "payment"  # A voucher, transfer or single charge changed.
    INVOICE = "invoice"  # An invoice of the provider's clock changed.
    SUBSCRIPTION = "subscription"  # A subscription of the provider's clock changed.
    BENEFIT = "benefit"  # A benefit was granted, waits for the customer, or was taken away.
    DISPUTE = "dispute"  # A payment is taken back through the bank, or that has been decided.
    LOOK = "look"  # Something of ours moved but the payload does not say enough: read it.
    IGNORED = "ignored"  # Nothing in it for us (a ping, a customer edit): stored, not dispatched.


class ProviderEvent(BaseModel):
    """One webhook. The event says "look"; the snapshot inside says what was seen when it was sent.

    `subscription_id`, `attempt_id` and `organization_id` are ours, as far as the object (or its
    customer) carried them.
    """

    model_config = ConfigDict(frozen=True)

    provider: ProviderName
    account: str = "default"
    provider_event_id: str
    event_type: str
    kind: EventKind
    occurred_at: AwareDatetime
    livemode: bool = False
    subscription_id: str | None = None
    attempt_id: str | None = None
    organization_id: str | None = None
    purchase_id: str | None = None  # Set by us, from our own rows.
    money_back: bool = False  # Money of ours went back to a customer, or is about to.
    provider_subscription_id: str | None = None
    provider_invoice_id: str | None = None
    provider_payment_id: str | None = None
    provider_customer_id: str | None = None  # Whose money came, where no payment is named.
    provider_charge_id: str | None = None  # Of a look at a payment: which movement is told of.
    payment: PaymentSnapshot | None = None
    invoice: InvoiceSnapshot | None = None
    subscription: SubscriptionSnapshot | None = None
    grant: GrantSnapshot | None = None
    dispute: DisputeSnapshot | None = None
    failed_refund: RefundSnapshot | None = None  # It failed, perhaps after it had succeeded.
