"""Card trials that were begun without a card: no provider knows of them before they are paid.

Whatever card the customer brings later, at whichever provider, can pay then. Nothing is charged before the
trial is over, because there is nothing that could be.
"""

from __future__ import annotations

from uuid import UUID

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from models.states import InvoiceStatus, SubscriptionEvent, SubscriptionStatus
    from models.subscription import OpenInvoice
    from workflows.collecting import choose_route, new_invoice
    from workflows.desk import Desk


def begin_without_card(desk: Desk) -> None:
    now, state = workflow.now(), desk.state
    state.trial_end = desk.terms.trial_end(now)
    state.current_period_start, state.current_period_end = now, state.trial_end
    state.provider = state.candidates[0] if state.candidates else None
    desk.move(SubscriptionEvent.TRIAL_STARTED)


def first_bill(desk: Desk) -> OpenInvoice:
    """The trial is over. Without a card the customer has the time of any who is past due."""
    now = workflow.now()
    invoice = new_invoice(desk, due_at=now, first=True, amount_minor=desk.terms.amount_minor)
    invoice.after_trial = True
    desk.invoice(invoice, InvoiceStatus.PENDING)
    if desk.state.payment_method_id is None:
        desk.move(SubscriptionEvent.PAYMENT_FAILED)
    return invoice


def lacks_provider(desk: Desk) -> bool:
    """Nobody has been asked for money yet, so a card of any provider will do."""
    began_without = desk.terms.payment_method_id is None and desk.terms.trial_days > 0
    return began_without and desk.state.provider_subscription_id is None


def needs_card(desk: Desk, payment_method_id: UUID | None) -> bool:
    known = payment_method_id or desk.state.payment_method_id
    return lacks_provider(desk) and known is None


async def route_to(desk: Desk) -> None:
    """A card is charged by whoever keeps it."""
    await choose_route(desk, payment_method_id=desk.state.payment_method_id)
    if desk.state.candidates:
        desk.state.provider = desk.state.candidates[0]
    if desk.state.invoice is not None:
        desk.state.invoice.candidate = 0


def drop_dead_start(desk: Desk) -> bool:
    """The provider has let go of a first payment there, after a trial or of one that replaces another, that
    came to nothing. Ours waits on: the next card makes a new start there. True when it was that."""
    state, invoice = desk.state, desk.state.invoice
    if state.status is not SubscriptionStatus.PAST_DUE or invoice is None:
        return False
    if not (invoice.first or invoice.stays):
        return False
    desk.drop_open_attempt(invoice, "canceled")
    state.provider_subscription_id = None
    invoice.provider_invoice_id = None
    desk.touch()
    return True
