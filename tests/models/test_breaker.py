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
    end_pause,
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


def test_it_is_known_since_when_it_is_open_however_often_a_probe_fails() -> None:
    health = opened()
    later = START + OPEN_FOR
    again = failed(admit(health, later).health, later, "http_503")
    assert (again.open_since, again.opened_at, again.last_reason) == (START, later, "http_503")
    assert again.next_probe_at() == later + OPEN_FOR
    assert succeeded(again).next_probe_at() is None


def test_whoever_knows_better_ends_the_pause_but_not_the_caution() -> None:
    health = end_pause(opened(), START + SECOND)
    assert health.state(START + SECOND) is BreakerState.HALF_OPEN
    probe = admit(health, START + SECOND)
    assert probe.allowed
    assert not admit(probe.health, START + 2 * SECOND).allowed, "one probe at a time all the same"
    assert failed(probe.health, START + SECOND).state(START + 2 * SECOND) is BreakerState.OPEN
    assert end_pause(Health(failures=1), START) == Health(failures=1)


@given(st.lists(st.tuples(st.sampled_from(["fail", "answer", "reset"]), st.integers(0, 60))))
def test_nobody_asks_while_it_is_open_and_one_at_a_time_after_it(
    story: list[tuple[str, int]],
) -> None:
    """Whatever the order of things, admission, state and the time of the next probe agree."""
    health, now = Health(), START
    for what, seconds in story:
        now += seconds * SECOND
        state, next_probe_at = health.state(now), health.next_probe_at()
        admission = admit(health, now)
        assert admission.allowed is (next_probe_at is None or now >= next_probe_at)
        assert (next_probe_at is None) is (state is BreakerState.CLOSED)
        assert (health.open_since is None) is (health.opened_at is None)
        health = admission.health
        if what == "reset":
            health = end_pause(health, now)
        elif admission.allowed:
            health = failed(health, now) if what == "fail" else succeeded(health)
