"""Hosted pages: opened by a call, paid by the customer, or left alone until they run out."""

from __future__ import annotations

import math
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.core import Call, new_id
from sandbox.faults import FaultMode
from sandbox.polar import objects, wire
from sandbox.polar.catalog import CURRENCIES, read_prices
from sandbox.polar.customers import Customers
from sandbox.polar.grants import Grants
from sandbox.polar.orders import Orders
from sandbox.polar.subscriptions import Subscriptions
from sandbox.polar.taxes import amounts_of
from sandbox.polar.wire import Json, invalid
from sandbox.polar.world import ORGANIZATION_ID, World, unix

LIFETIME_SECONDS = 86400
# The customer pressing "pay" is no call of ours, but a decline can be switched on under this name.
CONFIRM = "checkouts.confirm"

_KNOWN = frozenset(
    [
        "products",
        "prices",
        "currency",
        "customer_id",
        "external_customer_id",
        "customer_email",
        "customer_name",
        "customer_ip_address",
        "success_url",
        "return_url",
        "allow_discount_codes",
        "metadata",
        "customer_metadata",
        "locale",
    ]
)
_FILTERS = ("product_id", "customer_id", "external_customer_id", "status")


class Checkouts:
    def __init__(
        self,
        world: World,
        customers: Customers,
        orders: Orders,
        subscriptions: Subscriptions,
        grants: Grants,
    ) -> None:
        self.world = world
        self.customers = customers
        self.orders = orders
        self.subscriptions = subscriptions
        self.grants = grants
        # The earliest moment at which a page runs out; before it a tick costs nothing.
        self._next_due = -math.inf
        world.core.on_time.append(self._tick)
        world.core.next_dues.append(lambda: self._next_due)

    @property
    def all(self) -> dict[str, Json]:
        return self.world.all("checkouts")

    async def create(self, request: Request, _call: Call) -> Response:
        """No idempotency: the same body posted twice makes two pages."""
        body = await wire.read_body(request)
        wire.check_known(body, _KNOWN)
        product = self._product(body)
        currency = wire.one_of(body, "currency", CURRENCIES, "usd")
        price = self._price(body, product, currency)
        customer = self._customer(body)
        secret = new_id("polar_c_", 43)
        amounts = amounts_of(price["price_amount"], customer, known=False)
        free = price["price_amount"] == 0
        product["_sold"] = True
        made: Json = {
            "id": wire.new_id(),
            "created_at": self.world.time(),
            "modified_at": None,
            "payment_processor": "stripe",
            "status": "open",
            "client_secret": secret,
            "url": f"{_base_url(request)}/checkout/{secret}",
            "expires_at": self.world.time(LIFETIME_SECONDS),
            "success_url": wire.optional_text(body, "success_url")
            or "https://polar.sh/confirmation",
            "return_url": wire.optional_text(body, "return_url"),
            "amount": price["price_amount"],
            "discount_amount": 0,
            "net_amount": amounts["net_amount"],
            "tax_amount": amounts["tax_amount"],
            "total_amount": amounts["total_amount"],
            "currency": currency,
            "product_id": product["id"],
            "product_price_id": price["id"],
            "allow_discount_codes": wire.boolean(body, "allow_discount_codes", True),
            "is_free_product_price": free,
            "is_payment_required": not free,
            "is_payment_form_required": not free,
            "customer_id": customer["id"] if customer else None,
            "customer_name": body.get("customer_name") or (customer or {}).get("name"),
            "customer_email": body.get("customer_email") or (customer or {}).get("email"),
            "customer_ip_address": wire.optional_text(body, "customer_ip_address"),
            "customer_billing_address": (customer or {}).get("billing_address"),
            "external_customer_id": (customer or {}).get("external_id"),
            "metadata": wire.metadata(body),
            "subscription_id": None,
            **_CONSTANT,
            "_price": price,
        }
        self.world.put("checkouts", made)
        self._next_due = min(self._next_due, unix(made["expires_at"]))
        self._tell("checkout.created", made)
        return JSONResponse(objects.checkout(self.world, made), 201)

    async def retrieve(self, request: Request, _call: Call) -> Response:
        found = self.world.get("checkouts", request.path_params["id"])
        return JSONResponse(objects.checkout(self.world, found))

    async def find_all(self, request: Request, _call: Call) -> Response:
        found = [
            objects.checkout(self.world, checkout)
            for checkout in reversed(self.all.values())
            if wire.matches(request, checkout, _FILTERS)
        ]
        return JSONResponse(wire.page(request, found))

    def by_secret(self, client_secret: str) -> Json | None:
        return next((c for c in self.all.values() if c["client_secret"] == client_secret), None)

    def pay(self, checkout_id: str) -> Json:
        """The customer fills in the page and presses "pay". Raises KeyError for an unknown page; one
        that is closed takes no money."""
        checkout = self.all[checkout_id]
        if checkout["status"] != "open":
            return _result(checkout, "refused")
        customer = self._buyer(checkout)
        amounts = amounts_of(checkout["_price"]["price_amount"], customer, known=True)
        checkout.update(
            status="confirmed",
            tax_amount=amounts["tax_amount"],
            total_amount=amounts["total_amount"],
        )
        self._tell("checkout.updated", checkout)
        if self._is_declined():
            # Back to open, so that the customer can try another card.
            self.world.book(checkout, "charge", checkout["net_amount"], "declined", wire.new_id())
            checkout["status"] = "open"
            self._tell("checkout.updated", checkout)
            return _result(checkout, "declined")
        order = self._order(checkout, amounts)
        return {**_result(checkout, "paid"), "order_id": order["id"]}

    def expire(self, checkout_id: str) -> Json:
        """The page runs out now. Raises KeyError."""
        checkout = self.all[checkout_id]
        if checkout["status"] == "open":
            checkout["expires_at"] = self.world.time()
            self._run_out(checkout)
        return _result(checkout, checkout["status"])

    def _order(self, checkout: Json, amounts: Json) -> Json:
        product = self.world.all("products")[checkout["product_id"]]
        subscription = None
        if product["is_recurring"]:
            subscription = self.subscriptions.begin(
                product,
                checkout["customer_id"],
                checkout["_price"],
                checkout["metadata"],
                checkout["id"],
            )
            checkout["subscription_id"] = subscription["id"]
        reason = "subscription_create" if subscription else "purchase"
        order = self.orders.open(checkout, product, reason, subscription, amounts)
        self.orders.settle(order)
        checkout["status"] = "succeeded"
        self._tell("checkout.updated", checkout)
        if subscription is None:
            self.grants.source_began(order, "order_id")
        return order

    def _buyer(self, checkout: Json) -> Json:
        """Whoever pays becomes a customer, if the page was not opened for one."""
        if checkout["customer_id"] is not None:
            return self.world.all("customers")[checkout["customer_id"]]
        email = checkout["customer_email"] or f"buyer-{checkout['id'][:8]}@example.com"
        known = [c for c in self.customers.all.values() if c["email"].lower() == email.lower()]
        customer = known[0] if known else self.customers.add(email)
        checkout.update(customer_id=customer["id"], customer_email=email)
        return customer

    def _is_declined(self) -> bool:
        faults = self.world.core.faults
        for fault in faults.active:
            if fault.mode is FaultMode.DECLINE and fault.operation == CONFIRM:
                return faults.take("polar", CONFIRM) is not None
        return False

    async def _tick(self) -> None:
        now = self.world.now()
        if now < self._next_due:
            return
        self._next_due = math.inf
        for checkout in self.all.values():
            if checkout["status"] != "open":
                continue
            if unix(checkout["expires_at"]) <= now:
                self._run_out(checkout)
            else:
                self._next_due = min(self._next_due, unix(checkout["expires_at"]))

    def _run_out(self, checkout: Json) -> None:
        checkout["status"] = "expired"
        self._tell("checkout.updated", checkout)
        self._tell("checkout.expired", checkout)

    def _tell(self, event_type: str, checkout: Json) -> None:
        if event_type != "checkout.created":
            self.world.touch(checkout)
        self.world.emit(event_type, objects.checkout(self.world, checkout))

    def _product(self, body: Json) -> Json:
        wanted = body.get("products")
        if not isinstance(wanted, list) or not wanted:
            raise invalid("products", "List should have at least 1 item", wanted)
        if len(wanted) > 1:
            raise invalid("products", "the sandbox simulates pages of one product", wanted)
        found = self.world.all("products").get(wanted[0])
        if found is None:
            raise invalid("products.0", "Product does not exist.", wanted[0], rule=True)
        if found["is_archived"]:
            raise invalid("products.0", "Product is archived.", wanted[0], rule=True)
        return found

    def _price(self, body: Json, product: Json, currency: str) -> Json:
        """The price that was said for this page alone, or else the product's own."""
        ad_hoc: Any = (body.get("prices") or {}).get(product["id"])
        if ad_hoc is not None:
            wanted = read_prices(ad_hoc, f"prices.{product['id']}")
            now = self.world.time()
            prices = [objects.price(now, product["id"], "ad_hoc", price) for price in wanted]
        else:
            prices = product["prices"]
        for price in prices:
            if price["price_currency"] == currency:
                return dict(price)
        raise invalid("currency", "The product has no price in this currency.", currency, rule=True)

    def _customer(self, body: Json) -> Json | None:
        external_id = wire.optional_text(body, "external_customer_id")
        if external_id is not None:
            return self.customers.by_external_id(external_id)
        if body.get("customer_id") is None:
            return None
        found = self.world.all("customers").get(body["customer_id"])
        if found is None:
            raise invalid("customer_id", "Customer does not exist.", rule=True)
        return found


