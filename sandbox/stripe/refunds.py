"""Refunds: money back to a card, or to the customer's cash balance for a transfer."""

from __future__ import annotations

from sandbox.core import Call
from sandbox.stripe import objects
from sandbox.stripe.cards import card_of
from sandbox.stripe.forms import Params, integer, mapping, only, optional_text
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.transfers import Transfers
from sandbox.stripe.world import Object, World, our_ids, rfc3339

PENDING_SECONDS = 2 * 3600  # Of the test card whose refunds begin as pending.


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
            status="failed" if call.decline else self._begins_as(intent),
        )
        self.world.put("refunds", made)
        self.world.emit("refund.created", made)
        if not call.decline:
            self._return_money(made, charge, intent)
        return made

    def retrieve(self, params: Params, call: Call, refund: str) -> Object:
        """A pending one settles with the first look after its time; a declined look makes it fail."""
        found = self.world.get("refunds", refund, "refund")
        if found["status"] == "pending" and found["created"] + PENDING_SECONDS <= self.world.now():
            self._settle(found, "failed" if call.decline else "succeeded")
        return found

    def _begins_as(self, intent: Object) -> str:
        method = self.world.by_id(intent["payment_method"] or "")
        card = card_of(method.get("_token", "")) if method is not None else None
        return card.refund if card is not None else "succeeded"

    def fail(self, refund: str) -> Object:
        """The bank sends back what it could not place, days after it was called done."""
        found = self.world.all("refunds")[refund]
        if found["status"] == "succeeded":
            self._settle(found, "failed")
            self.world.emit("charge.refund.updated", found)
        return {"refund": found["id"], "status": found["status"]}

    def _settle(self, refund: Object, status: str) -> None:
        refund["status"] = status
        charge = self.world.get("charges", refund["charge"])
        if status == "failed":
            refund["failure_reason"] = "expired_or_canceled_card"
            charge["amount_refunded"] -= refund["amount"]
            charge["refunded"] = False
            self.world.emit("refund.failed", refund)
        self.world.emit("refund.updated", refund)
        self._book(refund, self.world.get("payment_intents", charge["payment_intent"]))

    def list_refunds(self, params: Params, call: Call) -> Object:
        only(params, "payment_intent", "charge", "limit", "created", "starting_after")
        wanted = {n: params[n] for n in ("payment_intent", "charge") if n in params}
        chosen = [
            refund
            for refund in self.world.all("refunds").values()
            if all(refund[name] == value for name, value in wanted.items())
        ]
        return self.world.page("/v1/refunds", chosen, params)

    def _return_money(self, made: Object, charge: Object, intent: Object) -> None:
        charge["amount_refunded"] += made["amount"]
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
        if intent["payment_method_types"] == ["customer_balance"]:
            self.transfers.take_back(intent, made)
        self.world.emit("charge.refunded", charge)
        self._book(made, intent)

    def _book(self, made: Object, intent: Object) -> None:
        ids = intent.get("_our_ids") or our_ids(intent["metadata"])
        status = "declined" if made["status"] == "failed" else made["status"]
        self.world.book(
            made["id"],
            "refund",
            status,
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
