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
    if snapshot is None:
        return None
    return snapshot.model_copy(update={"next_action": hide_action(snapshot.next_action)})


def hide_invoice(snapshot: InvoiceSnapshot | None) -> InvoiceSnapshot | None:
    if snapshot is None:
        return None
    return snapshot.model_copy(update={"next_action": hide_action(snapshot.next_action)})


def hide_subscription(snapshot: SubscriptionSnapshot | None) -> SubscriptionSnapshot | None:
    if snapshot is None:
        return None
    return snapshot.model_copy(update={"latest_invoice": hide_invoice(snapshot.latest_invoice)})


def hide_event(event: ProviderEvent) -> ProviderEvent:
    return event.model_copy(
        update={
            "payment": hide_payment(event.payment),
            "invoice": hide_invoice(event.invoice),
            "subscription": hide_subscription(event.subscription),
        }
    )
