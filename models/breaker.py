"""When a provider is asked, and when it is left alone for a while. Pure: rows in, decisions out.

Closed: everybody may ask. After `FAILURES_TO_OPEN` failures in a row within `WINDOW` it opens: nobody
asks for `OPEN_FOR`. Then one caller at a time may probe (half open); a success closes it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

# Five lost calls in a row are an outage, not bad luck; hyperscale breakers use the same order.
FAILURES_TO_OPEN = 5
WINDOW = timedelta(minutes=2)
OPEN_FOR = timedelta(seconds=30)
# A probe that never reports (its worker died) does not keep the others away for longer than this.
PROBE_FOR = timedelta(seconds=20)


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Health(NamedTuple):
    """What all workers share about one provider account.

    `opened_at` moves with every failed probe; `open_since` is when the first of them opened it.
    """

    failures: int = 0
    last_failure_at: datetime | None = None
    opened_at: datetime | None = None
    probe_until: datetime | None = None
    open_since: datetime | None = None
    last_reason: str | None = None

    def state(self, now: datetime) -> BreakerState:
        if self.opened_at is None:
            return BreakerState.CLOSED
        if now < self.opened_at + OPEN_FOR:
            return BreakerState.OPEN
        return BreakerState.HALF_OPEN

    def next_probe_at(self) -> datetime | None:
        """From when on a caller may probe; None while everybody may ask."""
        if self.opened_at is None:
            return None
        pause_ends = self.opened_at + OPEN_FOR
        return pause_ends if self.probe_until is None else max(pause_ends, self.probe_until)


class Admission(NamedTuple):
    allowed: bool
    health: Health  # As it should be stored now.


def admit(health: Health, now: datetime) -> Admission:
    """May this caller ask? In the half-open state the first one probes, the others wait for it."""
    state = health.state(now)
    if state is BreakerState.CLOSED:
        return Admission(True, health)
    probing = health.probe_until is not None and now < health.probe_until
    if state is BreakerState.OPEN or probing:
        return Admission(False, health)
    return Admission(True, health._replace(probe_until=now + PROBE_FOR))


def succeeded(_health: Health) -> Health:
    """It answers: forget what was."""
    return Health()


def end_pause(health: Health, now: datetime) -> Health:
    """Somebody knows that it is back: the next caller probes at once. A closed one stays as it is."""
    if health.opened_at is None:
        return health
    return health._replace(opened_at=min(health.opened_at, now - OPEN_FOR), probe_until=None)


def failed(health: Health, now: datetime, reason: str | None = None) -> Health:
    """One more call that the provider did not answer. A failed probe opens for another while."""
    recent = health.last_failure_at is not None and now - health.last_failure_at <= WINDOW
    failures = health.failures + 1 if recent else 1
    was_open = health.opened_at is not None
    opens = was_open or failures >= FAILURES_TO_OPEN
    return Health(
        failures=failures,
        last_failure_at=now,
        opened_at=now if opens else None,
        probe_until=None,
        open_since=(health.open_since or now) if opens else None,
        last_reason=reason,
    )
