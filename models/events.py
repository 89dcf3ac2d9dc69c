"""The event vocabulary: what providers report, after verification, in our words."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, ConfigDict

from models.outcomes import ProviderName
from models.snapshots import InvoiceSnapshot, PaymentSnapshot, SubscriptionSnapshot


class EventKind(StrEnum):
    PAYMENT = "payment"  # A voucher, transfer or single charge changed.
    INVOICE = "invoice"  # An invoice of the provider's clock changed.
    SUBSCRIPTION = "subscription"  # A subscription of the provider's clock changed.
    LOOK = "look"  # Something of ours moved but the payload does not say enough: read it.
    IGNORED = "ignored"  # Nothing in it for us (a ping, a customer edit): stored, not dispatched.


class ProviderEvent(BaseModel):
    """One webhook. The event says "look"; the snapshot inside says what was seen when it was sent.

    `subscription_id` and `attempt_id` are ours, as far as the object carried them in its metadata.
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
    provider_subscription_id: str | None = None
    provider_invoice_id: str | None = None
    provider_payment_id: str | None = None
    payment: PaymentSnapshot | None = None
    invoice: InvoiceSnapshot | None = None
    subscription: SubscriptionSnapshot | None = None
