"""Pages, orders and refunds: what happens to the money, and what is told."""

from __future__ import annotations

import pytest

from tests.sandbox.polar.bodies import (
    AMOUNT,
    checkout_body,
    customer_body,
    paid_order,
    price_body,
    product_body,
)
from tests.sandbox.polar.world import Json, World


async def test_a_page_is_paid(world: World, product: Json, customer: Json) -> None:
    checkout = await world.post("/checkouts/", checkout_body(product, customer))
    assert checkout["status"] == "open"
    assert await world.book() == []
    before = len(world.event_types())
    paid = await world.pay(checkout["id"])
    order = await world.get(f"/orders/{paid['order_id']}")
    assert (order["status"], order["paid"]) == ("paid", True)
    assert order["metadata"] == checkout["metadata"]
    assert order["checkout_id"] == checkout["id"]
    assert order["customer"]["external_id"] == "org_1"
    assert (await world.get(f"/checkouts/{checkout['id']}"))["status"] == "succeeded"
    assert world.event_types()[before:] == [
        "checkout.updated",
        "order.created",
        "order.updated",
        "order.paid",
        "checkout.updated",
        "benefit_grant.created",
    ]
    [booked] = await world.book()
    assert booked == {
        "provider": "polar",
        "id": order["id"],
        "kind": "charge",
        "amount_minor": AMOUNT,
        "currency": "USD",
        "status": "paid",
        "reference": checkout["id"],
        "subscription_id": "sub_1",
        "invoice_id": "inv_1",
        "created_at": order["created_at"],
    }


async def test_a_closed_page_takes_no_money(world: World, product: Json, customer: Json) -> None:
    checkout = await world.post("/checkouts/", checkout_body(product, customer))
    await world.pay(checkout["id"])
    assert (await world.pay(checkout["id"]))["status"] == "refused"
    other = await world.post("/checkouts/", checkout_body(product, customer))
    assert (await world.expire(other["id"]))["status"] == "expired"
    assert (await world.pay(other["id"]))["status"] == "refused"
    assert len(await world.book()) == 1


async def test_a_declined_card_opens_the_page_again(
    world: World, product: Json, customer: Json
) -> None:
    checkout = await world.post("/checkouts/", checkout_body(product, customer))
    await world.fault("checkouts.confirm", "decline")
    assert (await world.pay(checkout["id"]))["status"] == "declined"
    assert (await world.get(f"/checkouts/{checkout['id']}"))["status"] == "open"
    assert (await world.pay(checkout["id"]))["status"] == "paid"
    assert [entry["status"] for entry in await world.book()] == ["declined", "paid"]


async def test_a_page_lives_for_a_day(world: World, product: Json, customer: Json) -> None:
    checkout = await world.post("/checkouts/", checkout_body(product, customer))
    await world.advance(86_390)
    assert (await world.get(f"/checkouts/{checkout['id']}"))["status"] == "open"
    await world.advance(11)
    assert (await world.get(f"/checkouts/{checkout['id']}"))["status"] == "expired"
    assert world.event_types()[-2:] == ["checkout.updated", "checkout.expired"]


async def test_a_price_for_this_page_alone(world: World, product: Json, customer: Json) -> None:
    prices = {product["id"]: [price_body(amount=700)]}
    body = checkout_body(product, customer, prices=prices)
    checkout = await world.post("/checkouts/", body)
    assert checkout["amount"] == 700
    assert checkout["product_price"]["source"] == "ad_hoc"
    assert (await world.get(f"/products/{product['id']}"))["prices"][0]["price_amount"] == AMOUNT


async def test_tax_goes_on_top(world: World, product: Json) -> None:
    body = customer_body(billing_address={"country": "FR"})
    customer = await world.post("/customers/", body)
    order = await paid_order(world, product, customer)
    assert order["net_amount"] == AMOUNT
    assert order["tax_amount"] == 380
    assert order["total_amount"] == 2280
    assert [entry["amount_minor"] for entry in await world.book()] == [AMOUNT]


async def test_whoever_pays_becomes_a_customer(world: World, product: Json) -> None:
    checkout = await world.post("/checkouts/", checkout_body(product))
    assert checkout["customer_id"] is None
    await world.pay(checkout["id"])
    [customer] = world.all("customers")
    assert (await world.get(f"/checkouts/{checkout['id']}"))["customer_id"] == customer["id"]


