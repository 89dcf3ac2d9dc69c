"""What a Polar organization holds: orders, refunds and subscriptions, newest first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from models.events import EventKind
from models.outcomes import ProviderName
from models.reconcile import Listed, ListedPage, Listing
from providers.listed import listed
from providers.polar import failures, mapping
from providers.polar.client import PAGE_SIZE, PolarClient, Sdk, path_value
from providers.polar.mapping import PolarOrder, PolarSubscription
from providers.polar.webhooks import about_order, about_subscription


class PolarLists:
    """The cursor is the number of the next page: that is all that Polar offers."""

    kinds = (Listing.SUBSCRIPTIONS, Listing.PAYMENTS, Listing.REFUNDS)

    def __init__(self, client: PolarClient, account: str) -> None:
        self._client = client
        self._account = account

    async def page(self, listing: Listing, since: datetime, cursor: str | None) -> ListedPage:
        number = int(cursor or "1")
        if listing is Listing.PAYMENTS:
            return await self._orders(since, number)
        if listing is Listing.REFUNDS:
            return await self._refunds(since, number)
        return await self._subscriptions(number)

    async def _orders(self, since: datetime, number: int) -> ListedPage:
        bodies, following = await self._read(
            "orders.list",
            lambda sdk: sdk.orders.list(
                created_after=since.isoformat(), page=number, limit=PAGE_SIZE
            ),
            number,
        )
        orders = mapping.read_all(PolarOrder, "orders.list", bodies)
        items = [one for order in orders if (one := self._order(order)) is not None]
        return ListedPage(items=items, next_cursor=following)

    async def _refunds(self, since: datetime, number: int) -> ListedPage:
        """There is no filter by time, so the list is read until it is older. Each refund is told by its
        order, which knows all that went back."""
        bodies, following = await self._read(
            "refunds.list",
            lambda sdk: sdk.refunds.list(page=number, limit=PAGE_SIZE, sorting=["-created_at"]),
            number,
        )
        refunds = mapping.read_all(mapping.PolarRefund, "refunds.list", bodies)
        young = [one for one in refunds if one.created_at is None or one.created_at >= since]
        order_ids = dict.fromkeys(one.order_id for one in young if one.order_id is not None)
        found = [self._order(await self._order_of(order_id)) for order_id in order_ids]
        items = [one for one in found if one is not None]
        return ListedPage(
            items=items, next_cursor=following if len(young) == len(refunds) else None
        )

    async def _subscriptions(self, number: int) -> ListedPage:
        """All that live, whenever they were made: one that should be over may be old."""
        bodies, following = await self._read(
            "subscriptions.list",
            lambda sdk: sdk.subscriptions.list(
                status=["active", "trialing", "past_due"], page=number, limit=PAGE_SIZE
            ),
            number,
        )
        found = mapping.read_all(PolarSubscription, "subscriptions.list", bodies)
        items = [self._subscription(one) for one in found]
        return ListedPage(items=items, next_cursor=following)

    def _order(self, order: PolarOrder) -> Listed | None:
        """A renewal is an invoice here, and says all of itself; a free order moved no money."""
        facts = about_order(order)
        if facts["kind"] is EventKind.LOOK and order.subscription_id is not None:
            facts |= {"kind": EventKind.INVOICE, "invoice": mapping.invoice_snapshot(order)}
        elif facts["kind"] is not EventKind.PAYMENT:
            if not mapping.captures_of(order):
                return None
            facts = {
                "kind": EventKind.PAYMENT,
                "provider_payment_id": order.checkout_id or order.id,
            }
            facts["payment"] = mapping.order_snapshot(order)
        return listed(
            ProviderName.POLAR,
            self._account,
            Listing.PAYMENTS,
            order.id,
            order.created_at,
            facts,
            amount_refunded_minor=order.refunded_amount,
        )

    def _subscription(self, found: PolarSubscription) -> Listed:
        return listed(
            ProviderName.POLAR,
            self._account,
            Listing.SUBSCRIPTIONS,
            found.id,
            found.current_period_start,
            about_subscription(found),
        )

    async def _order_of(self, order_id: str) -> PolarOrder:
        known_id = path_value(order_id)
        body = await self._client.call("orders.get", lambda sdk: sdk.orders.get(known_id))
        return mapping.read(PolarOrder, "orders.get", body)

    async def _read(
        self, operation: str, send: Callable[[Sdk], Awaitable[Any]], number: int
    ) -> tuple[list[Any], str | None]:
        """The items, and the number of the next page."""
        body = await self._client.call(operation, send)
        items = body.get("items") if isinstance(body, dict) else None
        if not isinstance(items, list):
            raise failures.unreadable(operation, "not a list")
        pagination = body.get("pagination") or {}
        last = pagination.get("max_page", number)
        return items, str(number + 1) if isinstance(last, int) and number < last else None
