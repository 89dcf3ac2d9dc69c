"""PaymentIntents: prepared, confirmed, canceled; and the charges that come of them."""

from __future__ import annotations

from sandbox.core import Call
from sandbox.stripe import objects
from sandbox.stripe.cards import decline_error
from sandbox.stripe.charging import Charging
from sandbox.stripe.customers import Customers
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
from sandbox.stripe.invoices import Invoices, card_refusal
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.transfers import Transfers
from sandbox.stripe.vouchers import Vouchers
from sandbox.stripe.world import Object, World

# What this account has switched on in its dashboard, and the currency that each type needs.
ENABLED_TYPES: dict[str, str | None] = {"card": None, "oxxo": "mxn", "customer_balance": "mxn"}
CONFIRMABLE = {"requires_payment_method", "requires_confirmation"}
AMOUNT_MINOR_MAX = 99_999_999


class Payments:
    def __init__(
        self,
        world: World,
        customers: Customers,
        charging: Charging,
        vouchers: Vouchers,
        transfers: Transfers,
        invoices: Invoices,
    ) -> None:
        self.world = world
        self.customers = customers
        self.charging = charging
        self.vouchers = vouchers
        self.transfers = transfers
        self.invoices = invoices

    def create(self, params: Params, call: Call) -> Object:
        if "payment_method_types" in params:
            raise Refusal(
                400,
                "`payment_method_types` is no longer supported. Use `allowed_payment_method_types`.",
                param="payment_method_types",
                code="payment_method_types_no_longer_supported",
            )
        only(
            params, "amount", "currency", "customer", "description", "metadata",
            "allowed_payment_method_types", "payment_method_options", "payment_method",
            "payment_method_data", "confirm", "off_session", "setup_future_usage", "receipt_email",
        )  # fmt: skip
        amount = integer(params, "amount")
        if not 0 < amount <= AMOUNT_MINOR_MAX:
            raise Refusal(400, "Invalid amount.", param="amount", code="amount_too_large")
        customer = optional_text(params, "customer")
        if customer is not None:
            self.world.get("customers", customer, "customer")
        types = self._types(params, customer)
        if types == ["oxxo"]:
            self.vouchers.check_amount(amount)
        made = objects.payment_intent(
            self.world.now(),
            amount,
            text(params, "currency").lower(),
            customer=customer,
            description=optional_text(params, "description"),
            metadata=mapping(params, "metadata"),
            payment_method_types=types,
            payment_method_options=_options(mapping(params, "payment_method_options"), types),
            setup_future_usage=optional_text(params, "setup_future_usage"),
        )
        self.world.put("payment_intents", made)
        self.world.emit("payment_intent.created", made)
        if boolean(params, "confirm"):
            self._confirm(made, params, call)
        return made

    def confirm(self, params: Params, call: Call, intent: str) -> Object:
        only(
            params, "payment_method", "payment_method_data", "payment_method_options",
            "off_session", "return_url", "error_on_requires_action",
        )  # fmt: skip
        found = self.world.get("payment_intents", intent, "intent")
        if found["status"] not in CONFIRMABLE:
            raise self._unexpected_state(found, "confirm")
        self._confirm(found, params, call)
        return found

    def retrieve(self, params: Params, call: Call, intent: str) -> Object:
        return self.world.get("payment_intents", intent, "intent")

    def list_intents(self, params: Params, call: Call) -> Object:
        only(params, "customer", "limit", "created", "starting_after")
        customer = optional_text(params, "customer")
        intents = self.world.all("payment_intents").values()
        chosen = [p for p in intents if customer is None or p["customer"] == customer]
        return self.world.page("/v1/payment_intents", chosen, params)

    def cancel(self, params: Params, call: Call, intent: str) -> Object:
        only(params, "cancellation_reason")
        found = self.world.get("payment_intents", intent, "intent")
        if found["status"] in {"canceled", "succeeded"} or "_invoice" in found:
            raise self._unexpected_state(found, "cancel")
        was_payable = found["status"] == "requires_action"
        found.update(
            status="canceled",
            canceled_at=self.world.now(),
            cancellation_reason=optional_text(params, "cancellation_reason"),
            next_action=None,
        )
        self.vouchers.close(found)
        self.transfers.withdraw(found)
        self.world.emit("payment_intent.canceled", found)
        if was_payable:
            self.charging.book(found, "canceled")
        return found

    def retrieve_charge(self, params: Params, call: Call, charge: str) -> Object:
        return self.world.get("charges", charge, "charge")

    def list_charges(self, params: Params, call: Call) -> Object:
        only(params, "payment_intent", "customer", "limit", "created", "starting_after")
        wanted = {n: params[n] for n in ("payment_intent", "customer") if n in params}
        chosen = [
            c
            for c in self.world.all("charges").values()
            if all(c[name] == value for name, value in wanted.items())
        ]
        return self.world.page("/v1/charges", chosen, params)

    def authenticate(self, intent: Object, succeeds: bool) -> None:
        """The customer finishes (or fails) 3-D Secure in the browser."""
        if intent["status"] != "requires_action":
            raise KeyError(intent["id"])
        if not succeeds:
            self.charging.fail(
                intent,
                {
                    "type": "card_error",
                    "code": "payment_intent_authentication_failure",
                    "message": "The provided payment method has failed authentication.",
                },
            )
            return
        self.charging.succeed(intent, intent["amount"])
        self._settle_invoice(intent)

    def _confirm(self, intent: Object, params: Params, call: Call) -> None:
        kind = _kind(intent, params)
        if kind == "card":
            self._confirm_card(intent, params, call)
            return
        if call.decline:
            error = self.charging.fail(intent, decline_error("generic_decline"))
            raise card_refusal(error, self.world.render(intent))
        intent["payment_method_options"].update(
            _options(mapping(params, "payment_method_options"), intent["payment_method_types"])
        )
        billing = mapping(mapping(params, "payment_method_data"), "billing_details")
        method = objects.payment_method_of_type(self.world.now(), kind, intent["customer"], billing)
        if kind == "oxxo":
            self.vouchers.issue(intent, billing)
        self.world.put("payment_methods", method)
        intent["payment_method"] = method["id"]
        if kind == "customer_balance":
            self.transfers.ask(intent)

    def _confirm_card(self, intent: Object, params: Params, call: Call) -> None:
        method_id = optional_text(params, "payment_method")
        if method_id is None:
            raise Refusal(
                400,
                "You cannot confirm this PaymentIntent because it's missing a payment method.",
                code="payment_intent_unexpected_state",
            )
        method = self.customers.retrieve_payment_method({}, call, method_id)
        error = self.charging.attempt(
            intent,
            method,
            off_session=optional_text(params, "off_session") not in {None, "false"},
            decline_code="generic_decline" if call.decline else None,
        )
        if error is not None:
            raise card_refusal(error, self.world.render(intent))
        if intent["status"] == "succeeded":
            self._settle_invoice(intent)

    def _settle_invoice(self, intent: Object) -> None:
        """An intent that belongs to an invoice pays it."""
        if "_invoice" not in intent:
            return
        invoice = self.world.get("invoices", intent["_invoice"])
        invoice["attempted"] = True
        self.invoices.settle(invoice)

    def _types(self, params: Params, customer: str | None) -> list[str]:
        """`allowed_payment_method_types` is a filter: what does not fit is silently left out."""
        currency = text(params, "currency").lower()
        allowed = strings(params, "allowed_payment_method_types") or ["card"]
        types = [
            kind
            for kind, needed in ENABLED_TYPES.items()
            if kind in allowed
            and needed in {None, currency}
            and (kind != "customer_balance" or customer is not None)
        ]
        if not types:
            raise Refusal(
                400,
                "No valid payment method types for this Payment Intent.",
                param="allowed_payment_method_types",
                code="payment_intent_invalid_parameter",
            )
        return types

    def _unexpected_state(self, intent: Object, act: str) -> Refusal:
        return Refusal(
            400,
            f"You cannot {act} this PaymentIntent because it has a status of {intent['status']}.",
            code="payment_intent_unexpected_state",
            payment_intent=self.world.render(intent),
        )


def _kind(intent: Object, params: Params) -> str:
    kind = optional_text(mapping(params, "payment_method_data"), "type") or "card"
    if kind not in intent["payment_method_types"]:
        raise Refusal(
            400,
            f"The payment method type {kind} is not allowed for this PaymentIntent.",
            param="payment_method_data[type]",
        )
    return kind


def _options(given: Params, types: list[str]) -> Object:
    options: Object = {}
    if "oxxo" in types and "oxxo" in given:
        days = integer(mapping(given, "oxxo"), "expires_after_days", 3)
        if not 1 <= days <= 7:
            raise Refusal(
                400,
                "expires_after_days must be between 1 and 7.",
                param="payment_method_options[oxxo][expires_after_days]",
            )
        options["oxxo"] = {"expires_after_days": days}
    if "customer_balance" in types and "customer_balance" in given:
        options["customer_balance"] = {
            "bank_transfer": {"type": "mx_bank_transfer"},
            "funding_type": "bank_transfer",
        }
    return options
