"""Products and benefits, and which benefits a product carries."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.core import Call
from sandbox.polar import objects, wire
from sandbox.polar.grants import Grants
from sandbox.polar.wire import Json, invalid
from sandbox.polar.world import ORGANIZATION_ID, World

# The organization's own: every product has to have a price in it.
DEFAULT_CURRENCY = "usd"
CURRENCIES = frozenset({"usd", "eur", "mxn", "gbp", "cad", "brl", "jpy"})
# The least that can be charged; a free price is allowed all the same.
AMOUNT_MIN_BY_CURRENCY = {"mxn": 1000, "jpy": 50}
AMOUNT_MIN = 50

_PRODUCT_KEYS = frozenset(
    [
        "name",
        "description",
        "prices",
        "visibility",
        "recurring_interval",
        "recurring_interval_count",
        "metadata",
    ]
)
_PRICE_KEYS = frozenset({"amount_type", "price_amount", "price_currency", "tax_behavior"})
_BENEFIT_KEYS = frozenset({"type", "description", "properties", "visibility", "metadata"})
_VISIBILITIES = frozenset({"draft", "private", "public"})
_INTERVALS = frozenset({"day", "week", "month", "year"})
_TAX_BEHAVIORS = frozenset({"location", "inclusive", "exclusive"})
_PERMISSIONS = frozenset({"pull", "triage", "push", "maintain", "admin"})

# Required and optional properties of each type, the optional ones with what they are without a word.
_PROPERTIES: dict[str, tuple[dict[str, type], dict[str, Any]]] = {
    "custom": ({}, {"note": None}),
    "feature_flag": ({}, {}),
    "license_keys": (
        {},
        {"prefix": None, "expires": None, "activations": None, "limit_usage": None},
    ),
    "downloadables": ({"files": list}, {"archived": {}}),
    "discord": ({"guild_id": str, "role_id": str, "kick_member": bool}, {}),
    "github_repository": (
        {"repository_owner": str, "repository_name": str, "permission": str},
        {},
    ),
    "meter_credit": ({"meter_id": str, "units": int, "rollover": bool}, {}),
}


class Catalog:
    def __init__(self, world: World, grants: Grants) -> None:
        self.world = world
        self.grants = grants

    async def create_product(self, request: Request, _call: Call) -> Response:
        body = await wire.read_body(request)
        wire.check_known(body, _PRODUCT_KEYS)
        now = self.world.time()
        interval = body.get("recurring_interval")
        if interval is not None:
            wire.one_of(body, "recurring_interval", _INTERVALS)
        made: Json = {
            "id": wire.new_id(),
            "created_at": now,
            "modified_at": None,
            "trial_interval": None,
            "trial_interval_count": None,
            "name": wire.text(body, "name", 3, 64),
            "description": wire.optional_text(body, "description"),
            "visibility": wire.one_of(body, "visibility", _VISIBILITIES, "public"),
            "recurring_interval": interval,
            "recurring_interval_count": body.get("recurring_interval_count", 1)
            if interval
            else None,
            "meter_interval": None,
            "meter_interval_count": None,
            "is_recurring": interval is not None,
            "is_archived": False,
            "organization_id": ORGANIZATION_ID,
            "metadata": wire.metadata(body),
            "prices": [],
            "_benefit_ids": [],
            "_sold": False,
        }
        wanted = read_prices(body.get("prices"), "prices")
        if all(price.get("price_currency", "usd") != DEFAULT_CURRENCY for price in wanted):
            message = f"a price in {DEFAULT_CURRENCY}, the default currency, is required"
            raise invalid("prices", message, rule=True)
        made["prices"] = [objects.price(now, made["id"], "catalog", price) for price in wanted]
        self.world.put("products", made)
        shown = objects.product(self.world, made)
        self.world.emit("product.created", shown)
        return JSONResponse(shown, 201)

    async def find_products(self, request: Request, _call: Call) -> Response:
        columns = ("id", "is_archived", "is_recurring", "visibility")
        found = [
            objects.product(self.world, product)
            for product in reversed(self.world.all("products").values())
            if wire.matches(request, product, columns)
        ]
        return JSONResponse(wire.page(request, found))

    async def retrieve_product(self, request: Request, _call: Call) -> Response:
        found = self.world.get("products", request.path_params["id"])
        return JSONResponse(objects.product(self.world, found))

    async def update_product(self, request: Request, _call: Call) -> Response:
        product = self.world.get("products", request.path_params["id"])
        body = await wire.read_body(request)
        wire.check_known(body, {"name", "is_archived", "metadata"})
        if "name" in body:
            product["name"] = wire.text(body, "name", 3, 64)
        if "metadata" in body:
            product["metadata"] = wire.metadata(body)
        product["is_archived"] = wire.boolean(body, "is_archived", product["is_archived"])
        return self._updated(product)

    async def update_benefits(self, request: Request, _call: Call) -> Response:
        """The whole list is replaced, and who has the product gains and loses accordingly."""
        product = self.world.get("products", request.path_params["id"])
        body = await wire.read_body(request)
        wire.check_known(body, {"benefits"})
        wanted = body.get("benefits")
        if not isinstance(wanted, list):
            raise invalid("benefits", "Input should be a valid list", wanted)
        for index, benefit_id in enumerate(wanted):
            if benefit_id not in self.world.all("benefits"):
                message = "Benefit does not exist."
                raise invalid(f"benefits.{index}", message, benefit_id, rule=True)
        before = product["_benefit_ids"]
        product["_benefit_ids"] = list(dict.fromkeys(wanted))
        self.grants.product_changed(product, before)
        return self._updated(product)

    async def create_benefit(self, request: Request, _call: Call) -> Response:
        body = await wire.read_body(request)
        wire.check_known(body, _BENEFIT_KEYS)
        made: Json = {
            "id": wire.new_id(),
            "created_at": self.world.time(),
            "modified_at": None,
            "type": wire.one_of(body, "type", _PROPERTIES),
            "description": wire.text(body, "description", 3, 42),
            "selectable": True,
            "deletable": True,
            "is_deleted": False,
            "organization_id": ORGANIZATION_ID,
            "metadata": wire.metadata(body),
            "visibility": wire.one_of(body, "visibility", _VISIBILITIES, "public"),
            "properties": _properties(body),
            "visibility_configurable": True,
        }
        self.world.put("benefits", made)
        self.world.emit("benefit.created", made)
        return JSONResponse(made, 201)

    async def find_benefits(self, request: Request, _call: Call) -> Response:
        found = [
            benefit
            for benefit in reversed(self.world.all("benefits").values())
            if wire.matches(request, benefit, ("id", "type"))
        ]
        return JSONResponse(wire.page(request, found))

    async def retrieve_benefit(self, request: Request, _call: Call) -> Response:
        return JSONResponse(self.world.get("benefits", request.path_params["id"]))

    def _updated(self, product: Json) -> Response:
        self.world.touch(product)
        shown = objects.product(self.world, product)
        self.world.emit("product.updated", shown)
        return JSONResponse(shown)


def read_prices(wanted: Any, where: str) -> list[Json]:
    """Check requested prices; fixed ones are all that is simulated."""
    if not isinstance(wanted, list) or not wanted:
        raise invalid(where, "List should have at least 1 item", wanted)
    for index, price in enumerate(wanted):
        at = f"{where}.{index}."
        if not isinstance(price, dict) or price.get("amount_type") != "fixed":
            raise invalid(f"{at}amount_type", "the sandbox simulates fixed prices alone")
        wire.check_known(price, _PRICE_KEYS, at)
        currency = price.get("price_currency", "usd")
        if currency not in CURRENCIES:
            raise invalid(f"{at}price_currency", "the currency is not supported", currency)
        if price.get("tax_behavior") is not None and price["tax_behavior"] not in _TAX_BEHAVIORS:
            raise invalid(f"{at}tax_behavior", f"one of {sorted(_TAX_BEHAVIORS)}")
        amount = wire.integer(price, "price_amount", 0, at)
        least = AMOUNT_MIN_BY_CURRENCY.get(currency, AMOUNT_MIN)
        if 0 < amount < least:
            raise invalid(f"{at}price_amount", f"at least {least}, or free", amount, rule=True)
    return wanted


def _properties(body: Json) -> Json:
    given = body.get("properties")
    if not isinstance(given, dict):
        raise invalid("properties", "Input should be a valid dictionary", given)
    required, optional = _PROPERTIES[body["type"]]
    wire.check_known(given, {*required, *optional}, "properties.")
    for name, kind in required.items():
        if not isinstance(given.get(name), kind):
            raise invalid(f"properties.{name}", f"a {kind.__name__} is required", given.get(name))
    if body["type"] == "github_repository":
        wire.one_of(given, "permission", _PERMISSIONS)
    return {**optional, **given}
