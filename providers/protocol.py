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
from typing import Protocol

from models.events import ProviderEvent
from models.outcomes import ProviderName
from models.reconcile import ListedPage, Listing
from models.snapshots import (
    DisputeSnapshot,
    GrantSnapshot,
    InvoiceSnapshot,
    PaymentMethodSnapshot,
    PaymentSnapshot,
    RefundSnapshot,
    SubscriptionSnapshot,
)
from providers.capabilities import (
    Capabilities,
)
from providers.drafts import (
    AttachPaymentMethod,
    BenefitDraft,
    ChangeDraft,
    CheckoutDraft,
    CustomerDraft,
    GrantDraft,
    PaymentDraft,
    PlanDraft,
    PreparedSubscription,
    ProductDraft,
    RefundDraft,
    SetupDraft,
    SubscriptionChange,
    SubscriptionDraft,
)


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

    async def load(self) -> None:
        """Do now what would make the first call wait, without a call. May be left out."""

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
        """Make the subscription what `change` says, or have it made so. Moves no money; may be repeated."""

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
