"""Refunds: money back to a card, or to the customer's cash balance for a transfer."""

from __future__ import annotations

from sandbox.core import Call
from sandbox.stripe import objects
from sandbox.stripe.forms import Params, integer, mapping, only, optional_text
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.transfers import Transfers
from sandbox.stripe.world import Object, World, our_ids, rfc3339


class Refunds:
    def __init__(self, world: World, transfers: Transfers) -> None:
        self.world = world
        self.transfers = transfers

    def create(self, params: Params, call: Call) -> Object:
        only(params, "payment_intent", "charge", "amount", "reason", "metadata")
        charge = self._charge(params)
        intent = self.world.get("payment_intents", charge["payment_intent"])
        if intent["payment_method_types"] == ["oxxo"]:
            raise Refusal(400, "Payments made with OXXO cannot be refunded.", param="charge")
        left = charge["amount"] - charge["amount_refunded"]
        if left == 0:
            raise Refusal(400, "Charge has already been refunded.", code="charge_already_refunded")
        amount = integer(params, "amount", left)
        if not 0 < amount <= left:
            raise Refusal(
                400, "Refund amount is greater than unrefunded amount on charge.", param="amount",
                code="amount_too_large",
            )  # fmt: skip
        made = objects.refund(
            self.world.now(),
            charge,
            amount,
            metadata=mapping(params, "metadata"),
            reason=optional_text(params, "reason"),
            status="failed" if call.decline else "succeeded",
        )
        self.world.put("refunds", made)
        self.world.emit("refund.created", made)
        if not call.decline:
            self._return_money(made, charge, intent)
        return made

    def retrieve(self, params: Params, call: Call, refund: str) -> Object:
        return self.world.get("refunds", refund, "refund")

    def _return_money(self, made: Object, charge: Object, intent: Object) -> None:
        charge["amount_refunded"] += made["amount"]
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
        if intent["payment_method_types"] == ["customer_balance"]:
            self.transfers.take_back(intent, made)
        self.world.emit("charge.refunded", charge)
        ids = intent.get("_our_ids") or our_ids(intent["metadata"])
        self.world.book(
            made["id"],
            "refund",
            "succeeded",
            amount_minor=made["amount"],
            currency=made["currency"].upper(),
            reference=intent.get("_reference"),
            created_at=rfc3339(self.world.now()),
            **ids,
        )

    def _charge(self, params: Params) -> Object:
        charge_id = optional_text(params, "charge")
        if charge_id is None:
            intent_id = optional_text(params, "payment_intent")
            if intent_id is None:
                raise Refusal(400, "One of charge or payment_intent is required.")
            intent = self.world.get("payment_intents", intent_id, "payment_intent")
            charge_id = intent["latest_charge"] or ""
            if intent["status"] != "succeeded":
                raise Refusal(400, f"This PaymentIntent ({intent_id}) has no successful charge.")
        charge = self.world.get("charges", charge_id, "charge")
        if not charge["paid"]:
            raise Refusal(400, "The charge did not succeed.", code="charge_not_captured")
        return charge
