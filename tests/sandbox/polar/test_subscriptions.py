"""Subscriptions and grants: who gets what, for how long, and what is told."""

from __future__ import annotations

import pytest

from tests.sandbox.polar.bodies import (
    AMOUNT,
    benefit_body,
    checkout_body,
    paid_order,
    price_body,
    product_body,
)
from tests.sandbox.polar.world import Json, World

MONTH_SECONDS_MAX = 31 * 86_400 + 1


@pytest.fixture
async def free_product(world: World, benefit: Json) -> Json:
    body = product_body(recurring_interval="year", prices=[price_body(amount=0)])
    made = await world.post("/products/", body)
    return await world.post(f"/products/{made['id']}/benefits", {"benefits": [benefit["id"]]}, 200)


@pytest.fixture
async def paid_product(world: World) -> Json:
    return await world.post("/products/", product_body(recurring_interval="month"))


async def subscribed(world: World, product: Json, customer: Json) -> Json:
    body = {"product_id": product["id"], "customer_id": customer["id"], "metadata": {"ref": "g"}}
    return await world.post("/subscriptions/", body)


async def bought(world: World, product: Json, customer: Json) -> Json:
    """A paid subscription, through its page."""
    checkout = await world.post("/checkouts/", checkout_body(product, customer))
    await world.pay(checkout["id"])
    shown = await world.get(f"/checkouts/{checkout['id']}")
    return await world.get(f"/subscriptions/{shown['subscription_id']}")


async def test_a_free_subscription_grants_without_an_order(
    world: World, free_product: Json, customer: Json
) -> None:
    made = await subscribed(world, free_product, customer)
    assert made["status"] == "active"
    assert world.all("orders") == []
    [grant] = world.all("grants")
    assert (grant["is_granted"], grant["subscription_id"]) == (True, made["id"])
    assert world.event_types()[-4:] == [
        "subscription.created",
        "subscription.updated",
        "subscription.active",
        "benefit_grant.created",
    ]


async def test_calling_twice_makes_two(world: World, free_product: Json, customer: Json) -> None:
    for _ in range(2):
        await subscribed(world, free_product, customer)
    listed = await world.get("/subscriptions/", customer_id=customer["id"], active="true")
    assert listed["pagination"]["total_count"] == 2


async def test_a_paid_product_is_refused(
    world: World, paid_product: Json, product: Json, customer: Json
) -> None:
    for refused in (paid_product, product):
        body = {"product_id": refused["id"], "customer_id": customer["id"]}
        assert (await world.http.post("/subscriptions/", json=body)).status_code == 422


async def test_revoking_ends_it_at_once_and_only_once(
    world: World, free_product: Json, customer: Json
) -> None:
    made = await subscribed(world, free_product, customer)
    path = f"/subscriptions/{made['id']}"
    ended = (await world.http.delete(path)).json()
    assert ended["status"] == "canceled"
    assert ended["ended_at"] is not None
    [grant] = world.all("grants")
    assert (grant["is_granted"], grant["is_revoked"]) == (False, True)
    again = await world.http.delete(path)
    assert (again.status_code, again.json()["error"]) == (403, "AlreadyCanceledSubscription")
    listed = await world.get("/subscriptions/", active="true")
    assert listed["items"] == []


async def test_canceling_at_the_end_of_the_period_can_be_undone(
    world: World, paid_product: Json, customer: Json
) -> None:
    made = await bought(world, paid_product, customer)
    path = f"/subscriptions/{made['id']}"
    refused = await world.http.patch(path, json={"cancel_at_period_end": False})
    assert refused.json()["error"] == "SubscriptionNotScheduledToCancel"
    canceled = (await world.http.patch(path, json={"cancel_at_period_end": True})).json()
    assert canceled["status"] == "active"
    assert canceled["ends_at"] == canceled["current_period_end"]
    twice = await world.http.patch(path, json={"cancel_at_period_end": True})
    assert twice.json()["error"] == "AlreadyCanceledSubscription"
    kept = (await world.http.patch(path, json={"cancel_at_period_end": False})).json()
    assert (kept["cancel_at_period_end"], kept["ends_at"]) == (False, None)
    assert world.event_types()[-1] == "subscription.uncanceled"


async def test_a_canceled_subscription_ends_with_its_period(
    world: World, paid_product: Json, customer: Json
) -> None:
    made = await bought(world, paid_product, customer)
    path = f"/subscriptions/{made['id']}"
    await world.http.patch(path, json={"cancel_at_period_end": True})
    await world.advance(MONTH_SECONDS_MAX)
    assert (await world.get(path))["status"] == "canceled"
    assert world.event_types()[-2:] == ["subscription.updated", "subscription.revoked"]
    assert len(await world.book()) == 1


async def test_revoking_through_an_update(world: World, paid_product: Json, customer: Json) -> None:
    made = await bought(world, paid_product, customer)
    path = f"/subscriptions/{made['id']}"
    assert (await world.http.patch(path, json={"revoke": True})).json()["status"] == "canceled"


