"""Subscriptions that a hosted page started: read, canceled and kept; their orders are the invoices."""

from __future__ import annotations

from typing import Any

from models.snapshots import InvoiceSnapshot, SubscriptionSnapshot
from providers.failures import FailureKind, ProviderFailure
from providers.polar import failures, mapping
from providers.polar.client import PolarClient, path_value
from providers.polar.mapping import PolarOrder, PolarSubscription

# Refusals that depend on the state: what is there says whether it is what we wanted.
_STATE_KINDS = frozenset({FailureKind.REJECTED})


class Subscriptions:
    def __init__(self, client: PolarClient) -> None:
        self._client = client

    async def get(self, subscription_id: str) -> SubscriptionSnapshot:
        return await self._snapshot(await self.read(subscription_id))

    async def cancel(self, subscription_id: str, *, at_period_end: bool) -> SubscriptionSnapshot:
        """Now is for ever and refunds nothing; at the end of the period can be undone until then."""
        known_id = path_value(subscription_id)
        if not at_period_end:
            return await self._snapshot_after_write(await self.revoke(known_id))
        try:
            body = await self._client.call(
                "subscriptions.update",
                lambda sdk: sdk.subscriptions.update(known_id, cancel_at_period_end=True),
            )
        except ProviderFailure as failure:
            if failure.kind not in _STATE_KINDS:
                raise
            found = await self.read(known_id)
            if not (found.is_over or found.cancel_at_period_end):
                raise
        else:
            found = mapping.read(PolarSubscription, "subscriptions.update", body)
        return await self._snapshot_after_write(found)

    async def keep(self, subscription_id: str) -> SubscriptionSnapshot:
        known_id = path_value(subscription_id)
        try:
            body = await self._client.call(
                "subscriptions.update",
                lambda sdk: sdk.subscriptions.update(known_id, cancel_at_period_end=False),
            )
        except ProviderFailure as failure:
            if failure.kind not in _STATE_KINDS:
                raise
            found = await self.read(known_id)
            if found.is_over or found.cancel_at_period_end:
                raise
        else:
            found = mapping.read(PolarSubscription, "subscriptions.update", body)
        return await self._snapshot_after_write(found)

    async def get_invoice(self, order_id: str) -> InvoiceSnapshot:
        known_id = path_value(order_id)
        body = await self._client.call("orders.get", lambda sdk: sdk.orders.get(known_id))
        return mapping.invoice_snapshot(mapping.read(PolarOrder, "orders.get", body))

    async def read(self, subscription_id: str) -> PolarSubscription:
        known_id = path_value(subscription_id)
        body = await self._client.call(
            "subscriptions.get", lambda sdk: sdk.subscriptions.get(known_id)
        )
        return mapping.read(PolarSubscription, "subscriptions.get", body)

    async def revoke(self, subscription_id: str) -> PolarSubscription:
        """End it now; one that is over already is fine."""
        known_id = path_value(subscription_id)
        try:
            body = await self._client.call(
                "subscriptions.revoke", lambda sdk: sdk.subscriptions.revoke(known_id)
            )
        except ProviderFailure as failure:
            if failure.kind not in _STATE_KINDS:
                raise
            found = await self.read(known_id)
            if not found.is_over:
                raise
            return found
        return mapping.read(PolarSubscription, "subscriptions.revoke", body)

    async def _snapshot(self, found: PolarSubscription) -> SubscriptionSnapshot:
        body: Any = await self._client.call(
            "orders.list",
            lambda sdk: sdk.orders.list(
                subscription_id=found.id, sorting=["-created_at"], page=1, limit=1
            ),
        )
        items = body.get("items") if isinstance(body, dict) else None
        orders = mapping.read_all(PolarOrder, "orders.list", items or [])
        latest = orders[0] if orders else None
        return mapping.subscription_snapshot("subscriptions.get", found, latest)

    async def _snapshot_after_write(self, found: PolarSubscription) -> SubscriptionSnapshot:
        try:
            return await self._snapshot(found)
        except ProviderFailure as failure:
            raise failures.after_the_write(failure) from failure
