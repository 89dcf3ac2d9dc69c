"""When an event is tried again, when an endpoint is left alone, and which events it gets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.event_catalogue import EVENT_TYPES
from models.outbound import (
    FAILING_AFTER,
    PAUSE_AFTER,
    PAUSES,
    RETRY_WINDOW,
    hold_for,
    is_pattern,
    is_to_be_paused,
    matches,
    next_try_at,
)

BEGIN = datetime(2026, 11, 20, tzinfo=UTC)


def tries(jitter: float, seconds_each: float = 0.0) -> list[timedelta]:
    """When each try begins, counted from the first, with a receiver that always fails."""
    found, at, failures = [timedelta(0)], BEGIN, 0
    while True:
        failures += 1
        ended = at + timedelta(seconds=seconds_each)
        following = next_try_at(failures, BEGIN, ended, jitter)
        if following is None:
            return found
        assert following > ended
        at = following
        found.append(at - BEGIN)


def test_the_tries_of_three_days() -> None:
    hours = [round(one / timedelta(hours=1), 3) for one in tries(0.0)]
    assert hours == [
        0.0,
        0.001,
        0.01,
        0.043,
        0.21,
        0.71,
        1.71,
        3.71,
        7.71,
        15.71,
        27.71,
        39.71,
        51.71,
        63.71,
        72.0,
    ]


@given(st.floats(0, 1), st.floats(0, 10))
def test_every_series_of_tries_fills_the_window_and_ends_with_it(
    jitter: float, seconds_each: float
) -> None:
    found = tries(jitter, seconds_each)
    pauses = [b - a for a, b in pairwise(found)]
    # The last one is cut by the end of the window; all before it only grow.
    assert pauses[:-1] == sorted(pauses[:-1])
    assert found[-1] == RETRY_WINDOW
    assert 12 <= len(found) <= 15
    slack = timedelta(seconds=seconds_each, microseconds=2)
    for pause, wanted in zip(pauses[:-1], [*PAUSES, *[PAUSES[-1]] * 5], strict=False):
        assert wanted <= pause <= wanted * 1.2 + slack


@given(st.integers(1, 1000), st.timedeltas(timedelta(0), RETRY_WINDOW * 2), st.floats(0, 1))
def test_no_try_is_ever_outside_of_the_window(
    failures: int, since: timedelta, jitter: float
) -> None:
    found = next_try_at(failures, BEGIN, BEGIN + since, jitter)
    assert (found is None) == (since >= RETRY_WINDOW)
    assert found is None or BEGIN + since < found <= BEGIN + RETRY_WINDOW


@pytest.mark.parametrize(("failures", "jitter"), [(0, 0.5), (1, 1.1), (1, -0.1)])
def test_what_is_no_failure_or_no_jitter_is_refused(failures: int, jitter: float) -> None:
    with pytest.raises(ValueError, match="failure"):
        next_try_at(failures, BEGIN, BEGIN, jitter)


def test_an_endpoint_is_left_alone_longer_and_longer_up_to_a_minute() -> None:
    held = [hold_for(count) for count in range(FAILING_AFTER + 8)]
    assert held[:FAILING_AFTER] == [None] * FAILING_AFTER
    assert [one and one.seconds for one in held[FAILING_AFTER:]] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert hold_for(10**9) == timedelta(seconds=60)


def test_an_endpoint_is_paused_before_anything_is_given_up() -> None:
    assert PAUSE_AFTER < RETRY_WINDOW
    long_ago = BEGIN - PAUSE_AFTER
    assert is_to_be_paused(FAILING_AFTER, long_ago, BEGIN)
    assert not is_to_be_paused(FAILING_AFTER - 1, long_ago, BEGIN), "hardly anything was tried"
    assert not is_to_be_paused(10_000, long_ago + timedelta(seconds=1), BEGIN), "a bad day"


@pytest.mark.parametrize(
    ("pattern", "event_type", "wanted"),
    [
        ("*", "invoice.paid", True),
        ("invoice.*", "invoice.paid", True),
        ("invoice.*", "invoice_x.paid", False),
        ("invoice.paid", "invoice.paid", True),
        ("invoice.paid", "invoice.payment_failed", False),
        ("subscription.*", "invoice.paid", False),
    ],
)
def test_patterns_choose(pattern: str, event_type: str, wanted: bool) -> None:
    assert matches(pattern, event_type) is wanted


@pytest.mark.parametrize("text", ["*", "invoice.*", "benefit.granted", "webhook_endpoint.*"])
def test_what_is_a_pattern(text: str) -> None:
    assert is_pattern(text, EVENT_TYPES)


@pytest.mark.parametrize(
    "text", ["", "inv*", "invoice.pa*", "**", "*.paid", "invoice", "invoice.", "nothing.*", "x"]
)
def test_what_is_none(text: str) -> None:
    assert not is_pattern(text, EVENT_TYPES)