# What every page of this sandbox says alike.
_CONSTANT: Json = {
    "custom_field_data": {},
    "embed_origin": None,
    "seats": None,
    "min_seats": None,
    "max_seats": None,
    "units": None,
    "min_units": None,
    "max_units": None,
    "tax_behavior": "exclusive",
    "allow_trial": None,
    "active_trial_interval": None,
    "active_trial_interval_count": None,
    "trial_end": None,
    "organization_id": ORGANIZATION_ID,
    "discount_id": None,
    "require_billing_address": False,
    "is_discount_applicable": False,
    "is_payment_setup_required": False,
    "is_business_customer": False,
    "customer_billing_name": None,
    "customer_tax_id": None,
    "locale": None,
    "payment_method_type": None,
    "payment_processor_metadata": {},
    "billing_address_fields": {
        "country": "required",
        "state": "disabled",
        "city": "disabled",
        "postal_code": "disabled",
        "line1": "disabled",
        "line2": "disabled",
    },
    "trial_interval": None,
    "trial_interval_count": None,
    "discount": None,
    "attached_custom_fields": [],
    "customer_metadata": {},
}


def _base_url(request: Request) -> str:
    """Where this simulator is mounted, as its caller reaches it."""
    return f"{request.url.scheme}://{request.url.netloc}{request.scope['root_path']}"


def _result(checkout: Json, status: str) -> Json:
    return {
        "provider": "polar",
        "id": checkout["id"],
        "reference": checkout["id"],
        "status": status,
        "amount_minor": checkout["net_amount"],
        "currency": checkout["currency"].upper(),
    }
