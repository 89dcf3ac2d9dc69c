"""Pauses of subscriptions: nothing is billed and no period begins until they are resumed.

Documented for the endive train: a resumption invoice is finalized at once, no payment is attempted in the
request (`resume_on_payment_attempt`), the subscription stays paused until there is an attempt, and without
one Stripe voids the invoice after 23 hours. `pause_collection` is the older way: periods go on, each invoice
is voided, an older one stays open. What is not documented is refused: a pause in a trial or with
an unpaid invoice, credit for unused time, and an anchor that is kept over the end of a period.
"""

from __future__ import annotations

from sandbox.core import Call
from sandbox.stripe.forms import Params, mapping, only, optional_text
from sandbox.stripe.invoices import Invoices
from sandbox.stripe.periods import boundary
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.schedules import Schedules
from sandbox.stripe.world import Object, World

RESUMPTION_SECONDS = 23 * 3600


class Pauses:
    def __init__(self, world: World, invoices: Invoices, schedules: Schedules) -> None:
        self.world = world
        self.invoices = invoices
        self.schedules = schedules

    def pause(self, params: Params, call: Call, subscription: str) -> Object:
        only(params, "type", "bill_for", "invoicing_behavior")
        found = self.world.get("subscriptions", subscription, "id")
        if found["status"] != "active":
            raise Refusal(400, f"You cannot pause a subscription that is {found['status']}.")
        self.schedules.refuse_if_attached(found, "pausing it")
        bill_for = mapping(params, "bill_for")
        if mapping(bill_for, "unused_time_from").get("type") != "none":
            raise Refusal(400, "The sandbox gives no credit for unused time.", param="bill_for")
        previous: Object = {"status": found["status"]}
        found["status"] = "paused"
        found["status_details"] = {
            "paused": {
                "type": "subscription",
                "transitioned_at": self.world.now(),
                "subscription": {"type": "pause_requested"},
            }
        }
        self.world.emit("customer.subscription.paused", found)
        self.world.emit("customer.subscription.updated", found, previous)
        return found

    def resume(self, params: Params, call: Call, subscription: str) -> Object:
        only(params, "billing_cycle_anchor", "payment_behavior", "proration_behavior")
        found = self.world.get("subscriptions", subscription, "id")
        if found["status"] != "paused":
            raise Refusal(400, f"You cannot resume a subscription that is {found['status']}.")
        if optional_text(params, "payment_behavior") != "resume_on_payment_attempt":
            raise Refusal(
                400, "The sandbox resumes on a payment attempt.", param="payment_behavior"
            )
        if found.get("_resumption") is not None:
            raise Refusal(400, "The subscription has a resumption invoice that is open.")
        anchor = mapping(params, "billing_cycle_anchor").get("type", "now")
        if anchor == "now":
            self._begin_period(found)
        elif self._period_is_over(found):
            raise Refusal(400, "The sandbox keeps no anchor over the end of a period.")
        else:
            self.invoices.end_pause(found, "active")
        return found

    def set_collection(self, subscription: Object, params: Params, previous: Object) -> None:
        wanted: Object | None = None
        if params["pause_collection"] != "":
            wanted = mapping(params, "pause_collection")
            only(wanted, "behavior")
            if wanted.get("behavior") != "void":
                raise Refusal(400, "The sandbox voids what it does not collect.", param="behavior")
            wanted = {"behavior": "void", "resumes_at": None}
        if subscription["status"] == "paused":
            raise Refusal(400, "A paused subscription collects nothing.", param="pause_collection")
        previous["pause_collection"] = subscription["pause_collection"]
        subscription["pause_collection"] = wanted

    def void_period(self, subscription: Object, invoice: Object) -> None:
        """Nobody owes this period; what was owed before does not make it past due any more."""
        self.invoices.void_open(invoice)
        if subscription["status"] == "past_due":
            self.invoices.move(subscription, "active")

    def expire(self, subscription: Object) -> None:
        """Nobody tried to pay the resumption invoice in time: void, and still paused."""
        invoice = self.world.get("invoices", subscription["_resumption"])
        subscription["_resumption"] = None
        self.invoices.void_open(invoice)

    def due_at(self, subscription: Object) -> int | None:
        """When the open resumption invoice is voided."""
        if subscription.get("_resumption") is None:
            return None
        invoice = self.world.get("invoices", subscription["_resumption"])
        return int(invoice["created"]) + RESUMPTION_SECONDS

    def _period_is_over(self, subscription: Object) -> bool:
        end = int(subscription["items"]["data"][0]["current_period_end"])
        return end <= self.world.now()

    def _begin_period(self, subscription: Object) -> None:
        now, item = self.world.now(), subscription["items"]["data"][0]
        recurring = item["price"]["recurring"]
        end = boundary(now, recurring["interval"], recurring["interval_count"], 1)
        subscription.update(billing_cycle_anchor=now, _boundaries=1)
        amount = item["price"]["unit_amount"] * item["quantity"]
        item.update(current_period_start=now, current_period_end=end)
        invoice = self.invoices.open(subscription, "subscription_update", amount, (now, end))
        if invoice["status"] == "open":
            subscription["_resumption"] = invoice["id"]
            self.world.wake_at(now + RESUMPTION_SECONDS)
        else:
            self.invoices.end_pause(subscription, "active")