async def test_a_free_page_makes_an_order_without_money(world: World, customer: Json) -> None:
    product = await world.post("/products/", product_body(prices=[price_body(amount=0)]))
    order = await paid_order(world, product, customer)
    assert (order["paid"], order["total_amount"], order["refundable_amount"]) == (True, 0, 0)
    assert await world.book() == []


async def test_an_archived_product_is_not_sold(world: World, product: Json, customer: Json) -> None:
    await world.http.patch(f"/products/{product['id']}", json={"is_archived": True})
    answer = await world.http.post("/checkouts/", json=checkout_body(product, customer))
    assert answer.status_code == 422


async def test_a_person_pays_in_a_browser(world: World, product: Json, customer: Json) -> None:
    checkout = await world.post("/checkouts/", checkout_body(product, customer))
    assert checkout["url"].startswith(f"{world.base_url}/polar/checkout/polar_c_")
    assert "<button>Pay</button>" in (await world.http.get(checkout["url"])).text
    left = await world.http.post(checkout["url"])
    assert left.status_code == 303
    thanks = f"https://shop.example/thanks?checkout={checkout['id']}"
    assert left.headers["location"] == thanks
    assert "succeeded" in (await world.http.post(checkout["url"])).text
    assert (await world.http.get(f"{checkout['url']}x")).status_code == 404


def refund_body(order: Json, amount: int, **more: object) -> Json:
    return {"order_id": order["id"], "reason": "customer_request", "amount": amount, **more}


async def test_refunds_in_parts_give_the_tax_back_too(world: World, product: Json) -> None:
    body = customer_body(billing_address={"country": "FR"})
    customer = await world.post("/customers/", body)
    order = await paid_order(world, product, customer)
    first = await world.post("/refunds/", refund_body(order, 333))
    assert (first["amount"], first["tax_amount"]) == (333, 66)
    between = await world.get(f"/orders/{order['id']}")
    assert between["status"] == "partially_refunded"
    assert between["refundable_amount"] == AMOUNT - 333
    second = await world.post("/refunds/", refund_body(order, AMOUNT - 333))
    assert first["tax_amount"] + second["tax_amount"] == order["tax_amount"]
    after = await world.get(f"/orders/{order['id']}")
    assert (after["status"], after["refundable_amount"]) == ("refunded", 0)
    assert after["refundable_tax_amount"] == 0
    kinds = [(entry["kind"], entry["amount_minor"]) for entry in await world.book()]
    assert kinds == [("charge", AMOUNT), ("refund", 333), ("refund", AMOUNT - 333)]
    listed = await world.get("/refunds/", order_id=order["id"])
    assert [refund["id"] for refund in listed["items"]] == [second["id"], first["id"]]


async def test_refunds_that_are_refused(world: World, product: Json, customer: Json) -> None:
    order = await paid_order(world, product, customer)
    too_much = await world.http.post("/refunds/", json=refund_body(order, AMOUNT + 1))
    assert too_much.json()["detail"][0]["loc"] == ["body", "amount"]
    await world.post("/refunds/", refund_body(order, AMOUNT))
    again = await world.http.post("/refunds/", json=refund_body(order, 1))
    assert (again.status_code, again.json()["error"]) == (403, "RefundedAlready")
    unknown = await world.http.post("/refunds/", json=refund_body({"id": "x"}, 1))
    assert unknown.status_code == 404
    reasonless = {**refund_body(order, 1), "reason": "because"}
    assert (await world.http.post("/refunds/", json=reasonless)).status_code == 422


@pytest.mark.parametrize("revoke", [True, False])
async def test_a_refund_takes_the_benefits_when_it_is_asked_to(
    world: World, product: Json, customer: Json, revoke: bool
) -> None:
    order = await paid_order(world, product, customer)
    await world.post("/refunds/", refund_body(order, AMOUNT, revoke_benefits=revoke))
    [grant] = world.all("grants")
    assert grant["is_revoked"] is revoke
    last = "benefit_grant.revoked" if revoke else "order.refunded"
    assert world.event_types()[-1] == last
