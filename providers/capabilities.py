"""What a provider can do for us, and why not: the capability matrix."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Capability(StrEnum):
    """What a provider can do for us; the capability matrix in the docs is made from these."""

    CARD_SUBSCRIPTION = "card_subscription"  # The provider's clock bills a stored card.
    CARD_PAYMENT_METHOD = "card_payment_method"
    CHANGE_PAYMENT_METHOD = "change_payment_method"  # Of a running subscription.
    BROWSER_SETUP = "browser_setup"  # A secret for the browser, with whatever the bank asks there.
    FIRST_PAYMENT_IN_BROWSER = "first_payment_in_browser"  # A subscription without a stored card.
    CHANGE_PLAN = "change_plan"  # Plan and quantity of a running subscription.
    CHANGE_PLAN_LATER = "change_plan_later"  # The same, with the next period.
    CHANGE_INTERVAL = "change_interval"  # Of a running subscription: a new period begins at once.
    CHANGE_INTERVAL_LATER = "change_interval_later"  # With the next period, by the provider itself.
    PRORATE = "prorate"  # Collects, or credits, exactly what we computed for a change.
    CASH_VOUCHER = "cash_voucher"
    BANK_TRANSFER = "bank_transfer"
    REFUND = "refund"
    CASH_REFUND = "cash_refund"
    CANCEL_AT_PERIOD_END = "cancel_at_period_end"
    PAUSE = "pause"  # Of a running subscription, and its end.
    TRIAL = "trial"
    RETRY_INVOICE = "retry_invoice"
    HOSTED_CHECKOUT = "hosted_checkout"  # A page of the provider's on which the customer pays.
    CANCEL_CHECKOUT = "cancel_checkout"  # Closes a page that is still open.
    ACCEPT_DISPUTE = "accept_dispute"  # Say that a dispute is not contested.
    PRODUCT = "product"
    BENEFIT = "benefit"  # The provider hands out what was bought: a role, a repository, a key.


class Capabilities(BaseModel):
    """A row of the capability matrix: what is not in `supports` has its reason in `refusals`, and the
    adapter refuses it with that sentence (FailureKind.UNSUPPORTED)."""

    model_config = ConfigDict(frozen=True)

    supports: frozenset[Capability]
    currencies: frozenset[str] | None  # None: every currency that the account is enabled for.
    refusals: dict[Capability, str] = {}  # Why not, and what to do instead, in one sentence.
    notes: dict[Capability, str] = {}  # What to know of something that is supported.
