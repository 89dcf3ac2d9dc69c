"""Stripe's two pauses.

`pause` (since 2026-09-30.endive) is the one that is asked for: no invoices, no period. What it does to an
unpaid invoice is not documented, so a subscription that nobody paid has its `pause_collection` set to
`void`: Stripe goes on making an invoice for each period and voids it, so nobody owes a period that was not
served, while the invoice that was open before can still be paid.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import stripe
from stripe.params import SubscriptionPauseParams, SubscriptionResumeParams

from models.snapshots import (
    InvoiceSnapshot,
    ProviderInvoiceStatus,
    ProviderSubscriptionStatus,
    SubscriptionSnapshot,
)
from providers.failures import FailureKind, ProviderFailure
from providers.stripe import mapping
from providers.stripe.calls import calling, keyed, read_back
from providers.stripe.schedules import Schedules

_Read = Callable[[str], Awaitable[SubscriptionSnapshot]]


class Pauses:
    """`read` gives a subscription as it is now."""

    def __init__(self, client: stripe.StripeClient, read: _Read, schedules: Schedules) -> None:
        self._v1 = client.v1
        self._read = read
        self._schedules = schedules

    async def pause(self, subscription_id: str) -> SubscriptionSnapshot:
        params: SubscriptionPauseParams = {
            "type": "subscription",
            # By default Stripe credits what is left of the period. Ours is used to its end.
            "bill_for": {"unused_time_from": {"type": "none"}},
        }

        async def ask() -> None:
            with calling(subscription_id):
                await self._v1.subscriptions.pause_async(subscription_id, params)

        try:
            await self._schedules.making_way(subscription_id, ask)
        except ProviderFailure as failure:
            return await self._unless(failure, subscription_id, paused=True)
        return await read_back(self._read(subscription_id), subscription_id)

    async def pause_collection(self, subscription_id: str) -> SubscriptionSnapshot:
        """Without a time at which it ends by itself: somebody pays, or cancels."""

        async def ask() -> None:
            with calling(subscription_id):
                await self._v1.subscriptions.update_async(
                    subscription_id, {"pause_collection": {"behavior": "void"}}
                )

        try:
            await self._schedules.making_way(subscription_id, ask)
        except ProviderFailure as failure:
            return await self._unless(failure, subscription_id, paused=True)
        return await read_back(self._read(subscription_id), subscription_id)

    async def last_that_counts(self, latest: InvoiceSnapshot) -> InvoiceSnapshot:
        """The open invoice behind those that were voided since, else the last one that was paid: Stripe names
        only the very latest one."""
        subscription_id = latest.provider_subscription_id
        if latest.status is not ProviderInvoiceStatus.VOID or subscription_id is None:
            return latest
        with calling(subscription_id):
            for status in ("open", "paid"):
                page = await self._v1.invoices.list_async(
                    {"subscription": subscription_id, "status": status, "limit": 1}
                )
                if page.data:
                    return mapping.invoice(page.data[0])
        return latest

    async def resume(
        self, subscription_id: str, *, new_period: bool, resume_id: str
    ) -> SubscriptionSnapshot:
        """Stripe makes the invoice of a new period here and asks for no money: paying it is a step of its
        own, so that an answer that got lost charges nobody."""
        params: SubscriptionResumeParams = {
            "billing_cycle_anchor": {"type": "now" if new_period else "unchanged"},
            "payment_behavior": "resume_on_payment_attempt",
        }
        if not new_period:
            params["proration_behavior"] = "none"
        try:
            with calling(subscription_id):
                await self._v1.subscriptions.resume_async(
                    subscription_id, params, keyed("resume", resume_id)
                )
        except ProviderFailure as failure:
            if failure.kind is FailureKind.REJECTED:
                await self._collect_again(subscription_id)
            return await self._unless(failure, subscription_id, paused=False)
        return await read_back(self._read(subscription_id), subscription_id)

    async def _collect_again(self, subscription_id: str) -> None:
        """Its collection was paused instead: it bills again from its next period on."""
        if (await self._read(subscription_id)).is_collectable:
            with calling(subscription_id):
                await self._v1.subscriptions.update_async(subscription_id, {"pause_collection": ""})

    async def _unless(
        self, failure: ProviderFailure, subscription_id: str, *, paused: bool
    ) -> SubscriptionSnapshot:
        """A change that was refused is fine when it is what there is already, or when all is over."""
        if failure.kind is not FailureKind.REJECTED:
            raise failure
        found = await self._read(subscription_id)
        over = found.status is ProviderSubscriptionStatus.CANCELED
        if found.is_paused is not paused and not over:
            raise failure
        return found
