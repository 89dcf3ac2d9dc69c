"""The circuit breaker: opens after a row of failures, lets one probe through, closes on an answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from models.breaker import (
    FAILURES_TO_OPEN,
    OPEN_FOR,
    PROBE_FOR,
    WINDOW,
    BreakerState,
    Health,
    admit,
    failed,
    succeeded,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def opened(at: datetime = START) -> Health:
    health = Health()
    for _ in range(FAILURES_TO_OPEN):
        health = failed(health, at)
    return health


def test_it_opens_after_a_row_of_failures_and_not_before() -> None:
    health = Health()
    for _ in range(FAILURES_TO_OPEN - 1):
        health = failed(health, START)
        assert health.state(START) is BreakerState.CLOSED
    assert failed(health, START).state(START) is BreakerState.OPEN


def test_failures_far_apart_are_not_a_row() -> None:
    health = Health()
    for number in range(FAILURES_TO_OPEN * 3):
        health = failed(health, START + number * (WINDOW + SECOND))
    assert health.opened_at is None


def test_an_answer_forgets_the_failures() -> None:
    assert succeeded(opened()) == Health()


def test_half_open_lets_one_probe_through_at_a_time() -> None:
    later = START + OPEN_FOR
    assert not admit(opened(), later - SECOND).allowed
    first = admit(opened(), later)
    second = admit(first.health, later + SECOND)
    assert (first.allowed, second.allowed) == (True, False)
    assert admit(first.health, later + PROBE_FOR).allowed, "a probe that died blocks nobody"


def test_a_failed_probe_opens_again_for_the_whole_while() -> None:
    later = START + OPEN_FOR
    again = failed(admit(opened(), later).health, later)
    assert again.state(later + OPEN_FOR - SECOND) is BreakerState.OPEN
    assert admit(again, later + OPEN_FOR).allowed


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 300)), max_size=60))
def test_it_never_stays_shut_for_ever(story: list[tuple[bool, int]]) -> None:
    """Whatever happened, somebody may ask again after the longest wait there is."""
    health, now = Health(), START
    for fails, seconds in story:
        now += seconds * SECOND
        admission = admit(health, now)
        health = admission.health
        if admission.allowed:
            health = failed(health, now) if fails else succeeded(health)
    assert admit(health, now + OPEN_FOR + PROBE_FOR).allowed
