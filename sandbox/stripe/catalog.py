"""Products and prices."""

from __future__ import annotations

from sandbox.core import Call, new_id
from sandbox.stripe import objects
from sandbox.stripe.forms import (
    Params,
    boolean,
    integer,
    mapping,
    only,
    optional_text,
    strings,
    text,
)
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.world import Object, World

INTERVALS = {"day", "week", "month", "year"}


class Catalog:
    def __init__(self, world: World) -> None:
        self.world = world

    def create_product(self, params: Params, call: Call) -> Object:
        only(params, "id", "name", "description", "metadata", "active")
        product_id = optional_text(params, "id") or new_id("prod_", 14)
        if product_id in self.world.all("products"):
            raise Refusal(400, "Product already exists.", code="resource_already_exists")
        made = objects.product(
            self.world.now(),
            id=product_id,
            name=text(params, "name"),
            description=optional_text(params, "description"),
            metadata=mapping(params, "metadata"),
        )
        self.world.emit("product.created", made)
        return self.world.put("products", made)

    def retrieve_product(self, params: Params, call: Call, product: str) -> Object:
        return self.world.get("products", product)

    def update_product(self, params: Params, call: Call, product: str) -> Object:
        only(params, "name", "description", "metadata", "active")
        found = self.world.get("products", product)
        if "name" in params:
            found["name"] = text(params, "name")
        if "active" in params:
            found["active"] = boolean(params, "active")
        self.world.emit("product.updated", found)
        return found

    def create_price(self, params: Params, call: Call) -> Object:
        only(
            params, "product", "currency", "unit_amount", "recurring", "lookup_key",
            "transfer_lookup_key", "tax_behavior", "nickname", "metadata",
        )  # fmt: skip
        product = self.world.get("products", text(params, "product"), "product")
        lookup_key = optional_text(params, "lookup_key")
        holders = self._by_lookup_keys([lookup_key]) if lookup_key is not None else []
        if holders and not boolean(params, "transfer_lookup_key"):
            raise Refusal(
                400, "A price already uses that lookup key.", param="lookup_key",
                code="resource_already_exists",
            )  # fmt: skip
        for holder in holders:
            holder["lookup_key"] = None
        unit_amount = integer(params, "unit_amount")
        recurring = mapping(params, "recurring")
        interval = optional_text(recurring, "interval")
        if recurring and interval not in INTERVALS:
            raise Refusal(400, "Invalid interval.", param="recurring[interval]")
        made = objects.price(
            self.world.now(),
            currency=text(params, "currency").lower(),
            lookup_key=lookup_key,
            metadata=mapping(params, "metadata"),
            nickname=optional_text(params, "nickname"),
            product=product["id"],
            recurring=_recurring(recurring) if recurring else None,
            type="recurring" if recurring else "one_time",
            unit_amount=unit_amount,
            unit_amount_decimal=str(unit_amount),
        )
        self.world.emit("price.created", made)
        return self.world.put("prices", made)

    def update_price(self, params: Params, call: Call, price: str) -> Object:
        """What can be changed: never the amount, the currency or the interval."""
        only(params, "active", "nickname", "metadata")
        found = self.world.get("prices", price, "price")
        if "active" in params:
            found["active"] = boolean(params, "active")
        self.world.emit("price.updated", found)
        return found

    def retrieve_price(self, params: Params, call: Call, price: str) -> Object:
        return self.world.get("prices", price, "price")

    def list_prices(self, params: Params, call: Call) -> Object:
        only(params, "lookup_keys", "active", "limit", "product", "currency", "type")
        keys = strings(params, "lookup_keys")
        product = optional_text(params, "product")
        found = self._by_lookup_keys(keys) if keys else list(self.world.all("prices").values())
        if product is not None:
            found = [price for price in found if price["product"] == product]
        if "active" in params:
            wanted = boolean(params, "active")
            found = [price for price in found if price["active"] is wanted]
        return self.world.page("/v1/prices", found, params)

    def _by_lookup_keys(self, keys: list[str]) -> list[Object]:
        return [p for p in self.world.all("prices").values() if p["lookup_key"] in keys]


def price_on_sale(world: World, price_id: str, param: str) -> Object:
    """The price, when it and its product are active; else Stripe's refusal."""
    price = world.get("prices", price_id, param)
    if not price["active"]:
        raise Refusal(
            400,
            "The price specified is inactive. This field only accepts active prices.",
            param=param,
        )
    product_on_sale(world, price["product"], param)
    return price


def product_on_sale(world: World, product_id: str, param: str) -> Object:
    product = world.get("products", product_id, param)
    if not product["active"]:
        raise Refusal(
            400, f"The product {product_id} is inactive, so it cannot be sold.", param=param
        )
    return product


def _recurring(params: Params) -> Object:
    return {
        "interval": text(params, "interval"),
        "interval_count": integer(params, "interval_count", 1),
        "meter": None,
        "usage_type": "licensed",
    }
