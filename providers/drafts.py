"""What the engine asks a provider for: each request of the protocol as a value."""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from models.calendar import BillingInterval
from models.outcomes import Instrument


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True)


class CustomerDraft(_Request):
    organization_id: str
    name: str
    email: str
    phone: str | None = None
    country: str | None = None


class AttachPaymentMethod(_Request):
    """`token` is what the provider's browser SDK made; a card number never comes this way."""

    payment_method_id: str  # Ours: the idempotency key comes from it.
    provider_customer_id: str
    token: str
    type: Instrument = Instrument.CARD


class SetupDraft(_Request):
    """A card that is to be stored from a browser, with whatever its bank asks of the customer."""

    organization_id: str


class PlanDraft(_Request):
    plan_id: str
    name: str
    billing_interval: BillingInterval
    amount_minor: int
    currency: str


class SubscriptionDraft(_Request):
    """`attempt_id` is the reference under which the first charge is found again. What is sold is said
    twice, by the plan's id and in full: some providers need a plan of its own for each attempt."""

    subscription_id: str
    organization_id: str
    invoice_id: str
    attempt_id: str
    provider_customer_id: str
    provider_plan_id: str
    plan_name: str
    billing_interval: BillingInterval
    amount_minor: int  # Per period, for the whole quantity.
    quantity: int = 1
    currency: str
    provider_payment_method_id: str | None
    trial_end: AwareDatetime | None = None


class ChangeDraft(_Request):
    """What a change of the plan costs, line by line, to be collected at once. The lines (what for,
    amount in minor units, perhaps negative) sum to `amount_minor`."""

    attempt_id: str
    subscription_id: str
    invoice_id: str
    provider_customer_id: str
    provider_payment_method_id: str | None
    lines: tuple[tuple[str, int], ...]
    amount_minor: int
    currency: str


class SubscriptionChange(_Request):
    """What a subscription is to be, whatever it is now. `change_id` is the same for every repetition.

    `restart`: with another interval a new period begins at once. That period is paid for already (its
    price is in a ChangeDraft), so nothing is charged for it. `begins_at`: the provider makes the change
    by itself when its period ends then, and nothing changes before; without it the change is made now, and
    one that was to come is forgotten. `credit_minor` is what the provider takes off the next renewal.
    """

    change_id: str
    provider_customer_id: str
    provider_subscription_id: str
    provider_plan_id: str
    billing_interval: BillingInterval
    amount_minor: int
    quantity: int
    currency: str
    restart: bool = False
    begins_at: AwareDatetime | None = None
    credit_minor: int = 0


class PreparedSubscription(_Request):
    provider_subscription_id: str
    provider_invoice_id: str | None  # None when there is nothing to pay yet (trial).


class PaymentDraft(_Request):
    """A one-off payment: a voucher or a transfer that the customer pays by hand."""

    attempt_id: str
    subscription_id: str | None
    invoice_id: str
    organization_id: str
    provider_customer_id: str
    customer_name: str
    customer_email: str
    instrument: Instrument
    amount_minor: int
    currency: str
    description: str
    created_at: AwareDatetime  # When the attempt began: bounds the search for an earlier try.
    expires_at: AwareDatetime


class RefundDraft(_Request):
    refund_id: str
    provider_payment_id: str
    amount_minor: int
    currency: str
    reason: str
    already_refunded_minor: (
        int  # What we know of: providers without keys compare before they retry.
    )
    # Which of the payment's captures, where a provider keeps them apart.
    provider_charge_id: str | None = None
    # Of a refund that was made and is not paid out yet: it is read, and never made again.
    provider_refund_id: str | None = None


class ProductDraft(_Request):
    """Something sold once. The benefits are handed out by the provider to whoever buys it."""

    product_id: str
    name: str
    amount_minor: int
    currency: str
    provider_benefit_ids: tuple[str, ...] = ()


class BenefitDraft(_Request):
    """`type` and `properties` are the provider's own words, passed on as they are."""

    benefit_id: str
    type: str
    description: str
    properties: dict[str, Any] = {}


class CheckoutDraft(_Request):
    """A page for one payment. `provider_product_id` None: the provider needs no product for it."""

    attempt_id: str
    invoice_id: str
    organization_id: str
    subscription_id: str | None = None
    purchase_id: str | None = None
    provider_customer_id: str
    provider_product_id: str | None = None
    description: str
    amount_minor: int
    currency: str
    success_url: str
    expires_at: AwareDatetime  # As near as the provider can: the snapshot says when it really ends.
    customer_ip_address: str | None = None


class GrantDraft(_Request):
    """A benefit given to a customer without a sale."""

    grant_id: str
    organization_id: str
    provider_customer_id: str
    provider_benefit_id: str
