"""What a Conekta account holds: its orders, which are payments, renewals and refunds alike.

The list filters by the time of the latest change, so a slip that is paid late and a refund show too.
Subscriptions can be listed for one customer only: they are asked about row by row.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from models.events import EventKind
from models.outcomes import ProviderName
from models.reconcile import Listed, ListedPage, Listing
from providers.conekta import failures, mapping
from providers.conekta.client import PAGE_SIZE, ConektaClient, Sdk
from providers.conekta.orders import read_order
from providers.conekta.webhooks import about_order
from providers.failures import WebhookMalformed
from providers.listed import listed

if TYPE_CHECKING:
    import urllib3


class ConektaLists:
    kinds = (Listing.PAYMENTS,)

    def __init__(self, client: ConektaClient, account: str) -> None:
        self._client = client
        self._account = account

    async def page(self, listing: Listing, since: datetime, cursor: str | None) -> ListedPage:
        def send(sdk: Sdk) -> urllib3.HTTPResponse:
            # The filter goes along each time: Conekta's own link to the next page forgets it.
            return sdk.orders.get_orders_without_preload_content(
                updated_at_gte=int(since.timestamp()), limit=PAGE_SIZE, next=cursor, **sdk.options
            )

        body = (await self._client.call("orders.list", send)).body
        found = body.get("data") if isinstance(body, dict) else None
        if not isinstance(found, list):
            raise failures.unreadable("orders.list", "not a list")
        items = [await self._order(one) for one in found]
        return ListedPage(items=items, next_cursor=_cursor(body))

    async def _order(self, subject: dict[str, Any]) -> Listed:
        facts = await self._facts(subject)
        order = mapping.read_order("orders.list", subject)
        return listed(
            ProviderName.CONEKTA,
            self._account,
            Listing.PAYMENTS,
            order.id,
            mapping.instant(order.created_at or 0),
            facts,
        )

    async def _facts(self, subject: dict[str, Any]) -> dict[str, Any]:
        """An order that leaves out its charges in the list is read by itself."""
        try:
            facts = about_order(subject)
        except WebhookMalformed as error:
            raise failures.unreadable("orders.list", "an order") from error
        if facts["kind"] is not EventKind.LOOK:
            return facts
        order = await read_order(self._client, str(subject["id"]))
        snapshot = mapping.payment_snapshot("orders.retrieve", order)
        return {**facts, "kind": EventKind.PAYMENT, "payment": snapshot}


def _cursor(body: dict[str, Any]) -> str | None:
    """Only the id is taken out of the link: the key never goes to a host that an answer names."""
    link = body.get("next_page_url")
    if not body.get("has_more") or not isinstance(link, str):
        return None
    return next(iter(parse_qs(urlsplit(link).query).get("next", [])), None)
