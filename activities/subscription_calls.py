"""Calls about a subscription that runs at its provider: all of them are safe to repeat."""

from __future__ import annotations

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.customers import Customers
from activities.provider_calls import ProviderActivities
from activities.signatures.subscriptions import (
    ChangePaymentMethod,
    ResumeReference,
    SubscriptionCalls,
    SubscriptionReference,
)
from models.redaction import hide_subscription
from models.snapshots import SubscriptionSnapshot
from models.storage.engine import Sessions
from providers.failures import FailureKind
from providers.protocol import PaymentProvider


class SubscriptionActivities(SubscriptionCalls):
    def __init__(self, sessions: Sessions, calls: ProviderActivities) -> None:
        self._customers = Customers(sessions)
        self._calls = calls

    @activity.defn(name="pause_subscription")
    async def pause_subscription(self, reference: SubscriptionReference) -> SubscriptionSnapshot:
        snapshot = await self._calls.ask(
            reference.provider,
            lambda provider: provider.pause_subscription(
                reference.provider_customer_id,
                reference.provider_subscription_id,
                unpaid=reference.unpaid,
            ),
        )
        return hide_subscription(snapshot) or snapshot

    @activity.defn(name="resume_subscription")
    async def resume_subscription(self, reference: ResumeReference) -> SubscriptionSnapshot:
        snapshot = await self._calls.ask(
            reference.provider,
            lambda provider: provider.resume_subscription(
                reference.provider_customer_id,
                reference.provider_subscription_id,
                new_period=reference.new_period,
                resume_id=str(reference.resume_id),
            ),
        )
        return hide_subscription(snapshot) or snapshot

    @activity.defn(name="change_payment_method")
    async def change_payment_method(self, change: ChangePaymentMethod) -> None:
        async def ask(provider: PaymentProvider) -> None:
            method_id = await self._customers.payment_method(
                provider, change.terms, change.payment_method_id
            )
            if method_id is None:
                raise ApplicationError(
                    f"{provider.name} does not keep this payment method: a card does not move",
                    type=str(FailureKind.REJECTED),
                    non_retryable=True,
                )
            await provider.change_payment_method(
                change.provider_customer_id, change.provider_subscription_id, method_id
            )

        await self._calls.ask(change.provider, ask)
