"""Stripe's real pause (since 2026-09-30.endive). `pause_collection`, the older way, makes invoices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import stripe
from stripe.params import SubscriptionPauseParams, SubscriptionResumeParams

from models.snapshots import ProviderSubscriptionStatus, SubscriptionSnapshot
from providers.protocol import FailureKind, ProviderFailure
from providers.stripe.calls import calling, keyed, read_back

_Read = Callable[[str], Awaitable[SubscriptionSnapshot]]


class Pauses:
    """`read` gives a subscription as it is now."""

    def __init__(self, client: stripe.StripeClient, read: _Read) -> None:
        self._v1 = client.v1
        self._read = read

    async def pause(self, subscription_id: str) -> SubscriptionSnapshot:
        params: SubscriptionPauseParams = {
            "type": "subscription",
            # By default Stripe credits what is left of the period. Ours is used to its end.
            "bill_for": {"unused_time_from": {"type": "none"}},
        }
        try:
            with calling(subscription_id):
                await self._v1.subscriptions.pause_async(subscription_id, params)
        except ProviderFailure as failure:
            return await self._unless(failure, subscription_id, paused=True)
        return await read_back(self._read(subscription_id), subscription_id)

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
            return await self._unless(failure, subscription_id, paused=False)
        return await read_back(self._read(subscription_id), subscription_id)

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
