"""Changing the plan of a Stripe subscription, with amounts that are ours to the centavo.

Stripe would prorate by itself, and in flexible billing by what was really debited; a preview of ours
could then be off. So every change is made with `proration_behavior=none`, and what is owed is collected
through an invoice of its own that carries our lines. It names no subscription: Stripe's clock, its
retries and `past_due` have no part in it.

A credit is a negative pending item of the subscription, never more than the next period's price, so that
no invoice of Stripe's falls below zero: that would end up in the balance of the *customer*, from where
any other subscription could eat it.
"""

from __future__ import annotations

import stripe
from stripe.params import (
    InvoiceAddLinesParams,
    InvoiceCreateParams,
    InvoicePayParams,
    SubscriptionUpdateParams,
)

from models.snapshots import InvoiceSnapshot, ProviderInvoiceStatus, SubscriptionSnapshot
from providers.drafts import ChangeDraft, SubscriptionChange
from providers.failures import FailureKind, ProviderFailure
from providers.stripe import mapping
from providers.stripe.amounts import to_stripe
from providers.stripe.calls import calling, keyed, read_back
from providers.stripe.schedules import Schedules, attached, brings, has_more, is_ours

PENDING_ITEMS_MAX = 100


class Changes:
    def __init__(self, client: stripe.StripeClient, schedules: Schedules) -> None:
        self._v1 = client.v1
        self._schedules = schedules

    async def prepare(self, draft: ChangeDraft) -> str:
        """A draft with `auto_advance` off is never finalised, let alone paid, by itself."""
        params: InvoiceCreateParams = {
            "customer": draft.provider_customer_id,
            "currency": draft.currency.lower(),
            "auto_advance": False,
            "collection_method": "charge_automatically",
            "pending_invoice_items_behavior": "exclude",
            "payment_settings": {"payment_method_types": ["card"]},
            "metadata": {
                "subscription_id": draft.subscription_id,
                "invoice_id": draft.invoice_id,
                "attempt_id": draft.attempt_id,
            },
        }
        lines: InvoiceAddLinesParams = {
            "lines": [
                {
                    "description": description,
                    "amount": to_stripe(amount_minor, draft.currency),
                }
                for description, amount_minor in draft.lines
            ]
        }
        with calling():
            made = await self._v1.invoices.create_async(
                params, keyed("change-invoice", draft.attempt_id)
            )
            invoice_id = str(made.id)
            await self._v1.invoices.add_lines_async(
                invoice_id, lines, keyed("change-lines", draft.attempt_id)
            )
        return invoice_id

    async def commit(self, draft: ChangeDraft, invoice_id: str) -> InvoiceSnapshot:
        params: InvoicePayParams = {"off_session": True}
        if draft.provider_payment_method_id is not None:
            params["payment_method"] = draft.provider_payment_method_id
        try:
            with calling(invoice_id):
                await self._v1.invoices.finalize_invoice_async(
                    invoice_id, {"auto_advance": False}, keyed("finalize", draft.attempt_id)
                )
                paid = await self._v1.invoices.pay_async(
                    invoice_id, params, keyed("pay", draft.attempt_id)
                )
                return mapping.invoice(paid)
        except ProviderFailure as failure:
            if failure.kind is not FailureKind.REJECTED:
                raise
            # Perhaps it was paid before and the key is forgotten: then it is no failure.
            found = mapping.invoice(await read_back(self._invoice(invoice_id), invoice_id))
            if found.status is not ProviderInvoiceStatus.PAID:
                raise
            return found

    async def cancel(self, invoice_id: str) -> InvoiceSnapshot:
        """Finalised first, because a draft can only be deleted, and what is deleted cannot be read."""
        found = await self._invoice(invoice_id)
        if found.status == "draft":
            found = await self._closed(invoice_id, finalize=True)
        if found.status in {"open", "uncollectible"}:
            found = await self._closed(invoice_id, finalize=False)
        return mapping.invoice(found)

    async def _closed(self, invoice_id: str, *, finalize: bool) -> stripe.Invoice:
        """One step further; a refusal means that somebody was faster, which reading tells."""
        try:
            with calling(invoice_id):
                if finalize:
                    return await self._v1.invoices.finalize_invoice_async(
                        invoice_id, {"auto_advance": False}
                    )
                return await self._v1.invoices.void_invoice_async(
                    invoice_id, {}, keyed("void", invoice_id)
                )
        except ProviderFailure as failure:
            if failure.kind is not FailureKind.REJECTED:
                raise
            return await self._invoice(invoice_id)

    async def _invoice(self, invoice_id: str) -> stripe.Invoice:
        with calling(invoice_id):
            return await self._v1.invoices.retrieve_async(invoice_id)

    # The subscription ------------------------------------------------------------------------------

    async def change(self, change: SubscriptionChange) -> SubscriptionSnapshot:
        """Looks first, so that it may be repeated: a period that has begun is not begun again."""
        found = await self._subscription(change.provider_subscription_id)
        anew = mapping.interval_of(found.items.data[0]) is not change.billing_interval
        if change.begins_at is not None and anew and found.status != "trialing":
            # Another price alone is billed from the next renewal on, whenever it is set.
            await self._schedules.hold(found, change)
        else:
            await self._make_now(found, change)
        await self._set_pending(change, change.credit_minor, "credit")
        with calling(change.provider_subscription_id):
            return mapping.subscription(await self._subscription(change.provider_subscription_id))

    async def _make_now(self, found: stripe.Subscription, change: SubscriptionChange) -> None:
        item, schedule = found.items.data[0], attached(found)
        differs = (item.price.id, item.quantity) != (change.provider_plan_id, change.quantity)
        if schedule is not None and is_ours(schedule):
            if differs and not change.restart and brings(schedule, change):
                return  # Stripe is about to make it: its clock and ours differ by a moment.
            if differs or has_more(schedule):
                await self._schedules.release(schedule.id)
        if differs:
            if change.restart:
                await self._set_pending(change, change.amount_minor, "prepaid")
            await self._update(change, item.id)

    async def _update(self, change: SubscriptionChange, item_id: str) -> None:
        params: SubscriptionUpdateParams = {
            "items": [
                {"id": item_id, "price": change.provider_plan_id, "quantity": change.quantity}
            ],
            "proration_behavior": "none",
        }
        if change.restart:
            params["billing_cycle_anchor"] = {"type": "now"}
        with calling(change.provider_subscription_id):
            await self._v1.subscriptions.update_async(
                change.provider_subscription_id,
                params,
                # With the price, for an archived one is replaced and the change sent again.
                keyed("change", f"{change.change_id}:{change.provider_plan_id}"),
            )

    async def _set_pending(self, change: SubscriptionChange, amount_minor: int, kind: str) -> None:
        """Make what the next invoice takes off exactly this much."""
        wanted = -to_stripe(amount_minor, change.currency)
        with calling(change.provider_subscription_id):
            pending = await self._v1.invoice_items.list_async(
                {
                    "customer": change.provider_customer_id,
                    "pending": True,
                    "limit": PENDING_ITEMS_MAX,
                }
            )
            ours = [one for one in pending.data if _is_ours(one, change.provider_subscription_id)]
            if [one.amount for one in ours] == ([wanted] if wanted else []):
                return
            for one in ours:
                await self._v1.invoice_items.delete_async(one.id)
            if wanted:
                await self._v1.invoice_items.create_async(
                    {
                        "customer": change.provider_customer_id,
                        "subscription": change.provider_subscription_id,
                        "amount": wanted,
                        "currency": change.currency.lower(),
                        "description": _DESCRIPTION[kind],
                        "metadata": {mapping.KIND: kind},
                    }
                )

    async def _subscription(self, subscription_id: str) -> stripe.Subscription:
        with calling(subscription_id):
            return await self._v1.subscriptions.retrieve_async(
                subscription_id, {"expand": ["latest_invoice", "schedule"]}
            )


_DESCRIPTION = {"credit": "Paid with credit", "prepaid": "Paid with the change of the plan"}


def _is_ours(item: stripe.InvoiceItem, subscription_id: str) -> bool:
    details = item.parent.subscription_details if item.parent else None
    subscription = None if details is None else mapping.reference(details.subscription)
    return subscription == subscription_id and mapping.our(item.metadata, mapping.KIND) is not None
