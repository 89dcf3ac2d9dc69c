"""Billing periods computed from an anchor, so that they never drift.

The anchor is the instant at which the subscription began, seen in the customer's time zone. Boundary
`n` is the anchor's local day and time moved by `n` intervals: a day that a month lacks becomes that
month's last day *for that month alone* (31 January, 28 February, 31 March). Nothing is ever computed
from the previous boundary; that is how anchors on day 31 slide to 28 and stay there.
"""

from __future__ import annotations

import calendar
from datetime import UTC, datetime
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AwareDatetime, BaseModel, ConfigDict


class BillingInterval(StrEnum):
    MONTHLY = "monthly"
    YEARLY = "yearly"


MONTHS_BY_INTERVAL: dict[BillingInterval, int] = {
    BillingInterval.MONTHLY: 1,
    BillingInterval.YEARLY: 12,
}


class BillingPeriod(BaseModel):
    """One period: `start` is inside, `end` is not. Both are UTC instants."""

    model_config = ConfigDict(frozen=True)

    number: int
    start: AwareDatetime
    end: AwareDatetime


def check_time_zone(name: str) -> str:
    """Return `name` when it is an IANA time zone; raises ValueError otherwise."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is not an IANA time zone") from error
    return name


def boundary(anchor: datetime, time_zone: str, interval: BillingInterval, number: int) -> datetime:
    """The UTC instant at which period `number` begins (0 is the anchor itself)."""
    if anchor.tzinfo is None:
        raise ValueError("the anchor must be an aware datetime")
    if number == 0:
        return anchor.astimezone(UTC)
    zone = ZoneInfo(time_zone)
    local = anchor.astimezone(zone)
    months = local.year * 12 + (local.month - 1) + number * MONTHS_BY_INTERVAL[interval]
    year, month = divmod(months, 12)
    month += 1
    day = min(local.day, calendar.monthrange(year, month)[1])
    # A local time that a clock change skips or repeats is read with the offset before the change
    # (fold=0); the conversion to UTC then lands on one definite instant.
    moved = local.replace(year=year, month=month, day=day, fold=0)
    return moved.astimezone(UTC)


def period(
    anchor: datetime, time_zone: str, interval: BillingInterval, number: int
) -> BillingPeriod:
    """Period `number`, counted from 0."""
    return BillingPeriod(
        number=number,
        start=boundary(anchor, time_zone, interval, number),
        end=boundary(anchor, time_zone, interval, number + 1),
    )
