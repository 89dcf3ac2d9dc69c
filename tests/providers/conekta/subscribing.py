"""A customer with a card, and the shortest way to a subscription in a given state."""

from __future__ import annotations

from typing import Any

from models.snapshots import InvoiceSnapshot, SubscriptionSnapshot
from providers.conekta import ConektaProvider
from providers.drafts import PreparedSubscription, SubscriptionDraft
from tests.providers.conekta.drafts import (
    GOOD_TOKEN,
    card_request,
    customer_draft,
    subscription_draft,
)
from tests.sandbox.conekta.world import Json, World


class Subscriber:
    def __init__(self, world: World, provider: ConektaProvider, customer_id: str) -> None:
        self.world = world
        self.provider = provider
        self.customer_id = customer_id

    async def card(self, token: str = GOOD_TOKEN) -> str:
        made = await self.provider.attach_payment_method(card_request(self.customer_id, token))
        return made.provider_payment_method_id

    async def prepared(
        self, token: str = GOOD_TOKEN, **change: Any
    ) -> tuple[SubscriptionDraft, PreparedSubscription]:
        draft = subscription_draft(self.customer_id, await self.card(token), **change)
        return draft, await self.provider.prepare_subscription(draft)

    async def subscribed(self, **change: Any) -> SubscriptionSnapshot:
        draft, prepared = await self.prepared(**change)
        return await self.provider.commit_subscription(draft, prepared)

    async def get(self, id_: str) -> SubscriptionSnapshot:
        return await self.provider.get_subscription(self.customer_id, id_)

    async def cancel(self, id_: str, *, at_period_end: bool = False) -> SubscriptionSnapshot:
        return await self.provider.cancel_subscription(
            self.customer_id, id_, at_period_end=at_period_end
        )

    async def keep(self, id_: str) -> SubscriptionSnapshot:
        return await self.provider.keep_subscription(self.customer_id, id_)

    async def retry(self, order_id: str, card_id: str | None = None) -> InvoiceSnapshot:
        return await self.provider.retry_invoice(
            order_id, attempt_id="att_retry", provider_payment_method_id=card_id
        )

    async def renew(self, subscription_id: str, outcome: str) -> SubscriptionSnapshot:
        await self.world.control(
            f"subscriptions/conekta/{subscription_id}/renew", {"outcome": outcome}
        )
        return await self.get(subscription_id)

    def at_conekta(self) -> list[Json]:
        return list(self.world.core.collection("conekta", "subscriptions").values())

    def plan_ids(self) -> list[str]:
        return list(self.world.core.collection("conekta", "plans"))

    async def charges(self) -> list[str]:
        """What the provider's book says of each charge."""
        return [entry["status"] for entry in await self.world.book()]


async def make_subscriber(world: World, provider: ConektaProvider) -> Subscriber:
    return Subscriber(world, provider, await provider.ensure_customer(customer_draft()))
