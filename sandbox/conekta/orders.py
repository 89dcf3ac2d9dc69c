"""Orders over HTTP: made with or without charges, read, listed, changed, canceled, refunded."""

from __future__ import annotations

import copy

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.conekta.cards import Cards
from sandbox.conekta.charges import (
    DECLINE_CODES,
    charges_of,
    make_charges,
    read_charge,
    reference_of,
)
from sandbox.conekta.customers import Customers
from sandbox.conekta.payments import Payments
from sandbox.conekta.wire import (
    LINE_ITEM_NAME_LENGTH_MAX,
    LINE_ITEM_NAME_LENGTH_MIN,
    Json,
    Refusal,
    check_known,
    check_metadata,
    envelope,
    integer_query,
    invalid,
    not_found,
    object_id,
    page,
    precondition,
    read_body,
    required_integer,
    required_text,
)
from sandbox.core import Call

_KNOWN = frozenset(
    [
        "charges",
        "currency",
        "customer_info",
        "line_items",
        "metadata",
        "processing_mode",
        "needs_shipping_contact",
        "three_ds_mode",
        "return_url",
    ]
)
_NOT_SIMULATED = frozenset(
    [
        "checkout",
        "discount_lines",
        "tax_lines",
        "shipping_lines",
        "shipping_contact",
        "fiscal_entity",
        "pre_authorize",
    ]
)
_LINE_ITEM_KEYS = frozenset(
    [
        "name",
        "unit_price",
        "quantity",
        "description",
        "sku",
        "brand",
        "tags",
        "metadata",
        "antifraud_info",
    ]
)
_CUSTOMER_INFO_KEYS = frozenset({"customer_id", "name", "email", "phone", "corporate", "object"})
_REFUND_KEYS = frozenset({"amount", "reason", "expires_at"})
_OPEN_STATUSES = frozenset({None, "pending_payment"})
_TAKEN_STATUSES = frozenset({"pending_payment", "paid", "refunded", "partially_refunded"})


class Orders:
    def __init__(self, payments: Payments, customers: Customers, cards: Cards) -> None:
        self.core = payments.core
        self.payments = payments
        self.customers = customers
        self.cards = cards

    async def create(self, request: Request, call: Call) -> Response:
        """No idempotency: the same body posted twice makes two orders."""
        body = await read_body(request)
        _check(body)
        now = self.core.clock.now()
        order = new_order(now, _currency(body), self._customer_info(body), _read_line_items(body))
        order["processing_mode"] = body.get("processing_mode")
        order["metadata"] = check_metadata(body)
        wanted = body.get("charges") or []
        if not isinstance(wanted, list):
            raise invalid("charges", "list", "charges must be a list")
        requested = [read_charge(charge, now, self.cards.of_method) for charge in wanted]
        _check_sum(order, requested)
        self.payments.orders[order["id"]] = order
        self.payments.events.emit("order.created", order)
        for charge in requested:
            self._add_charges(order, charge, call)
        return JSONResponse(order)

    async def retrieve(self, request: Request, _call: Call) -> Response:
        return JSONResponse(self.find(request.path_params["id"]))

    async def find_all(self, request: Request, _call: Call) -> Response:
        """Newest first. `search` does not cover metadata: whether Conekta's does is unknown."""
        query = request.query_params
        found = list(reversed(self.payments.orders.values()))
        if (search := query.get("search")) is not None:
            found = [order for order in found if search.lower() in _searchable(order)]
        if (status := query.get("payment_status")) is not None:
            found = [order for order in found if order["payment_status"] == status]
        for field in ("created_at", "updated_at"):
            exactly = integer_query(request, field)
            least = integer_query(request, f"{field}.gte")
            most = integer_query(request, f"{field}.lte")
            found = [
                order
                for order in found
                if (exactly is None or order[field] == exactly)
                and (least is None or order[field] >= least)
                and (most is None or order[field] <= most)
            ]
        return JSONResponse(page(request, found))

    async def update(self, request: Request, _call: Call) -> Response:
        order = self.find(request.path_params["id"])
        if charges_of(order):
            rule = "cannot_be_updated_because_has_charge"
            raise precondition(rule, "an order with a charge cannot be changed")
        body = await read_body(request)
        _check(body)
        if "charges" in body:
            raise invalid("charges", "not_simulated", "add charges with POST /orders/{id}/charges")
        if "line_items" in body:
            line_items = _read_line_items(body)
            order["amount"] = sum(item["unit_price"] * item["quantity"] for item in line_items)
            order["line_items"] = _line_item_list(order, line_items)
        if "currency" in body:
            order["currency"] = _currency(body)
        if "customer_info" in body:
            order["customer_info"] = self._customer_info(body)
        if "metadata" in body:
            order["metadata"] = check_metadata(body)
        self.payments.touch(order)
        self.payments.events.emit("order.updated", order)
        return JSONResponse(order)

    async def create_charge(self, request: Request, call: Call) -> Response:
        order = self.find(request.path_params["id"])
        body, now = await read_body(request), self.core.clock.now()
        if order["payment_status"] in {"canceled", "expired"}:
            rule = "cannot_be_updated_because_is_closed"
            raise precondition(rule, f"the order is {order['payment_status']}")
        for charge in charges_of(order):
            if charge["status"] in _TAKEN_STATUSES:
                paid = charge["status"] != "pending_payment"
                rule = f"cannot_be_updated_because_has_charge{'_paid' if paid else ''}"
                raise precondition(rule, f"it has already a charge which is {charge['status']}")
        requested = read_charge(body, now, self.cards.of_method)
        _check_sum(order, [requested])
        made = self._add_charges(order, requested, call)
        # One charge is all that this answer holds, even when the request made alternatives.
        return JSONResponse(made[0])

    async def cancel(self, request: Request, _call: Call) -> Response:
        order = self.find(request.path_params["id"])
        if order["payment_status"] not in _OPEN_STATUSES:
            rule = f"cannot_be_canceled_because_is_{order['payment_status']}"
            raise precondition(rule, f"the order is {order['payment_status']}")
        self.payments.cancel(order)
        return JSONResponse(order)

    async def refund(self, request: Request, _call: Call) -> Response:
        order = self.find(request.path_params["id"])
        body = await read_body(request)
        check_known(body, _REFUND_KEYS)
        amount = required_integer(body, "amount", 1)
        required_text(body, "reason")
        refundable = self.payments.refundable(order)
        if refundable == 0:
            rule = "cannot_be_refunded_because_is_not_paid"
            raise precondition(rule, "there is nothing to pay back")
        if amount > refundable:
            raise invalid("amount", "maximum", "more than what can be paid back")
        self.payments.refund(order, amount, body.get("expires_at"))
        return JSONResponse(order)

    def find(self, order_id: str) -> Json:
        order = self.payments.orders.get(order_id)
        if order is None:
            raise not_found("order")
        return order

    def _add_charges(self, order: Json, requested: Json, call: Call) -> list[Json]:
        before = copy.deepcopy(order)
        made = make_charges(order, requested, self.core.clock.now(), call.decline)
        order["charges"] = envelope([*charges_of(order), *made])
        self.payments.opened(order, made)
        if made[0]["status"] == "declined":
            code = DECLINE_CODES[made[0]["failure_code"]]
            raise Refusal(402, code, "the charge was declined", data=order)
        # Seen at Conekta: an update that still shows the order without its charge comes last.
        self.payments.events.emit("order.updated", before)
        return made

    def _customer_info(self, body: Json) -> Json:
        info = body.get("customer_info")
        if not isinstance(info, dict):
            raise invalid("customer_info", "missing", "customer_info is required")
        check_known(info, _CUSTOMER_INFO_KEYS, "customer_info.")
        shown = {"object": "customer_info", "corporate": bool(info.get("corporate", False))}
        if "customer_id" in info:
            return shown | info_of(self.customers.find(required_text(info, "customer_id")))
        return {**shown, **{key: required_text(info, key) for key in ("name", "email", "phone")}}


