"""Invoices of subscriptions: made, finalized, charged, paid, voided."""

from __future__ import annotations

from sandbox.core import Call, new_id
from sandbox.stripe import objects
from sandbox.stripe.charging import Charging
from sandbox.stripe.customers import Customers
from sandbox.stripe.forms import Params, boolean, mapping, only, optional_text
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.world import Object, World

# What `renew` and the decline fault make a good card do.
FORCED_DECLINE_CODE = "insufficient_funds"
_DESCRIPTION = {"subscription_create": "Subscription creation", "manual": "Payment for Invoice"}


class Invoices:
    def __init__(self, world: World, customers: Customers, charging: Charging) -> None:
        self.world = world
        self.customers = customers
        self.charging = charging

    # What the API offers.

    def retrieve(self, params: Params, call: Call, invoice: str) -> Object:
        return self.world.get("invoices", invoice, "invoice")

    def list_invoices(self, params: Params, call: Call) -> Object:
        only(params, "subscription", "customer", "status", "limit", "created", "starting_after")
        found = self.world.all("invoices").values()
        wanted = {n: params[n] for n in ("customer", "status") if n in params}
        chosen = [i for i in found if all(i[name] == value for name, value in wanted.items())]
        subscription = optional_text(params, "subscription")
        if subscription is not None:
            chosen = [i for i in chosen if subscription_of(i) == subscription]
        return self.world.page("/v1/invoices", chosen, params)

    def list_payments(self, params: Params, call: Call) -> Object:
        only(params, "invoice", "payment", "status", "limit", "starting_after")
        invoice_id = optional_text(params, "invoice")
        intent_id = mapping(params, "payment").get("payment_intent")
        chosen = [
            payment
            for invoice in self.world.all("invoices").values()
            for payment in (invoice.get("_payments") or {}).get("data", [])
            if invoice_id in {None, invoice["id"]}
            and intent_id in {None, payment["payment"]["payment_intent"]}
        ]
        return self.world.page("/v1/invoice_payments", chosen, params)

    def pay(self, params: Params, call: Call, invoice: str) -> Object:
        only(params, "payment_method", "off_session", "paid_out_of_band", "forgive")
        found = self.world.get("invoices", invoice, "invoice")
        if found["status"] == "paid":
            raise Refusal(400, "Invoice is already paid", code="invoice_already_paid")
        if found["status"] != "open":
            raise Refusal(400, f"You cannot pay an invoice that is {found['status']}.")
        method = self._method_for(found, optional_text(params, "payment_method"))
        error = self.charge(
            found,
            method,
            off_session=boolean(params, "off_session", default=True),
            decline_code=FORCED_DECLINE_CODE if call.decline else None,
        )
        intent = self.intent_of(found)
        if error is not None:
            raise card_refusal(error, self.world.render(intent))
        if intent["status"] == "requires_action":
            raise Refusal(
                402,
                "This payment requires additional user action before it can be completed "
                "successfully. Payment can be completed using the PaymentIntent associated "
                "with the invoice.",
                error_type="card_error",
                executed=True,
                code="invoice_payment_intent_requires_action",
            )
        return found

    def void(self, params: Params, call: Call, invoice: str) -> Object:
        only(params)
        found = self.world.get("invoices", invoice, "invoice")
        if found["status"] not in {"open", "uncollectible"}:
            raise Refusal(400, f"You cannot void an invoice that is {found['status']}.")
        self.void_open(found)
        return found

    # What subscriptions and the billing clock do.

    def open(
        self, subscription: Object, reason: str, amount: int, period: tuple[int, int]
    ) -> Object:
        """Make and finalize the invoice of one period. An invoice of zero is paid at once."""
        now = self.world.now()
        item = subscription["items"]["data"][0]
        owner = self.world.get("customers", subscription["customer"])
        made = objects.invoice(
            now,
            amount,
            subscription["currency"],
            **self.about(owner),
            billing_reason=reason,
            parent={
                "type": "subscription_details",
                "quote_details": None,
                "subscription_details": {
                    "metadata": dict(subscription["metadata"]),
                    "subscription": subscription["id"],
                },
            },
            # The period of the items that were pending: the one before, for a renewal.
            period_start=item["current_period_start"] if reason == "subscription_cycle" else now,
            period_end=period[0] if reason == "subscription_cycle" else now,
        )
        made["lines"] = _lines(made, subscription, item, period)
        self._take_pending_items(made, subscription)
        self.world.put("invoices", made)
        subscription["latest_invoice"] = made["id"]
        self.world.emit("invoice.created", made)
        self.finalize(made)
        return made

    def _take_pending_items(self, invoice: Object, subscription: Object) -> None:
        """What waited for the subscription's next invoice is on this one now."""
        for item in self.world.all("invoiceitems").values():
            details = (item["parent"] or {}).get("subscription_details") or {}
            if item["invoice"] is None and details.get("subscription") == subscription["id"]:
                item["invoice"] = invoice["id"]
                invoice["lines"]["data"].append(line_of(item, invoice["id"]))
        total_up(invoice)
        if invoice["total"] < 0:
            raise Refusal(400, "The sandbox keeps no balance for a negative invoice.")

    def about(self, owner: Object) -> Object:
        """What an invoice says of its customer."""
        return {
            "customer": owner["id"],
            "customer_address": owner["address"],
            "customer_email": owner["email"],
            "customer_name": owner["name"],
            "customer_phone": owner["phone"],
            "customer_shipping": None,
            "customer_tax_exempt": "none",
            "customer_tax_ids": [],
        }

    def charge(
        self,
        invoice: Object,
        method: Object | None,
        *,
        off_session: bool,
        decline_code: str | None = None,
    ) -> Object | None:
        """Try to collect an open invoice. Returns the payment error, if any."""
        invoice["attempt_count"] += 1
        invoice["attempted"] = True
        intent = self.intent_of(invoice)
        if method is None:
            error: Object | None = {
                "type": "invalid_request_error",
                "message": "There is no default payment method to charge.",
                "code": "payment_intent_unexpected_state",
            }
        else:
            error = self.charging.attempt(
                intent, method, off_session=off_session, decline_code=decline_code
            )
        if error is None and intent["status"] == "succeeded":
            self.settle(invoice)
            return None
        if error is not None:
            self.world.emit("invoice.payment_failed", invoice)
        if error is None or error.get("code") == "authentication_required":
            self.world.emit("invoice.payment_action_required", invoice)
        self._mark_past_due(invoice)
        return error

    def pay_on_page(self, invoice: Object) -> Object:
        """The customer types a new card into the invoice's own page; it pays what comes after, too."""
        if invoice["status"] != "open":
            raise Refusal(400, f"The invoice is {invoice['status']}.")
        self.charge(invoice, self.customers.new_card_of(invoice["customer"]), off_session=False)
        return self.intent_of(invoice)

    def settle(self, invoice: Object) -> None:
        """The invoice is paid; a subscription that waited for it becomes active."""
        invoice.update(
            amount_paid=invoice["amount_due"], amount_remaining=0, status="paid", auto_advance=False
        )
        invoice["status_transitions"]["paid_at"] = self.world.now()
        for payment in invoice.get("_payments", {}).get("data", []):
            payment.update(amount_paid=invoice["amount_due"], status="paid")
            payment["status_transitions"]["paid_at"] = self.world.now()
        self.world.emit("invoice.paid", invoice)
        self.world.emit("invoice.payment_succeeded", invoice)
        subscription = self._subscription(invoice)
        if subscription is None:
            return
        if invoice["amount_due"] > 0:
            method = self.intent_of(invoice)["payment_method"]
            subscription["default_payment_method"] = (
                method or subscription["default_payment_method"]
            )
        waiting = subscription["status"] in {"incomplete", "past_due", "unpaid"}
        if waiting and subscription["latest_invoice"] == invoice["id"]:
            self.move(subscription, "active")
        if subscription.get("_resumption") == invoice["id"]:
            self.end_pause(subscription, "active")

    def void_open(self, invoice: Object) -> None:
        invoice.update(status="void", auto_advance=False)
        invoice["status_transitions"]["voided_at"] = self.world.now()
        intent = self.intent_of(invoice) if invoice["total"] else None
        if intent is not None and intent["status"] not in {"succeeded", "canceled"}:
            intent.update(
                status="canceled",
                canceled_at=self.world.now(),
                cancellation_reason="void_invoice",
                next_action=None,
            )
            self.world.emit("payment_intent.canceled", intent)
            if invoice["attempt_count"]:
                self.charging.book(intent, "canceled")
        for payment in invoice.get("_payments", {}).get("data", []):
            payment["status"] = "canceled"
        self.world.emit("invoice.voided", invoice)

    def move(self, subscription: Object, status: str) -> None:
        """Change a subscription's status and tell."""
        if subscription["status"] != status:
            previous = {"status": subscription["status"]}
            subscription["status"] = status
            self.world.emit("customer.subscription.updated", subscription, previous)

    def end_pause(self, subscription: Object, status: str) -> None:
        """There was a payment, an attempt at one, or nothing to pay."""
        subscription["_resumption"] = None
        subscription.pop("status_details", None)
        self.world.wake_at(subscription["items"]["data"][0]["current_period_end"])
        self.move(subscription, status)
        self.world.emit("customer.subscription.resumed", subscription)

    def intent_of(self, invoice: Object) -> Object:
        return self.world.get("payment_intents", invoice["_intent"])

    def default_method(self, subscription: Object) -> Object | None:
        """The card that the billing clock charges: the subscription's, else the customer's."""
        owner = self.world.get("customers", subscription["customer"])
        for method_id in (
            subscription["default_payment_method"],
            owner["invoice_settings"]["default_payment_method"],
        ):
            method = self.world.all("payment_methods").get(method_id or "")
            if method is not None and method["customer"] == owner["id"]:
                return method
        return None

    def _method_for(self, invoice: Object, asked: str | None) -> Object:
        if asked is not None:
            return self.customers.owned_payment_method(asked, invoice["customer"])
        subscription = self._subscription(invoice)
        method = self.default_method(subscription) if subscription is not None else None
        if method is None:
            raise Refusal(400, "There is no `default_payment_method` set on this Customer.")
        return method

    def _mark_past_due(self, invoice: Object) -> None:
        subscription = self._subscription(invoice)
        if subscription is not None and subscription["status"] in {"active", "trialing"}:
            self.move(subscription, "past_due")
        elif subscription is not None and subscription.get("_resumption") == invoice["id"]:
            self.end_pause(subscription, "past_due")

    def _subscription(self, invoice: Object) -> Object | None:
        """The one that it bills; an invoice of its own bills none."""
        if invoice["parent"] is None:
            return None
        return self.world.get("subscriptions", str(subscription_of(invoice)))

    def finalize(self, invoice: Object) -> None:
        now = self.world.now()
        url = f"https://invoice.stripe.com/i/sandbox/{invoice['id']}"
        invoice.update(
            status="open",
            number=f"SANDBOX-{len(self.world.all('invoices')):06d}",
            hosted_invoice_url=url,
            invoice_pdf=url + "/pdf",
            effective_at=now,
        )
        invoice["status_transitions"]["finalized_at"] = now
        if invoice["amount_due"] > 0:
            self._add_intent(invoice)
        self.world.emit("invoice.finalized", invoice)
        if invoice["amount_due"] == 0:
            self.settle(invoice)

    def _add_intent(self, invoice: Object) -> None:
        first = invoice["billing_reason"] in {"subscription_create", "manual"}
        subscription = self._subscription(invoice)
        metadata = (subscription or invoice)["metadata"]
        intent = objects.payment_intent(
            self.world.now(),
            invoice["amount_due"],
            invoice["currency"],
            customer=invoice["customer"],
            description=_DESCRIPTION.get(invoice["billing_reason"], "Subscription update"),
            setup_future_usage="off_session" if subscription is not None else None,
            _invoice=invoice["id"],
            _our_ids={
                "subscription_id": metadata.get("subscription_id"),
                # The subscription's metadata names its first invoice alone; an invoice of its own
                # names itself.
                "invoice_id": metadata.get("invoice_id") if first else None,
            },
        )
        self.world.put("payment_intents", intent)
        invoice["_intent"] = intent["id"]
        invoice["_confirmation_secret"] = {
            "client_secret": intent["client_secret"],
            "type": "payment_intent",
        }
        invoice["_payments"] = _payments(invoice, intent, self.world.now())
        self.world.emit("payment_intent.created", intent)


