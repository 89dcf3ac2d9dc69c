"""Orders, and the refunds that take their money back."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.core import Call
from sandbox.polar import objects, wire
from sandbox.polar.grants import Grants
from sandbox.polar.wire import Json, Refusal, invalid, new_id
from sandbox.polar.world import ORGANIZATION_ID, World

_REFUND_KEYS = frozenset({"order_id", "reason", "amount", "comment", "revoke_benefits", "metadata"})
_REASONS = frozenset(
    {
        "duplicate",
        "fraudulent",
        "customer_request",
        "service_disruption",
        "satisfaction_guarantee",
        "other",
    }
)
_FEE_PERCENT, _FEE_FIXED = 5, 50
_ORDER_FILTERS = ("product_id", "customer_id", "checkout_id", "subscription_id", "status")


class Orders:
    def __init__(self, world: World, grants: Grants) -> None:
        self.world = world
        self.grants = grants

    async def find_all(self, request: Request, _call: Call) -> Response:
        """Newest first."""
        found = [
            objects.order(self.world, order)
            for order in reversed(self.world.all("orders").values())
            if wire.matches(request, order, _ORDER_FILTERS) and wire.made_within(request, order)
        ]
        return JSONResponse(wire.page(request, found))

    async def retrieve(self, request: Request, _call: Call) -> Response:
        return JSONResponse(self._shown(self.world.get("orders", request.path_params["id"])))

    async def find_refunds(self, request: Request, _call: Call) -> Response:
        columns = ("id", "order_id", "subscription_id", "customer_id")
        found = [
            refund
            for refund in reversed(self.world.all("refunds").values())
            if wire.matches(request, refund, columns)
        ]
        return JSONResponse(wire.page(request, found))

    async def create_refund(self, request: Request, _call: Call) -> Response:
        """No idempotency: the same body posted twice refunds twice, as long as money is left."""
        body = await wire.read_body(request)
        wire.check_known(body, _REFUND_KEYS)
        order = self.world.all("orders").get(wire.text(body, "order_id"))
        if order is None or order["net_amount"] == 0:
            raise wire.not_found()
        reason = wire.one_of(body, "reason", _REASONS)
        amount = wire.integer(body, "amount", 1)
        revoke_benefits = wire.boolean(body, "revoke_benefits", False)
        refundable = self._shown(order)["refundable_amount"]
        if order["status"] == "refunded":
            raise Refusal(403, "RefundedAlready", "Order is already fully refunded.")
        if amount > refundable:
            raise invalid("amount", "Refund amount exceeds remaining order balance", amount,
                          rule=True)  # fmt: skip
        if revoke_benefits and order["subscription_id"] is not None:
            name = "RevokeSubscriptionBenefitsProhibited"
            raise Refusal(400, name, "Subscription benefits can only be revoked by canceling.")
        refund = self._refund(order, amount, reason, revoke_benefits, wire.metadata(body))
        return JSONResponse(refund, 201)

    def open(
        self, source: Json, product: Json, reason: str, subscription: Json | None, amounts: Json
    ) -> Json:
        """A pending order, for a page (`source`) or for a subscription's next period."""
        now = self.world.time()
        price = source["_price"]
        made: Json = {
            "id": new_id(),
            "created_at": now,
            "modified_at": None,
            "status": "pending",
            "paid": False,
            **amounts,
            "applied_balance_amount": 0,
            "due_amount": amounts["total_amount"],
            "refunded_amount": 0,
            "refunded_tax_amount": 0,
            "currency": source["currency"],
            "billing_reason": reason,
            "billing_name": None,
            "billing_address": None,
            "invoice_number": f"ABONO-{len(self.world.all('orders')) + 1:04}",
            "is_invoice_generated": False,
            "receipt_number": None,
            "seats": None,
            "units": None,
            "customer_id": source["customer_id"],
            "product_id": product["id"],
            "discount_id": None,
            "discount": None,
            "subscription_id": subscription["id"] if subscription else None,
            "checkout_id": source["id"] if "client_secret" in source else None,
            "next_payment_attempt_at": None,
            "metadata": dict(source["metadata"]),
            "custom_field_data": {},
            "platform_fee_amount": 0,
            "platform_fee_currency": None,
            "items": [_item(now, product, price, amounts, subscription)],
            "description": product["name"],
        }
        self.world.put("orders", made)
        self.tell("order.created", made)
        return made

    def settle(self, order: Json) -> None:
        """The money is there (or nothing had to be paid)."""
        fee = order["total_amount"] * _FEE_PERCENT // 100 + _FEE_FIXED
        order.update(
            status="paid",
            paid=True,
            due_amount=0,
            platform_fee_amount=fee if order["total_amount"] else 0,
            platform_fee_currency=order["currency"] if order["total_amount"] else None,
        )
        if order["net_amount"]:
            self.world.book(order, "charge", order["net_amount"], "paid", order["id"])
        self.world.touch(order)
        self.tell("order.updated", order)
        self.tell("order.paid", order)

    def tell(self, event_type: str, order: Json) -> None:
        self.world.emit(event_type, self._shown(order))

    def _shown(self, order: Json) -> Json:
        return objects.order(self.world, order)

    def _refund(
        self, order: Json, amount: int, reason: str, revoke_benefits: bool, metadata: Json
    ) -> Json:
        before = self._shown(order)
        everything = amount == before["refundable_amount"]
        left_of_tax = before["refundable_tax_amount"]
        # The tax goes back in proportion; the last refund takes what rounding has left over.
        tax = left_of_tax if everything else order["tax_amount"] * amount // order["net_amount"]
        refund: Json = {
            "created_at": self.world.time(),
            "modified_at": None,
            "id": new_id(),
            "metadata": metadata,
            "status": "succeeded",
            "reason": reason,
            "amount": amount,
            "tax_amount": tax,
            "currency": order["currency"],
            "organization_id": ORGANIZATION_ID,
            "order_id": order["id"],
            "subscription_id": order["subscription_id"],
            "customer_id": order["customer_id"],
            "revoke_benefits": revoke_benefits,
            "dispute": None,
        }
        self.world.put("refunds", refund)
        order["refunded_amount"] += amount
        order["refunded_tax_amount"] += tax
        order["status"] = "refunded" if everything else "partially_refunded"
        self.world.touch(order)
        self.world.book(order, "refund", amount, "succeeded", refund["id"])
        self.world.emit("refund.created", refund)
        self.tell("order.updated", order)
        self.tell("order.refunded", order)
        if revoke_benefits:
            self.grants.source_ended(order, "order_id")
        return refund

    def fail_refund(self, refund_id: str) -> Json:
        """The money comes back to us, days after the refund was called done."""
        refund = self.world.all("refunds")[refund_id]
        if refund["status"] == "succeeded":
            order = self.world.all("orders")[refund["order_id"]]
            refund["status"] = "failed"
            order["refunded_amount"] -= refund["amount"]
            order["refunded_tax_amount"] -= refund["tax_amount"]
            order["status"] = "partially_refunded" if order["refunded_amount"] else "paid"
            self.world.touch(refund)
            self.world.touch(order)
            self.world.book(order, "refund", refund["amount"], "declined", refund_id)
            self.world.emit("refund.updated", refund)
            self.tell("order.updated", order)
        return {"refund": refund_id, "status": refund["status"]}


def _item(now: str, product: Json, price: Json, amounts: Json, subscription: Json | None) -> Json:
    start, end = (None, None)
    if subscription is not None:
        start, end = subscription["current_period_start"], subscription["current_period_end"]
    return {
        "created_at": now,
        "modified_at": None,
        "id": new_id(),
        "label": product["name"],
        "amount": amounts["subtotal_amount"],
        "tax_amount": amounts["tax_amount"],
        "proration": False,
        "product_price_id": price["id"],
        "start_timestamp": start,
        "end_timestamp": end,
    }
