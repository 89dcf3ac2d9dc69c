"""The simulator against the judge that is not ours: the SDK's strict models read all it says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from polar.base import PolarClientError, PolarDeserializationError
from polar.v2026_10 import PolarAsync
from polar.v2026_10.errors import (
    AlreadyCanceledSubscription,
    HTTPValidationError,
    RefundedAlready,
    ResourceNotFound,
)
from polar.v2026_10.outputs import BenefitGrantCustomProperties, BenefitGrantDiscordWebhook
from polar.v2026_10.webhooks import validate_event

from tests.sandbox.polar.bodies import AMOUNT, PROPERTIES_BY_TYPE
from tests.sandbox.polar.world import TOKEN, World


@pytest.fixture
async def sdk(world: World) -> AsyncIterator[PolarAsync]:
    async with PolarAsync(TOKEN, base_url=world.api_base, timeout=10.0) as client:
        yield client


async def sell_everything(world: World, sdk: PolarAsync) -> Any:
    """A customer buys a product that carries one benefit of each type; the order comes back."""
    address: Any = {"country": "FR"}
    customer: Any = await sdk.customers.create(
        email="ana@example.com", name="Ana", external_id="org_1", billing_address=address
    )
    benefit_ids = []
    for kind, properties in PROPERTIES_BY_TYPE.items():
        body: dict[str, Any] = {"type": kind, "description": kind, "properties": properties}
        benefit = await sdk.benefits.create(**body)
        assert benefit.type == kind
        benefit_ids.append(benefit.id)
    price: Any = {"amount_type": "fixed", "price_amount": AMOUNT, "price_currency": "usd"}
    product = await sdk.products.create(name="E-book", prices=[price], metadata={"ref": "p"})
    product = await sdk.products.update_benefits(product.id, benefits=benefit_ids)
    assert len(product.benefits) == len(PROPERTIES_BY_TYPE)
    checkout = await sdk.checkouts.create(
        products=[product.id],
        customer_id=customer.id,
        prices={product.id: [price]},
        metadata={"attempt_id": "att_1"},
        success_url="https://shop.example/thanks",
    )
    await world.pay(checkout.id)
    assert (await sdk.checkouts.get(checkout.id)).status == "succeeded"
    orders = await sdk.orders.list(metadata={"attempt_id": "att_1"}, checkout_id=checkout.id)
    [order] = orders.items
    return order


async def live_through_everything(world: World, sdk: PolarAsync) -> None:
    order = await sell_everything(world, sdk)
    await sdk.refunds.create(order_id=order.id, reason="other", amount=100)
    await sdk.refunds.create(
        order_id=order.id, reason="other", amount=AMOUNT - 100, revoke_benefits=True
    )
    price: Any = {"amount_type": "fixed", "price_amount": AMOUNT}
    paid = await sdk.products.create(name="Club", recurring_interval="month", prices=[price])
    for _ in range(2):
        checkout = await sdk.checkouts.create(products=[paid.id], customer_id=order.customer_id)
        await world.pay(checkout.id)
    for subscription in (await sdk.subscriptions.list(product_id=paid.id)).items:
        await world.renew(subscription.id)
        await world.renew(subscription.id, "failed")
        await world.renew(subscription.id)
        for wanted in (True, False):
            await sdk.subscriptions.update(subscription.id, cancel_at_period_end=wanted)
        await sdk.subscriptions.revoke(subscription.id)
    unpaid = await sdk.checkouts.create(products=[paid.id])
    await world.expire(unpaid.id)


async def test_answers_are_read_by_the_sdk(world: World, sdk: PolarAsync) -> None:
    order = await sell_everything(world, sdk)
    assert order.total_amount == order.net_amount + order.tax_amount == 2280
    assert (await sdk.orders.get(order.id)).customer.external_id == "org_1"
    assert (await sdk.customers.get_external("org_1")).id == order.customer_id
    assert (await sdk.customers.get(order.customer_id)).external_id == "org_1"
    assert (await sdk.customers.update(order.customer_id, name="Ana L")).name == "Ana L"
    assert [c.id for c in (await sdk.customers.list(email="ana@example.com")).items]
    product = await sdk.products.get(order.product_id)
    assert (await sdk.products.list(metadata={"ref": "p"})).items == [product]
    assert (await sdk.products.update(product.id, is_archived=True)).is_archived is True
    listed = (await sdk.benefits.list(limit=100)).items
    assert [await sdk.benefits.get(benefit.id) for benefit in listed] == listed
    assert (await sdk.checkouts.list()).items[0].id == order.checkout_id
    refund = await sdk.refunds.create(
        order_id=order.id, reason="customer_request", amount=10, metadata={"refund_id": "r"}
    )
    assert (await sdk.refunds.list(order_id=order.id)).items == [refund]


async def test_subscriptions_are_read_by_the_sdk(world: World, sdk: PolarAsync) -> None:
    customer: Any = await sdk.customers.create(email="ana@example.com")
    price: Any = {"amount_type": "fixed", "price_amount": 0}
    product = await sdk.products.create(name="Gift", recurring_interval="year", prices=[price])
    made = await sdk.subscriptions.create(product_id=product.id, customer_id=customer.id)
    assert await sdk.subscriptions.get(made.id) == made
    active = await sdk.subscriptions.list(customer_id=customer.id, active=True)
    assert active.items == [made]
    assert (await sdk.subscriptions.revoke(made.id)).status == "canceled"


async def test_grants_are_read_by_the_sdk_but_for_its_defect(world: World, sdk: PolarAsync) -> None:
    """Whatever the type, the SDK reads `properties` as those of a custom benefit, which has none.
    When this fails the SDK is repaired, and `providers/polar` may read them."""
    order = await sell_everything(world, sdk)
    grants = (await sdk.benefit_grants.list(customer_id=order.customer_id, limit=100)).items
    assert {grant.benefit.type for grant in grants} == set(PROPERTIES_BY_TYPE)
    assert {type(grant.properties) for grant in grants} == {BenefitGrantCustomProperties}


async def test_refusals_are_read_by_the_sdk(world: World, sdk: PolarAsync) -> None:
    with pytest.raises(ResourceNotFound):
        await sdk.products.get("x")
    with pytest.raises(HTTPValidationError):
        await sdk.customers.create(email="nobody")
    await live_through_everything(world, sdk)
    order = (await sdk.orders.list(status="refunded")).items[0]
    with pytest.raises(RefundedAlready):
        await sdk.refunds.create(order_id=order.id, reason="other", amount=1)
    ended = (await sdk.subscriptions.list(status="canceled")).items[0]
    with pytest.raises(AlreadyCanceledSubscription):
        await sdk.subscriptions.revoke(ended.id)
    with pytest.raises(PolarClientError):
        await sdk.products.list(request_access_token="other")


async def test_events_are_read_by_the_sdk(world: World, sdk: PolarAsync) -> None:
    await live_through_everything(world, sdk)
    for grant in world.all("grants"):
        await world.pay(grant["id"])
    read = [validate_event(raw, headers, world.webhook_secret) for raw, headers in world.events()]
    assert {event.type for event in read} >= {
        "benefit_grant.created",
        "benefit_grant.revoked",
        "checkout.created",
        "checkout.expired",
        "checkout.updated",
        "order.created",
        "order.paid",
        "order.refunded",
        "order.updated",
        "refund.created",
        "subscription.active",
        "subscription.canceled",
        "subscription.created",
        "subscription.cycled",
        "subscription.past_due",
        "subscription.revoked",
        "subscription.uncanceled",
        "subscription.updated",
    }
    waiting = [e.data for e in read if isinstance(e.data, BenefitGrantDiscordWebhook)]
    assert waiting[0].is_granted is False
    assert waiting[0].error is not None


async def test_the_sdks_models_are_strict(world: World, sdk: PolarAsync) -> None:
    """Why the adapter reads answers by itself: one new value anywhere, and nothing is read."""
    order = await sell_everything(world, sdk)
    world.core.collection("polar", "orders")[order.id]["status"] = "invented_yesterday"
    with pytest.raises(PolarDeserializationError):
        await sdk.orders.get(order.id)