def subscription_of(invoice: Object) -> str | None:
    if invoice["parent"] is None:
        return None
    return str(invoice["parent"]["subscription_details"]["subscription"])


def total_up(invoice: Object) -> None:
    """The amounts of an invoice follow from its lines."""
    total = sum(line["amount"] for line in invoice["lines"]["data"])
    for name in ("subtotal", "subtotal_excluding_tax", "total", "total_excluding_tax"):
        invoice[name] = total
    invoice["amount_due"] = invoice["amount_remaining"] = max(total, 0)


def line_of(item: Object, invoice_id: str) -> Object:
    """The line that an item becomes."""
    details = (item["parent"] or {}).get("subscription_details") or {}
    return objects.invoice_line(
        invoice_id,
        item["amount"],
        item["currency"],
        (item["period"]["start"], item["period"]["end"]),
        description=item["description"],
        metadata=dict(item["metadata"]),
        parent={
            "type": "invoice_item_details",
            "invoice_item_details": {
                "invoice_item": item["id"],
                "proration": False,
                "proration_details": {"credited_items": None},
                "subscription": details.get("subscription"),
            },
            "subscription_item_details": None,
        },
    )


def card_refusal(error: Object, intent: Object) -> Refusal:
    """The 402 of a declined payment (or the 400 of one that had nothing to charge)."""
    declined = error["type"] == "card_error"
    fields = {name: value for name, value in error.items() if name not in {"type", "message"}}
    return Refusal(
        402 if declined else 400,
        error["message"],
        error_type=error["type"],
        executed=declined,
        **{**fields, "payment_intent": intent},
    )


