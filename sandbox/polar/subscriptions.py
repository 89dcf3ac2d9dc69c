"""Subscriptions: free ones by a call, paid ones through a page; canceled, renewed, ended."""

from __future__ import annotations

import math

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.core import Call
from sandbox.polar import objects, wire
from sandbox.polar.grants import Grants
from sandbox.polar.orders import Orders
from sandbox.polar.taxes import amounts_of
from sandbox.polar.wire import Json, Refusal, invalid, new_id
from sandbox.polar.world import World, after_period, unix

_CREATE_KEYS = frozenset({"product_id", "customer_id", "external_customer_id", "metadata"})
_CANCEL_KEYS = frozenset(
    {
        "cancel_at_period_end",
        "revoke",
        "customer_cancellation_reason",
        "customer_cancellation_comment",
    }
)
_FILTERS = ("product_id", "customer_id", "status", "cancel_at_period_end")


class Subscriptions:
    def __init__(self, world: World, orders: Orders, grants: Grants) -> None:
        self.world = world
        self.orders = orders
        self.grants = grants
        # The earliest moment at which a period ends; before it a tick costs nothing.
        self._next_due = -math.inf
        world.core.on_time.append(self._tick)
        world.core.next_dues.append(lambda: self._next_due)

    @property
    def all(self) -> dict[str, Json]:
        return self.world.all("subscriptions")

    async def create(self, request: Request, _call: Call) -> Response:
        """Not unique-checked: called twice it makes two."""
        body = await wire.read_body(request)
        wire.check_known(body, _CREATE_KEYS)
        product = self.world.all("products").get(wire.text(body, "product_id"))
        if product is None or product["is_archived"]:
            raise invalid("product_id", "Product does not exist.", rule=True)
        if not product["is_recurring"]:
            raise invalid("product_id", "Product is not a recurring product.", rule=True)
        if any(price["price_amount"] for price in product["prices"]):
            message = "Product is not free. The customer should go through a checkout."
            raise invalid("product_id", message, rule=True)
        if body.get("customer_id") not in self.world.all("customers"):
            raise invalid("customer_id", "Customer does not exist.", rule=True)
        made = self.begin(
            product, body["customer_id"], product["prices"][0], wire.metadata(body), None
        )
        return JSONResponse(self._shown(made), 201)

    async def find_all(self, request: Request, _call: Call) -> Response:
        active = request.query_params.get("active")
        found = [
            self._shown(subscription)
            for subscription in reversed(self.all.values())
            if wire.matches(request, subscription, _FILTERS)
            and active in {None, "true" if subscription["status"] == "active" else "false"}
        ]
        return JSONResponse(wire.page(request, found))

    async def retrieve(self, request: Request, _call: Call) -> Response:
        return JSONResponse(self._shown(self._find(request)))

    async def update(self, request: Request, _call: Call) -> Response:
        """Cancel, keep, revoke. The other shapes (products, seats, trials) are not simulated."""
        subscription = self._find(request)
        body = await wire.read_body(request)
        wire.check_known(body, _CANCEL_KEYS)
        if body.get("revoke") is True and "cancel_at_period_end" not in body:
            return self._revoke(subscription)
        wanted = wire.boolean(body, "cancel_at_period_end", False)
        if subscription["ended_at"] or (wanted and subscription["cancel_at_period_end"]):
            raise _already_canceled()
        if not wanted and not subscription["cancel_at_period_end"]:
            name = "SubscriptionNotScheduledToCancel"
            raise Refusal(409, name, "The subscription is not scheduled to be canceled.")
        subscription.update(
            cancel_at_period_end=wanted,
            canceled_at=self.world.time() if wanted else None,
            ends_at=subscription["current_period_end"] if wanted else None,
        )
        self._tell(subscription, "updated", "canceled" if wanted else "uncanceled")
        return JSONResponse(self._shown(subscription))

    async def revoke(self, request: Request, _call: Call) -> Response:
        return self._revoke(self._find(request))

    def begin(
        self,
        product: Json,
        customer_id: str,
        price: Json,
        metadata: Json,
        checkout_id: str | None,
    ) -> Json:
        now = self.world.time()
        interval, count = product["recurring_interval"], product["recurring_interval_count"]
        end = after_period(now, interval, count)
        made: Json = {
            "created_at": now,
            "modified_at": None,
            "id": new_id(),
            "amount": price["price_amount"],
            "currency": price["price_currency"],
            "recurring_interval": interval,
            "recurring_interval_count": count,
            "status": "active",
            "current_period_start": now,
            "current_period_end": end,
            "current_meter_period_start": None,
            "current_meter_period_end": None,
            "trial_start": None,
            "trial_end": None,
            "cancel_at_period_end": False,
            "canceled_at": None,
            "started_at": now,
            "ends_at": None,
            "ended_at": None,
            "past_due_at": None,
            "pause_at_period_end": False,
            "paused_at": None,
            "resumes_at": None,
            "customer_id": customer_id,
            "product_id": product["id"],
            "discount_id": None,
            "checkout_id": checkout_id,
            "seats": None,
            "units": None,
            "customer_cancellation_reason": None,
            "customer_cancellation_comment": None,
            "metadata": dict(metadata),
            "custom_field_data": {},
            "_price": price,
        }
        product["_sold"] = True
        self.world.put("subscriptions", made)
        self._next_due = min(self._next_due, unix(end))
        self._tell(made, "created", "updated", "active")
        self.grants.source_began(made, "subscription_id")
        return made

    def renew(self, subscription_id: str, outcome: str) -> Json:
        """The next period begins now (or the open order is tried again). Raises KeyError."""
        subscription = self.all[subscription_id]
        if subscription["ended_at"]:
            return _result(subscription)
        order = self._open_order(subscription)
        if order is None:
            self._next_period(subscription)
            if subscription["amount"] == 0:
                return _result(subscription)
            product = self.world.all("products")[subscription["product_id"]]
            customer = self.world.all("customers")[subscription["customer_id"]]
            amounts = amounts_of(subscription["amount"], customer, known=True)
            order = self.orders.open(
                subscription, product, "subscription_cycle", subscription, amounts
            )
        if outcome == "paid":
            self.orders.settle(order)
            if subscription["status"] == "past_due":
                subscription.update(status="active", past_due_at=None)
                self._tell(subscription, "updated", "active")
        else:
            self.world.book(order, "charge", order["net_amount"], "declined", new_id())
            if subscription["status"] == "active":
                subscription.update(status="past_due", past_due_at=self.world.time())
                self._tell(subscription, "updated", "past_due")
        return _result(subscription)

    async def _tick(self) -> None:
        if self.world.now() < self._next_due:
            return
        self._next_due = math.inf
        for subscription in list(self.all.values()):
            while subscription["ended_at"] is None:
                due_at = unix(subscription["current_period_end"])
                if due_at > self.world.now() or subscription["status"] == "past_due":
                    self._next_due = min(self._next_due, due_at)
                    break
                if subscription["cancel_at_period_end"]:
                    self._end(subscription, "updated", "revoked")
                else:
                    self.renew(subscription["id"], "paid")

    def _next_period(self, subscription: Json) -> None:
        start = subscription["current_period_end"]
        interval = subscription["recurring_interval"]
        end = after_period(start, interval, subscription["recurring_interval_count"])
        subscription.update(current_period_start=start, current_period_end=end)
        self._next_due = min(self._next_due, unix(end))
        self._tell(subscription, "cycled", "updated")

    def _open_order(self, subscription: Json) -> Json | None:
        orders = self.world.all("orders").values()
        mine = [o for o in orders if o["subscription_id"] == subscription["id"]]
        return next((order for order in mine if order["status"] == "pending"), None)

    def _revoke(self, subscription: Json) -> Response:
        if subscription["ended_at"]:
            raise _already_canceled()
        self._end(subscription, "updated", "canceled", "revoked")
        return JSONResponse(self._shown(subscription))

    def _end(self, subscription: Json, *events: str) -> None:
        now = self.world.time()
        subscription.update(
            status="canceled",
            canceled_at=subscription["canceled_at"] or now,
            ends_at=now,
            ended_at=now,
        )
        self._tell(subscription, *events)
        self.grants.source_ended(subscription, "subscription_id")

    def _tell(self, subscription: Json, *events: str) -> None:
        self.world.touch(subscription)
        for event in events:
            self.world.emit(f"subscription.{event}", self._shown(subscription))

    def _find(self, request: Request) -> Json:
        return self.world.get("subscriptions", request.path_params["id"])

    def _shown(self, subscription: Json) -> Json:
        return objects.subscription(self.world, subscription)


def _already_canceled() -> Refusal:
    message = "This subscription is already canceled or will be at the end of the period."
    return Refusal(403, "AlreadyCanceledSubscription", message)


def _result(subscription: Json) -> Json:
    return {"provider": "polar", "id": subscription["id"], "status": subscription["status"]}
