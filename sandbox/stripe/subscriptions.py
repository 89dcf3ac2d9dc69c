"""Subscriptions: the API's side, and the billing clock that renews, expires and ends them."""

from __future__ import annotations

from sandbox.core import Call
from sandbox.stripe import objects
from sandbox.stripe.catalog import price_on_sale
from sandbox.stripe.customers import Customers
from sandbox.stripe.forms import (
    Params,
    boolean,
    integer,
    mapping,
    only,
    optional_text,
    strings,
    text,
)
from sandbox.stripe.invoices import FORCED_DECLINE_CODE, Invoices, card_refusal
from sandbox.stripe.pauses import Pauses
from sandbox.stripe.periods import boundary
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.schedules import Schedules
from sandbox.stripe.world import Object, World

# Stripe gives up on a first payment that nobody made after 23 hours.
INCOMPLETE_SECONDS = 23 * 3600
ENDED = {"canceled", "incomplete_expired"}
BEHAVIORS = {
    "allow_incomplete",
    "default_incomplete",
    "error_if_incomplete",
    "pending_if_incomplete",
}


class Subscriptions:
    def __init__(
        self,
        world: World,
        customers: Customers,
        invoices: Invoices,
        pauses: Pauses,
        schedules: Schedules,
    ) -> None:
        self.world = world
        self.customers = customers
        self.invoices = invoices
        self.pauses = pauses
        self.schedules = schedules

    # What the API offers.

    def create(self, params: Params, call: Call) -> Object:
        only(
            params, "customer", "items", "default_payment_method", "payment_behavior",
            "collection_method", "trial_end", "trial_period_days", "trial_settings",
            "payment_settings", "billing_mode", "off_session", "automatic_tax", "metadata",
            "cancel_at_period_end", "description", "proration_behavior",
        )  # fmt: skip
        owner = self.world.get("customers", text(params, "customer"), "customer")
        price, quantity = self._price_and_quantity(params)
        method = optional_text(params, "default_payment_method")
        if method is not None:
            self.customers.owned_payment_method(method, owner["id"])
        behavior = optional_text(params, "payment_behavior") or "allow_incomplete"
        if behavior not in BEHAVIORS:
            raise Refusal(400, "Invalid payment_behavior", param="payment_behavior")
        trial_end = self._trial_end(params)
        made = self._new(params, owner, price, quantity, trial_end)
        amount = 0 if trial_end else price["unit_amount"] * quantity
        if amount == 0:
            made["status"] = "trialing" if trial_end else "active"
        item = made["items"]["data"][0]
        period = (item["current_period_start"], item["current_period_end"])
        self.world.put("subscriptions", made)
        invoice = self.invoices.open(made, "subscription_create", amount, period)
        self.world.emit("customer.subscription.created", made)
        if made["status"] == "incomplete" and behavior != "default_incomplete":
            self._pay_now(made, invoice, behavior, call)
        self._wake(made)
        return made

    def retrieve(self, params: Params, call: Call, subscription: str) -> Object:
        return self.world.get("subscriptions", subscription, "id")

    def list_subscriptions(self, params: Params, call: Call) -> Object:
        only(params, "customer", "status", "limit", "price", "created", "starting_after")
        status = optional_text(params, "status")
        customer = optional_text(params, "customer")
        chosen = [
            s
            for s in self.world.all("subscriptions").values()
            if (customer is None or s["customer"] == customer)
            and (status == "all" or s["status"] == status or (status is None and not _ended(s)))
        ]
        return self.world.page("/v1/subscriptions", chosen, params)

    def update(self, params: Params, call: Call, subscription: str) -> Object:
        only(
            params, "cancel_at_period_end", "default_payment_method", "metadata", "description",
            "items", "proration_behavior", "billing_cycle_anchor", "pause_collection",
        )  # fmt: skip
        found = self.world.get("subscriptions", subscription, "id")
        if _ended(found):
            raise Refusal(
                400,
                "A canceled subscription can only update its cancellation_details and metadata.",
            )
        self._refuse_under_schedule(found, params)
        previous: Object = {}
        method = optional_text(params, "default_payment_method")
        if method is not None:
            self.customers.owned_payment_method(method, found["customer"])
            previous["default_payment_method"] = found["default_payment_method"]
            found["default_payment_method"] = method
        if "cancel_at_period_end" in params:
            previous["cancel_at_period_end"] = found["cancel_at_period_end"]
            self._set_cancellation(found, boolean(params, "cancel_at_period_end"))
        found["metadata"].update(mapping(params, "metadata"))
        if "pause_collection" in params:
            self.pauses.set_collection(found, params, previous)
        if "items" in params:
            self._change_item(found, params, previous)
        self.world.emit("customer.subscription.updated", found, previous)
        return found

    def _refuse_under_schedule(self, subscription: Object, params: Params) -> None:
        for name, what in (
            ("cancel_at_period_end", "updating any cancelation behavior"),
            ("items", "changing what it sells (in the sandbox)"),
            ("pause_collection", "pausing its collection (in the sandbox)"),
        ):
            if name in params:
                self.schedules.refuse_if_attached(subscription, what)

    def _change_item(self, subscription: Object, params: Params, previous: Object) -> None:
        """Another price or quantity. Another interval, or the anchor set to now, begins a new period,
        which Stripe bills at once."""
        if optional_text(params, "proration_behavior") != "none":
            raise Refusal(400, "The sandbox does not prorate.", param="proration_behavior")
        item = subscription["items"]["data"][0]
        price, quantity = self._wanted_item(params, item)
        if price["currency"] != subscription["currency"]:
            raise Refusal(400, "The currency of a subscription cannot change.", param="items")
        anchor = optional_text(mapping(params, "billing_cycle_anchor"), "type")
        another = price["recurring"] != item["price"]["recurring"]
        previous["items"] = {"data": [{"price": item["price"], "quantity": item["quantity"]}]}
        item.update(price=price, quantity=quantity)
        if (another or anchor == "now") and subscription["status"] != "trialing":
            self._begin_anew(subscription)

    def _wanted_item(self, params: Params, item: Object) -> tuple[Object, int]:
        items = params["items"]
        if not isinstance(items, list) or len(items) != 1:
            raise Refusal(400, "The sandbox bills exactly one item.", param="items")
        only(items[0], "id", "price", "quantity")
        if optional_text(items[0], "id") != item["id"]:
            raise Refusal(400, "The sandbox bills exactly one item: name it.", param="items[0][id]")
        price = item["price"]
        if text(items[0], "price") != price["id"]:
            price = price_on_sale(self.world, text(items[0], "price"), "items[0][price]")
        # A price without a quantity makes the quantity one.
        return price, integer(items[0], "quantity", 1)

    def _begin_anew(self, subscription: Object) -> None:
        item, now = subscription["items"]["data"][0], self.world.now()
        recurring = item["price"]["recurring"]
        end = boundary(now, recurring["interval"], recurring["interval_count"], 1)
        subscription.update(billing_cycle_anchor=now, _boundaries=1)
        item.update(current_period_start=now, current_period_end=end)
        amount = item["price"]["unit_amount"] * item["quantity"]
        invoice = self.invoices.open(subscription, "subscription_update", amount, (now, end))
        if invoice["status"] == "open":
            self._collect(subscription, invoice, None)
        self._wake(subscription)

    def cancel(self, params: Params, call: Call, subscription: str) -> Object:
        only(params, "invoice_now", "prorate", "cancellation_details")
        found = self.world.get("subscriptions", subscription, "id")
        if _ended(found):
            raise Refusal(
                404, f"No such subscription: '{subscription}'", param="id", code="resource_missing"
            )
        self._end(found, "cancellation_requested")
        return found

    # What time and the control plane do.

    def tick(self) -> None:
        """Bill, expire and end everything that has fallen due."""
        for subscription in list(self.world.all("subscriptions").values()):
            while not _ended(subscription) and self._is_due(subscription):
                self._fall_due(subscription)
            self._wake(subscription)

    def renew(self, subscription_id: str, outcome: str) -> Object:
        """Bill now, whatever the card would say: the open invoice, else the next period."""
        subscription = self.world.all("subscriptions")[subscription_id]
        latest = self.world.get("invoices", subscription["latest_invoice"])
        if not _ended(subscription) and subscription["status"] != "paused":
            if latest["status"] == "open":
                self._collect(subscription, latest, outcome)
            else:
                self._bill_next_period(subscription, outcome)
            self._wake(subscription)
        return {
            "subscription": subscription["id"],
            "status": subscription["status"],
            "invoice": subscription["latest_invoice"],
        }

    def _fall_due(self, subscription: Object) -> None:
        if subscription["status"] == "incomplete":
            self._expire(subscription)
        elif subscription["status"] == "paused":
            self.pauses.expire(subscription)
        else:
            self._bill_next_period(subscription, None)

    def _is_due(self, subscription: Object) -> bool:
        at = self._due_at(subscription)
        return at is not None and at <= self.world.now()

    def _due_at(self, subscription: Object) -> int | None:
        if subscription["status"] == "paused":
            return self.pauses.due_at(subscription)
        if subscription["status"] == "incomplete":
            return int(subscription["created"]) + INCOMPLETE_SECONDS
        return int(subscription["items"]["data"][0]["current_period_end"])

    def _wake(self, subscription: Object) -> None:
        at = None if _ended(subscription) else self._due_at(subscription)
        if at is not None:
            self.world.wake_at(at)

    def _bill_next_period(self, subscription: Object, outcome: str | None) -> None:
        if subscription["cancel_at_period_end"]:
            self._end(subscription, "cancellation_requested")
            return
        item = subscription["items"]["data"][0]
        start = item["current_period_end"]
        if self.schedules.enter_phase(subscription, start):
            subscription.update(billing_cycle_anchor=start, _boundaries=0)
        recurring = item["price"]["recurring"]
        subscription["_boundaries"] += 1
        end = boundary(
            subscription["billing_cycle_anchor"],
            recurring["interval"],
            recurring["interval_count"],
            subscription["_boundaries"],
        )
        amount = item["price"]["unit_amount"] * item["quantity"]
        previous: Object = {
            "latest_invoice": subscription["latest_invoice"],
            "status": subscription["status"],
        }
        invoice = self.invoices.open(subscription, "subscription_cycle", amount, (start, end))
        item.update(current_period_start=start, current_period_end=end)
        if subscription["status"] == "trialing":
            subscription["status"] = "active"
        self.world.emit("customer.subscription.updated", subscription, previous)
        if invoice["status"] != "open":
            return
        if subscription["pause_collection"] is not None:
            self.pauses.void_period(subscription, invoice)
        else:
            self._collect(subscription, invoice, outcome)

    def _collect(self, subscription: Object, invoice: Object, outcome: str | None) -> None:
        method = self.invoices.default_method(subscription)
        if outcome == "paid":
            intent = self.invoices.intent_of(invoice)
            intent["payment_method"] = method["id"] if method else None
            invoice["attempt_count"] += 1
            invoice["attempted"] = True
            self.invoices.charging.succeed(intent, intent["amount"])
            self.invoices.settle(invoice)
            return
        decline_code = FORCED_DECLINE_CODE if outcome == "failed" else None
        self.invoices.charge(invoice, method, off_session=True, decline_code=decline_code)

    def _expire(self, subscription: Object) -> None:
        invoice = self.world.get("invoices", subscription["latest_invoice"])
        if invoice["status"] == "open":
            self.invoices.void_open(invoice)
        subscription["ended_at"] = self.world.now()
        self.invoices.move(subscription, "incomplete_expired")

    def _end(self, subscription: Object, reason: str) -> None:
        now = self.world.now()
        subscription.update(
            status="canceled",
            canceled_at=subscription["canceled_at"] or now,
            ended_at=now,
        )
        subscription["cancellation_details"]["reason"] = reason
        self.schedules.end_with(subscription)
        # Stripe stops collecting, but an invoice that is open stays open and can still be paid.
        self.world.get("invoices", subscription["latest_invoice"])["auto_advance"] = False
        self.world.emit("customer.subscription.deleted", subscription)

    def _set_cancellation(self, subscription: Object, wanted: bool) -> None:
        item = subscription["items"]["data"][0]
        subscription.update(
            cancel_at_period_end=wanted,
            cancel_at=item["current_period_end"] if wanted else None,
            canceled_at=self.world.now() if wanted else None,
        )
        reason = "cancellation_requested" if wanted else None
        subscription["cancellation_details"]["reason"] = reason

    # Creation in detail.

    def _price_and_quantity(self, params: Params) -> tuple[Object, int]:
        items = params.get("items")
        if not isinstance(items, list) or len(items) != 1 or not isinstance(items[0], dict):
            raise Refusal(400, "The sandbox bills exactly one item.", param="items")
        only(items[0], "price", "quantity", "metadata")
        price = price_on_sale(self.world, text(items[0], "price"), "items[0][price]")
        if price["type"] != "recurring":
            raise Refusal(400, "The price must be recurring.", param="items[0][price]")
        return price, integer(items[0], "quantity", 1)

    def _trial_end(self, params: Params) -> int | None:
        days = integer(params, "trial_period_days", 0)
        if days > 0:
            return self.world.now() + days * 86_400
        if optional_text(params, "trial_end") in {None, "now"}:
            return None
        trial_end = integer(params, "trial_end")
        if trial_end <= self.world.now():
            raise Refusal(400, "Invalid timestamp: must be in the future.", param="trial_end")
        return trial_end

    def _new(
        self, params: Params, owner: Object, price: Object, quantity: int, trial_end: int | None
    ) -> Object:
        now = self.world.now()
        anchor = trial_end or now
        recurring = price["recurring"]
        number = 0 if trial_end else 1
        end = boundary(anchor, recurring["interval"], recurring["interval_count"], number)
        settings = mapping(params, "payment_settings")
        made = objects.subscription(
            now,
            billing_cycle_anchor=anchor,
            currency=price["currency"],
            customer=owner["id"],
            default_payment_method=optional_text(params, "default_payment_method"),
            description=optional_text(params, "description"),
            metadata=mapping(params, "metadata"),
            payment_settings={
                "payment_method_options": None,
                "payment_method_types": strings(settings, "payment_method_types") or None,
                "save_default_payment_method": settings.get("save_default_payment_method", "off"),
            },
            status="incomplete",
            trial_end=trial_end,
            trial_settings={"end_behavior": {"missing_payment_method": "create_invoice"}},
            trial_start=now if trial_end else None,
            # How many period boundaries have been used: the next period ends at the one after.
            _boundaries=number,
        )
        item = objects.subscription_item(
            now,
            made["id"],
            price,
            quantity=quantity,
            current_period_start=now,
            current_period_end=end,
        )
        made["items"] = {
            "object": "list",
            "data": [item],
            "has_more": False,
            "url": f"/v1/subscription_items?subscription={made['id']}",
        }
        return made

    def _pay_now(self, made: Object, invoice: Object, behavior: str, call: Call) -> None:
        """`allow_incomplete` and `error_if_incomplete` charge within the request."""
        error = self.invoices.charge(
            invoice,
            self.invoices.default_method(made),
            off_session=True,
            decline_code=FORCED_DECLINE_CODE if call.decline else None,
        )
        if error is not None and behavior == "error_if_incomplete":
            intent = self.world.render(self.invoices.intent_of(invoice))
            del self.world.all("subscriptions")[made["id"]]
            raise card_refusal(error, intent)


def _ended(subscription: Object) -> bool:
    return subscription["status"] in ENDED
