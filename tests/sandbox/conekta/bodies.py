"""Request bodies that the tests send, and the shortest way to an order in a given state."""

from __future__ import annotations

from typing import Any

from tests.sandbox.conekta.world import Json, World

AMOUNT = 20000


def order_body(customer_id: str, **more: Any) -> Json:
    return {
        "currency": "MXN",
        "customer_info": {"customer_id": customer_id},
        "line_items": [{"name": "Mensualidad", "unit_price": AMOUNT, "quantity": 1}],
        "metadata": {
            "attempt_id": "att_1",
            "subscription_id": "sub_1",
            "invoice_id": "inv_1",
        },
        **more,
    }


def charge_body(world: World, kind: str, **more: Any) -> Json:
    method: Json = {"type": kind}
    if kind == "card":
        method["token_id"] = "tok_test_visa_4242"
    else:
        method["expires_at"] = world.core.clock.now() + 3600
    return {"payment_method": {**method, **more}, "reference_id": "att_1"}


async def make_customer(world: World) -> str:
    body = {"name": "Ana López", "email": "ana@example.com", "phone": "+5215555555555"}
    answer = await world.http.post("/customers", json=body)
    customer_id: str = answer.json()["id"]
    return customer_id


async def make_order(world: World, customer_id: str, kind: str | None = None) -> Json:
    answer = await world.http.post("/orders", json=order_body(customer_id))
    assert answer.status_code == 200, answer.text
    order: Json = answer.json()
    if kind is not None:
        charge = charge_body(world, kind)
        answer = await world.http.post(f"/orders/{order['id']}/charges", json=charge)
        assert answer.status_code == 200, answer.text
    return await read_order(world, order["id"])


async def read_order(world: World, order_id: str) -> Json:
    answer = await world.http.get(f"/orders/{order_id}")
    assert answer.status_code == 200, answer.text
    order: Json = answer.json()
    return order


def references(order: Json) -> list[str]:
    """The references of an order's charges, in Conekta's order."""
    methods = [charge["payment_method"] for charge in order["charges"]["data"]]
    return [method.get("reference") or method["clabe"] for method in methods]


def charge_statuses(order: Json) -> list[str]:
    return [charge["status"] for charge in order["charges"]["data"]]
