"""Revenue month by month: what a change of a subscription adds to or takes from it, pure rules.

The past is read backwards from what is: the audit log says of each change what was before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from typing import Any

from models.calendar import BillingInterval
from models.recurring import COUNTED_STATUSES, monthly_amount_minor
from models.states import TERMINAL_STATUSES, SubscriptionStatus

_BEFORE_THE_FIRST_PAYMENT = frozenset({SubscriptionStatus.INCOMPLETE, SubscriptionStatus.TRIALING})


class Movement(StrEnum):
    """Why the revenue of a month's end is not that of its beginning."""

    NEW = "new"  # The first payment.
    RESUMED = "resumed"
    EXPANSION = "expansion"
    CONTRACTION = "contraction"
    PAUSED = "paused"
    CHURNED = "churned"


@dataclass(frozen=True)
class Standing:
    """What decides a subscription's revenue at one moment. `amount_minor` is per interval."""

    status: SubscriptionStatus
    amount_minor: int
    interval: BillingInterval

    @property
    def counts(self) -> bool:
        return self.status in COUNTED_STATUSES

    @property
    def monthly_minor(self) -> Fraction:
        if not self.counts:
            return Fraction(0)
        return monthly_amount_minor(self.amount_minor, self.interval)


@dataclass(frozen=True)
class Entry:
    """A line of the audit log about one subscription."""

    at: datetime
    action: str
    before: Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    at: datetime
    before: Standing
    after: Standing

    @property
    def difference_minor(self) -> Fraction:
        return self.after.monthly_minor - self.before.monthly_minor

    @property
    def movement(self) -> Movement | None:
        """None when the revenue stays as it is."""
        before, after = self.before, self.after
        if before.counts and not after.counts:
            return Movement.CHURNED if after.status in TERMINAL_STATUSES else Movement.PAUSED
        if after.counts and not before.counts:
            is_first = before.status in _BEFORE_THE_FIRST_PAYMENT
            return Movement.NEW if is_first else Movement.RESUMED
        if self.difference_minor == 0:
            return None
        return Movement.EXPANSION if self.difference_minor > 0 else Movement.CONTRACTION


@dataclass
class Month:
    """One currency in one month. Amounts are exact and positive; rounded when they are told."""

    start_minor: Fraction = Fraction(0)
    end_minor: Fraction = Fraction(0)
    paying_at_start: int = 0
    amounts: dict[Movement, Fraction] = field(
        default_factory=lambda: dict.fromkeys(Movement, Fraction(0))
    )
    counts: dict[Movement, int] = field(default_factory=lambda: dict.fromkeys(Movement, 0))
    recovered: int = 0
    lost: int = 0

    def add(self, step: Step) -> None:
        movement = step.movement
        if movement is not None:
            self.amounts[movement] += abs(step.difference_minor)
            self.counts[movement] += 1
        if step.before.status is SubscriptionStatus.PAST_DUE:
            self.recovered += step.after.status is SubscriptionStatus.ACTIVE
            self.lost += step.after.status in TERMINAL_STATUSES


def steps(now: Standing, newest_first: Iterable[Entry]) -> Iterator[Step]:
    """Each change of a subscription that stands at `now`, newest first."""
    after = now
    for entry in newest_first:
        before = undone(after, entry)
        if before != after:
            yield Step(entry.at, before, after)
        after = before


def undone(after: Standing, entry: Entry) -> Standing:
    """What stood before the entry. One that tells of something else changes nothing."""
    told = entry.before
    if entry.action == "change":
        interval = BillingInterval(told["billing_interval"])
        return replace(after, amount_minor=told["amount_minor"], interval=interval)
    if "status" in told:
        return replace(after, status=SubscriptionStatus(told["status"]))
    return after


def rate(part: int, of: int) -> float | None:
    """A share with four decimals; None when there is nothing that it could be of."""
    return round(part / of, 4) if of else None
