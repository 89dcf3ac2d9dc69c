"""Telling applications by webhook: what goes where, when it is tried again, when an endpoint is given up.

Pure rules. The clock, the tables and the network are `activities.outbox`'s and `api.outbound`'s.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum

# Version of the events' shape. It goes up only when a field changes its meaning or goes away; new types
# and new fields come without notice.
EVENTS_VERSION = 1
EVERYTHING = "*"


class EndpointStatus(StrEnum):
    ENABLED = "enabled"
    PAUSED = "paused"  # By us: it has failed for long. What happens meanwhile is kept for it.
    DISABLED = "disabled"  # By the application, or because it answered 410. Nothing is kept for it.


class StatusReason(StrEnum):
    BY_REQUEST = "by_request"
    GONE = "gone"
    FAILING = "failing"


class DeliveryStatus(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"  # Given up.
    SKIPPED = "skipped"  # The endpoint was disabled before its turn came.


# Close together first, for a receiver that is being deployed; hours apart later, for one that nobody
# looks after at night. The last pause is repeated until the window ends.
PAUSES: tuple[timedelta, ...] = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=1),
    timedelta(hours=2),
    timedelta(hours=4),
    timedelta(hours=8),
    timedelta(hours=12),
)
# A long weekend. What is not delivered then is given up, and can be replayed.
RETRY_WINDOW = timedelta(days=3)
# Each pause is up to a fifth longer, so that many subscriptions do not come back in step.
_JITTER_PART = 0.2

# From that many failures in a row on, with no delivery between them, one event at a time is tried.
FAILING_AFTER = 5
_HOLD_SECONDS_MAX = 60
# Before the first event would be given up, so that an endpoint that is wholly down loses nothing.
PAUSE_AFTER = timedelta(days=2)


def next_try_at(
    failures: int, trying_since: datetime, at: datetime, jitter: float
) -> datetime | None:
    """When an event is tried again after its `failures`-th failure in a row, at `at`; None gives it up.

    `jitter` is from 0 to 1. The last try is at the end of the window to the second.
    """
    if failures < 1 or not 0 <= jitter <= 1:
        raise ValueError("a try comes after a failure, and jitter is a part of one")
    end = trying_since + RETRY_WINDOW
    if at >= end:
        return None
    pause = PAUSES[min(failures, len(PAUSES)) - 1]
    return min(at + pause * (1 + _JITTER_PART * jitter), end)


def hold_for(consecutive_failures: int) -> timedelta | None:
    """How long an endpoint is left alone after that many failures in a row; None when it is not."""
    beyond = consecutive_failures - FAILING_AFTER
    if beyond < 0:
        return None
    return timedelta(seconds=min(2 ** min(beyond, 10), _HOLD_SECONDS_MAX))


def is_to_be_paused(consecutive_failures: int, failing_since: datetime, at: datetime) -> bool:
    """Whether an endpoint has failed for so long that trying on makes no sense."""
    return consecutive_failures >= FAILING_AFTER and at - failing_since >= PAUSE_AFTER


def matches(pattern: str, event_type: str) -> bool:
    """`*`, the name of an event, or the first part of names: `invoice.*`. `activities.outbox` says the
    same in SQL."""
    if pattern.endswith(EVERYTHING):
        return event_type.startswith(pattern.removesuffix(EVERYTHING))
    return pattern == event_type


def is_pattern(text: str, known: Collection[str]) -> bool:
    """Whether it is `*`, or chooses at least one of the known events by name or by whole first parts."""
    if EVERYTHING in text and text != EVERYTHING and not text.endswith(f".{EVERYTHING}"):
        return False
    return any(matches(text, event_type) for event_type in known)
