"""What happens to an order's money: paid in time, late or twice, run out, canceled, paid back.

Where Conekta's behaviour is not documented the simulator takes the harsher reading, so that the engine
is never surprised by the kinder one:

* a slip or CLABE still takes money after its order expired or was canceled (a store's notice may be late);
* nothing stops the alternatives of one cash order from both being paid, each for the full amount;
* a slip or CLABE whose order has nothing left to pay makes one more paid charge.

A SPEI transfer must match the amount: any other amount goes back to its sender, as a till refuses it.
"""

from __future__ import annotations

import copy
import math
from datetime import UTC, datetime

from sandbox.conekta.charges import charges_of, expires_at_of, mark_paid, reference_of
from sandbox.conekta.events import Events
from sandbox.conekta.wire import Json, envelope, hex_id
from sandbox.core import Core

_PAID_STATUSES = frozenset({"paid", "refunded", "partially_refunded"})


class Payments:
    def __init__(self, core: Core, events: Events) -> None:
        self.core = core
        self.events = events
        core.on_time.append(self.expire_due)
        core.next_dues.append(self._next_due_at)

    @property
    def orders(self) -> dict[str, Json]:
        return self.core.collection("conekta", "orders")

    @property
    def _order_id_by_reference(self) -> dict[str, str]:
        return self.core.collection("conekta", "references")

    @property
    def subscription_id_by_order_id(self) -> dict[str, str]:
        """The merchant's own ids, as far as the plan of a billed subscription says them."""
        return self.core.collection("conekta", "billed_subscriptions")

    @property
    def _expires_at_by_order_id(self) -> dict[str, int]:
        """Orders with a pending charge: the only ones that the clock has to look at."""
        return self.core.collection("conekta", "pending_orders")

    def touch(self, order: Json) -> None:
        order["updated_at"] = self.core.clock.now()

    def opened(self, order: Json, charges: list[Json]) -> None:
        """Charges were just added: remember their references, book them, tell the world."""
        for charge in charges:
            reference = reference_of(charge)
            if reference is not None:
                self._order_id_by_reference[reference] = order["id"]
            expires_at = expires_at_of(charge)
            if charge["status"] == "pending_payment" and expires_at is not None:
                self._expires_at_by_order_id[order["id"]] = expires_at
        self.settle(order)
        status = charges[0]["status"]
        # Alternatives are one live payable, so only the first of them goes into the book.
        self._book_charge(charges[0], "pending" if status == "pending_payment" else status)
        made = [("charge.created", charge) for charge in charges]
        if status == "pending_payment":
            self.events.emit_in_some_order(("order.pending_payment", order), made)
        else:
            outcome = [(f"charge.{status}", charges[0])]
            self.events.emit_in_some_order((f"order.{status}", order), [*made, *outcome])

    def pay(self, reference: str, amount_minor: int | None) -> Json:
        """Somebody pays `reference`. Raises KeyError when no charge has it."""
        order = self.orders[self._order_id_by_reference[reference]]
        known = [charge for charge in charges_of(order) if reference_of(charge) == reference]
        if amount_minor is not None and amount_minor != known[0]["amount"]:
            return self._refuse_amount(order, known[0], amount_minor)
        charge = self._charge_to_pay(order, known)
        first = not any(c["status"] in _PAID_STATUSES for c in charges_of(order))
        mark_paid(charge, self.core.clock.now())
        self.settle(order)
        self._book_paid(order, charge)
        paid = ("charge.paid", charge)
        if first:
            self.events.emit_in_some_order(("order.paid", order), [paid])
        else:
            # The order was paid before, so only the charge has news: who listens has to read it.
            self.events.emit(*paid)
        return _result(order, charge, charge["status"], reference)

    def expire(self, reference: str) -> Json:
        """The reference runs out now. Raises KeyError when no charge has it."""
        order = self.orders[self._order_id_by_reference[reference]]
        now = self.core.clock.now()
        for charge in charges_of(order):
            if charge["status"] == "pending_payment":
                charge["payment_method"]["expires_at"] = now
        self._run_out(order)
        known = next(c for c in charges_of(order) if reference_of(c) == reference)
        return _result(order, known, known["status"], reference)

    def _next_due_at(self) -> float:
        return min(self._expires_at_by_order_id.values(), default=math.inf)

    async def expire_due(self) -> None:
        now = self.core.clock.now()
        due = [key for key, at in self._expires_at_by_order_id.items() if at <= now]
        for order_id in due:
            self._run_out(self.orders[order_id])

    def cancel(self, order: Json) -> None:
        charges = [c for c in charges_of(order) if c["status"] == "pending_payment"]
        for charge in charges:
            charge["status"] = "canceled"
        self.settle(order)
        order["payment_status"] = "canceled"
        if charges:
            self._rebook(order, "canceled")
        told = [("charge.canceled", charge) for charge in charges]
        self.events.emit_in_some_order(("order.canceled", order), told)

    def refundable(self, order: Json) -> int:
        return sum(_left(c) for c in charges_of(order) if c["status"] in _PAID_STATUSES)

    def refund(self, order: Json, amount: int, expires_at: int | None) -> None:
        """Pay back from the oldest paid charge first. A refund carries no reference of the caller."""
        now = self.core.clock.now()
        told = []
        rest = amount
        for charge in charges_of(order):
            part = min(rest, _left(charge)) if charge["status"] in _PAID_STATUSES else 0
            if part == 0:
                continue
            rest -= part
            refund = {
                "object": "refund",
                "id": hex_id(),
                "amount": -part,
                "status": "refunded",
                "auth_code": None,
                "created_at": now,
            }
            if expires_at is not None:
                refund["expires_at"] = expires_at
            earlier = charge["refunds"]["data"] if charge["refunds"] else []
            charge["refunds"] = envelope([*earlier, refund])
            charge["status"] = "partially_refunded" if _left(charge) else "refunded"
            self._book_refund(charge, refund)
            told.append(("charge.refunded", charge))
        order["amount_refunded"] += amount
        self.settle(order)
        self.events.emit_in_some_order((f"order.{order['payment_status']}", order), told)

    def reverse(self, reference: str) -> Json:
        """The store takes a cash payment back. Conekta documents the charge's status and its event, and
        nothing of the order: that stays as it is. Raises KeyError when no paid charge has it."""
        order = self.orders[self._order_id_by_reference[reference]]
        known = [charge for charge in charges_of(order) if reference_of(charge) == reference]
        paid = [charge for charge in known if charge["status"] == "paid"]
        if not paid:
            raise KeyError(reference)
        [charge, *_] = paid
        charge["status"] = "reversed"
        at = self.core.clock.now()
        self._book(charge, f"{charge['id']}:reversed", "refund", charge["amount"], "succeeded", at)
        self.events.emit("charge.reversed", charge)
        return _result(order, charge, charge["status"], reference)

    def _charge_to_pay(self, order: Json, known: list[Json]) -> Json:
        """The charge of this reference; when that is paid already, an alternative, or one more."""
        for charge in [*known, *charges_of(order)]:
            if charge["status"] not in _PAID_STATUSES:
                return charge
        again = copy.deepcopy(known[0])
        again.update(id=hex_id(), refunds=None, created_at=self.core.clock.now())
        order["charges"] = envelope([*charges_of(order), again])
        return charges_of(order)[-1]

    def _refuse_amount(self, order: Json, charge: Json, amount_minor: int) -> Json:
        attempts = charge["payment_method"].get("payment_attempts")
        if attempts is not None:
            now = self.core.clock.now()
            attempts.append({"amount": amount_minor, "status": "returned", "created_at": now})
        status = "refused" if attempts is None else "returned"
        return _result(order, charge, status, reference_of(charge) or "")

    def _run_out(self, order: Json) -> None:
        charges = [c for c in charges_of(order) if c["status"] == "pending_payment"]
        for charge in charges:
            charge["status"] = "expired"
        self.settle(order)
        told = [("charge.expired", charge) for charge in charges]
        if order["payment_status"] == "expired" and charges:
            self._rebook(order, "expired")
            self.events.emit_in_some_order(("order.expired", order), told)
        else:
            for event_type, charge in told:
                self.events.emit(event_type, charge)

    def settle(self, order: Json) -> None:
        """Derive the order's own state from its charges."""
        charges = charges_of(order)
        statuses = {charge["status"] for charge in charges}
        order["payment_status"] = _status_of(charges, statuses)
        order["is_refundable"] = self.refundable(order) > 0
        if "pending_payment" not in statuses:
            self._expires_at_by_order_id.pop(order["id"], None)
        self.touch(order)

    def _book_paid(self, order: Json, charge: Json) -> None:
        """The first payment turns the order's live entry into this charge; later ones are new."""
        entry = self._unpaid_entry(order)
        if entry is not None:
            self.core.rename(entry, charge["id"])
        self._book_charge(charge, "paid")

    def _rebook(self, order: Json, status: str) -> None:
        entry = self._unpaid_entry(order)
        if entry is not None:
            entry["status"] = status

    def _unpaid_entry(self, order: Json) -> Json | None:
        for charge in charges_of(order):
            entry = self.core.movement("conekta", "charge", charge["id"])
            if entry is not None and entry["status"] not in {"paid", "declined"}:
                return entry
        return None

    def _book_charge(self, charge: Json, status: str) -> None:
        self._book(charge, charge["id"], "charge", charge["amount"], status, charge["created_at"])

    def _book_refund(self, charge: Json, refund: Json) -> None:
        amount, at = -refund["amount"], refund["created_at"]
        self._book(charge, refund["id"], "refund", amount, "succeeded", at)

    def _book(
        self, charge: Json, movement_id: str, kind: str, amount: int, status: str, at: int
    ) -> None:
        metadata = self.orders[charge["order_id"]]["metadata"]
        of_plan = self.subscription_id_by_order_id.get(charge["order_id"])
        self.core.book(
            provider="conekta",
            id=movement_id,
            kind=kind,
            amount_minor=amount,
            currency=charge["currency"],
            status=status,
            reference=reference_of(charge),
            subscription_id=metadata.get("subscription_id") or of_plan,
            invoice_id=metadata.get("invoice_id"),
            created_at=datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z"),
        )


def _left(charge: Json) -> int:
    refunds = charge["refunds"]["data"] if charge["refunds"] else []
    left: int = charge["amount"] + sum(refund["amount"] for refund in refunds)
    return left


def _status_of(charges: list[Json], statuses: set[str]) -> str | None:
    if "charged_back" in statuses:
        return "charged_back"
    paid = [charge for charge in charges if charge["status"] in _PAID_STATUSES]
    if paid:
        if all(charge["status"] == "refunded" for charge in paid):
            return "refunded"
        return "paid" if all(c["status"] == "paid" for c in paid) else "partially_refunded"
    for status in ("pending_payment", "expired", "canceled", "declined"):
        if status in statuses:
            return status
    return None


def _result(order: Json, charge: Json, status: str, reference: str) -> Json:
    return {
        "provider": "conekta",
        "id": order["id"],
        "charge_id": charge["id"],
        "status": status,
        "reference": reference,
        "amount_minor": charge["amount"],
        "currency": charge["currency"],
    }
