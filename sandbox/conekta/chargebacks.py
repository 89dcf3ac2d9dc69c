"""Chargebacks: a cardholder has a payment taken back, and a bank decides.

When the money goes is not documented, so it goes in the harsher way: with the opening, as the order's
`charged_back` says. It comes back when the chargeback is won.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sandbox.conekta.charges import charges_of
from sandbox.conekta.payments import Payments
from sandbox.conekta.wire import Json, object_id

EVIDENCE_DUE_SECONDS = 3 * 86_400
_CLOSED = frozenset({"won", "lost"})


class Chargebacks:
    def __init__(self, payments: Payments) -> None:
        self.payments = payments
        self.core = payments.core
        self.events = payments.events

    def open(self, reference: str, outcome: str | None) -> dict[str, Any]:
        """The card payment of this charge or order is disputed. Raises KeyError for anything else: cash
        and transfers cannot be."""
        order, charge = self._paid_by_card(reference)
        if "chargeback" not in charge:
            self._make(order, charge)
        if outcome is not None:
            self._decide(order, charge, outcome)
        return _outcome(reference, charge)

    def close(self, reference: str, outcome: str) -> dict[str, Any]:
        order, charge = self._paid_by_card(reference)
        if "chargeback" not in charge:
            raise KeyError(reference)
        self._decide(order, charge, outcome)
        return _outcome(reference, charge)

    def _make(self, order: Json, charge: Json) -> None:
        now = self.core.clock.now()
        charge["chargeback"] = {
            "id": object_id("chbk_"),
            "object": "chargeback",
            "status": "action_required",
            "reason": "unrecognized",
            "note": None,
            "followup_status": None,
            "response_from_client": None,
            "files": [],
            "charge_id": charge["id"],
            "created_at": now,
            "evidence_due_by": now + EVIDENCE_DUE_SECONDS,
        }
        charge["status"] = "charged_back"
        self.payments.settle(order)
        self._book(order, charge, "dispute")
        opened = ("charge.chargeback.created", charge["chargeback"])
        self.events.emit_in_some_order(("order.charged_back", order), [opened])

    def _decide(self, order: Json, charge: Json, outcome: str) -> None:
        found = charge["chargeback"]
        if found["status"] in _CLOSED:
            return
        found["status"] = outcome
        if outcome == "won":
            charge["status"] = "paid"
            self._book(order, charge, "dispute_reversal")
        self.payments.settle(order)
        self.events.emit(f"charge.chargeback.{outcome}", found)

    def _book(self, order: Json, charge: Json, kind: str) -> None:
        of_plan = self.payments.subscription_id_by_order_id.get(order["id"])
        at = datetime.fromtimestamp(self.core.clock.now(), UTC)
        self.core.book(
            provider="conekta",
            id=charge["chargeback"]["id"],
            kind=kind,
            amount_minor=charge["amount"],
            currency=charge["currency"],
            status="succeeded",
            reference=None,
            subscription_id=order["metadata"].get("subscription_id") or of_plan,
            invoice_id=order["metadata"].get("invoice_id"),
            created_at=at.isoformat().replace("+00:00", "Z"),
        )

    def _paid_by_card(self, reference: str) -> tuple[Json, Json]:
        for order in self.payments.orders.values():
            for charge in charges_of(order):
                by_card = charge["payment_method"]["object"] == "card_payment"
                if not by_card or charge["status"] not in {"paid", "charged_back"}:
                    continue
                if reference in {charge["id"], order["id"]}:
                    return order, charge
        raise KeyError(reference)


def _outcome(reference: str, charge: Json) -> dict[str, Any]:
    return {
        "provider": "conekta",
        "reference": reference,
        "dispute": charge["chargeback"]["id"],
        "status": charge["chargeback"]["status"],
    }