def _lines(invoice: Object, subscription: Object, item: Object, period: tuple[int, int]) -> Object:
    line = {
        "id": new_id("il_1"),
        "object": "line_item",
        "amount": invoice["total"],
        "currency": invoice["currency"],
        "description": "1 × plan",
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": invoice["id"],
        "livemode": False,
        "metadata": dict(subscription["metadata"]),
        "parent": {
            "type": "subscription_item_details",
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": {"credited_items": None},
                "subscription": subscription["id"],
                "subscription_item": item["id"],
            },
        },
        "period": {"start": period[0], "end": period[1]},
        "pretax_credit_amounts": [],
        "pricing": {
            "type": "price_details",
            "price_details": {"price": item["price"]["id"], "product": item["price"]["product"]},
            "unit_amount_decimal": item["price"]["unit_amount_decimal"],
        },
        "quantity": item["quantity"],
        "subtotal": invoice["total"],
        "taxes": [],
    }
    return {
        "object": "list",
        "data": [line],
        "has_more": False,
        "url": f"/v1/invoices/{invoice['id']}/lines",
    }


def _payments(invoice: Object, intent: Object, now: int) -> Object:
    payment = {
        "id": new_id("inpay_1"),
        "object": "invoice_payment",
        "amount_paid": None,
        "amount_requested": invoice["amount_due"],
        "created": now,
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "is_default": True,
        "livemode": False,
        "payment": {"type": "payment_intent", "payment_intent": intent["id"]},
        "status": "open",
        "status_transitions": {"canceled_at": None, "paid_at": None},
    }
    return {
        "object": "list",
        "data": [payment],
        "has_more": False,
        "url": f"/v1/invoices/{invoice['id']}/payments",
    }
