"""What a Conekta account holds: its orders, which are payments, renewals, refunds and disputes alike.

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
from providers.conekta import disputes, failures, mapping
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
        items = [listed for one in found for listed in await self._order(one)]
        return ListedPage(items=items, next_cursor=_cursor(body))

    async def _order(self, subject: dict[str, Any]) -> list[Listed]:
        """As a payment, and as a dispute where it was charged back."""
        facts = await self._facts(subject)
        order = mapping.read_order("orders.list", subject)
        made_at = mapping.instant(order.created_at or 0)
        seen = [self._listed(Listing.PAYMENTS, order.id, made_at, facts)]
        dispute = disputes.of_order(order, made_at)
        if dispute is not None:
            about = {"kind": EventKind.DISPUTE, "dispute": dispute}
            known_as = dispute.provider_dispute_id
            seen.append(self._listed(Listing.DISPUTES, known_as, dispute.opened_at, about))
        return seen

    def _listed(
        self, listing: Listing, object_id: str, at: datetime, facts: dict[str, Any]
    ) -> Listed:
        return listed(ProviderName.CONEKTA, self._account, listing, object_id, at, facts)

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
