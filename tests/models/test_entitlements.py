"""What subscriptions give together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from models.entitlements import Subscribed, features_of, gives_access, limits_of

NOW = datetime(2026, 11, 22, tzinfo=UTC)
DAY = timedelta(days=1)


def _subscribed(number: int, features: list[str], limits: dict[str, int]) -> Subscribed:
    return Subscribed(
        subscription_id=UUID(int=number),
        status="active",
        access_until=NOW + DAY,
        plan_id=UUID(int=9),
        plan_name="Pro",
        features=features,
        limits=limits,
        period_start=NOW - number * DAY,
        period_end=NOW + number * DAY,
    )


def test_access_lasts_as_long_as_it_was_paid() -> None:
    assert gives_access(NOW + DAY, NOW)
    assert not gives_access(NOW, NOW)
    assert not gives_access(None, NOW)


def test_features_are_told_once_and_limits_add_up() -> None:
    both = [
        _subscribed(2, ["a", "b"], {"calls": 10, "seats": 3}),
        _subscribed(1, ["b"], {"calls": 5}),
    ]
    assert features_of(both) == ["a", "b"]
    found = limits_of(both)
    assert {name: one.limit for name, one in found.items()} == {"calls": 15, "seats": 3}
    calls = found["calls"]
    assert (calls.subscription_id, calls.period_start) == (UUID(int=1), NOW - DAY), "the oldest's"
    assert found["seats"].resets_at == NOW + 2 * DAY
