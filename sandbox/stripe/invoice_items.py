"""Invoice items that wait for a subscription's next invoice, and invoices of their own."""

from __future__ import annotations

from sandbox.core import Call
from sandbox.stripe import objects
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
from sandbox.stripe.invoices import Invoices, line_of, total_up
from sandbox.stripe.refusals import Refusal
from sandbox.stripe.world import Object, World


class InvoiceItems:
    def __init__(self, world: World, invoices: Invoices) -> None:
        self.world = world
        self.invoices = invoices

    # Items.

    def create(self, params: Params, call: Call) -> Object:
        only(
            params, "customer", "subscription", "amount", "currency", "description", "metadata",
            "discountable",
        )  # fmt: skip
        owner = self.world.get("customers", text(params, "customer"), "customer")
        subscription = self.world.get("subscriptions", text(params, "subscription"), "subscription")
        currency = text(params, "currency")
        if subscription["customer"] != owner["id"] or subscription["currency"] != currency:
            raise Refusal(400, "The subscription has another customer or currency.")
        made = objects.invoice_item(
            self.world.now(),
            integer(params, "amount"),
            currency,
            customer=owner["id"],
            description=optional_text(params, "description"),
            metadata=mapping(params, "metadata"),
            parent={
                "type": "subscription_details",
                "subscription_details": {"subscription": subscription["id"]},
            },
        )
        self.world.put("invoiceitems", made)
        self.world.emit("invoiceitem.created", made)
        return made

    def list_items(self, params: Params, call: Call) -> Object:
        only(params, "customer", "pending", "invoice", "limit", "starting_after")
        chosen = [
            item
            for item in self.world.all("invoiceitems").values()
            if optional_text(params, "customer") in {None, item["customer"]}
            and ("pending" not in params or (item["invoice"] is None) == boolean(params, "pending"))
        ]
        return self.world.page("/v1/invoiceitems", chosen, params)

    def delete(self, params: Params, call: Call, item: str) -> Object:
        only(params)
        found = self.world.get("invoiceitems", item, "invoiceitem")
        if found["invoice"] is not None:
            raise Refusal(400, "This invoice item is on an invoice that is no longer a draft.")
        del self.world.all("invoiceitems")[item]
        self.world.emit("invoiceitem.deleted", found)
        return {"id": item, "object": "invoiceitem", "deleted": True}

    # Invoices that no subscription makes.

    def create_invoice(self, params: Params, call: Call) -> Object:
        only(
            params, "customer", "currency", "auto_advance", "collection_method", "metadata",
            "pending_invoice_items_behavior", "payment_settings", "description",
        )  # fmt: skip
        owner = self.world.get("customers", text(params, "customer"), "customer")
        if boolean(params, "auto_advance"):
            raise Refusal(400, "The sandbox does not advance an invoice by itself.")
        if optional_text(params, "pending_invoice_items_behavior") == "include":
            raise Refusal(400, "The sandbox does not collect pending items this way.")
        settings = mapping(params, "payment_settings")
        now = self.world.now()
        made = objects.invoice(
            now,
            0,
            text(params, "currency"),
            **self.invoices.about(owner),
            billing_reason="manual",
            description=optional_text(params, "description"),
            metadata=mapping(params, "metadata"),
            parent=None,
            payment_settings={
                "default_mandate": None,
                "payment_method_options": None,
                "payment_method_types": strings(settings, "payment_method_types") or None,
            },
            period_start=now,
            period_end=now,
        )
        made["lines"] = {
            "object": "list",
            "data": [],
            "has_more": False,
            "url": f"/v1/invoices/{made['id']}/lines",
        }
        self.world.put("invoices", made)
        self.world.emit("invoice.created", made)
        return made

    def add_lines(self, params: Params, call: Call, invoice: str) -> Object:
        only(params, "lines", "invoice_metadata")
        found = self._draft(invoice)
        lines = params.get("lines")
        if not isinstance(lines, list) or not lines:
            raise Refusal(400, "Missing required param: lines.", param="lines")
        for line in lines:
            only(line, "amount", "description", "metadata", "discountable", "period")
            amount = integer(line, "amount")
            now = self.world.now()
            item = objects.invoice_item(
                now,
                amount,
                found["currency"],
                customer=found["customer"],
                description=optional_text(line, "description"),
                invoice=invoice,
            )
            self.world.put("invoiceitems", item)
            found["lines"]["data"].append(line_of(item, invoice))
        total_up(found)
        self.world.emit("invoice.updated", found)
        return found

    def finalize(self, params: Params, call: Call, invoice: str) -> Object:
        only(params, "auto_advance")
        found = self._draft(invoice)
        if found["total"] < 0:
            raise Refusal(400, "The sandbox keeps no balance for a negative invoice.")
        self.invoices.finalize(found)
        return found

    def _draft(self, invoice: str) -> Object:
        found = self.world.get("invoices", invoice, "invoice")
        if found["status"] != "draft":
            raise Refusal(
                400,
                f"This invoice is already finalized, you can't re-finalize a non-draft invoice: "
                f"{found['status']}.",
                code="invoice_not_editable",
            )
        return found
