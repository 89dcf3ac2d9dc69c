"""What Conekta tells about subscriptions: only where to look, and the look finds the rest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from models.events import EventKind, ProviderEvent
from models.snapshots import ProviderSubscriptionStatus
from providers.conekta import ConektaProvider
from tests.providers.conekta.drafts import BROKE_TOKEN, failure_of, refund_draft
from tests.providers.conekta.subscribing import Subscriber, make_subscriber
from tests.sandbox.conekta.world import API_KEY, running_world

SUBSCRIPTION_EVENTS = {
    "subscription.created",
    "subscription.updated",
    "subscription.paid",
    "subscription.payment_failed",
    "subscription.paused",
    "subscription.resumed",
    "subscription.canceled",
}


async def live_through_everything(subscriber: Subscriber) -> str:
    opened = await subscriber.subscribed()
    id_ = opened.provider_subscription_id
    await subscriber.cancel(id_, at_period_end=True)
    await subscriber.keep(id_)
    failed = await subscriber.renew(id_, "failed")
    assert failed.latest_invoice is not None
    order_id = failed.latest_invoice.provider_invoice_id
    paid = await subscriber.retry(order_id, await subscriber.card("tok_test_visa_1881"))
    await subscriber.provider.refund(refund_draft(paid.provider_invoice_id))
    await subscriber.cancel(id_)
    await subscriber.subscribed(attempt_id="trial", trial_end=datetime.now(UTC) + timedelta(1))
    broke, prepared = await subscriber.prepared(BROKE_TOKEN, attempt_id="broke")
    await failure_of(subscriber.provider.commit_subscription(broke, prepared))
    _, prepared = await subscriber.prepared(attempt_id="never")
    await subscriber.cancel(prepared.provider_subscription_id)
    return id_


async def test_every_event_of_a_subscription_s_life_is_understood() -> None:
    """Delivered over HTTP with the signature that the simulator made."""
    async with running_world(deliver=True) as world:
        provider = ConektaProvider(
            api_key=API_KEY,
            api_base=world.api_base,
            webhook_public_keys=world.simulator.public_key_pem,
        )
        subscriber = await make_subscriber(world, provider)
        id_ = await live_through_everything(subscriber)
        await world.core.webhooks.drain()
        read = [provider.parse_webhook(raw, headers) for raw, headers in world.inbox.received]
        assert len(read) == len(world.core.webhooks.events)
        await check(read, id_)
        assert (await subscriber.get(id_)).status is ProviderSubscriptionStatus.CANCELED
        await provider.aclose()


async def check(read: list[ProviderEvent], subscription_id: str) -> None:
    about = [e for e in read if e.event_type.startswith("subscription.")]
    assert {e.event_type for e in about} == SUBSCRIPTION_EVENTS
    assert {e.kind for e in about} == {EventKind.LOOK}
    assert subscription_id in {e.provider_subscription_id for e in about}
    assert all(e.provider_invoice_id is None and e.payment is None for e in about)
    orders = [e for e in read if e.event_type.startswith("order.")]
    assert {"order.created", "order.paid", "order.declined", "order.refunded"} <= {
        e.event_type for e in orders
    }
    for event in orders:
        # None of our ids is in it, so it is known by what it is to us: an invoice.
        assert event.provider_invoice_id == event.provider_payment_id
        assert (event.subscription_id, event.attempt_id) == (None, None)
    assert {e.kind for e in read if e.event_type.startswith("charge.")} == {EventKind.LOOK}
    assert {e.kind for e in read if e.event_type.startswith("plan.")} == {EventKind.IGNORED}
