"""Payments that customers make by themselves: orders, and the charge that makes one payable."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from models.outcomes import Instrument
from models.snapshots import PaymentSnapshot, PaymentStatus, RefundSnapshot
from providers.conekta import failures, mapping
from providers.conekta.capabilities import CURRENCY, NO_SINGLE_CARD
from providers.conekta.client import PAGE_SIZE, ConektaClient, Sdk
from providers.conekta.mapping import ConektaOrder
from providers.conekta.orders import read_after_write, read_order
from providers.drafts import PaymentDraft, RefundDraft
from providers.failures import FailureKind, ProviderFailure

if TYPE_CHECKING:
    import urllib3

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


class Payments:
    """Orders of one account. Without a charge nobody can pay an order."""

    def __init__(self, client: ConektaClient) -> None:
        self._client = client

    async def prepare(self, draft: PaymentDraft, *, retry: bool = False) -> str:
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

    async def commit(self, draft: PaymentDraft, provider_payment_id: str) -> PaymentSnapshot:
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

    async def get(self, provider_payment_id: str) -> PaymentSnapshot:
        order = await read_order(self._client, provider_payment_id)
        return mapping.payment_snapshot("orders.retrieve", order)

    async def cancel(self, provider_payment_id: str) -> PaymentSnapshot:
        """Works for an order without charges as well: no charge can be added to it afterwards."""
        before = await self.get(provider_payment_id)
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
