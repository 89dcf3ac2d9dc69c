"""Checkout Sessions in payment mode: a page for one payment, by card."""

from __future__ import annotations

from typing import Any

from sandbox.core import Call, new_id
from sandbox.faults import FaultMode
from sandbox.stripe import objects
from sandbox.stripe.cards import TEST_CARDS
from sandbox.stripe.catalog import product_on_sale
from sandbox.stripe.charging import Charging
from sandbox.stripe.forms import Params, integer, mapping, only, optional_text, text
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.world import Object, World

LIFETIME_MIN_SECONDS = 30 * 60
LIFETIME_MAX_SECONDS = 24 * 3600
# The customer pressing "pay" is no call of ours, but a decline can be switched on under this name.
CONFIRM = "checkout.sessions.confirm"
PRODUCT_PARAM = "line_items[0][price_data][product]"
# Two computers never agree to the second about "30 minutes from now".
LENIENCE_SECONDS = 60


class Checkout:
    def __init__(self, world: World, charging: Charging) -> None:
        self.world = world
        self.charging = charging

    @property
    def sessions(self) -> dict[str, Object]:
        return self.world.all("checkout_sessions")

    def create(self, params: Params, call: Call) -> Object:
        if "payment_method_types" in params:
            raise Refusal(
                400,
                "`payment_method_types` is no longer supported. Use `allowed_payment_method_types`.",
                param="payment_method_types",
                code="payment_method_types_no_longer_supported",
            )
        only(
            params, "mode", "customer", "client_reference_id", "line_items", "success_url",
            "cancel_url", "metadata", "payment_intent_data", "expires_at", "locale",
        )  # fmt: skip
        if text(params, "mode") != "payment":
            raise Refusal(400, "The sandbox simulates payment mode alone.", param="mode")
        customer = optional_text(params, "customer")
        if customer is not None:
            self.world.get("customers", customer, "customer")
        name, amount, currency = self._line_item(params)
        session_id = new_id("cs_test_", 58)
        expires_at = self._expires_at(params)
        made = _session(
            id=session_id,
            amount_subtotal=amount,
            amount_total=amount,
            cancel_url=optional_text(params, "cancel_url"),
            client_reference_id=optional_text(params, "client_reference_id"),
            created=self.world.now(),
            currency=currency,
            customer=customer,
            expires_at=expires_at,
            metadata=mapping(params, "metadata"),
            success_url=text(params, "success_url"),
            url=f"{self.world.base_url}/checkout/{session_id}",
            _name=name,
            _intent_data=mapping(params, "payment_intent_data"),
        )
        self.world.wake_at(expires_at)
        return self.world.put("checkout_sessions", made)

    def retrieve(self, params: Params, call: Call, session: str) -> Object:
        return self.world.get("checkout_sessions", session, "session")

    def expire_session(self, params: Params, call: Call, session: str) -> Object:
        only(params)
        found = self.world.get("checkout_sessions", session, "session")
        if found["status"] != "open":
            message = (
                f"Only Checkout Sessions with a status in [open] can be expired, not {session}."
            )
            raise Refusal(400, message)
        self._run_out(found)
        return found

    def pay(self, session_id: str) -> dict[str, Any]:
        """The customer enters a card on the page. Raises KeyError for an unknown page; one that is
        closed takes no money."""
        session = self.sessions[session_id]
        if session["status"] != "open":
            return _outcome(session, "refused")
        intent = self._intent(session)
        method = objects.card_payment_method(self.world.now(), "pm_card_visa", TEST_CARDS["visa"])
        self.world.put("payment_methods", method)
        decline_code = "generic_decline" if self._is_declined() else None
        error = self.charging.attempt(intent, method, off_session=False, decline_code=decline_code)
        if error is not None:
            return _outcome(session, "declined")
        session.update(status="complete", payment_status="paid", url=None)
        self.world.emit("checkout.session.completed", session)
        return _outcome(session, "paid")

    def expire(self, session_id: str) -> dict[str, Any]:
        """The page runs out now. Raises KeyError."""
        session = self.sessions[session_id]
        if session["status"] == "open":
            self._run_out(session)
        return _outcome(session, session["status"])

    def tick(self) -> None:
        for session in self.sessions.values():
            if session["status"] != "open":
                continue
            if session["expires_at"] <= self.world.now():
                self._run_out(session)
            else:
                self.world.wake_at(session["expires_at"])

    def _intent(self, session: Object) -> Object:
        """Made when the customer first tries to pay, and kept for the next try."""
        known = self.world.all("payment_intents").get(session["payment_intent"] or "")
        if known is not None:
            return known
        made = objects.payment_intent(
            self.world.now(),
            session["amount_total"],
            session["currency"],
            customer=session["customer"],
            description=optional_text(session["_intent_data"], "description"),
            metadata=mapping(session["_intent_data"], "metadata"),
            _reference=session["id"],
        )
        self.world.put("payment_intents", made)
        session["payment_intent"] = made["id"]
        self.world.emit("payment_intent.created", made)
        return made

    def _run_out(self, session: Object) -> None:
        session.update(status="expired", url=None)
        self.world.emit("checkout.session.expired", session)

    def _is_declined(self) -> bool:
        faults = self.world.core.faults
        for fault in faults.active:
            if fault.mode is FaultMode.DECLINE and fault.operation == CONFIRM:
                return faults.take("stripe", CONFIRM) is not None
        return False

    def _line_item(self, params: Params) -> tuple[str, int, str]:
        """What is sold (one thing, its price said inline), for how much."""
        items = params.get("line_items")
        if not isinstance(items, list) or len(items) != 1:
            raise Refusal(400, "The sandbox sells one thing at a time.", param="line_items")
        only(items[0], "quantity", "price_data")
        price = mapping(items[0], "price_data")
        only(price, "currency", "unit_amount", "product", "product_data")
        if ("product" in price) == ("product_data" in price):
            message = "You must specify either `product` or `product_data`."
            raise Refusal(400, message, param="line_items[0][price_data]")
        if "product" in price:
            sold = product_on_sale(self.world, text(price, "product"), PRODUCT_PARAM)
            name = str(sold["name"])
        else:
            name = text(mapping(price, "product_data"), "name")
        amount = integer(price, "unit_amount") * integer(items[0], "quantity", 1)
        if amount <= 0:
            raise Refusal(400, "Invalid amount.", param="line_items", code="amount_too_small")
        return name, amount, text(price, "currency").lower()

    def _expires_at(self, params: Params) -> int:
        now = self.world.now()
        expires_at = integer(params, "expires_at", now + LIFETIME_MAX_SECONDS)
        least = now + LIFETIME_MIN_SECONDS - LENIENCE_SECONDS
        if not least <= expires_at <= now + LIFETIME_MAX_SECONDS + LENIENCE_SECONDS:
            message = "The `expires_at` timestamp must be between 30 minutes and 24 hours from now."
            raise Refusal(400, message, param="expires_at")
        return expires_at


def _session(**fields: Any) -> Object:
    return {
        "object": "checkout.session",
        "adaptive_pricing": {"enabled": False},
        "after_expiration": None,
        "allow_promotion_codes": None,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "billing_address_collection": None,
        "collected_information": None,
        "consent": None,
        "consent_collection": None,
        "currency_conversion": None,
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        "customer_account": None,
        "customer_creation": None,
        "customer_details": None,
        "customer_email": None,
        "discounts": [],
        "invoice": None,
        "invoice_creation": None,
        "livemode": False,
        "locale": None,
        "mode": "payment",
        "payment_intent": None,
        "payment_link": None,
        "payment_method_collection": "if_required",
        "payment_method_configuration_details": None,
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "recovered_from": None,
        "saved_payment_method_options": None,
        "setup_intent": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "status": "open",
        "submit_type": None,
        "subscription": None,
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "client_secret": None,
        **fields,
    }


def _outcome(session: Object, status: str) -> dict[str, Any]:
    return {"provider": "stripe", "reference": session["id"], "status": status}
