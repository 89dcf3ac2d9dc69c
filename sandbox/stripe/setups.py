"""SetupIntents, as far as a server makes them: the rest happens in a browser."""

from __future__ import annotations

from sandbox.core import Call, new_id
from sandbox.stripe.forms import Params, mapping, only, optional_text, strings
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.world import Object, World


class Setups:
    def __init__(self, world: World) -> None:
        self.world = world

    def create(self, params: Params, call: Call) -> Object:
        only(
            params, "customer", "usage", "allowed_payment_method_types", "metadata", "description"
        )  # fmt: skip
        customer = optional_text(params, "customer")
        if customer is not None:
            self.world.get("customers", customer, "customer")
        usage = optional_text(params, "usage") or "off_session"
        if usage not in {"off_session", "on_session"}:
            raise Refusal(400, "Invalid usage", param="usage")
        setup_id = new_id("seti_1")
        made: Object = {
            "id": setup_id,
            "object": "setup_intent",
            "application": None,
            "automatic_payment_methods": None,
            "cancellation_reason": None,
            "client_secret": new_id(f"{setup_id}_secret_"),
            "created": self.world.now(),
            "customer": customer,
            "description": optional_text(params, "description"),
            "flow_directions": None,
            "last_setup_error": None,
            "latest_attempt": None,
            "livemode": False,
            "mandate": None,
            "metadata": mapping(params, "metadata"),
            "next_action": None,
            "on_behalf_of": None,
            "payment_method": None,
            "payment_method_options": {},
            # Which of those that were asked for are switched on here: cards alone.
            "payment_method_types": _enabled(strings(params, "allowed_payment_method_types")),
            "single_use_mandate": None,
            "status": "requires_payment_method",
            "usage": usage,
        }
        self.world.put("setup_intents", made)
        self.world.emit("setup_intent.created", made)
        return made


def _enabled(asked: list[str]) -> list[str]:
    if asked and "card" not in asked:
        raise Refusal(400, "None of the payment method types is enabled.", param="usage")
    return ["card"]