def info_of(customer: Json) -> Json:
    """How an order shows the customer that it belongs to."""
    shown = {key: customer[key] for key in ("name", "email", "phone")}
    if customer["custom_reference"]:
        shown["customer_custom_reference"] = customer["custom_reference"]
    return {"object": "customer_info", "customer_id": customer["id"], **shown}


def new_order(now: int, currency: str, customer_info: Json, line_items: list[Json]) -> Json:
    """An order that nobody can pay yet."""
    order: Json = {
        "object": "order",
        "id": object_id("ord_"),
        "livemode": False,
        "amount": sum(item["unit_price"] * item["quantity"] for item in line_items),
        "amount_refunded": 0,
        "currency": currency,
        "payment_status": None,
        "is_refundable": False,
        "split_payment": False,
        "processing_mode": None,
        "customer_info": customer_info,
        "line_items": None,
        "charges": None,
        "channel": {"segment": "API", "id": object_id("channel_")},
        "metadata": {},
        "next_action": None,
        "created_at": now,
        "updated_at": now,
    }
    order["line_items"] = _line_item_list(order, line_items)
    return order


def _check(body: Json) -> None:
    for key in _NOT_SIMULATED & body.keys():
        raise invalid(key, "not_simulated", f"the sandbox does not simulate {key} of orders")
    check_known(body, _KNOWN)


def _currency(body: Json) -> str:
    currency = required_text(body, "currency")
    if currency != "MXN":
        raise invalid("currency", "unsupported", "orders are charged in MXN")
    return currency


def _read_line_items(body: Json) -> list[Json]:
    line_items = body.get("line_items")
    if not isinstance(line_items, list) or not line_items:
        raise invalid("line_items", "missing", "an order needs at least one line item")
    for item in line_items:
        if not isinstance(item, dict):
            raise invalid("line_items", "object", "a line item must be an object")
        check_known(item, _LINE_ITEM_KEYS, "line_items.")
        required_text(item, "name", LINE_ITEM_NAME_LENGTH_MIN, LINE_ITEM_NAME_LENGTH_MAX)
        required_integer(item, "unit_price", 0)
        required_integer(item, "quantity", 1)
        check_metadata(item)
    return line_items


def _line_item_list(order: Json, line_items: list[Json]) -> Json:
    return envelope(
        [
            {
                **item,
                "object": "line_item",
                "id": object_id("line_item_"),
                "parent_id": order["id"],
            }
            for item in line_items
        ]
    )


def _check_sum(order: Json, requested: list[Json]) -> None:
    """The charges together must make up the order; a single one may leave its amount out."""
    if not requested:
        return
    if len(requested) > 1 and any(charge["amount"] is None for charge in requested):
        raise invalid("amount", "missing", "several charges must each say their amount")
    total = sum(charge["amount"] or order["amount"] for charge in requested)
    if total != order["amount"]:
        raise invalid("amount", "sum", "the charges do not add up to the order's amount")


def _searchable(order: Json) -> str:
    info = order["customer_info"]
    references = [reference_of(charge) for charge in charges_of(order)]
    words = [order["id"], info["name"], info["email"], info["phone"], *references]
    return " ".join(word for word in words if word).lower()
