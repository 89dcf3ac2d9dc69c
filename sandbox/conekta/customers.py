"""Customers: no uniqueness of any kind, so a repeated POST makes a second one."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.conekta.wire import (
    Json,
    check_known,
    check_metadata,
    invalid,
    not_found,
    object_id,
    page,
    read_body,
    required_text,
)
from sandbox.core import Call, Core

_KNOWN = frozenset({"name", "email", "phone", "custom_reference", "metadata", "corporate"})
# Cards and subscriptions have paths of their own.
_NOT_SIMULATED = frozenset({"payment_sources", "plan_id", "subscription"})


class Customers:
    def __init__(self, core: Core) -> None:
        self.core = core

    @property
    def all(self) -> dict[str, Json]:
        return self.core.collection("conekta", "customers")

    async def create(self, request: Request, _call: Call) -> Response:
        body = await read_body(request)
        _check(body)
        now = self.core.clock.now()
        customer: Json = {
            "object": "customer",
            "id": object_id("cus_"),
            "livemode": False,
            "name": required_text(body, "name"),
            "email": _email(body),
            "phone": required_text(body, "phone"),
            "corporate": bool(body.get("corporate", False)),
            "custom_reference": body.get("custom_reference"),
            "metadata": check_metadata(body),
            "payment_sources": None,
            "default_payment_source_id": None,
            "created_at": now,
        }
        self.all[customer["id"]] = customer
        return JSONResponse(customer)

    async def retrieve(self, request: Request, _call: Call) -> Response:
        return JSONResponse(self.find(request.path_params["id"]))

    async def update(self, request: Request, _call: Call) -> Response:
        customer = self.find(request.path_params["id"])
        body = await read_body(request)
        _check(body)
        for key in ("name", "phone"):
            if key in body:
                customer[key] = required_text(body, key)
        if "email" in body:
            customer["email"] = _email(body)
        if "custom_reference" in body:
            customer["custom_reference"] = body["custom_reference"]
        if "metadata" in body:
            customer["metadata"] = check_metadata(body)
        return JSONResponse(customer)

    async def find_all(self, request: Request, _call: Call) -> Response:
        search = request.query_params.get("search", "").lower()
        found = [c for c in reversed(self.all.values()) if search in _searchable(c)]
        return JSONResponse(page(request, found))

    def find(self, customer_id: str) -> Json:
        customer = self.all.get(customer_id)
        if customer is None:
            raise not_found("customer")
        return customer


def _check(body: Json) -> None:
    for key in _NOT_SIMULATED & body.keys():
        raise invalid(key, "not_simulated", f"the sandbox does not simulate {key} of customers")
    check_known(body, _KNOWN)


def _email(body: Json) -> str:
    email = required_text(body, "email")
    if "@" not in email:
        raise invalid("email", "format", "email must be an address")
    return email


def _searchable(customer: Json) -> str:
    keys = ("id", "name", "email", "phone", "custom_reference")
    return " ".join(str(customer[key] or "") for key in keys).lower()
