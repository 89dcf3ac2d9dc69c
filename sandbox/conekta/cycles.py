"""Billing cycles: when a subscription is charged, and what follows.

Not documented, and read in the harsher way where it could be either:

* a first charge that is refused leaves a subscription that is past due and will be charged again;
* each cycle has one order, and each try at it is one more charge of that order;
* Conekta's own retries are counted up to the plan's limit, those that a merchant asks for are not;
* a cycle begins when it is billed, paid or not, and a past due subscription begins no new one;
* a pause that outlasts its cycle ends with a charge at once, for a cycle that starts then.
"""

from __future__ import annotations

import math
from typing import Any

from sandbox.conekta.cards import Card, Cards
from sandbox.conekta.charges import charges_of, make_charges
from sandbox.conekta.orders import info_of, new_order
from sandbox.conekta.payments import Payments
from sandbox.conekta.plans import Plans
from sandbox.conekta.wire import Json, envelope
from sandbox.stripe.periods import boundary

_BILLED = frozenset({"in_trial", "active"})
_FORCED_DECLINE = "card_declined"


class Cycles:
    def __init__(self, payments: Payments, cards: Cards, plans: Plans) -> None:
        self.core = payments.core
        self.events = payments.events
        self.payments = payments
        self.cards = cards
        self.plans = plans
        self.core.on_time.append(self.bill_due)
        self.core.next_dues.append(self._next_due_at)

    @property
    def subscriptions(self) -> dict[str, Json]:
        return self.core.collection("conekta", "subscriptions")

    @property
    def _clocks(self) -> dict[str, Json]:
        """What Conekta knows about the billing of a subscription and does not show: its plan as it
        was, the moment from which cycles are counted, and the retries."""
        return self.core.collection("conekta", "billing_clocks")

    async def bill_due(self) -> None:
        """A long leap of the clock may make many cycles due."""
        now = self.core.clock.now()
        for subscription in self.subscriptions.values():
            while (at := self._due_at(subscription)) is not None and at <= now:
                if subscription["status"] == "past_due":
                    self.retry(subscription, at)
                else:
                    self.begin_cycle(subscription, at)

    def start(self, subscription: Json, plan: Json, *, decline: bool) -> None:
        """The first charge, unless there is a trial."""
        anchor = subscription["trial_end"]
        self._clocks[subscription["id"]] = {"plan": plan, "anchor": anchor, "number": 0}
        if subscription["trial_end"] == subscription["trial_start"]:
            outcome = "failed" if decline else None
            self.begin_cycle(subscription, subscription["created_at"], outcome)

    def begin_cycle(self, subscription: Json, at: int, outcome: str | None = None) -> None:
        """`outcome` says what the bank answers, whatever the card is: `paid` or `failed`."""
        clock = self._clocks[subscription["id"]]
        plan = clock["plan"]
        number = clock["number"]
        clock.update(number=number + 1, retries=0, retry_at=None)
        start, end = (
            boundary(clock["anchor"], plan["interval"], plan["frequency"], n)
            for n in (number, number + 1)
        )
        order = self._new_order(subscription, plan, at)
        subscription.update(
            billing_cycle_start=start,
            billing_cycle_end=end,
            last_billing_cycle_order_id=order["id"],
        )
        self.collect(subscription, at, outcome)

    def retry(self, subscription: Json, at: int, outcome: str | None = None) -> None:
        """Conekta's own retry. The subscription ends with the last of them."""
        clock = self._clocks[subscription["id"]]
        clock["retries"] += 1
        clock["retry_at"] = at + clock["plan"]["retry_delay_hours"] * 3600
        self.collect(subscription, at, outcome)
        refused = subscription["status"] == "past_due"
        if refused and clock["retries"] >= clock["plan"]["max_retries"]:
            self.end(subscription, "max_retries_reached")

    def collect(self, subscription: Json, at: int, outcome: str | None = None) -> None:
        """Charge the order of the latest cycle, for the first time or again."""
        order = self.payments.orders[subscription["last_billing_cycle_order_id"]]
        card = self.cards.behind(subscription["card_id"])
        if outcome is not None:
            card = card._replace(failure=_FORCED_DECLINE if outcome == "failed" else None)
        charge = self._charge(order, card, at)
        subscription["charge_id"] = charge["id"]
        paid = charge["status"] == "paid"
        clock = self._clocks[subscription["id"]]
        if paid:
            clock["retry_at"] = None
        elif clock["retry_at"] is None:
            # Billed early by hand, a cycle is still due when it begins.
            due_at = max(at, subscription["billing_cycle_start"])
            clock["retry_at"] = due_at + clock["plan"]["retry_delay_hours"] * 3600
        subscription["status"] = "active" if paid else "past_due"
        event = "subscription.paid" if paid else "subscription.payment_failed"
        self.events.emit(event, subscription)

    def end(self, subscription: Json, reason: str) -> None:
        now = self.core.clock.now()
        subscription.update(status="canceled", canceled_at=now, canceled_reason=reason)
        self.events.emit("subscription.canceled", subscription)

    def go_on(self, subscription: Json) -> None:
        """After a pause."""
        now, clock = self.core.clock.now(), self._clocks[subscription["id"]]
        trial = clock["number"] == 0
        cycle_end = subscription["trial_end"] if trial else subscription["billing_cycle_end"]
        subscription["status"] = "in_trial" if trial else "active"
        if not trial and clock["retry_at"] is not None:
            subscription["status"] = "past_due"
        elif cycle_end <= now:
            clock.update(anchor=now, number=0)

    def state(self, subscription: Json) -> Json:
        return {
            "provider": "conekta",
            "subscription": subscription["id"],
            "status": subscription["status"],
            "invoice": subscription["last_billing_cycle_order_id"],
        }

    def _next_due_at(self) -> float:
        dues = (self._due_at(subscription) for subscription in self.subscriptions.values())
        return min((at for at in dues if at is not None), default=math.inf)

    def _due_at(self, subscription: Json) -> int | None:
        clock = self._clocks[subscription["id"]]
        at: int | None = None
        if subscription["status"] == "past_due":
            at = clock["retry_at"]
        elif subscription["status"] in _BILLED:
            plan = clock["plan"]
            at = boundary(clock["anchor"], plan["interval"], plan["frequency"], clock["number"])
        return at

    def _charge(self, order: Json, card: Card, at: int) -> Json:
        requested: Json = {"type": "card", "amount": None, "reference_id": None, "card": card}
        made = make_charges(order, requested, at, decline=False)
        order["charges"] = envelope([*charges_of(order), *made])
        self.payments.opened(order, made)
        return made[0]

    def _new_order(self, subscription: Json, plan: Json, at: int) -> Json:
        """It shows who pays and what for, but neither its subscription nor any word of the merchant."""
        customer = self.core.collection("conekta", "customers")[subscription["customer_id"]]
        item: dict[str, Any] = {"name": plan["name"], "unit_price": plan["amount"], "quantity": 1}
        order = new_order(at, plan["currency"], info_of(customer), [item])
        self.payments.orders[order["id"]] = order
        merchants_id = _merchants_subscription_id(plan["id"])
        if merchants_id is not None:
            self.payments.subscription_id_by_order_id[order["id"]] = merchants_id
        self.events.emit("order.created", order)
        return order


def _merchants_subscription_id(plan_id: str) -> str | None:
    """All that a subscription carries of its merchant's words is the id of its plan. Whoever wants to
    see a subscription of theirs in the book writes `<anything>_<their subscription>_<anything>`."""
    parts = plan_id.split("_")
    return parts[1] if len(parts) == 3 else None
