"""Who has a benefit: the later word of each grant, and the best of all grants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from models.benefits import GrantStatus, HeardGrant, best_of
from models.outcomes import ProviderName
from models.snapshots import GrantSnapshot

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
WAITING, GRANTED, REVOKED = GrantStatus


def word(status: GrantStatus, seconds: float | None = 0) -> HeardGrant:
    at = None if seconds is None else NOON + timedelta(seconds=seconds)
    return HeardGrant(status=status, changed_at=at)


def after(words: tuple[HeardGrant, ...]) -> HeardGrant | None:
    known: HeardGrant | None = None
    for one in words:
        known = one if one.is_news_after(known) else known
    return known


@pytest.mark.parametrize(
    "words",
    [
        (word(WAITING), word(GRANTED, 5), word(REVOKED, 9)),
        (word(WAITING), word(GRANTED), word(REVOKED)),  # All in one second.
        (word(GRANTED), word(REVOKED, 1), word(GRANTED, 2)),  # Attached again.
    ],
)
def test_in_whatever_order_they_come_the_last_word_stays(words: tuple[HeardGrant, ...]) -> None:
    for order in permutations(words):
        assert after(order) == words[-1]


def test_without_a_time_what_is_heard_last_counts() -> None:
    assert after((word(REVOKED), word(GRANTED, None))) == word(GRANTED, None)
    assert not word(GRANTED, None).is_news_after(word(GRANTED, None))


def test_access_ends_with_the_last_grant() -> None:
    heard = {"b": word(GRANTED), "a": word(REVOKED, 5)}
    assert best_of(heard) == ("b", word(GRANTED))
    heard["b"] = word(REVOKED, 9)
    heard["c"] = word(WAITING)
    assert best_of(heard) == ("c", word(WAITING))
    heard["c"] = word(REVOKED)
    assert best_of(heard)[1].status is REVOKED


def test_a_snapshot_says_what_it_is() -> None:
    for granted, revoked, status in (
        (True, False, GRANTED),
        (False, True, REVOKED),
        (False, False, WAITING),
    ):
        snapshot = GrantSnapshot(
            provider=ProviderName.POLAR,
            provider_grant_id="g",
            provider_benefit_id="b",
            provider_customer_id="c",
            is_granted=granted,
            is_revoked=revoked,
            error_code=None if granted else "why",
            changed_at=NOON,
        )
        heard = HeardGrant.of(snapshot)
        assert (heard.status, heard.changed_at) == (status, NOON)
