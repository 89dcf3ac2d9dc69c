"""Customers: `external_id` and `email` are unique, which is what makes creating them safe."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.core import Call
from sandbox.polar import objects, wire
from sandbox.polar.wire import Json, invalid
from sandbox.polar.world import World

_KNOWN = frozenset(
    {"email", "name", "external_id", "billing_address", "metadata", "tax_id", "locale", "type"}
)
_ADDRESS_KEYS = frozenset({"line1", "line2", "postal_code", "city", "state", "country"})


class Customers:
    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def all(self) -> dict[str, Json]:
        return self.world.all("customers")

    async def create(self, request: Request, _call: Call) -> Response:
        body = await wire.read_body(request)
        wire.check_known(body, _KNOWN)
        email = wire.text(body, "email", 3)
        if "@" not in email:
            raise invalid("email", "value is not a valid email address", email)
        external_id = wire.optional_text(body, "external_id")
        self._check_unique(email, external_id)
        made = self.add(
            email,
            name=wire.optional_text(body, "name"),
            external_id=external_id,
            billing_address=_address(body),
            metadata=wire.metadata(body),
        )
        return JSONResponse(made, 201)

    async def find_all(self, request: Request, _call: Call) -> Response:
        email = request.query_params.get("email")
        found = [
            customer
            for customer in reversed(self.all.values())
            if (email is None or customer["email"].lower() == email.lower())
            and wire.matches(request, customer, ())
        ]
        return JSONResponse(wire.page(request, found))

    async def retrieve(self, request: Request, _call: Call) -> Response:
        return JSONResponse(self.world.get("customers", request.path_params["id"]))

    async def retrieve_external(self, request: Request, _call: Call) -> Response:
        found = self.by_external_id(request.path_params["id"])
        if found is None:
            raise wire.not_found()
        return JSONResponse(found)

    async def update(self, request: Request, _call: Call) -> Response:
        customer = self.world.get("customers", request.path_params["id"])
        body = await wire.read_body(request)
        wire.check_known(body, _KNOWN)
        if "external_id" in body and body["external_id"] != customer["external_id"]:
            if customer["external_id"] is not None:
                message = "Customer external ID cannot be updated."
                raise invalid("external_id", message, body["external_id"], rule=True)
            self._check_unique(None, body["external_id"])
            customer["external_id"] = wire.optional_text(body, "external_id")
        if "name" in body:
            customer["name"] = wire.optional_text(body, "name")
        if "billing_address" in body:
            customer["billing_address"] = _address(body)
        if "metadata" in body:
            customer["metadata"] = wire.metadata(body)
        self.world.touch(customer)
        self.world.emit("customer.updated", customer)
        return JSONResponse(customer)

    def add(self, email: str, **fields: object) -> Json:
        made = self.world.put("customers", objects.customer(self.world.time(), email, **fields))
        self.world.emit("customer.created", made)
        return made

    def by_external_id(self, external_id: str) -> Json | None:
        return next((c for c in self.all.values() if c["external_id"] == external_id), None)

    def _check_unique(self, email: str | None, external_id: str | None) -> None:
        for customer in self.all.values():
            if email is not None and customer["email"].lower() == email.lower():
                message = "A customer with this email address already exists."
                raise invalid("email", message, email, rule=True)
            if external_id is not None and customer["external_id"] == external_id:
                message = "A customer with this external ID already exists."
                raise invalid("external_id", message, external_id, rule=True)


def _address(body: Json) -> Json | None:
    address = body.get("billing_address")
    if address is None:
        return None
    if not isinstance(address, dict):
        raise invalid("billing_address", "Input should be a valid dictionary", address)
    wire.check_known(address, _ADDRESS_KEYS, "billing_address.")
    wire.text(address, "country", 2, 2, "billing_address.")
    return {key: address.get(key) for key in sorted(_ADDRESS_KEYS)}
