"""The subscription's row, as the API shows it, from what its workflow knows."""

from __future__ import annotations

from typing import Any

from models.disputes import risk_of
from models.dunning import MESSAGE_BY_CLASS, collection
from models.moments import next_moment, paid_until
from models.projections import SubscriptionProjection
from models.states import TERMINAL_STATUSES
from models.subscription import PendingChange, SubscriptionState, SubscriptionTerms


def subscription_row(terms: SubscriptionTerms, state: SubscriptionState) -> SubscriptionProjection:
    moment = next_moment(terms, state)
    return SubscriptionProjection(
        id=terms.subscription_id,
        version=state.version,
        status=state.status,
        provider=state.provider,
        provider_subscription_id=state.provider_subscription_id,
        provider_customer_id=state.provider_customer_id,
        payment_method_id=state.payment_method_id,
        current_period_start=state.current_period_start,
        current_period_end=state.current_period_end,
        paid_ahead_until=state.paid_ahead_until,
        trial_end=state.trial_end,
        cancel_at_period_end=state.cancel_at_period_end,
        canceled_at=state.canceled_at,
        paused_at=state.paused_at,
        resume_at=state.resume_at if state.is_held else None,
        access_until=state.access_until,
        pending_change=_pending_change(state),
        collection=_collection(terms, state),
        risk=risk_of(state),
        plan_id=terms.plan_id,
        billing_interval=terms.billing_interval,
        quantity=terms.quantity,
        amount_minor=terms.amount_minor,
        credit_minor=state.credit_minor,
        next_step=str(moment.step) if moment else None,
        next_step_at=moment.at if moment else None,
    )


def _collection(terms: SubscriptionTerms, state: SubscriptionState) -> dict[str, Any] | None:
    found = collection(terms, state)
    if found is None or state.invoice is None:
        return None
    decline = state.invoice.last_decline
    return {
        "attempts_made": found.attempts_made,
        "attempts_left": found.attempts_left,
        "next_attempt_at": found.next_attempt_at.isoformat() if found.next_attempt_at else None,
        "last_decline": decline
        and {
            "class": str(decline.decline_class),
            "code": decline.code,
            "message": MESSAGE_BY_CLASS[decline.decline_class],
        },
        "ends_at": found.ends_at.isoformat() if found.ends_at else None,
    }


def _pending_change(state: SubscriptionState) -> dict[str, Any] | None:
    if state.status in TERMINAL_STATUSES:
        return None
    if state.cancel_requested:
        return {"type": "cancel", "at": None}
    end = paid_until(state)
    if state.cancel_at_period_end and end is not None:
        return {"type": "cancel", "at": end.isoformat()}
    change = _waiting_change(state.change) if state.change is not None else None
    if state.pause_at is not None:
        # Both come with the period's end, the change first.
        both = {"change": change} if change is not None else {}
        return {"type": "pause", "at": state.pause_at.isoformat(), **both}
    return change


def _waiting_change(change: PendingChange) -> dict[str, Any]:
    return {
        "type": "change",
        "at": change.at.isoformat() if change.at is not None else None,
        "invoice_id": str(change.invoice_id) if change.invoice_id is not None else None,
        **change.offer.model_dump(mode="json", exclude={"plan_name"}),
    }
