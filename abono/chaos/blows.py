"""What is done to the stack, and when. Pure: the same seed always tells the same blows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random

# Quiet between two blows; in it the next measurement is prepared.
_GAP_SECONDS_MAX = 4.0
# A second blow while the first one's wound is open.
_DOUBLE_SHARE = 0.25
_DOUBLE_SECONDS_MAX = 3.0
# Half of the blows fall in fair weather, so that what is measured is the process alone.
_WEATHER_SHARE = 0.5
_FREEZE_SECONDS = (0.5, 8.0)
_AWAY_SECONDS = (20.0, 60.0)
_BURST_COPIES_MAX = 3


class Act(StrEnum):
    KILL = "kill -9"
    RESTART = "restart"
    AWAY = "away"
    FREEZE = "freeze"
    UNDISPATCHED = "kill -9 between accepting webhooks and dispatching them"
    HALF_DONE = "kill -9 between storing an idempotency key and its effect"


@dataclass(frozen=True)
class Blow:
    """`seconds`: how long it stays away or frozen; nothing for what is killed."""

    act: Act
    target: str
    seconds: float = 0.0

    def __str__(self) -> str:
        length = f" for {self.seconds:.0f} s" if self.seconds else ""
        return f"{self.target}: {self.act}{length}"


@dataclass(frozen=True)
class Round:
    """One or two blows close together, `gap_seconds` after the last ones were recovered from. With
    `weather` the providers and the network behave badly at the same time. `burst` copies of the
    newest webhooks are sent at once."""

    number: int
    gap_seconds: float
    blows: tuple[Blow, ...]
    apart_seconds: float = 0.0
    weather: bool = False
    burst: int = 0


# How often each is chosen. The sandbox keeps its books on disk, so that it may be killed as well.
_CHOICES: dict[tuple[Act, str], int] = {
    (Act.KILL, "worker"): 5,
    (Act.KILL, "api"): 5,
    (Act.KILL, "postgres"): 5,
    (Act.KILL, "temporal"): 5,
    (Act.KILL, "sandbox"): 2,
    (Act.RESTART, "postgres"): 2,
    (Act.RESTART, "worker"): 1,
    (Act.RESTART, "api"): 1,
    (Act.AWAY, "temporal"): 1,
    (Act.FREEZE, "worker"): 2,
    (Act.FREEZE, "temporal"): 1,
    (Act.FREEZE, "postgres"): 1,
    (Act.FREEZE, "sandbox"): 1,
    (Act.UNDISPATCHED, "api"): 3,
    (Act.HALF_DONE, "api"): 3,
}
_LENGTHS = {Act.FREEZE: _FREEZE_SECONDS, Act.AWAY: _AWAY_SECONDS}


def plan_rounds(seed: int) -> Iterator[Round]:
    """Without end; the runner stops when its time is over. No target is hit in two rounds running, so
    that the supervisor never takes the campaign for a program that cannot start."""
    chance = Random(f"{seed}/blows")  # noqa: S311 - seeded on purpose
    last: set[str] = set()
    number = 0
    while True:
        number += 1
        first = _choose(chance, last)
        apart = 0.0
        blows: tuple[Blow, ...] = (first,)
        if first.act is Act.KILL and chance.random() < _DOUBLE_SHARE:
            blows = (first, _choose(chance, last | {first.target}, only=Act.KILL))
            apart = _DOUBLE_SECONDS_MAX * chance.random()
        last = {blow.target for blow in blows}
        yield Round(
            number=number,
            gap_seconds=_GAP_SECONDS_MAX * chance.random(),
            blows=blows,
            apart_seconds=apart,
            weather=chance.random() < _WEATHER_SHARE,
            burst=chance.choice([0, 0, chance.randint(1, _BURST_COPIES_MAX)]),
        )


def _choose(chance: Random, spared: set[str], only: Act | None = None) -> Blow:
    open_to_us = {
        choice: weight
        for choice, weight in _CHOICES.items()
        if choice[1] not in spared and only in {None, choice[0]}
    }
    act, target = chance.choices(list(open_to_us), list(open_to_us.values()))[0]
    shortest, longest = _LENGTHS.get(act, (0.0, 0.0))
    return Blow(act, target, round(shortest + (longest - shortest) * chance.random(), 1))


# The part of `make test`, in fair weather. What becomes of webhooks without PostgreSQL and Temporal is
# shown by `tests/outages`, at moments that are not left to chance.
SHORT_STORY = tuple(
    Round(number, 0.0, (blow,))
    for number, blow in enumerate(
        (
            Blow(Act.UNDISPATCHED, "api"),
            Blow(Act.KILL, "worker"),
        ),
        start=1,
    )
)
