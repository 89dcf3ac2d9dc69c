"""Disputes: a cardholder has a payment taken back, the money goes at once, and a bank decides."""

from __future__ import annotations

from typing import Any

from sandbox.core import Call, new_id
from sandbox.stripe.forms import Params, only
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.world import Object, World, our_ids, rfc3339

EVIDENCE_DUE_SECONDS = 9 * 86_400  # Stripe gives 7 to 21 days, by network; this is within.
FEE_MINOR = 1_500
_CLOSED = frozenset({"won", "lost"})


class Disputes:
    def __init__(self, world: World) -> None:
        self.world = world

    # The API.

    def retrieve(self, params: Params, call: Call, dispute: str) -> Object:
        return self.world.get("disputes", dispute, "dispute")

    def list_disputes(self, params: Params, call: Call) -> Object:
        """Stripe filters by the payment and by the time of making."""
        only(params, "charge", "payment_intent", "limit", "created", "starting_after")
        wanted = {n: params[n] for n in ("charge", "payment_intent") if n in params}
        chosen = [
            found
            for found in self.world.all("disputes").values()
            if all(found[name] == value for name, value in wanted.items())
        ]
        return self.world.page("/v1/disputes", chosen, params)

    def close_by_merchant(self, params: Params, call: Call, dispute: str) -> Object:
        """The merchant does not contest it: lost, for good."""
        only(params, "metadata")
        found = self.world.get("disputes", dispute, "dispute")
        if found["status"] in _CLOSED:
            raise Refusal(400, "This dispute is already closed.", param="dispute")
        self._decide(found, "lost")
        return found

    def list_invoice_payments(self, params: Params, call: Call) -> Object:
        """Which invoices a payment paid: `payment[payment_intent]` is the way that is asked here."""
        wanted = params.get("payment") or {}
        intent_id = wanted.get("payment_intent") if isinstance(wanted, dict) else None
        chosen = [
            payment
            for invoice in self.world.all("invoices").values()
            for payment in invoice.get("_payments", {}).get("data", [])
            if payment["payment"]["payment_intent"] == intent_id
        ]
        return self.world.page("/v1/invoice_payments", chosen, params)

    # What the control plane may do.

    def open(self, reference: str, outcome: str | None) -> dict[str, Any]:
        """The cardholder disputes the payment. Raises KeyError for what was not paid by card: a voucher
        or a transfer cannot be disputed."""
        charge = self._charge(reference)
        made = self._of(charge) if charge["disputed"] else self._make(charge)
        if outcome is not None:
            self._decide(made, outcome)
        return _outcome(reference, made)

    def close(self, reference: str, outcome: str) -> dict[str, Any]:
        found = self._of(self._charge(reference))
        self._decide(found, outcome)
        return _outcome(reference, found)

    def _make(self, charge: Object) -> Object:
        charge["disputed"] = True
        made = _dispute(self.world.now(), charge)
        self.world.put("disputes", made)
        self.world.emit("charge.dispute.created", made)
        self._move(made, -charge["amount"])
        self.world.emit("charge.dispute.funds_withdrawn", made)
        return made

    def _decide(self, dispute: Object, outcome: str) -> None:
        if dispute["status"] in _CLOSED:
            return
        dispute["status"] = outcome
        if outcome == "won":
            self._move(dispute, dispute["amount"])
            self.world.emit("charge.dispute.funds_reinstated", dispute)
        self.world.emit("charge.dispute.closed", dispute)

    def _move(self, dispute: Object, amount: int) -> None:
        """The money goes with the dispute, and comes back only when it is won; the fee never does."""
        taken = amount < 0
        fee = FEE_MINOR if taken else 0
        now = self.world.now()
        dispute["balance_transactions"].append(
            {
                "id": new_id("txn_1"),
                "object": "balance_transaction",
                "amount": amount,
                "available_on": now,
                "balance_type": "payments",
                "created": now,
                "currency": dispute["currency"],
                "description": f"Chargeback {'withdrawal' if taken else 'reversal'}",
                "exchange_rate": None,
                "fee": fee,
                "fee_details": [],
                "net": amount - fee,
                "reporting_category": "dispute" if taken else "dispute_reversal",
                "source": dispute["id"],
                "status": "available",
                "type": "adjustment",
            }
        )
        intent = self.world.get("payment_intents", dispute["payment_intent"])
        ids = intent.get("_our_ids") or our_ids(intent["metadata"])
        self.world.book(
            dispute["id"],
            "dispute" if taken else "dispute_reversal",
            "succeeded",
            amount_minor=abs(amount),
            currency=dispute["currency"].upper(),
            reference=None,
            created_at=rfc3339(now),
            **ids,
        )

    def _charge(self, reference: str) -> Object:
        """By the id of the charge, of its intent, or of the invoice that it paid."""
        charges = self.world.all("charges")
        if reference not in charges:
            invoice = self.world.all("invoices").get(reference)
            if invoice is not None:
                reference = invoice["_payments"]["data"][0]["payment"]["payment_intent"]
            reference = self.world.all("payment_intents")[reference]["latest_charge"]
        charge: Object = charges[reference]
        intent = self.world.all("payment_intents")[charge["payment_intent"]]
        if not charge["paid"] or intent["payment_method_types"] != ["card"]:
            raise KeyError(reference)
        return charge

    def _of(self, charge: Object) -> Object:
        for found in self.world.all("disputes").values():
            if found["charge"] == charge["id"]:
                dispute: Object = found
                return dispute
        raise KeyError(charge["id"])


def _dispute(now: int, charge: Object) -> Object:
    return {
        "id": new_id("du_1"),
        "object": "dispute",
        "amount": charge["amount"],
        "balance_transactions": [],
        "charge": charge["id"],
        "created": now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {"enhanced_evidence": {}},
        "evidence_details": {
            "due_by": now + EVIDENCE_DUE_SECONDS,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method_details": {
            "card": {"brand": "visa", "case_type": "chargeback", "network_reason_code": "10.4"},
            "type": "card",
        },
        "reason": "fraudulent",
        "status": "needs_response",
    }


def _outcome(reference: str, dispute: Object) -> dict[str, Any]:
    return {
        "provider": "stripe",
        "reference": reference,
        "dispute": dispute["id"],
        "status": dispute["status"],
    }
