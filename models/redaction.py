"""What must never reach a workflow's history: the secrets that belong to one customer's browser.

They are kept in the attempts ledger, from which the API shows them to the app; a workflow only needs to
know that the customer has something to do.
"""

from __future__ import annotations

from models.events import ProviderEvent
from models.outcomes import ConfirmPayment, NextAction
from models.snapshots import InvoiceSnapshot, PaymentSnapshot, SubscriptionSnapshot

HIDDEN = ""


def hide_action(action: NextAction | None) -> NextAction | None:
    if isinstance(action, ConfirmPayment):
        return action.model_copy(update={"client_secret": HIDDEN})
    return action


def hide_payment(snapshot: PaymentSnapshot | None) -> PaymentSnapshot | None:
    if snapshot is None or snapshot.next_action is None:
        return snapshot
    return snapshot.model_copy(update={"next_action": hide_action(snapshot.next_action)})


def hide_invoice(snapshot: InvoiceSnapshot | None) -> InvoiceSnapshot | None:
    if snapshot is None or snapshot.next_action is None:
        return snapshot
    return snapshot.model_copy(update={"next_action": hide_action(snapshot.next_action)})


def hide_subscription(snapshot: SubscriptionSnapshot | None) -> SubscriptionSnapshot | None:
    if snapshot is None:
        return None
    hidden = hide_invoice(snapshot.latest_invoice)
    if hidden is snapshot.latest_invoice:
        return snapshot
    return snapshot.model_copy(update={"latest_invoice": hidden})


def hide_event(event: ProviderEvent) -> ProviderEvent:
    """The event itself when there is nothing in it to hide: copying is a part of what a webhook costs."""
    hidden = {
        "payment": hide_payment(event.payment),
        "invoice": hide_invoice(event.invoice),
        "subscription": hide_subscription(event.subscription),
    }
    changed = {name: value for name, value in hidden.items() if value is not getattr(event, name)}
    return event.model_copy(update=changed) if changed else event
