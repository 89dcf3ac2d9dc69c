"""Subscription schedules: what a subscription is to be from its next period on.

Documented, or told by Stripe's own refusals: `from_subscription` takes no other parameter and makes one
phase, the period that runs; phases are sent whole, the one that runs first; a subscription has one schedule
at most, and while it has one it takes neither a cancellation at a date nor a pause; releasing leaves the
subscription as it is; without phases left the schedule is completed. A phase of another interval begins
with an anchor of its own, and its first invoice is a whole period's.

What is not documented is refused: schedules of subscriptions that are not active, phases that do not begin
with a period, prorations, a price changed under a schedule, and a pause of the collection.
"""

from __future__ import annotations

from typing import Any

from sandbox.core import Call
from sandbox.stripe import objects
from sandbox.stripe.catalog import price_on_sale
from sandbox.stripe.customers import Customers
from sandbox.stripe.forms import Params, integer, mapping, only, optional_text, text
from sandbox.stripe.periods import boundary
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.world import Object, World

PHASES_MAX = 10
RUNNING = {"active", "not_started"}


class Schedules:
    def __init__(self, world: World, customers: Customers) -> None:
        self.world = world
        self.customers = customers

    # What the API offers.

    def create(self, params: Params, call: Call) -> Object:
        for name in params:
            if name not in {"from_subscription", "expand"}:
                raise Refusal(
                    400, f"You cannot set `{name}` if `from_subscription` is set.", param=name
                )
        subscription = self.world.get(
            "subscriptions", text(params, "from_subscription"), "from_subscription"
        )
        if subscription["schedule"] is not None:
            raise Refusal(
                400,
                "You cannot migrate a subscription that is already attached to a schedule: "
                f"`{subscription['id']}`",
                param="from_subscription",
            )
        if subscription["status"] != "active" or subscription["cancel_at_period_end"]:
            raise Refusal(400, "The sandbox schedules subscriptions that go on.")
        item = subscription["items"]["data"][0]
        start, end = item["current_period_start"], item["current_period_end"]
        made = objects.subscription_schedule(
            self.world.now(),
            current_phase={"start_date": start, "end_date": end},
            customer=subscription["customer"],
            phases=[_phase(item["price"], item["quantity"], start, end, "create_prorations")],
            subscription=subscription["id"],
        )
        made["default_settings"]["default_payment_method"] = subscription["default_payment_method"]
        self.world.put("subscription_schedules", made)
        self._attach(subscription, made["id"])
        self.world.emit("subscription_schedule.created", made)
        return made

    def retrieve(self, params: Params, call: Call, schedule: str) -> Object:
        return self.world.get("subscription_schedules", schedule, "schedule")

    def update(self, params: Params, call: Call, schedule: str) -> Object:
        only(params, "phases", "end_behavior", "proration_behavior", "metadata", "default_settings")
        found = self._running(schedule, "update")
        if optional_text(params, "end_behavior") not in {None, "release"}:
            raise Refusal(400, "The sandbox only releases.", param="end_behavior")
        method = optional_text(mapping(params, "default_settings"), "default_payment_method")
        if method is not None:
            self.customers.owned_payment_method(method, found["customer"])
        if "phases" in params:
            if optional_text(params, "proration_behavior") != "none":
                raise Refusal(400, "The sandbox does not prorate.", param="proration_behavior")
            found["phases"] = self._phases(found, params["phases"])
        if method is not None:
            found["default_settings"]["default_payment_method"] = method
        found["metadata"].update(mapping(params, "metadata"))
        self.world.emit("subscription_schedule.updated", found)
        return found

    def release(self, params: Params, call: Call, schedule: str) -> Object:
        only(params, "preserve_cancel_date")
        found = self._running(schedule, "release")
        found.update(released_at=self.world.now(), released_subscription=found["subscription"])
        self._end(found, "released")
        return found

    # What subscriptions ask.

    def refuse_if_attached(self, subscription: Object, what: str) -> None:
        if subscription["schedule"] is not None:
            raise Refusal(
                400,
                f"The subscription is managed by the subscription schedule "
                f"`{subscription['schedule']}`, and {what} directly is not allowed. Please update the "
                "schedule instead.",
            )

    def end_with(self, subscription: Object) -> None:
        """The subscription is over, and so is what was planned for it."""
        if subscription["schedule"] is not None:
            found = self.world.get("subscription_schedules", subscription["schedule"])
            found["canceled_at"] = self.world.now()
            self._end(found, "canceled")

    def enter_phase(self, subscription: Object, at: int) -> bool:
        """The period that ends at `at` is over. Whether the subscription has another interval now."""
        if subscription["schedule"] is None:
            return False
        found = self.world.get("subscription_schedules", subscription["schedule"])
        if at < found["current_phase"]["end_date"]:
            return False
        following = [phase for phase in found["phases"] if phase["start_date"] == at]
        if not following:
            found["completed_at"] = self.world.now()
            self._end(found, "completed")
            return False
        [phase], item = following, subscription["items"]["data"][0]
        wanted = phase["items"][0]
        price = self.world.get("prices", wanted["price"])
        another = bool(price["recurring"] != item["price"]["recurring"])
        item.update(price=price, quantity=wanted["quantity"])
        subscription["default_payment_method"] = found["default_settings"]["default_payment_method"]
        found["current_phase"] = {"start_date": at, "end_date": phase["end_date"]}
        self.world.emit("subscription_schedule.updated", found)
        return another

    # Details.

    def _running(self, schedule: str, act: str) -> Object:
        found = self.world.get("subscription_schedules", schedule, "schedule")
        if found["status"] not in RUNNING:
            raise Refusal(
                400,
                f"You cannot {act} a subscription schedule that is currently in the "
                f"`{found['status']}` status.",
            )
        return found

    def _phases(self, schedule: Object, sent: Any) -> list[Object]:
        if not isinstance(sent, list) or not 1 <= len(sent) <= PHASES_MAX:
            raise Refusal(400, "A schedule has one to ten phases.", param="phases")
        subscription = self.world.get("subscriptions", schedule["subscription"])
        item, running = subscription["items"]["data"][0], schedule["current_phase"]
        phases: list[Object] = []
        start = running["start_date"]
        for number, one in enumerate(sent):
            made = self._phase(f"phases[{number}]", one, start, item if number == 0 else None)
            phases.append(made)
            start = made["end_date"]
        if phases[0]["end_date"] != item["current_period_end"]:
            raise Refusal(
                400, "The sandbox changes phases with periods.", param="phases[0][end_date]"
            )
        return phases

    def _phase(self, at: str, sent: Any, start: int, running: Object | None) -> Object:
        """`running`: the subscription's item, which the phase that runs has to keep."""
        only(sent, "items", "start_date", "end_date", "duration", "proration_behavior")
        if integer(sent, "start_date", 0 if running is None else None) not in {0, start}:
            raise Refusal(400, "You can not modify the start date of the current phase.",
                          param=f"{at}[start_date]")  # fmt: skip
        if optional_text(sent, "proration_behavior") != "none":
            raise Refusal(400, "The sandbox does not prorate.", param=f"{at}[proration_behavior]")
        items = sent.get("items")
        if not isinstance(items, list) or len(items) != 1:
            raise Refusal(400, "The sandbox bills exactly one item.", param=f"{at}[items]")
        only(items[0], "price", "quantity")
        price_id, quantity = text(items[0], "price"), integer(items[0], "quantity", 1)
        if running is None:
            price = price_on_sale(self.world, price_id, f"{at}[items][0][price]")
        else:
            price = running["price"]
            if (price_id, quantity) != (price["id"], running["quantity"]):
                raise Refusal(400, "The sandbox keeps what runs.", param=f"{at}[items]")
        return _phase(price, quantity, start, _end_of(at, sent, start), "none")

    def _attach(self, subscription: Object, schedule_id: str | None) -> None:
        previous = {"schedule": subscription["schedule"]}
        subscription["schedule"] = schedule_id
        self.world.emit("customer.subscription.updated", subscription, previous)

    def _end(self, schedule: Object, status: str) -> None:
        subscription = self.world.get("subscriptions", schedule["subscription"])
        schedule.update(status=status, current_phase=None)
        if status == "released":
            schedule["subscription"] = None
        self._attach(subscription, None)
        self.world.emit(f"subscription_schedule.{status}", schedule)


def _end_of(at: str, sent: Params, start: int) -> int:
    duration = mapping(sent, "duration")
    if ("end_date" in sent) is bool(duration):
        raise Refusal(400, "A phase has an end_date or a duration.", param=f"{at}[end_date]")
    if not duration:
        return integer(sent, "end_date")
    only(duration, "interval", "interval_count")
    return boundary(start, text(duration, "interval"), integer(duration, "interval_count", 1), 1)


def _phase(price: Object, quantity: int, start: int, end: int, proration: str) -> Object:
    return objects.schedule_phase(
        currency=price["currency"],
        end_date=end,
        items=[objects.schedule_item(price["id"], quantity)],
        proration_behavior=proration,
        start_date=start,
    )
