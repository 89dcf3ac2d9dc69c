"""Stripe's period boundaries: months counted from the anchor, never from the last boundary."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

MONTHS_BY_INTERVAL = {"month": 1, "year": 12}
SECONDS_BY_INTERVAL = {"day": 86_400, "week": 604_800}


# Asked for again whenever the clock moves.
@lru_cache(maxsize=10_000)
def boundary(anchor: int, interval: str, interval_count: int, number: int) -> int:
    """Unix seconds of boundary `number`; 0 is the anchor. A day that a month lacks is its last day."""
    if interval in SECONDS_BY_INTERVAL:
        return anchor + number * interval_count * SECONDS_BY_INTERVAL[interval]
    start = datetime.fromtimestamp(anchor, UTC)
    months = start.month - 1 + number * interval_count * MONTHS_BY_INTERVAL[interval]
    year, month = start.year + months // 12, months % 12 + 1
    for day in range(start.day, 27, -1):
        try:
            return int(start.replace(year=year, month=month, day=day).timestamp())
        except ValueError:
            continue
    return int(start.replace(year=year, month=month).timestamp())
