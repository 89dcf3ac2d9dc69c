"""Hosted pages, the orders that come of them, and refunds of those orders."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from models.snapshots import PaymentSnapshot, PaymentStatus, RefundSnapshot
from providers.drafts import CheckoutDraft, RefundDraft
from providers.failures import FailureKind, ProviderFailure
from providers.polar import failures, mapping
from providers.polar.capabilities import NO_CLOSING
from providers.polar.catalog import fixed_price
from providers.polar.client import PAGE_SIZE, PolarClient, path_value
from providers.polar.mapping import PolarCheckout, PolarOrder, PolarRefund

if TYPE_CHECKING:
    from polar.v2026_10.inputs import CheckoutCreate

# Polar sweeps expired pages every quarter of an hour; before that nobody knows that one is closed.
SWEEP_SECONDS = 900.0
NO_PRODUCT = "Polar sells products only: make one with ensure_product and name it in the draft"

_REFUND_REASON_BY_OURS: dict[str, Any] = {
    "duplicate": "duplicate",
    "fraudulent": "fraudulent",
    "requested_by_customer": "customer_request",
    "customer_request": "customer_request",
    "service_disruption": "service_disruption",
}


class Payments:
    def __init__(self, client: PolarClient) -> None:
        self._client = client

    async def create_checkout(self, draft: CheckoutDraft) -> PaymentSnapshot:
        """A repeated call makes another page and the last one counts: nobody ever saw the others,
        and an order is found by our attempt, whichever page it came from."""
        if draft.provider_product_id is None:
            raise failures.unsupported(NO_PRODUCT, "product_required")
        params = _checkout_params(draft, draft.provider_product_id)
        try:
            body = await self._client.call(
                "checkouts.create", lambda sdk: sdk.checkouts.create(**params)
            )
            made = mapping.read(PolarCheckout, "checkouts.create", body)
            return mapping.page_snapshot("checkouts.create", made, [])
        except ProviderFailure as failure:
            raise failures.nothing_attempted(failure) from None

    async def get(self, checkout_id: str) -> PaymentSnapshot:
        known_id = path_value(checkout_id)
        body = await self._client.call("checkouts.get", lambda sdk: sdk.checkouts.get(known_id))
        checkout = mapping.read(PolarCheckout, "checkouts.get", body)
        orders = await self._orders_of(checkout.id, checkout.reference("attempt_id"))
        return mapping.page_snapshot("checkouts.get", checkout, orders)

    async def cancel(self, checkout_id: str) -> PaymentSnapshot:
        """Polar has no call that closes a page, and archiving the product would close everybody's.
        So this only tells the truth: what is closed is returned, what is open is refused."""
        found = await self.get(checkout_id)
        if found.status is not PaymentStatus.PENDING:
            return found
        left_seconds = SWEEP_SECONDS
        if found.expires_at is not None:
            left_seconds += max((found.expires_at - datetime.now(UTC)).total_seconds(), 0.0)
        raise failures.unsupported(
            NO_CLOSING,
            "checkout_open",
            provider_object_id=checkout_id,
            retry_after_seconds=left_seconds,
        )

    async def refund(self, draft: RefundDraft) -> RefundSnapshot:
        """List, then post: our reference in the refund's metadata says whether it was made before.

        Who gets everything back loses the benefits too; part of the money takes none of them away.
        """
        orders = await self._paid_orders(draft.provider_payment_id)
        for order in orders:
            made_before = await self._refund_made_before(order.id, draft.refund_id)
            if made_before is not None:
                return mapping.refund_snapshot(made_before, draft.provider_payment_id)
        # Paid twice, the latest order is the one too many.
        enough = [o for o in orders if (o.refundable_amount or 0) >= draft.amount_minor]
        order = (enough or orders)[0]
        whole = order.subscription_id is None and draft.amount_minor == order.refundable_amount
        body = await self._client.call(
            "refunds.create",
            lambda sdk: sdk.refunds.create(
                order_id=order.id,
                reason=_REFUND_REASON_BY_OURS.get(draft.reason, "other"),
                amount=draft.amount_minor,
                revoke_benefits=whole,
                metadata={"refund_id": draft.refund_id},
            ),
        )
        refund = mapping.read(PolarRefund, "refunds.create", body)
        return mapping.refund_snapshot(refund, draft.provider_payment_id)

    async def _orders_of(self, checkout_id: str, attempt_id: str | None) -> list[PolarOrder]:
        """By our attempt, because an earlier page of the same attempt may have been the one that was
        paid; by the page for what is not ours."""
        if attempt_id is not None:
            bodies = await self._client.pages(
                "orders.list",
                lambda sdk, page: sdk.orders.list(
                    metadata={"attempt_id": attempt_id}, page=page, limit=PAGE_SIZE
                ),
            )
        else:
            bodies = await self._client.pages(
                "orders.list",
                lambda sdk, page: sdk.orders.list(
                    checkout_id=checkout_id, page=page, limit=PAGE_SIZE
                ),
            )
        orders = mapping.read_all(PolarOrder, "orders.list", bodies)
        # A filter that Polar ignored must not turn other people's money into ours.
        return [
            order
            for order in orders
            if order.checkout_id == checkout_id
            or (attempt_id is not None and order.reference("attempt_id") == attempt_id)
        ]

    async def _paid_orders(self, payment_id: str) -> list[PolarOrder]:
        """The latest first. `payment_id` is a page's or an order's: both are bare UUIDs."""
        known_id = path_value(payment_id)
        try:
            body = await self._client.call("orders.get", lambda sdk: sdk.orders.get(known_id))
            orders = [mapping.read(PolarOrder, "orders.get", body)]
        except ProviderFailure as failure:
            if failure.kind is not FailureKind.NOT_FOUND:
                raise
            page = await self._client.call("checkouts.get", lambda sdk: sdk.checkouts.get(known_id))
            checkout = mapping.read(PolarCheckout, "checkouts.get", page)
            orders = await self._orders_of(checkout.id, checkout.reference("attempt_id"))
            orders = [order for order in orders if order.is_of_checkout]
        paid = [order for order in orders if order.has_money]
        if not paid:
            raise failures.rejected("nothing was paid that could be paid back", "not_paid")
        return sorted(paid, key=lambda order: (order.created_at, order.id), reverse=True)

    async def get_refund(self, payment_id: str, provider_refund_id: str) -> RefundSnapshot:
        """Polar reads no refund by its id: those of the order are listed."""
        for order in await self._paid_orders(payment_id):
            for refund in await self._refunds_of(order.id):
                if refund.id == provider_refund_id:
                    return mapping.refund_snapshot(refund, payment_id)
        raise failures.rejected("its orders list no such refund", "not_found")

    async def _refund_made_before(self, order_id: str, refund_id: str) -> PolarRefund | None:
        refunds = await self._refunds_of(order_id)
        return next((r for r in refunds if r.reference("refund_id") == refund_id), None)

    async def _refunds_of(self, order_id: str) -> list[PolarRefund]:
        bodies = await self._client.pages(
            "refunds.list",
            lambda sdk, page: sdk.refunds.list(order_id=order_id, page=page, limit=PAGE_SIZE),
        )
        return mapping.read_all(PolarRefund, "refunds.list", bodies)


def _checkout_params(draft: CheckoutDraft, product_id: str) -> CheckoutCreate:
    """The price is said for this page alone, and no discount code may change it: what the page asks
    for is what our invoice says. When the page ends is Polar's choice (a day)."""
    presentment: Any = draft.currency.lower()
    params: CheckoutCreate = {
        "products": [product_id],
        "prices": {product_id: [fixed_price(draft.amount_minor, draft.currency)]},
        "currency": presentment,
        "customer_id": draft.provider_customer_id,
        "success_url": draft.success_url,
        "allow_discount_codes": False,
        "metadata": _metadata(draft),
    }
    if draft.customer_ip_address is not None:
        # Otherwise the tax country would be that of our server.
        params["customer_ip_address"] = draft.customer_ip_address
    return params


def _metadata(draft: CheckoutDraft) -> dict[str, Any]:
    """Copied by Polar to the order: that is where it is found again."""
    ours = {
        "attempt_id": draft.attempt_id,
        "invoice_id": draft.invoice_id,
        "organization_id": draft.organization_id,
        "purchase_id": draft.purchase_id,
        "subscription_id": draft.subscription_id,
    }
    return {key: value for key, value in ours.items() if value is not None}
