"""A change of the interval that waits for the next period, where a provider's own clock bills.

Another price can be set at once, for it is billed from the next renewal on. Another interval cannot: a
provider bills it as soon as it hears of it. So the provider is told the date and makes the change itself,
and what it says afterwards decides whether it did. A provider that changes nothing is stopped at once, and
when the date comes, what stands there is ended and another one opened.
"""

from __future__ import annotations

from datetime import datetime

from models.plan_change import Offer
from models.snapshots import SubscriptionSnapshot
from models.states import SubscriptionStatus
from models.subscription import BillingClock, PendingChange, SubscriptionState, SubscriptionTerms

UNPAID = "an invoice is unpaid: the interval can change later once it is paid"
HELD = "a pause is agreed on: change the interval when it is over"


def needs_a_date(terms: SubscriptionTerms, state: SubscriptionState, offer: Offer) -> bool:
    """Whether the provider has to be told when. In a trial nothing is billed before the trial's end,
    whatever the interval."""
    anew = offer.billing_interval is not terms.billing_interval
    trialing = state.status is SubscriptionStatus.TRIALING
    return anew and terms.clock is BillingClock.PROVIDER and not trialing


def why_not_later(terms: SubscriptionTerms, state: SubscriptionState, offer: Offer) -> str | None:
    """What keeps the provider from being told, for the caller. How a date fares while nothing is billed,
    or while an invoice is unpaid, is documented by no provider."""
    if not needs_a_date(terms, state, offer):
        return None
    if state.is_held:
        return HELD
    return UNPAID if state.status is SubscriptionStatus.PAST_DUE else None


def begins_at(change: PendingChange | None) -> datetime | None:
    """The date that the provider was told, as long as it is to keep to it."""
    return change.at if change is not None and change.at_provider else None


def is_prepared(change: PendingChange | None) -> bool:
    """Whether the provider was asked for something that has to be undone before anything else."""
    return change is not None and (change.at_provider or change.replaces)


def was_dropped(change: PendingChange | None, found: SubscriptionSnapshot) -> bool:
    """Whether the change is not to come any more: somebody took it back at the provider. Before the date it
    must still be held, or the provider stopped; after it the new interval must run."""
    if change is None or change.at is None:
        return False
    if change.replaces:
        return not found.is_paused
    if not change.at_provider:
        return False
    if found.current_period_start < change.at:
        return not found.holds_change
    return found.billing_interval not in {None, change.offer.billing_interval}
