"""What an organization may use now: pure rules over what its subscriptions give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True)
class Subscribed:
    """A subscription with what its plan gives. `access_until` is what `models.dunning` makes of its state:
    the paid time, with the grace of a missed payment."""

    subscription_id: UUID
    status: str
    access_until: datetime | None
    plan_id: UUID
    plan_name: str
    features: Sequence[str]
    limits: Mapping[str, int]
    period_start: datetime
    period_end: datetime | None


@dataclass(frozen=True)
class Limit:
    """How much of something there is in a period: all that the subscriptions give together. It is counted
    in the period of the oldest of them."""

    name: str
    limit: int
    subscription_id: UUID
    period_start: datetime
    resets_at: datetime | None


def gives_access(access_until: datetime | None, now: datetime) -> bool:
    """The one rule: whatever the status says, access lasts as long as it was paid or is granted."""
    return access_until is not None and access_until > now


def features_of(subscribed: Iterable[Subscribed]) -> list[str]:
    """Each once, in the order of the plans."""
    return list(dict.fromkeys(name for one in subscribed for name in one.features))


def limits_of(subscribed: Iterable[Subscribed]) -> dict[str, Limit]:
    found: dict[str, Limit] = {}
    for one in sorted(subscribed, key=lambda each: each.subscription_id):
        for name, limit in one.limits.items():
            first = found.get(name)
            found[name] = Limit(
                name,
                limit + (first.limit if first else 0),
                first.subscription_id if first else one.subscription_id,
                first.period_start if first else one.period_start,
                first.resets_at if first else one.period_end,
            )
    return found
