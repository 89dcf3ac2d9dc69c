"""What follows when a customer has a payment taken back through the bank. Pure rules."""

from __future__ import annotations

from models.subscription import SubscriptionState

DISPUTED = "disputed"


def risk_of(state: SubscriptionState) -> str | None:
    """Why an operator should look at the subscription; None when there is no reason."""
    return DISPUTED if state.open_dispute_ids else None
