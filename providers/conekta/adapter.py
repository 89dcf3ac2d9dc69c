"""The Conekta adapter: translates the engine's protocol into customers, orders and charges.

Conekta has no idempotency keys. What keeps money safe instead:

* an order without charges cannot be paid, so making two of them by mistake costs nothing;
* the charge is added to an order whose id is known, so a lost answer is settled by reading that order;
* a subscription has a plan of its own whose id we choose, so a lost answer is settled by that plan;
* a refund compares what was paid back before it asks for more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from models.events import ProviderEvent
from models.outcomes import Instrument, ProviderName
from models.snapshots import (
    DisputeSnapshot,
    InvoiceSnapshot,
    PaymentMethodSnapshot,
    PaymentSnapshot,
    PaymentStatus,
    RefundSnapshot,
    SubscriptionSnapshot,
)
from providers.capabilities import Capabilities
from providers.conekta import disputes, failures, mapping
from providers.conekta.capabilities import CAPABILITIES, CURRENCY, NO_SINGLE_CARD
from providers.conekta.cards import Cards
from providers.conekta.client import PAGE_SIZE, ConektaClient, Sdk
from providers.conekta.lists import ConektaLists
from providers.conekta.mapping import ConektaCustomer, ConektaOrder
from providers.conekta.orders import read_after_write, read_order
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

# 2,000 orders in the few minutes of one attempt are far beyond one account. What lies deeper is not
# found and a second order is made: harmless, because an order without charges cannot be paid.
SEARCH_PAGES_MAX = 8
# How far before the attempt the search begins: the clocks of two companies differ.
CLOCK_SKEW_SECONDS = 300
LINE_ITEM_NAME_LENGTH_MIN = 3
LINE_ITEM_NAME_LENGTH_MAX = 249

_METHOD_TYPE_BY_INSTRUMENT = {Instrument.OXXO: "cash", Instrument.SPEI: "spei"}
# Conekta publishes no list of reasons; these two are the ones that were seen.
_REFUND_REASON_BY_OURS = {"fraudulent": "suspected_fraud"}
_REFUND_REASON_DEFAULT = "requested_by_client"
# Answers to a cancellation that depend on the order's state: the order itself says what is true.
_STATE_KINDS = frozenset({FailureKind.REJECTED, FailureKind.DECLINED})
# Nothing can be paid any more, or everything is.
_CLOSED_STATUSES = frozenset(
    {
        PaymentStatus.SUCCEEDED,
        PaymentStatus.CANCELED,
        PaymentStatus.EXPIRED,
        PaymentStatus.DECLINED,
    }
)


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

    # Payments

    async def prepare_payment(self, draft: PaymentDraft, *, retry: bool = False) -> str:
        _check_instrument(draft)
        if retry and (known := await self._find_order(draft)) is not None:
            return known

        def send(sdk: Sdk) -> urllib3.HTTPResponse:
            import conekta

            customer = conekta.CustomerInfoCustomerId(customer_id=draft.provider_customer_id)
            item = conekta.Product(
                name=_line_item_name(draft.description), unit_price=draft.amount_minor, quantity=1
            )
            order = conekta.OrderRequest(
                currency=draft.currency,
                customer_info=conekta.OrderRequestCustomerInfo(customer),
                line_items=[item],
                metadata=_metadata(draft),
            )
            return sdk.orders.create_order_without_preload_content(order, **sdk.options)

        answer = await self._client.call("orders.create", send)
        return mapping.read_order("orders.create", answer.body).id

    async def commit_payment(
        self, draft: PaymentDraft, provider_payment_id: str
    ) -> PaymentSnapshot:
        _check_instrument(draft)
        method_type = _METHOD_TYPE_BY_INSTRUMENT[draft.instrument]

        def send(sdk: Sdk) -> urllib3.HTTPResponse:
            import conekta

            method = conekta.PaymentMethodGeneralRequest(
                type=method_type, expires_at=int(draft.expires_at.timestamp())
            )
            charge = conekta.ChargeRequest(
                payment_method=conekta.ChargeRequestPaymentMethod(method),
                reference_id=draft.attempt_id,
            )
            return sdk.charges.orders_create_charge_without_preload_content(
                provider_payment_id, charge, **sdk.options
            )

        try:
            answer = await self._client.call("charges.create", send)
        except ProviderFailure as failure:
            if failure.kind is not FailureKind.REJECTED:
                raise
            # 428 says that there is a charge already: an earlier try of ours, whose answer got lost.
            order = await read_after_write(self._client, provider_payment_id)
            if not order.charge_list and order.payment_status is None:
                raise
        else:
            order = await self._order_of_charge(draft, provider_payment_id, answer.body)
        return mapping.payment_snapshot("charges.create", order)

    async def _order_of_charge(
        self, draft: PaymentDraft, provider_payment_id: str, body: Any
    ) -> ConektaOrder:
        """The answer holds one charge. That is all of a transfer, but cash has one per network."""
        if draft.instrument is Instrument.SPEI:
            charge = mapping.read_charge("charges.create", body)
            if charge.clabe is not None:
                return mapping.order_with(charge, provider_payment_id, _metadata(draft))
        return await read_after_write(self._client, provider_payment_id)

    async def get_payment(self, provider_payment_id: str) -> PaymentSnapshot:
        order = await read_order(self._client, provider_payment_id)
        return mapping.payment_snapshot("orders.retrieve", order)

    async def cancel_payment(self, provider_payment_id: str) -> PaymentSnapshot:
        """Works for an order without charges as well: no charge can be added to it afterwards."""
        before = await self.get_payment(provider_payment_id)
        if before.status in _CLOSED_STATUSES:
            return before

        def send(sdk: Sdk) -> urllib3.HTTPResponse:
            return sdk.orders.cancel_order_without_preload_content(
                provider_payment_id, **sdk.options
            )

        try:
            answer = await self._client.call("orders.cancel", send)
        except ProviderFailure as failure:
            if failure.kind not in _STATE_KINDS:
                raise
            after = await self._snapshot_after_write(provider_payment_id)
            if after.status not in _CLOSED_STATUSES:
                raise
            return after
        order = mapping.read_order("orders.cancel", answer.body)
        canceled = mapping.payment_snapshot("orders.cancel", order)
        if canceled.status not in _CLOSED_STATUSES:
            raise failures.unreadable("orders.cancel", f"the order is still {canceled.status}")
        return canceled

    async def get_dispute(self, seen: DisputeSnapshot) -> DisputeSnapshot:
        """A chargeback has no address of its own: its order tells, where it is known which one that is."""
        if seen.provider_payment_id is None:
            return seen
        order = await read_order(self._client, seen.provider_payment_id)
        found = disputes.of_order(order, seen.opened_at)
        is_this = found is not None and found.provider_dispute_id == seen.provider_dispute_id
        return found if found is not None and is_this else seen

    async def refund(self, draft: RefundDraft) -> RefundSnapshot:
        """Refunds carry no reference of ours, so what was paid back so far tells whether to ask."""
        before = await read_order(self._client, draft.provider_payment_id)
        found = mapping.earlier_refunds(before, draft)
        if found:
            return mapping.refund_snapshot(before, found, draft.amount_minor)

        def send(sdk: Sdk) -> urllib3.HTTPResponse:
            from conekta import OrderRefundRequest

            reason = _REFUND_REASON_BY_OURS.get(draft.reason, _REFUND_REASON_DEFAULT)
            request = OrderRefundRequest(amount=draft.amount_minor, reason=reason)
            return sdk.orders.order_refund_without_preload_content(
                draft.provider_payment_id, request, **sdk.options
            )

        answer = await self._client.call("orders.refund", send)
        after = mapping.read_order("orders.refund", answer.body)
        known = {refund.id for refund in before.refund_list}
        made = [refund for refund in after.refund_list if refund.id not in known]
        if not made:
            raise failures.unreadable("orders.refund", "the order does not list the new refund")
        return mapping.refund_snapshot(after, made, draft.amount_minor)

    async def get_refund(self, provider_payment_id: str, provider_refund_id: str) -> RefundSnapshot:
        order = await read_order(self._client, provider_payment_id)
        for refund in order.refund_list:
            if refund.id == provider_refund_id:
                return mapping.refund_snapshot(order, [refund], -refund.amount)
        message = "the order lists no such refund"
        raise ProviderFailure(FailureKind.NOT_FOUND, message, code="not_found")

    async def _find_order(self, draft: PaymentDraft) -> str | None:
        """The order of an earlier try. There is no filter for metadata, so we look through the time."""
        since = int(draft.created_at.timestamp()) - CLOCK_SKEW_SECONDS
        cursor: str | None = None
        found: list[ConektaOrder] = []
        for _ in range(SEARCH_PAGES_MAX):
            send = _send_order_search(since, cursor)
            answer = await self._client.call("orders.list", send)
            orders, has_more = mapping.read_page(ConektaOrder, "orders.list", answer.body)
            found += [o for o in orders if o.reference("attempt_id") == draft.attempt_id]
            if not has_more or not orders:
                break
            cursor = orders[-1].id
        # One that was committed wins over one that was not; the oldest wins among equals.
        found.sort(key=lambda o: (o.payment_status is None, o.created_at or 0, o.id))
        return found[0].id if found else None

    async def _snapshot_after_write(self, provider_payment_id: str) -> PaymentSnapshot:
        order = await read_after_write(self._client, provider_payment_id)
        return mapping.payment_snapshot("orders.retrieve", order)

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


def _check_instrument(draft: PaymentDraft) -> None:
    if draft.instrument not in _METHOD_TYPE_BY_INSTRUMENT:
        raise failures.unsupported(NO_SINGLE_CARD)
    if draft.currency != CURRENCY:
        raise failures.unsupported(f"Conekta charges in {CURRENCY} only: use Stripe otherwise")


def _line_item_name(description: str) -> str:
    """Conekta wants 3 to 249 characters, and the customer reads them on the slip."""
    name = description.strip()[:LINE_ITEM_NAME_LENGTH_MAX]
    return name if len(name) >= LINE_ITEM_NAME_LENGTH_MIN else f"Pago {name}".strip()


def _metadata(draft: PaymentDraft) -> dict[str, Any]:
    ours = {
        "attempt_id": draft.attempt_id,
        "subscription_id": draft.subscription_id,
        "invoice_id": draft.invoice_id,
        "organization_id": draft.organization_id,
    }
    return {key: value for key, value in ours.items() if value is not None}


def _send_order_search(since: int, cursor: str | None) -> Callable[[Sdk], urllib3.HTTPResponse]:
    """The page after `cursor`. The filter goes along each time: Conekta's own link forgets it."""

    def send(sdk: Sdk) -> urllib3.HTTPResponse:
        return sdk.orders.get_orders_without_preload_content(
            created_at_gte=since, limit=PAGE_SIZE, next=cursor, **sdk.options
        )

    return send
