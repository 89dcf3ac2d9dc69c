"""Monthly recurring revenue: what running subscriptions bring in a month, pure rules."""

from __future__ import annotations

from fractions import Fraction

from models.calendar import MONTHS_BY_INTERVAL, BillingInterval
from models.states import SubscriptionStatus

# Who is in trial or paused pays nothing yet; who is past due is still a customer until dunning ends.
COUNTED_STATUSES = frozenset({SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE})


def monthly_amount_minor(amount_minor: int, interval: BillingInterval) -> Fraction:
    """A period's amount as a month's, exactly: a sum is rounded once, not each of its parts."""
    return Fraction(amount_minor, MONTHS_BY_INTERVAL[interval])


def round_minor(amount: Fraction) -> int:
    """To whole minor units, halves up."""
    return (amount + Fraction(1, 2)).__floor__()
