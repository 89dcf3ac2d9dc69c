"""Customers and their payment methods."""

from __future__ import annotations

from sandbox.core import Call
from sandbox.stripe import objects
from sandbox.stripe.cards import card_of
from sandbox.stripe.forms import Params, mapping, only, optional_text, strings, text
from sandbox.stripe.refusals import Refusal, missing
from sandbox.stripe.world import Object, World


class Customers:
    def __init__(self, world: World) -> None:
        self.world = world

    def create(self, params: Params, call: Call) -> Object:
        only(
            params, "email", "name", "phone", "description", "metadata", "address",
            "preferred_locales", "payment_method", "invoice_settings", "tax_exempt",
        )  # fmt: skip
        created = objects.customer(
            self.world.now(),
            email=optional_text(params, "email"),
            name=optional_text(params, "name"),
            phone=optional_text(params, "phone"),
            description=optional_text(params, "description"),
            metadata=mapping(params, "metadata"),
            address=_address(mapping(params, "address")),
            preferred_locales=strings(params, "preferred_locales"),
        )
        self.world.put("customers", created)
        self.world.emit("customer.created", created)
        return created

    def retrieve(self, params: Params, call: Call, customer: str) -> Object:
        return self.world.get("customers", customer, "customer")

    def update(self, params: Params, call: Call, customer: str) -> Object:
        only(params, "email", "name", "phone", "metadata", "invoice_settings", "address")
        found = self.world.get("customers", customer, "customer")
        for name in ("email", "name", "phone"):
            if name in params:
                found[name] = optional_text(params, name)
        found["metadata"].update(mapping(params, "metadata"))
        default = optional_text(mapping(params, "invoice_settings"), "default_payment_method")
        if default is not None:
            self.owned_payment_method(default, customer)
            found["invoice_settings"]["default_payment_method"] = default
        self.world.emit("customer.updated", found, {})
        return found

    def create_payment_method(self, params: Params, call: Call) -> Object:
        only(params, "type", "card", "billing_details", "metadata")
        if text(params, "type") != "card":
            raise Refusal(400, "The sandbox makes only cards this way.", param="type")
        token = optional_text(mapping(params, "card"), "token")
        if token is None or not token.startswith("tok_"):
            # Raw card numbers are refused as on an account without PCI approval.
            raise Refusal(402, "Sending card numbers directly to the API is unsafe.", param="card")
        return self._new_card(token, "card[token]")

    def retrieve_payment_method(self, params: Params, call: Call, payment_method: str) -> Object:
        known = self.world.all("payment_methods").get(payment_method)
        return known or self._new_card(payment_method, "payment_method")

    def attach(self, params: Params, call: Call, payment_method: str) -> Object:
        only(params, "customer")
        owner = self.world.get("customers", text(params, "customer"), "customer")
        method = self.world.all("payment_methods").get(payment_method)
        if method is None:
            method = self._new_card(payment_method, "payment_method")
        if method["customer"] not in {None, owner["id"]}:
            raise Refusal(400, "The payment method is already attached to another customer.")
        if method.get("_detached"):
            raise Refusal(
                400, "A payment method that was detached may not be used again.",
                code="payment_method_unexpected_state",
            )  # fmt: skip
        method["customer"] = owner["id"]
        self.world.emit("payment_method.attached", method)
        return method

    def detach(self, params: Params, call: Call, payment_method: str) -> Object:
        only(params)
        method = self.world.get("payment_methods", payment_method, "payment_method")
        if method["customer"] is None:
            raise Refusal(
                400, "The payment method is not attached to a customer.",
                code="payment_method_unexpected_state",
            )  # fmt: skip
        previous = {"customer": method["customer"]}
        method.update(customer=None, _detached=True)
        self.world.emit("payment_method.detached", method, previous)
        return method

    def list_payment_methods(self, params: Params, call: Call, customer: str) -> Object:
        self.world.get("customers", customer, "customer")
        owned = [m for m in self.world.all("payment_methods").values() if m["customer"] == customer]
        return self.world.page(f"/v1/customers/{customer}/payment_methods", owned, params)

    def owned_payment_method(self, method_id: str, customer_id: str) -> Object:
        """The payment method, or a refusal when it is not attached to this customer."""
        method = self.world.get("payment_methods", method_id, "payment_method")
        if method["customer"] != customer_id:
            raise Refusal(
                400,
                f"The customer does not have a payment method with the ID {method_id}.",
                param="payment_method",
                code="resource_missing",
            )
        return method

    def new_card_of(self, customer_id: str) -> Object:
        """A good card that its owner has just typed into a page of Stripe's."""
        method = self._new_card("pm_card_visa", "payment_method")
        method["customer"] = customer_id
        self.world.emit("payment_method.attached", method)
        return method

    def _new_card(self, token: str, param: str) -> Object:
        """`pm_card_visa` and the like stand for a fresh payment method each time."""
        card = card_of(token)
        if card is None:
            raise missing("PaymentMethod", token, param)
        method = objects.card_payment_method(self.world.now(), token, card)
        return self.world.put("payment_methods", method)


def _address(params: Params) -> Object | None:
    if not params:
        return None
    parts = ("city", "country", "line1", "line2", "postal_code", "state")
    return {part: optional_text(params, part) for part in parts}
