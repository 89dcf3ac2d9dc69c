"""How the customers of planned lives pay their slips: in time, late, twice, too little, too much, never."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from random import Random

from abono.simulate.lives import DAY, HOUR, Life
from abono.simulate.payer import Charge, Visit
from models.outcomes import Instrument

# The slip is good for less.
LATE = 5 * DAY
SOON_MAX = timedelta(hours=48)


class Habits:
    """`numbers` says whose subscription it is, by its id, and is read when a slip comes."""

    def __init__(self, seed: int, lives: Mapping[int, Life], numbers: Mapping[str, int]) -> None:
        self._seed = seed
        self._lives = lives
        self._numbers = numbers
        self._slips: Counter[str] = Counter()
        self._chosen: dict[str, list[Visit]] = {}  # By the slip's reference.

    def visits(self, charge: Charge) -> list[Visit]:
        """Chosen once for each slip, by the life and the slip's number in it: the same in every run."""
        reference = charge["reference"]
        if reference not in self._chosen:
            number = self._numbers.get(charge["subscription_id"] or "", 0)
            self._slips[charge["subscription_id"]] += 1
            count = self._slips[charge["subscription_id"]]
            chance = Random(f"{self._seed}/{number}/slip {count}")  # noqa: S311 - seeded on purpose
            self._chosen[reference] = self._choose(chance, charge, number)
        return self._chosen[reference]

    def _choose(self, chance: Random, charge: Charge, number: int) -> list[Visit]:
        life = self._lives.get(number)
        if life is None:
            return []
        habit, amount = life.habit, charge["amount_minor"]
        after = SOON_MAX * chance.random()
        transfer = life.kind.instrument is Instrument.SPEI
        roll = chance.random()
        for share, visits in (
            (habit.never, []),
            (habit.late, [Visit(LATE, stubborn=True)]),
            (habit.twice, [Visit(after), Visit(after + HOUR, stubborn=True)]),
            (habit.too_little if transfer else 0.0, [Visit(after, amount // 2)]),
            (habit.too_much if transfer else 0.0, [Visit(after, amount * 2)]),
        ):
            if roll < share:
                return visits
            roll -= share
        return [Visit(after)]
