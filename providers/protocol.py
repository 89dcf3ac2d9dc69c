"""The one protocol that every payment provider speaks to the engine.

Collecting money has two steps, so that an answer that got lost can always be asked for:

1. `prepare_…` makes an object at the provider **that cannot be paid yet** (a Conekta order without
   charges, a Stripe PaymentIntent that is not confirmed, a subscription that is `incomplete`). Whatever
   goes wrong here, no money can move: the outcome is *not attempted*.
2. `commit_…` makes it payable (adds the charge, confirms, pays the first invoice). When this answer is
   lost, the outcome is *unknown*, but the object's id is known: `get_…` says what happened and
   `cancel_…` settles for good that nothing will.

Every method may raise `ProviderFailure` and nothing else for anything that a provider can do to us.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from pydantic import AwareDatetime, BaseModel, ConfigDict

from models.calendar import BillingInterval
from models.events import ProviderEvent
from models.outcomes import FallbackReason, Instrument, OutcomeClass, ProviderName
from models.reconcile import ListedPage, Listing
from models.snapshots import (
    Decline,
    DisputeSnapshot,
    GrantSnapshot,
    InvoiceSnapshot,
    PaymentMethodSnapshot,
    PaymentSnapshot,
    RefundSnapshot,
    SubscriptionSnapshot,
)


class FailureKind(StrEnum):
    """What is known about a call that did not give its answer."""

    DECLINED = "declined"  # Executed; the instrument was refused.
    REJECTED = "rejected"  # Refused by validation: our bug or unusable data. Not executed.
    NOT_FOUND = "not_found"
    UNAVAILABLE = "unavailable"  # Known not to have been executed: refused connection, 429.
    UNKNOWN = "unknown"  # May have been executed: read timeout, dropped connection, 5xx.
    MISCONFIGURED = "misconfigured"  # Our key is missing, wrong or lacks a permission.
    UNSUPPORTED = "unsupported"  # The capability matrix says no.


OUTCOME_BY_FAILURE: dict[FailureKind, OutcomeClass] = {
    FailureKind.DECLINED: OutcomeClass.DECLINED,
    FailureKind.REJECTED: OutcomeClass.NOT_ATTEMPTED,
    FailureKind.NOT_FOUND: OutcomeClass.NOT_ATTEMPTED,
    FailureKind.UNAVAILABLE: OutcomeClass.NOT_ATTEMPTED,
    FailureKind.UNKNOWN: OutcomeClass.UNKNOWN,
    FailureKind.MISCONFIGURED: OutcomeClass.NOT_ATTEMPTED,
    FailureKind.UNSUPPORTED: OutcomeClass.NOT_ATTEMPTED,
}


class ProviderFailure(Exception):
    """A provider call that did not end in an answer, classified.

    `fallback_reason` is set when another provider may be asked instead (after an unknown outcome is
    resolved); `provider_object_id` names what a refused call created all the same (a declined Conekta
    charge still has its order); `message` is for operators: no secrets, no personal data.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        code: str | None = None,
        fallback_reason: FallbackReason | None = None,
        decline: Decline | None = None,
        provider_object_id: str | None = None,
        request_id: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message
        self.code = code
        self.fallback_reason = fallback_reason
        self.decline = decline
        self.provider_object_id = provider_object_id
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds

    @property
    def outcome(self) -> OutcomeClass:
        return OUTCOME_BY_FAILURE[self.kind]


class NotOnSale(ProviderFailure):
    """What the call sells cannot be sold at the provider: its plan or product is archived there, gone,
    or not what ours says. Nothing can be charged by it; `ensure_plan` and `ensure_product` make another
    when they are told which one it `replaces`."""

    def __init__(self, message: str, *, code: str | None, request_id: str | None = None) -> None:
        super().__init__(FailureKind.REJECTED, message, code=code, request_id=request_id)


class WebhookRejected(Exception):
    """The request is not an authentic webhook of this provider: answer 401 and store nothing."""


class WebhookMalformed(Exception):
    """Authentic but unreadable: answer 400 so that the provider shows it; store nothing."""


