"""Stripe as a PaymentProvider, through its own async SDK."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast
from urllib.parse import quote

import stripe
from stripe.params import (
    CustomerCreateParams,
    InvoicePayParams,
    SubscriptionUpdateParams,
)

from models.events import ProviderEvent
from models.outcomes import ProviderName
from models.snapshots import (
    DisputeSnapshot,
    InvoiceSnapshot,
    PaymentMethodSnapshot,
    PaymentSnapshot,
    ProviderInvoiceStatus,
    ProviderSubscriptionStatus,
    RefundSnapshot,
    SubscriptionSnapshot,
)
from providers.capabilities import Capabilities
from providers.drafts import (
    AttachPaymentMethod,
    ChangeDraft,
    CheckoutDraft,
    CustomerDraft,
    PaymentDraft,
    PlanDraft,
    PreparedSubscription,
    ProductDraft,
    RefundDraft,
    SetupDraft,
    SubscriptionChange,
    SubscriptionDraft,
)
from providers.failures import FailureKind, ProviderFailure
from providers.refusals import NoBenefits
from providers.stripe import mapping, webhooks
from providers.stripe.calls import calling, keyed, lean_answer, read_back
from providers.stripe.capabilities import CAPABILITIES
from providers.stripe.changes import Changes
from providers.stripe.checkout import SESSION_PREFIX, Checkouts
from providers.stripe.client import make_client
from providers.stripe.disputes import Disputes
from providers.stripe.failures import asks_for_customer
from providers.stripe.lists import StripeLists
from providers.stripe.openings import Openings
from providers.stripe.pauses import Pauses
from providers.stripe.payment_methods import PaymentMethods
from providers.stripe.payments import Payments, paid_intent_of
from providers.stripe.prices import Prices
from providers.stripe.schedules import Schedules

# What the customer needs to finish a first payment in the browser comes only when asked for.
WITH_CLIENT_SECRET = ["latest_invoice.confirmation_secret"]
GONE = {FailureKind.NOT_FOUND, FailureKind.REJECTED}


class StripeProvider(NoBenefits):
    """One Stripe account. Belongs to the event loop in which it is first used.

    Every POST that makes something or moves money carries an idempotency key made of our own ids, so
    `retry` needs no search. Updates that only set a value are harmless to repeat and must not be
    replayed (cancel, keep, cancel again is a sequence), so they leave the key to the SDK.
    """

    def __init__(
        self,
        *,
        api_key: str,
        api_base: str | None = None,
        webhook_secrets: Sequence[str] = (),
        timeout_seconds: float = 8.0,
        account: str = "default",
    ) -> None:
        self._client, self._transport = make_client(api_key, api_base, timeout_seconds)
        self._v1 = self._client.v1
        self._payments = Payments(self._client)
        self._methods = PaymentMethods(self._client)
        self._schedules = Schedules(self._client)
        self._changes = Changes(self._client, self._schedules)
        self._checkouts = Checkouts(self._client, self._payments)
        self._disputes = Disputes(self._client)
        self._openings = Openings(self._client)
        self._prices = Prices(self._client)
        self._pauses = Pauses(self._client, self._subscription, self._schedules)
        self._webhook_secrets = tuple(secret for secret in webhook_secrets if secret.strip())
        self._account = account

    @property
    def name(self) -> ProviderName:
        return ProviderName.STRIPE

    @property
    def account(self) -> str:
        return self._account

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    @property
    def lists(self) -> StripeLists:
        return StripeLists(
            self._client, self._payments, self._disputes, self.find_invoice, self._account
        )

    async def load(self) -> None:
        """Nothing is slow the first time."""

    async def aclose(self) -> None:
        await self._transport.aclose()

    # Customers, payment methods, plans.

    async def ensure_customer(self, draft: CustomerDraft, *, retry: bool = False) -> str:
        params: CustomerCreateParams = {
            "name": draft.name,
            "email": draft.email,
            "metadata": {"organization_id": draft.organization_id},
        }
        if draft.phone is not None:
            params["phone"] = draft.phone
        if draft.country is not None:
            params["address"] = {"country": draft.country}
        if draft.country == "MX":
            params["preferred_locales"] = ["es-419"]
        with calling():
            made = await self._v1.customers.create_async(
                params, keyed("customer", draft.organization_id)
            )
        return made.id

    async def attach_payment_method(self, request: AttachPaymentMethod) -> PaymentMethodSnapshot:
        """Subscriptions name their own payment method, so the customer's default stays as it is."""
        return await self._methods.attach(request)

    async def detach_payment_method(
        self, provider_customer_id: str, provider_payment_method_id: str
    ) -> None:
        await self._methods.detach(provider_payment_method_id)

    async def create_setup(self, draft: SetupDraft) -> str:
        return await self._methods.create_setup(draft)

    async def change_payment_method(
        self,
        provider_customer_id: str,
        provider_subscription_id: str,
        provider_payment_method_id: str,
    ) -> None:
        updated = await self._update(
            provider_subscription_id, {"default_payment_method": provider_payment_method_id}
        )
        if updated.holds_change:
            await self._schedules.charge_with(provider_subscription_id, provider_payment_method_id)

    async def ensure_plan(self, draft: PlanDraft, *, replaces: str | None = None) -> str:
        return await self._prices.ensure(draft, replaces)

    async def why_not_on_sale(self, draft: PlanDraft, provider_plan_id: str) -> str | None:
        return await self._prices.why_not_on_sale(draft, provider_plan_id)

    # Subscriptions and their invoices.

    async def prepare_subscription(
        self, draft: SubscriptionDraft, *, retry: bool = False
    ) -> PreparedSubscription:
        return await self._openings.prepare(draft)

    async def commit_subscription(
        self, draft: SubscriptionDraft, prepared: PreparedSubscription
    ) -> SubscriptionSnapshot:
        subscription_id = prepared.provider_subscription_id
        invoice_id = prepared.provider_invoice_id
        method_id = draft.provider_payment_method_id
        if invoice_id is None or method_id is None:
            # A trial has nothing to pay; without a card the customer pays in the browser.
            return await self._subscription(subscription_id)
        params: InvoicePayParams = {"payment_method": method_id, "off_session": False}
        try:
            with calling(subscription_id):
                path = f"/v1/invoices/{quote(invoice_id, safe='')}/pay"
                key = keyed("pay", draft.attempt_id)
                await lean_answer(self._client, "post", path, params, key)
        except ProviderFailure as failure:
            if asks_for_customer(failure):
                return await read_back(self._subscription(subscription_id), subscription_id)
            if failure.kind is not FailureKind.REJECTED:
                raise
            # Perhaps it was paid before and the key is forgotten: then it is no failure.
            found = await read_back(self._subscription(subscription_id), subscription_id)
            if found.status is ProviderSubscriptionStatus.INCOMPLETE:
                raise
            return found
        return await read_back(self._subscription(subscription_id), subscription_id)

    async def get_subscription(
        self, provider_customer_id: str, provider_subscription_id: str
    ) -> SubscriptionSnapshot:
        found = await self._subscription(provider_subscription_id)
        latest = found.latest_invoice
        if latest is not None and found.is_collectable:
            latest = await self._pauses.last_that_counts(latest)
            found = found.model_copy(update={"latest_invoice": latest})
        if latest is None or latest.status is not ProviderInvoiceStatus.OPEN:
            return found
        # Only the invoice's own payment says why it was refused, and a hard decline must be known as one.
        read = await self.get_invoice(latest.provider_invoice_id)
        return found.model_copy(update={"latest_invoice": read})

    async def cancel_subscription(
        self, provider_customer_id: str, provider_subscription_id: str, *, at_period_end: bool
    ) -> SubscriptionSnapshot:
        async def at_the_end() -> SubscriptionSnapshot:
            return await self._update(provider_subscription_id, {"cancel_at_period_end": True})

        async def now() -> None:
            with calling(provider_subscription_id):
                await self._v1.subscriptions.cancel_async(
                    provider_subscription_id, {"invoice_now": False, "prorate": False}
                )

        try:
            if at_period_end:
                return await self._schedules.making_way(
                    provider_subscription_id, at_the_end, foreign=True
                )
            await self._schedules.making_way(provider_subscription_id, now, foreign=True)
        except ProviderFailure as failure:
            if failure.kind not in GONE:
                raise
            found = await self._subscription(provider_subscription_id)
            if found.status is not ProviderSubscriptionStatus.CANCELED:
                raise
            return await self._void_open_invoice(found)
        found = await read_back(
            self._subscription(provider_subscription_id), provider_subscription_id
        )
        return await self._void_open_invoice(found)

    async def keep_subscription(
        self, provider_customer_id: str, provider_subscription_id: str
    ) -> SubscriptionSnapshot:
        return await self._update(provider_subscription_id, {"cancel_at_period_end": False})

    async def pause_subscription(
        self, provider_customer_id: str, provider_subscription_id: str, *, unpaid: bool = False
    ) -> SubscriptionSnapshot:
        """The invoice that Stripe may just have made for a coming period goes with it; one that nobody paid
        stays open for whoever pays it."""
        if unpaid:
            return await self._pauses.pause_collection(provider_subscription_id)
        found = await self._pauses.pause(provider_subscription_id)
        return await self._void_open_invoice(found)

    async def resume_subscription(
        self,
        provider_customer_id: str,
        provider_subscription_id: str,
        *,
        new_period: bool,
        resume_id: str,
    ) -> SubscriptionSnapshot:
        return await self._pauses.resume(
            provider_subscription_id, new_period=new_period, resume_id=resume_id
        )

    async def retry_invoice(
        self,
        provider_invoice_id: str,
        *,
        attempt_id: str,
        provider_payment_method_id: str | None,
    ) -> InvoiceSnapshot:
        params: InvoicePayParams = {"off_session": True}
        if provider_payment_method_id is not None:
            params["payment_method"] = provider_payment_method_id
        try:
            with calling(provider_invoice_id):
                paid = await self._v1.invoices.pay_async(
                    provider_invoice_id, params, keyed("retry", attempt_id)
                )
                return mapping.invoice(paid)
        except ProviderFailure as failure:
            if failure.kind is not FailureKind.REJECTED:
                raise
            found = await read_back(self.get_invoice(provider_invoice_id), provider_invoice_id)
            if found.status is not ProviderInvoiceStatus.PAID:
                raise
            return found

    async def get_invoice(self, provider_invoice_id: str) -> InvoiceSnapshot:
        with calling(provider_invoice_id):
            found = await self._v1.invoices.retrieve_async(
                provider_invoice_id, {"expand": ["payments", "confirmation_secret"]}
            )
            intent_id = paid_intent_of(found)
            intent = None
            if intent_id is not None and found.attempted:
                # The invoice itself knows neither why it was declined nor what was refunded.
                intent = await self._payments.intent_with_charge(intent_id)
            return mapping.invoice(found, intent)

    async def find_invoice(self, provider_payment_id: str) -> str | None:
        with calling(provider_payment_id):
            page = await self._v1.invoice_payments.list_async(
                {"payment": {"type": "payment_intent", "payment_intent": provider_payment_id}}
            )
            return next((mapping.reference(row.invoice) for row in page.data), None)

    # Changes of the plan.

    async def prepare_change(self, draft: ChangeDraft, *, retry: bool = False) -> str:
        return await self._changes.prepare(draft)

    async def commit_change(self, draft: ChangeDraft, provider_invoice_id: str) -> InvoiceSnapshot:
        return await self._changes.commit(draft, provider_invoice_id)

    async def cancel_invoice(self, provider_invoice_id: str) -> InvoiceSnapshot:
        return await self._changes.cancel(provider_invoice_id)

    async def change_subscription(self, change: SubscriptionChange) -> SubscriptionSnapshot:
        return await self._changes.change(change)

    # One-off payments.

    async def prepare_payment(self, draft: PaymentDraft, *, retry: bool = False) -> str:
        return await self._payments.prepare(draft)

    async def commit_payment(
        self, draft: PaymentDraft, provider_payment_id: str
    ) -> PaymentSnapshot:
        return await self._payments.commit(draft, provider_payment_id)

    async def get_payment(self, provider_payment_id: str) -> PaymentSnapshot:
        if provider_payment_id.startswith(SESSION_PREFIX):
            return await self._checkouts.get(provider_payment_id)
        return await self._payments.get(provider_payment_id)

    async def cancel_payment(self, provider_payment_id: str) -> PaymentSnapshot:
        if provider_payment_id.startswith(SESSION_PREFIX):
            return await self._checkouts.cancel(provider_payment_id)
        return await self._payments.cancel(provider_payment_id)

    async def get_dispute(self, seen: DisputeSnapshot) -> DisputeSnapshot:
        return await self._disputes.get(seen.provider_dispute_id)

    async def accept_dispute(self, provider_dispute_id: str) -> DisputeSnapshot:
        return await self._disputes.accept(provider_dispute_id)

    async def refund(self, draft: RefundDraft) -> RefundSnapshot:
        if draft.provider_payment_id.startswith(SESSION_PREFIX):
            return await self._checkouts.refund(draft)
        return await self._payments.refund(draft)

    async def get_refund(self, provider_payment_id: str, provider_refund_id: str) -> RefundSnapshot:
        return await self._payments.get_refund(provider_refund_id)

    async def ensure_product(
        self, draft: ProductDraft, *, retry: bool = False, replaces: str | None = None
    ) -> str:
        return await self._checkouts.ensure_product(draft, replaces)

    async def create_checkout(
        self, draft: CheckoutDraft, *, retry: bool = False
    ) -> PaymentSnapshot:
        return await self._checkouts.create(draft)

    def parse_webhook(self, raw: bytes, headers: Mapping[str, str]) -> ProviderEvent:
        webhooks.verify(raw, headers, self._webhook_secrets)
        return webhooks.translate(raw, self._account)

    # Helpers.

    async def _subscription(self, subscription_id: str) -> SubscriptionSnapshot:
        with calling(subscription_id):
            path = f"/v1/subscriptions/{quote(subscription_id, safe='')}"
            found = await lean_answer(self._client, "get", path, {"expand": WITH_CLIENT_SECRET})
            return mapping.subscription(cast("stripe.Subscription", found))

    async def _update(
        self, subscription_id: str, changes: SubscriptionUpdateParams
    ) -> SubscriptionSnapshot:
        changes["expand"] = WITH_CLIENT_SECRET
        with calling(subscription_id):
            updated = await self._v1.subscriptions.update_async(subscription_id, changes)
            return mapping.subscription(updated)

    async def _void_open_invoice(self, canceled: SubscriptionSnapshot) -> SubscriptionSnapshot:
        """Stripe leaves an open invoice payable after a cancellation or a pause; the customer's browser could
        still pay it. After this nobody can."""
        latest = canceled.latest_invoice
        if latest is None or latest.status is not ProviderInvoiceStatus.OPEN:
            return canceled
        invoice_id = latest.provider_invoice_id
        try:
            with calling(invoice_id):
                await self._v1.invoices.void_invoice_async(
                    invoice_id, {}, keyed("void", invoice_id)
                )
        except ProviderFailure as failure:
            # Refused because it was paid (or voided) meanwhile: reading says which.
            if failure.kind is not FailureKind.REJECTED:
                raise
        return await read_back(
            self._subscription(canceled.provider_subscription_id),
            canceled.provider_subscription_id,
        )
