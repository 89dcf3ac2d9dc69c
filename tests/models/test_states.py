"""The subscription's transition table, pair by pair."""

from __future__ import annotations

from itertools import product

import pytest

from models.states import (
    TERMINAL_STATUSES,
    TRANSITIONS,
    IllegalTransition,
    SubscriptionEvent,
    SubscriptionStatus,
    may,
    next_status,
)

# The whole table for the eye: rows are where a subscription is, columns what happens; a dot is a move
# that must never be made. Change it only together with the rules that it stands for.
TABLE = """
          |trial_started|payment_succeeded|payment_failed|paused|resumed|resumed_unpaid|canceled|gave_up
incomplete|trialing     |active           |incomplete    |.     |.      |.             |canceled|expired
trialing  |.            |active           |past_due      |paused|.      |.             |canceled|expired
active    |.            |active           |past_due      |paused|.      |.             |canceled|expired
past_due  |.            |active           |past_due      |paused|.      |.             |canceled|expired
paused    |trialing     |.                |.             |.     |active |past_due      |canceled|expired
canceled  |.            |.                |.             |.     |.      |.             |.       |.
expired   |.            |.                |.             |.     |.      |.             |.       |.
"""


def read_table() -> dict[tuple[str, str], str]:
    head, *rows = [
        [cell.strip() for cell in line.split("|")] for line in TABLE.strip("\n").splitlines()
    ]
    return {
        (row[0], event): cell
        for row in rows
        for event, cell in zip(head[1:], row[1:], strict=True)
        if cell != "."
    }


PAIRS = list(product(SubscriptionStatus, SubscriptionEvent))


def test_the_table_is_the_one_that_was_agreed_on() -> None:
    actual = {(str(s), str(e)): str(after) for (s, e), after in TRANSITIONS.items()}
    assert actual == read_table()
    named = {cell for line in TABLE.splitlines() for cell in map(str.strip, line.split("|"))}
    assert {str(each) for each in [*SubscriptionStatus, *SubscriptionEvent]} <= named


@pytest.mark.parametrize(("status", "event"), PAIRS)
def test_a_pair_is_either_in_the_table_or_refused(
    status: SubscriptionStatus, event: SubscriptionEvent
) -> None:
    expected = read_table().get((status, event))
    assert may(status, event) is (expected is not None)
    if expected is not None:
        assert next_status(status, event) == expected
        return
    with pytest.raises(IllegalTransition, match=f"that is {status} cannot have {event}"):
        next_status(status, event)


def test_what_is_over_stays_over() -> None:
    assert {s for s in SubscriptionStatus if s in {"canceled", "expired"}} == TERMINAL_STATUSES
    leaving = {status for status, _ in TRANSITIONS}
    assert not leaving & TERMINAL_STATUSES
    assert leaving | TERMINAL_STATUSES == set(SubscriptionStatus), "no other status is a dead end"


def test_every_status_can_be_reached_and_can_end() -> None:
    assert reachable_from(SubscriptionStatus.INCOMPLETE) == set(SubscriptionStatus)
    for status in set(SubscriptionStatus) - TERMINAL_STATUSES:
        assert reachable_from(status) >= TERMINAL_STATUSES


def test_nobody_returns_to_the_beginning() -> None:
    for status in set(SubscriptionStatus) - {SubscriptionStatus.INCOMPLETE}:
        assert SubscriptionStatus.INCOMPLETE not in reachable_from(status)


@pytest.mark.parametrize("status", sorted(set(SubscriptionStatus) - TERMINAL_STATUSES))
def test_the_customer_can_always_cancel(status: SubscriptionStatus) -> None:
    assert next_status(status, SubscriptionEvent.CANCELED) is SubscriptionStatus.CANCELED


def reachable_from(start: SubscriptionStatus) -> set[SubscriptionStatus]:
    found, frontier = {start}, [start]
    while frontier:
        here = frontier.pop()
        for event in SubscriptionEvent:
            after = TRANSITIONS.get((here, event), here)
            if after not in found:
                found.add(after)
                frontier.append(after)
    return found
