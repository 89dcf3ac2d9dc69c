"""What follows when a customer has a payment taken back through the bank. Pure rules."""

from __future__ import annotations

from models.snapshots import DisputeStatus
from models.subscription import DISPUTE_IDS_MAX, SubscriptionState

DISPUTED = "disputed"

# What is decided is never open again, however late a report of its beginning comes; but a bank may
# decide otherwise on appeal.
DISPUTE_TRANSITIONS: dict[DisputeStatus, frozenset[DisputeStatus]] = {
    DisputeStatus.OPEN: frozenset(DisputeStatus),
    DisputeStatus.LOST: frozenset({DisputeStatus.LOST, DisputeStatus.WON}),
    DisputeStatus.WON: frozenset({DisputeStatus.WON}),
}


def follow(before: DisputeStatus | None, seen: DisputeStatus) -> DisputeStatus:
    """The status after the provider said `seen`."""
    if before is None or seen in DISPUTE_TRANSITIONS[before]:
        return seen
    return before


def note_dispute(state: SubscriptionState, dispute_id: str, status: DisputeStatus) -> bool:
    """Remember the dispute; True when this is the first that is heard of it and the plan's rule applies:
    one that was won before we knew of it changes nothing."""
    is_new = dispute_id not in {*state.open_dispute_ids, *state.closed_dispute_ids}
    if status is DisputeStatus.OPEN:
        if is_new:
            state.open_dispute_ids = [*state.open_dispute_ids, dispute_id][-DISPUTE_IDS_MAX:]
    else:
        state.open_dispute_ids = [one for one in state.open_dispute_ids if one != dispute_id]
        others = [one for one in state.closed_dispute_ids if one != dispute_id]
        state.closed_dispute_ids = [*others, dispute_id][-DISPUTE_IDS_MAX:]
    return is_new and status is not DisputeStatus.WON


def risk_of(state: SubscriptionState) -> str | None:
    """Why an operator should look at the subscription; None when there is no reason."""
    return DISPUTED if state.open_dispute_ids else None
