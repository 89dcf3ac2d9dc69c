"""Where a run of reconciliation begins, so that whatever was cut off, nothing is skipped. Pure rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

# A first run looks back a week: longer than any voucher lives at Stripe.
FIRST_LOOK = timedelta(days=7)
# Runs overlap, because an object that is made during one may show late in a list.
OVERLAP = timedelta(hours=1)


@dataclass(frozen=True)
class RunBefore:
    """The latest run that is neither dry nor aside. `chain_started_at` is when the first run of those began
    that went on where the one before was cut off."""

    since: datetime
    chain_started_at: datetime
    finished: bool
    cursor: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Beginning:
    """`is_aside`: it leaves out something that is due, so what was due stays due after it."""

    since: datetime
    chain_started_at: datetime
    cursor: dict[str, Any] = field(default_factory=dict)
    is_aside: bool = False


def where_to_begin(before: RunBefore | None, wanted: datetime | None, at: datetime) -> Beginning:
    """`wanted` is what somebody asked for. The parts that a cut-off run was done with were looked at when its
    chain began and not when it ended, so the run after a chain looks back to there."""
    if before is None:
        due = Beginning(at - FIRST_LOOK, at)
    elif before.finished:
        due = Beginning(before.chain_started_at - OVERLAP, at)
    else:
        due = Beginning(before.since, before.chain_started_at, before.cursor)
    if wanted is None:
        return due
    return Beginning(wanted, at, is_aside=wanted > due.since)
