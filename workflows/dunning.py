"""Collecting what was not paid, as both billing clocks do it. The rules are in models/dunning.py."""

from __future__ import annotations

from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from models import dunning
    from models.billing_policy import OnUnpaid
    from models.outcomes import DeclineClass
    from models.snapshots import Decline
    from models.states import InvoiceStatus, SubscriptionEvent, SubscriptionStatus
    from models.subscription import BillingClock, OpenInvoice
    from workflows.collecting import give_up
    from workflows.desk import Desk


def count_try(invoice: OpenInvoice, at: datetime) -> None:
    """Money is asked for, by us or by the provider's own clock: the networks count it."""
    dunning.count_try(invoice, at)


def declined(desk: Desk, invoice: OpenInvoice, decline: Decline | None) -> None:
    """A hard decline is never retried; a soft one by schedule; and the customer may act first."""
    policy, now = desk.terms.policy, workflow.now()
    invoice.declines += 1
    invoice.last_decline = decline or Decline(decline_class=DeclineClass.SOFT, code="declined")
    since = desk.state.past_due_since or now
    invoice.next_try_at = dunning.next_try_at(policy, invoice, since, now)
    next_try_at = invoice.next_try_at
    desk.emit(
        "invoice.payment_failed",
        invoice_id=str(invoice.invoice_id),
        decline_class=str(invoice.last_decline.decline_class),
        attempts_left=dunning.tries_left(policy, invoice),
        next_attempt_at=next_try_at.isoformat() if next_try_at else None,
    )
    desk.move(SubscriptionEvent.PAYMENT_FAILED)


def end_collection(desk: Desk, invoice: OpenInvoice) -> None:
    """The last chance has passed: what then happens is the plan's."""
    if ends_unpaid(desk):
        give_up(desk, invoice)
    else:
        exhaust(desk, invoice)


def ends_unpaid(desk: Desk) -> bool:
    """Whether an invoice that nobody paid ends the subscription. A start that was never paid always does:
    there is nothing to keep."""
    status = desk.state.status
    return status is SubscriptionStatus.INCOMPLETE or desk.terms.policy.on_unpaid is OnUnpaid.CANCEL


def exhaust(desk: Desk, invoice: OpenInvoice, *, stopped: bool = True) -> None:
    """Nothing is tried by itself any more, and the plan keeps the subscription: it is paused or stays
    past due, and its invoice stays open for whoever pays it. `stopped`: nobody else bills it."""
    invoice.next_try_at = None
    invoice.exhausted_at = workflow.now()
    desk.drop_open_attempt(invoice, "gave_up")
    desk.invoice(invoice, InvoiceStatus.PENDING)
    desk.emit("invoice.collection_ended", invoice_id=str(invoice.invoice_id))
    desk.move(SubscriptionEvent.PAYMENT_FAILED)
    if stopped and desk.terms.policy.on_unpaid is OnUnpaid.PAUSE:
        desk.state.suspended_at = desk.state.suspended_at or workflow.now()
        desk.move(SubscriptionEvent.PAUSED)


def customer_acts(desk: Desk, *, brought_method: bool) -> None:
    """Somebody asks for the invoice to be collected now: allowed after a hard decline too."""
    invoice = desk.state.invoice
    if invoice is None:
        return
    invoice.next_try_at = None
    invoice.exhausted_at = None
    if brought_method:
        dunning.begin_anew(invoice, workflow.now())


def may_try_from(desk: Desk) -> datetime | None:
    """When the networks allow one more try at the open invoice; None when they do now."""
    invoice, now = desk.state.invoice, workflow.now()
    if invoice is None or desk.terms.clock is BillingClock.ENGINE:
        return None
    at = dunning.allowed_at(invoice.tried_at, now)
    return at if at > now else None


def recover(desk: Desk) -> None:
    """Its invoice is paid: what was paused for want of money goes on."""
    if desk.state.suspended_at is None:
        return
    desk.state.suspended_at = None
    if desk.state.status is SubscriptionStatus.PAUSED:
        desk.move(SubscriptionEvent.RESUMED)


def take_over(desk: Desk, invoice: OpenInvoice) -> None:
    """The provider billed another period while the one before is unpaid: that one is not collected any
    more. The new one has a schedule of its own, unless the subscription is paused for want of money."""
    before, now = desk.state.invoice, workflow.now()
    if before is None or before.invoice_id == invoice.invoice_id:
        return
    desk.drop_open_attempt(before, "superseded")
    desk.invoice(before, InvoiceStatus.FAILED)
    desk.emit("invoice.failed", invoice_id=str(before.invoice_id))
    invoice.collecting_since = now
    if desk.state.suspended_at is not None:
        invoice.exhausted_at = now