async def test_the_clock_renews(world: World, paid_product: Json, customer: Json) -> None:
    made = await bought(world, paid_product, customer)
    await world.advance(MONTH_SECONDS_MAX)
    renewed = await world.get(f"/subscriptions/{made['id']}")
    assert renewed["current_period_start"] == made["current_period_end"]
    orders = await world.get("/orders/", subscription_id=made["id"])
    reasons = [order["billing_reason"] for order in orders["items"]]
    assert reasons == ["subscription_cycle", "subscription_create"]
    assert [entry["amount_minor"] for entry in await world.book()] == [AMOUNT, AMOUNT]
    assert orders["items"][0]["metadata"] == {
        "attempt_id": "att_1",
        "invoice_id": "inv_1",
        "subscription_id": "sub_1",
    }


async def test_a_renewal_that_fails_and_recovers(
    world: World, paid_product: Json, customer: Json
) -> None:
    made = await bought(world, paid_product, customer)
    assert (await world.renew(made["id"], "failed"))["status"] == "past_due"
    assert world.event_types()[-1] == "subscription.past_due"
    assert (await world.renew(made["id"], "failed"))["status"] == "past_due"
    assert (await world.renew(made["id"]))["status"] == "active"
    statuses = [entry["status"] for entry in await world.book()]
    assert statuses == ["paid", "declined", "declined", "paid"]
    orders = await world.get("/orders/", subscription_id=made["id"])
    assert orders["pagination"]["total_count"] == 2


async def test_a_free_subscription_renews_without_an_order(
    world: World, free_product: Json, customer: Json
) -> None:
    made = await subscribed(world, free_product, customer)
    assert (await world.renew(made["id"]))["status"] == "active"
    assert world.all("orders") == []
    assert "subscription.cycled" in world.event_types()
    await world.http.delete(f"/subscriptions/{made['id']}")
    assert (await world.renew(made["id"]))["status"] == "canceled"


async def test_an_unknown_subscription_cannot_be_renewed(world: World) -> None:
    path = f"{world.base_url}/_control/subscriptions/polar/x/renew"
    assert (await world.http.post(path)).status_code == 404


async def test_subscription_benefits_do_not_go_with_a_refund(
    world: World, paid_product: Json, customer: Json
) -> None:
    made = await bought(world, paid_product, customer)
    orders = await world.get("/orders/", subscription_id=made["id"])
    body = {"order_id": orders["items"][0]["id"], "reason": "other", "amount": 1}
    refused = await world.http.post("/refunds/", json={**body, "revoke_benefits": True})
    assert refused.status_code == 400
    assert refused.json()["error"] == "RevokeSubscriptionBenefitsProhibited"


# Grants


@pytest.mark.parametrize("kind", ["discord", "github_repository"])
async def test_a_benefit_that_waits_for_the_customer(
    world: World, product: Json, customer: Json, kind: str
) -> None:
    benefit = await world.post("/benefits/", benefit_body(kind))
    body = {"benefits": [benefit["id"]]}
    await world.post(f"/products/{product['id']}/benefits", body, 200)
    await paid_order(world, product, customer)
    [grant] = world.all("grants")
    assert grant["is_granted"] is False
    assert grant["error"]["type"] == "BenefitActionRequiredError"
    assert (await world.pay(grant["id"]))["status"] == "granted"
    assert (grant["is_granted"], grant["error"]) == (True, None)
    assert world.event_types()[-1] == "benefit_grant.updated"
    assert (await world.pay(grant["id"]))["status"] == "unchanged"


async def test_a_license_key_has_an_id(world: World, product: Json, customer: Json) -> None:
    benefit = await world.post("/benefits/", benefit_body("license_keys"))
    body = {"benefits": [benefit["id"]]}
    await world.post(f"/products/{product['id']}/benefits", body, 200)
    await paid_order(world, product, customer)
    data = world.core.webhooks.events[-1]["body"]["data"]
    assert data["properties"]["license_key_id"]
    assert data["properties"]["display_key"].startswith("ABONO_****-")


async def test_replacing_the_benefits_of_a_product_reaches_its_customers(
    world: World, product: Json, customer: Json
) -> None:
    await paid_order(world, product, customer)
    other = await world.post("/benefits/", benefit_body("feature_flag"))
    path = f"/products/{product['id']}/benefits"
    await world.post(path, {"benefits": [other["id"]]}, 200)
    granted = {g["benefit_id"]: g["is_granted"] for g in world.all("grants")}
    assert granted == {product["benefits"][0]["id"]: False, other["id"]: True}
    unknown = await world.http.post(path, json={"benefits": ["x"]})
    assert unknown.status_code == 422


async def test_grants_are_listed_by_customer(world: World, product: Json, customer: Json) -> None:
    await paid_order(world, product, customer)
    for filters in ({"customer_id": customer["id"]}, {"external_customer_id": "org_1"}):
        found = await world.get("/benefit-grants/", **filters, is_granted="true")
        assert found["pagination"]["total_count"] == 1
    assert (await world.get("/benefit-grants/", customer_id="x"))["items"] == []
    assert (await world.get("/benefit-grants/", external_customer_id="x"))["items"] == []


async def test_background_work_can_be_late(world: World, product: Json, customer: Json) -> None:
    await world.fault("benefit_grants.background", "slow", seconds=30)
    await paid_order(world, product, customer)
    assert world.all("grants") == []
    await world.advance(31)
    await world.get("/benefit-grants/")
    assert len(world.all("grants")) == 1