class Capability(StrEnum):
    """What a provider can do for us; the capability matrix in the docs is made from these."""

    CARD_SUBSCRIPTION = "card_subscription"  # The provider's clock bills a stored card.
    CARD_PAYMENT_METHOD = "card_payment_method"
    CHANGE_PAYMENT_METHOD = "change_payment_method"  # Of a running subscription.
    BROWSER_SETUP = "browser_setup"  # A secret for the browser, with whatever the bank asks there.
    FIRST_PAYMENT_IN_BROWSER = "first_payment_in_browser"  # A subscription without a stored card.
    CHANGE_PLAN = "change_plan"  # Plan and quantity of a running subscription.
    CHANGE_INTERVAL = "change_interval"  # Of a running subscription: a new period begins at once.
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
    price is in a ChangeDraft), so nothing is charged for it. `credit_minor` is what the provider takes
    off the next renewal.
    """

    change_id: str
    provider_customer_id: str
    provider_subscription_id: str
    provider_plan_id: str
    amount_minor: int
    quantity: int
    currency: str
    restart: bool = False
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


class ObjectLists(Protocol):
    """What the account holds, page by page: for whoever compares it with our books."""

    @property
    def kinds(self) -> tuple[Listing, ...]:
        """What this provider can list at all."""

    async def page(self, listing: Listing, since: datetime, cursor: str | None) -> ListedPage:
        """The objects made (or changed, where the provider can tell) since then, each as the event that a
        webhook about it would have brought. `cursor` is the one that the page before gave."""


class PaymentProvider(Protocol):
    """One account at one provider. Objects are safe to share within one event loop."""

    @property
    def name(self) -> ProviderName: ...

    @property
    def account(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def lists(self) -> ObjectLists: ...

    async def aclose(self) -> None:
        """Close the connections."""

    async def ensure_customer(self, draft: CustomerDraft, *, retry: bool = False) -> str:
        """The provider's customer id for this organization; `retry` says that an earlier call may
        have made one, so a provider without idempotency keys has to look first."""

    async def attach_payment_method(
        self, request: AttachPaymentMethod
    ) -> PaymentMethodSnapshot: ...

    async def detach_payment_method(
        self, provider_customer_id: str, provider_payment_method_id: str
    ) -> None:
        """Forget the instrument; one that is gone already is fine."""

    async def create_setup(self, draft: SetupDraft) -> str:
        """What the provider's browser SDK needs beside the public key, to tokenise a card. It is meant
        for that browser alone. Unused ones are harmless, and forgotten by the provider."""

    async def change_payment_method(
        self,
        provider_customer_id: str,
        provider_subscription_id: str,
        provider_payment_method_id: str,
    ) -> None:
        """Charge the coming periods with another stored instrument; nothing is charged now."""

    async def ensure_plan(self, draft: PlanDraft, *, replaces: str | None = None) -> str:
        """The provider's price or plan id; amounts are immutable, so a new amount is a new id. `replaces`
        cannot be sold any more; subscriptions that run with it are left alone."""

    async def why_not_on_sale(self, draft: PlanDraft, provider_plan_id: str) -> str | None:
        """What keeps new subscriptions from being opened with it, for people; None when nothing does."""

    async def prepare_subscription(
        self, draft: SubscriptionDraft, *, retry: bool = False
    ) -> PreparedSubscription: ...

    async def commit_subscription(
        self, draft: SubscriptionDraft, prepared: PreparedSubscription
    ) -> SubscriptionSnapshot:
        """Charge the first invoice. A decline raises ProviderFailure(DECLINED); 3-D Secure is an
        `incomplete` snapshot whose `latest_invoice.next_action` says what the customer does."""

    async def get_subscription(
        self, provider_customer_id: str, provider_subscription_id: str
    ) -> SubscriptionSnapshot: ...

    async def cancel_subscription(
        self, provider_customer_id: str, provider_subscription_id: str, *, at_period_end: bool
    ) -> SubscriptionSnapshot:
        """Cancel; one that is canceled already is fine and returns what is there."""

    async def keep_subscription(
        self, provider_customer_id: str, provider_subscription_id: str
    ) -> SubscriptionSnapshot:
        """Undo a cancellation at period end that has not happened yet."""

    async def pause_subscription(
        self, provider_customer_id: str, provider_subscription_id: str, *, unpaid: bool = False
    ) -> SubscriptionSnapshot:
        """Bill nothing from now on and give nothing back; one that is paused already is fine. With `unpaid`
        an invoice that nobody paid is left as it is, and `is_collectable` says whether it can still be
        collected there."""

    async def resume_subscription(
        self,
        provider_customer_id: str,
        provider_subscription_id: str,
        *,
        new_period: bool,
        resume_id: str,
    ) -> SubscriptionSnapshot:
        """End the pause; one that runs already is fine. With `new_period` a period begins now, once for
        one `resume_id`: its invoice is the latest one, open for `retry_invoice` or charged already.
        Without, nothing is billed before the end of the current period."""

    async def retry_invoice(
        self,
        provider_invoice_id: str,
        *,
        attempt_id: str,
        provider_payment_method_id: str | None,
    ) -> InvoiceSnapshot:
        """Charge an open invoice again now; a decline raises ProviderFailure(DECLINED)."""

    async def get_invoice(self, provider_invoice_id: str) -> InvoiceSnapshot: ...

    async def find_invoice(self, provider_payment_id: str) -> str | None:
        """The id of the provider's invoice that this payment paid; None when it paid none. News of money
        that went back may name the payment alone."""

    async def prepare_change(self, draft: ChangeDraft, *, retry: bool = False) -> str:
        """The id of an invoice with the draft's lines that cannot be paid yet."""

    async def commit_change(self, draft: ChangeDraft, provider_invoice_id: str) -> InvoiceSnapshot:
        """Charge it now; a decline raises ProviderFailure(DECLINED)."""

    async def cancel_invoice(self, provider_invoice_id: str) -> InvoiceSnapshot:
        """Make sure that it can no longer be paid, and say what it came to: `void`, or `paid`."""

    async def change_subscription(self, change: SubscriptionChange) -> SubscriptionSnapshot:
        """Make the subscription what `change` says. Moves no money; may be repeated."""

    async def prepare_payment(self, draft: PaymentDraft, *, retry: bool = False) -> str:
        """The id of a payment object that cannot be paid yet."""

    async def commit_payment(
        self, draft: PaymentDraft, provider_payment_id: str
    ) -> PaymentSnapshot:
        """Make it payable: a `pending` snapshot with the voucher or CLABE in `next_action`."""

    async def get_payment(self, provider_payment_id: str) -> PaymentSnapshot: ...

    async def cancel_payment(self, provider_payment_id: str) -> PaymentSnapshot:
        """Make sure that it can no longer be paid, and say what it came to: `canceled`, or
        `succeeded` when the customer was faster."""

    async def refund(self, draft: RefundDraft) -> RefundSnapshot: ...

    async def get_refund(self, provider_payment_id: str, provider_refund_id: str) -> RefundSnapshot:
        """As it is now: one that has succeeded may fail later, and its money is then ours again."""

    async def get_dispute(self, seen: DisputeSnapshot) -> DisputeSnapshot:
        """The dispute as it stands now, and by what our books may know its payment. A provider that
        cannot be asked leaves it as it was seen."""

    async def accept_dispute(self, provider_dispute_id: str) -> DisputeSnapshot:
        """Do not contest it: it is lost for good. One that is closed already is fine."""

    async def ensure_product(
        self, draft: ProductDraft, *, retry: bool = False, replaces: str | None = None
    ) -> str:
        """The provider's product id; one that was made before is found again, and put back on sale or
        made anew when it is the one that it `replaces`."""

    async def ensure_benefit(self, draft: BenefitDraft, *, retry: bool = False) -> str:
        """The provider's benefit id; one that was made before is found again."""

    async def create_checkout(
        self, draft: CheckoutDraft, *, retry: bool = False
    ) -> PaymentSnapshot:
        """A `pending` snapshot whose `next_action` is a redirect to the page; `get_payment` and
        `cancel_payment` work with its id. One step instead of two: when the answer is lost there may
        be a page, but nobody has its address, so it counts as *not attempted* and never *unknown*."""

    async def grant_benefit(self, draft: GrantDraft, *, retry: bool = False) -> GrantSnapshot:
        """Give the benefit; one that was given before under this customer is found again."""

    async def revoke_benefit(self, draft: GrantDraft) -> GrantSnapshot:
        """Take away what `grant_benefit` gave. A benefit that came with a purchase cannot be taken
        away alone: ProviderFailure(UNSUPPORTED) says what to do instead."""

    async def list_grants(self, provider_customer_id: str) -> list[GrantSnapshot]:
        """Every grant that the customer has or had, whatever it came from."""

    def parse_webhook(self, raw: bytes, headers: Mapping[str, str]) -> ProviderEvent:
        """Verify the raw bytes in constant time and translate. Raises WebhookRejected when the
        signature is missing or wrong or no verification key is configured (fail closed), and
        WebhookMalformed when an authentic body cannot be read. `headers` has lower-case names."""
