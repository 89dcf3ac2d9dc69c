"""Polar as a PaymentProvider: translates the engine's protocol into pages, orders and grants.

Polar has no idempotency keys. What keeps money safe instead:

* customers, products and benefits are found again by a reference of ours before one is made;
* a page whose answer got lost is seen by nobody, and an order is found by our attempt's id, whichever
  page it came from;
* a refund is looked for by our reference before it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from models.events import ProviderEvent
from models.outcomes import ProviderName
from models.snapshots import (
    GrantSnapshot,
    InvoiceSnapshot,
    PaymentMethodSnapshot,
    PaymentSnapshot,
    RefundSnapshot,
    SubscriptionSnapshot,
)
from providers.capabilities import Capabilities
from providers.drafts import (
    AttachPaymentMethod,
    BenefitDraft,
    CheckoutDraft,
    CustomerDraft,
    GrantDraft,
    PaymentDraft,
    PlanDraft,
    PreparedSubscription,
    ProductDraft,
    RefundDraft,
    SubscriptionDraft,
)
from providers.polar import failures
from providers.polar.capabilities import (
    CAPABILITIES,
    NO_CARDS,
    NO_RETRY,
    NO_SUBSCRIPTIONS,
    NO_VOUCHERS,
)
from providers.polar.catalog import Catalog
from providers.polar.client import PolarClient
from providers.polar.customers import Customers
from providers.polar.grants import LOOKS_AFTER_SECONDS, Grants
from providers.polar.lists import PolarLists
from providers.polar.payments import Payments
from providers.polar.subscriptions import Subscriptions
from providers.polar.webhooks import WebhookReader
from providers.refusals import (
    NoBrowserSetup,
    NoDisputeAnswer,
    NoInstrumentChange,
    NoPause,
    NoPlanChange,
)


class PolarProvider(NoPlanChange, NoBrowserSetup, NoInstrumentChange, NoDisputeAnswer, NoPause):
    """One organization at Polar; `providers.protocol.PaymentProvider`.

    `retry` is not looked at: every call that makes something looks for it first, each time.
    `default_currency` is the organization's own at Polar, in which every product needs a price;
    `looks_after_seconds` are the pauses before each look for a grant that Polar is about to make.
    """

    def __init__(
        self,
        *,
        api_key: str,
        api_base: str | None = None,
        webhook_secrets: Sequence[str] = (),
        relay_secrets: Sequence[str] = (),
        timeout_seconds: float = 8.0,
        account: str = "default",
        default_currency: str = "USD",
        looks_after_seconds: Sequence[float] = LOOKS_AFTER_SECONDS,
    ) -> None:
        self._account = account
        self._client = PolarClient(
            api_key=api_key, api_base=api_base, timeout_seconds=timeout_seconds
        )
        self._webhooks = WebhookReader(
            webhook_secrets, relay_secrets, account, livemode=self._client.is_production
        )
        self._customers = Customers(self._client)
        self._catalog = Catalog(self._client)
        self._payments = Payments(self._client)
        self._subscriptions = Subscriptions(self._client)
        self._grants = Grants(
            self._client,
            self._catalog,
            self._subscriptions,
            default_currency=default_currency,
            looks_after_seconds=looks_after_seconds,
        )

    @property
    def name(self) -> ProviderName:
        return ProviderName.POLAR

    @property
    def account(self) -> str:
        return self._account

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    @property
    def lists(self) -> PolarLists:
        return PolarLists(self._client, self._account)

    async def load(self) -> None:
        """Nothing is slow the first time."""

    async def aclose(self) -> None:
        await self._client.aclose()

    def parse_webhook(self, raw: bytes, headers: Mapping[str, str]) -> ProviderEvent:
        return self._webhooks.parse(raw, headers)

    # What is sold, and to whom.

    async def ensure_customer(self, draft: CustomerDraft, *, retry: bool = False) -> str:
        return await self._customers.ensure(draft)

    async def ensure_product(
        self, draft: ProductDraft, *, retry: bool = False, replaces: str | None = None
    ) -> str:
        """One that is archived is not found, so another is made."""
        return await self._catalog.ensure_product(draft)

    async def ensure_benefit(self, draft: BenefitDraft, *, retry: bool = False) -> str:
        return await self._catalog.ensure_benefit(draft)

    async def create_checkout(
        self, draft: CheckoutDraft, *, retry: bool = False
    ) -> PaymentSnapshot:
        return await self._payments.create_checkout(draft)

    async def get_payment(self, provider_payment_id: str) -> PaymentSnapshot:
        return await self._payments.get(provider_payment_id)

    async def cancel_payment(self, provider_payment_id: str) -> PaymentSnapshot:
        return await self._payments.cancel(provider_payment_id)

    async def refund(self, draft: RefundDraft) -> RefundSnapshot:
        return await self._payments.refund(draft)

    async def get_refund(self, provider_payment_id: str, provider_refund_id: str) -> RefundSnapshot:
        return await self._payments.get_refund(provider_payment_id, provider_refund_id)

    # Benefits.

    async def grant_benefit(self, draft: GrantDraft, *, retry: bool = False) -> GrantSnapshot:
        return await self._grants.grant(draft)

    async def revoke_benefit(self, draft: GrantDraft) -> GrantSnapshot:
        return await self._grants.revoke(draft)

    async def list_grants(self, provider_customer_id: str) -> list[GrantSnapshot]:
        return await self._grants.of_customer(provider_customer_id)

    # Subscriptions that a page started.

    async def get_subscription(
        self, provider_customer_id: str, provider_subscription_id: str
    ) -> SubscriptionSnapshot:
        return await self._subscriptions.get(provider_subscription_id)

    async def cancel_subscription(
        self, provider_customer_id: str, provider_subscription_id: str, *, at_period_end: bool
    ) -> SubscriptionSnapshot:
        return await self._subscriptions.cancel(
            provider_subscription_id, at_period_end=at_period_end
        )

    async def keep_subscription(
        self, provider_customer_id: str, provider_subscription_id: str
    ) -> SubscriptionSnapshot:
        return await self._subscriptions.keep(provider_subscription_id)

    async def get_invoice(self, provider_invoice_id: str) -> InvoiceSnapshot:
        return await self._subscriptions.get_invoice(provider_invoice_id)

    async def find_invoice(self, provider_payment_id: str) -> str | None:
        """An order is both: whoever knows it as an invoice knows it by this id."""
        return None

    # Refused by type, as the capability matrix says.

    async def attach_payment_method(self, request: AttachPaymentMethod) -> PaymentMethodSnapshot:
        raise failures.unsupported(NO_CARDS)

    async def detach_payment_method(
        self, provider_customer_id: str, provider_payment_method_id: str
    ) -> None:
        raise failures.unsupported(NO_CARDS)

    async def ensure_plan(self, draft: PlanDraft, *, replaces: str | None = None) -> str:
        raise failures.unsupported(NO_SUBSCRIPTIONS)

    async def why_not_on_sale(self, draft: PlanDraft, provider_plan_id: str) -> str | None:
        raise failures.unsupported(NO_SUBSCRIPTIONS)

    async def prepare_subscription(
        self, draft: SubscriptionDraft, *, retry: bool = False
    ) -> PreparedSubscription:
        raise failures.unsupported(NO_SUBSCRIPTIONS)

    async def commit_subscription(
        self, draft: SubscriptionDraft, prepared: PreparedSubscription
    ) -> SubscriptionSnapshot:
        raise failures.unsupported(NO_SUBSCRIPTIONS)

    async def retry_invoice(
        self,
        provider_invoice_id: str,
        *,
        attempt_id: str,
        provider_payment_method_id: str | None,
    ) -> InvoiceSnapshot:
        raise failures.unsupported(NO_RETRY)

    async def prepare_payment(self, draft: PaymentDraft, *, retry: bool = False) -> str:
        raise failures.unsupported(NO_VOUCHERS)

    async def commit_payment(
        self, draft: PaymentDraft, provider_payment_id: str
    ) -> PaymentSnapshot:
        raise failures.unsupported(NO_VOUCHERS)
