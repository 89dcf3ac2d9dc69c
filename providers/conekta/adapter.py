"""The Conekta adapter: translates the engine's protocol into customers, orders and charges.

Conekta has no idempotency keys. What keeps money safe instead:

* an order without charges cannot be paid, so making two of them by mistake costs nothing;
* the charge is added to an order whose id is known, so a lost answer is settled by reading that order;
* a subscription has a plan of its own whose id we choose, so a lost answer is settled by that plan;
* a refund compares what was paid back before it asks for more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from models.events import ProviderEvent
from models.outcomes import ProviderName
from models.snapshots import (
    DisputeSnapshot,
    InvoiceSnapshot,
    PaymentMethodSnapshot,
    PaymentSnapshot,
    RefundSnapshot,
    SubscriptionSnapshot,
)
from providers.capabilities import Capabilities
from providers.conekta import disputes, mapping
from providers.conekta.capabilities import CAPABILITIES
from providers.conekta.cards import Cards
from providers.conekta.client import PAGE_SIZE, ConektaClient, Sdk
from providers.conekta.lists import ConektaLists
from providers.conekta.mapping import ConektaCustomer
from providers.conekta.payments import Payments
from providers.conekta.subscriptions import Subscriptions
from providers.conekta.webhooks import WebhookReader
from providers.drafts import (
    AttachPaymentMethod,
    CustomerDraft,
    PaymentDraft,
    PlanDraft,
    PreparedSubscription,
    RefundDraft,
    SubscriptionChange,
    SubscriptionDraft,
)
from providers.failures import FailureKind, ProviderFailure
from providers.refusals import (
    NoBenefits,
    NoBrowserSetup,
    NoCheckout,
    NoDisputeAnswer,
    NoPlanChange,
)

if TYPE_CHECKING:
    import urllib3

# Conekta refuses a customer without a phone. When we were given none we send the number that Conekta's
# own documentation uses in its examples: it belongs to nobody and says nothing about the customer.
NEUTRAL_PHONE = "+5215555555555"


class ConektaProvider(NoPlanChange, NoCheckout, NoBenefits, NoBrowserSetup, NoDisputeAnswer):
    """One Conekta account; `providers.protocol.PaymentProvider`.

    `api_base` and `version_header` point it at Digital FEMSA's nearly identical API as well.
    `webhook_public_keys` holds PEM blocks one after the other, `webhook_secrets` those of HMAC relays.
    Raises ValueError when the keys cannot be read.
    """

    def __init__(
        self,
        *,
        api_key: str,
        api_base: str | None = None,
        webhook_public_keys: str | None = None,
        webhook_secrets: Sequence[str] = (),
        timeout_seconds: float = 8.0,
        account: str = "default",
        version_header: str = "application/vnd.conekta-v2.3.0+json",
    ) -> None:
        self._account = account
        self._webhooks = WebhookReader(webhook_public_keys, webhook_secrets, account)
        self._client = ConektaClient(
            api_key=api_key,
            api_base=api_base,
            version_header=version_header,
            timeout_seconds=timeout_seconds,
        )
        self._payments = Payments(self._client)
        self._cards = Cards(self._client)
        self._subscriptions = Subscriptions(self._client)

    @property
    def name(self) -> ProviderName:
        return ProviderName.CONEKTA

    @property
    def account(self) -> str:
        return self._account

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    @property
    def lists(self) -> ConektaLists:
        return ConektaLists(self._client, self._account)

    async def load(self) -> None:
        await self._client.load()

    async def aclose(self) -> None:
        await self._client.aclose()

    def parse_webhook(self, raw: bytes, headers: Mapping[str, str]) -> ProviderEvent:
        return self._webhooks.parse(raw, headers)

    # Customers

    async def ensure_customer(self, draft: CustomerDraft, *, retry: bool = False) -> str:
        if retry and (known := await self._find_customer(draft.organization_id)) is not None:
            return known

        def send(sdk: Sdk) -> urllib3.HTTPResponse:
            from conekta import Customer

            customer = Customer(
                name=draft.name,
                email=draft.email,
                phone=draft.phone or NEUTRAL_PHONE,
                custom_reference=draft.organization_id,
            )
            return sdk.customers.create_customer_without_preload_content(customer, **sdk.options)

        answer = await self._client.call("customers.create", send)
        return mapping.read_customer("customers.create", answer.body).id

    async def _find_customer(self, organization_id: str) -> str | None:
        """The oldest customer with our reference: the choice must not change from try to try."""

        def send(sdk: Sdk) -> urllib3.HTTPResponse:
            return sdk.customers.get_customers_without_preload_content(
                search=organization_id, limit=PAGE_SIZE, **sdk.options
            )

        answer = await self._client.call("customers.list", send)
        found, _ = mapping.read_page(ConektaCustomer, "customers.list", answer.body)
        same = [c for c in found if c.custom_reference == organization_id]
        return min(same, key=lambda c: (c.created_at, c.id)).id if same else None

    # Cash and transfers

    async def prepare_payment(self, draft: PaymentDraft, *, retry: bool = False) -> str:
        return await self._payments.prepare(draft, retry=retry)

    async def commit_payment(
        self, draft: PaymentDraft, provider_payment_id: str
    ) -> PaymentSnapshot:
        return await self._payments.commit(draft, provider_payment_id)

    async def get_payment(self, provider_payment_id: str) -> PaymentSnapshot:
        return await self._payments.get(provider_payment_id)

    async def cancel_payment(self, provider_payment_id: str) -> PaymentSnapshot:
        return await self._payments.cancel(provider_payment_id)

    async def get_dispute(self, seen: DisputeSnapshot) -> DisputeSnapshot:
        return await disputes.read(self._client, seen)

    async def refund(self, draft: RefundDraft) -> RefundSnapshot:
        return await self._payments.refund(draft)

    async def get_refund(self, provider_payment_id: str, provider_refund_id: str) -> RefundSnapshot:
        return await self._payments.get_refund(provider_payment_id, provider_refund_id)

    # Cards and the subscriptions that bill them.

    async def attach_payment_method(self, request: AttachPaymentMethod) -> PaymentMethodSnapshot:
        return await self._cards.attach(request)

    async def detach_payment_method(
        self, provider_customer_id: str, provider_payment_method_id: str
    ) -> None:
        await self._cards.detach(provider_customer_id, provider_payment_method_id)

    async def change_payment_method(
        self,
        provider_customer_id: str,
        provider_subscription_id: str,
        provider_payment_method_id: str,
    ) -> None:
        await self._subscriptions.change_card(
            provider_customer_id, provider_subscription_id, provider_payment_method_id
        )

    async def ensure_plan(self, draft: PlanDraft, *, replaces: str | None = None) -> str:
        """Nothing to make yet: each attempt makes a plan of its own."""
        return draft.plan_id

    async def why_not_on_sale(self, draft: PlanDraft, provider_plan_id: str) -> str | None:
        """A plan that is made for one subscription is never sold again."""
        return None

    async def prepare_subscription(
        self, draft: SubscriptionDraft, *, retry: bool = False
    ) -> PreparedSubscription:
        return await self._subscriptions.prepare(draft, retry=retry)

    async def commit_subscription(
        self, draft: SubscriptionDraft, prepared: PreparedSubscription
    ) -> SubscriptionSnapshot:
        """The snapshot's id is Conekta's own; the prepared one goes on standing for it."""
        return await self._subscriptions.commit(draft, prepared)

    async def get_subscription(
        self, provider_customer_id: str, provider_subscription_id: str
    ) -> SubscriptionSnapshot:
        return await self._subscriptions.get(provider_customer_id, provider_subscription_id)

    async def cancel_subscription(
        self, provider_customer_id: str, provider_subscription_id: str, *, at_period_end: bool
    ) -> SubscriptionSnapshot:
        """At period end is a pause: see `Subscriptions.cancel_at_period_end`."""
        if at_period_end:
            return await self._subscriptions.cancel_at_period_end(
                provider_customer_id, provider_subscription_id
            )
        return await self._subscriptions.cancel(provider_customer_id, provider_subscription_id)

    async def keep_subscription(
        self, provider_customer_id: str, provider_subscription_id: str
    ) -> SubscriptionSnapshot:
        return await self._subscriptions.keep(provider_customer_id, provider_subscription_id)

    async def pause_subscription(
        self, provider_customer_id: str, provider_subscription_id: str, *, unpaid: bool = False
    ) -> SubscriptionSnapshot:
        """Conekta's pause is the same for an unpaid one, but what it collects once resumed is documented
        nowhere: such a one is replaced and never resumed."""
        return await self._subscriptions.pause(provider_customer_id, provider_subscription_id)

    async def resume_subscription(
        self,
        provider_customer_id: str,
        provider_subscription_id: str,
        *,
        new_period: bool,
        resume_id: str,
    ) -> SubscriptionSnapshot:
        """Whether a new period begins is Conekta's to see: it does when the old one is over."""
        return await self._subscriptions.keep(provider_customer_id, provider_subscription_id)

    async def change_subscription(self, change: SubscriptionChange) -> SubscriptionSnapshot:
        """Nothing changes at Conekta: it is stopped, so that it bills no more, and whoever wants the change
        opens another one when its period is over."""
        if change.begins_at is None:
            return await super().change_subscription(change)
        if change.credit_minor:
            message = "Conekta takes no credit off what it bills: use the credit up first"
            raise ProviderFailure(FailureKind.REJECTED, message, code="credit_not_possible")
        return await self._subscriptions.stop_before(
            change.provider_customer_id, change.provider_subscription_id, change.begins_at
        )

    async def retry_invoice(
        self,
        provider_invoice_id: str,
        *,
        attempt_id: str,
        provider_payment_method_id: str | None,
    ) -> InvoiceSnapshot:
        return await self._subscriptions.retry_invoice(
            provider_invoice_id, provider_payment_method_id
        )

    async def get_invoice(self, provider_invoice_id: str) -> InvoiceSnapshot:
        return await self._subscriptions.get_invoice(provider_invoice_id)

    async def find_invoice(self, provider_payment_id: str) -> str | None:
        """An order is both: whoever knows it as an invoice knows it by this id."""
        return None
