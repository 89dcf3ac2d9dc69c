"""Tokens and payment sources: cards that a customer leaves with Conekta."""

from __future__ import annotations

from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.conekta.customers import Customers
from sandbox.conekta.wire import (
    Json,
    Refusal,
    check_known,
    envelope,
    invalid,
    not_found,
    object_id,
    page,
    read_body,
    required_text,
)
from sandbox.core import Call, Core


class Card(NamedTuple):
    """`failure` is what every charge of it is refused with."""

    brand: str
    last4: str
    failure: str | None


# Test tokens that Conekta's libraries and issue threads name; they can be used again and again. With
# `_` and anything behind it one stands for a token of the browser SDK, which makes one card and no more.
TOKENS: dict[str, Card] = {
    "tok_test_visa_4242": Card("visa", "4242", None),
    "tok_test_visa_1881": Card("visa", "1881", None),
    "tok_test_mastercard_4444": Card("mastercard", "4444", None),
    "tok_test_mastercard_5100": Card("mastercard", "5100", None),
    "tok_test_amex_8431": Card("american_express", "8431", None),
    "tok_test_card_declined": Card("visa", "0002", "card_declined"),
    "tok_test_insufficient_funds": Card("visa", "0127", "insufficient_funds"),
}
_REMOVED = Card("visa", "0000", "card_declined")
_KNOWN = frozenset({"type", "token_id"})


class Cards:
    def __init__(self, core: Core, customers: Customers) -> None:
        self.core = core
        self.customers = customers

    @property
    def all(self) -> dict[str, Json]:
        return self.core.collection("conekta", "payment_sources")

    @property
    def _failure_by_source_id(self) -> dict[str, str]:
        return self.core.collection("conekta", "card_failures")

    @property
    def _used_tokens(self) -> dict[str, bool]:
        return self.core.collection("conekta", "used_tokens")

    async def create(self, request: Request, _call: Call) -> Response:
        customer = self.customers.find(request.path_params["customer_id"])
        body = await read_body(request)
        check_known(body, _KNOWN)
        if body.get("type") != "card":
            raise invalid("type", "not_simulated", "the sandbox stores cards only")
        card = self.use_token(required_text(body, "token_id"))
        source = self._new(customer, card)
        self.all[source["id"]] = source
        if card.failure is not None:
            self._failure_by_source_id[source["id"]] = card.failure
        self._show_in(customer)
        return JSONResponse(source)

    async def find_all(self, request: Request, _call: Call) -> Response:
        customer = self.customers.find(request.path_params["customer_id"])
        return JSONResponse(page(request, self.of(customer["id"])))

    async def delete(self, request: Request, _call: Call) -> Response:
        customer = self.customers.find(request.path_params["customer_id"])
        source = self.owned(customer["id"], request.path_params["id"])
        del self.all[source["id"]]
        self._show_in(customer)
        return JSONResponse(source)

    def of(self, customer_id: str) -> list[Json]:
        return [source for source in self.all.values() if source["parent_id"] == customer_id]

    def owned(self, customer_id: str, source_id: str) -> Json:
        source = self.all.get(source_id)
        if source is None or source["parent_id"] != customer_id:
            raise not_found("payment source")
        return source

    def behind(self, source_id: str) -> Card:
        """The card of a source. One that was removed since then is refused when it is charged."""
        source = self.all.get(source_id)
        if source is None:
            return _REMOVED
        failure = self._failure_by_source_id.get(source_id)
        return Card(source["brand"], source["last4"], failure)

    def of_method(self, method: Json) -> Card:
        """What a charge by card names: a token, or a source."""
        source_id = method.get("payment_source_id")
        if source_id is None:
            return self.use_token(required_text(method, "token_id"))
        if source_id not in self.all:
            raise not_found("payment source")
        return self.behind(source_id)

    def use_token(self, token: str) -> Card:
        if token in TOKENS:
            return TOKENS[token]
        for name, card in TOKENS.items():
            if token.startswith(f"{name}_"):
                if token in self._used_tokens:
                    code = "conekta.errors.processing.tokenization.used"
                    raise Refusal(402, code, "the token has been used", param="token_id")
                self._used_tokens[token] = True
                return card
        raise not_found("token")

    def _new(self, customer: Json, card: Card) -> Json:
        return {
            "object": "payment_source",
            "id": object_id("src_"),
            "type": "card",
            "parent_id": customer["id"],
            "name": "Cliente de Prueba",
            "last4": card.last4,
            "bin": "424242",
            "brand": card.brand,
            "card_type": "credit",
            "issuer": "BANCO DE PRUEBA",
            "exp_month": "12",
            "exp_year": "34",
            "default": not self.of(customer["id"]),
            "visible_on_checkout": True,
            "payment_source_status": "active",
            "created_at": self.core.clock.now(),
        }

    def _show_in(self, customer: Json) -> None:
        sources = self.of(customer["id"])
        default = next((source for source in sources if source["default"]), None)
        customer["payment_sources"] = envelope(sources) if sources else None
        customer["default_payment_source_id"] = default["id"] if default else None
