"""What may become of an attempt's outcome. The database's own opinion is tested in tests/storage."""

from __future__ import annotations

from models.outcomes import OPEN_OUTCOMES, OUTCOME_TRANSITIONS, OutcomeClass

UNKNOWN, PENDING = OutcomeClass.UNKNOWN, OutcomeClass.PENDING
SUCCEEDED, DECLINED = OutcomeClass.SUCCEEDED, OutcomeClass.DECLINED
NOT_ATTEMPTED = OutcomeClass.NOT_ATTEMPTED

CLOSED = set(OutcomeClass) - OPEN_OUTCOMES


def test_the_table_is_the_one_that_was_agreed_on() -> None:
    assert {
        UNKNOWN: {SUCCEEDED, DECLINED, NOT_ATTEMPTED, PENDING, UNKNOWN},
        PENDING: {SUCCEEDED, DECLINED, PENDING},
        DECLINED: {SUCCEEDED, DECLINED},
        NOT_ATTEMPTED: {SUCCEEDED, NOT_ATTEMPTED},
        SUCCEEDED: {SUCCEEDED},
    } == OUTCOME_TRANSITIONS


def test_open_are_the_outcomes_that_may_still_cost_the_customer_money() -> None:
    assert {UNKNOWN, PENDING} == OPEN_OUTCOMES


def test_saying_the_same_again_is_always_fine() -> None:
    assert all(outcome in OUTCOME_TRANSITIONS[outcome] for outcome in OutcomeClass)


def test_what_is_closed_never_opens_again() -> None:
    """Else an invoice could come to have two open attempts without either being new."""
    assert all(not OUTCOME_TRANSITIONS[outcome] & OPEN_OUTCOMES for outcome in CLOSED)


def test_money_is_always_believed_and_never_forgotten() -> None:
    assert all(SUCCEEDED in OUTCOME_TRANSITIONS[outcome] for outcome in OutcomeClass)
    assert OUTCOME_TRANSITIONS[SUCCEEDED] == {SUCCEEDED}


def test_what_is_known_never_becomes_unknown() -> None:
    sources = {outcome for outcome in OutcomeClass if UNKNOWN in OUTCOME_TRANSITIONS[outcome]}
    assert sources == {UNKNOWN}
