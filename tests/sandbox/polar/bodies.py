"""Request bodies that the tests send, with the values that do not matter filled in."""

from __future__ import annotations

from typing import Any

from tests.sandbox.polar.world import Json, World

AMOUNT = 1900

PROPERTIES_BY_TYPE: dict[str, Json] = {
    "custom": {"note": "Thank you"},
    "feature_flag": {},
    "license_keys": {"prefix": "ABONO"},
    "downloadables": {"files": ["file_1"]},
    "discord": {"guild_id": "1", "role_id": "2", "kick_member": False},
    "github_repository": {
        "repository_owner": "abono",
        "repository_name": "engine",
        "permission": "pull",
    },
}


def customer_body(**more: Any) -> Json:
    return {"email": "ana@example.com", "name": "Ana", "external_id": "org_1", **more}


def benefit_body(kind: str, **more: Any) -> Json:
    properties = PROPERTIES_BY_TYPE[kind]
    return {"type": kind, "description": f"A {kind} benefit", "properties": properties, **more}


def price_body(amount: int = AMOUNT, currency: str = "usd") -> Json:
    return {"amount_type": "fixed", "price_amount": amount, "price_currency": currency}


def product_body(**more: Any) -> Json:
    return {"name": "E-book", "prices": [price_body()], "metadata": {"ref": "prod_1"}, **more}


def checkout_body(product: Json, customer: Json | None = None, **more: Any) -> Json:
    body = {
        "products": [product["id"]],
        "success_url": "https://shop.example/thanks?checkout={CHECKOUT_ID}",
        "metadata": {"attempt_id": "att_1", "invoice_id": "inv_1", "subscription_id": "sub_1"},
        **more,
    }
    return body if customer is None else {**body, "customer_id": customer["id"]}


async def paid_order(world: World, product: Json, customer: Json, **more: Any) -> Json:
    checkout = await world.post("/checkouts/", checkout_body(product, customer, **more))
    paid = await world.pay(checkout["id"])
    assert paid["status"] == "paid"
    return await world.get(f"/orders/{paid['order_id']}")
