"""Two hundred random lives with outages and lost webhooks: no invariant is ever violated.

What a seed tells is the same in every run; `abono simulate` plays it again where a person can watch.
"""

from __future__ import annotations

import os

import pytest

from abono.simulate.driver import play
from abono.simulate.lives import plan_lives, plan_outages
from abono.simulate.world import open_world
from tests.support.database import TestDatabases

FIRST_SEED = int(os.environ.get("ABONO_TEST_SEED", "1"))
WORLDS, LIVES_PER_WORLD = 3, 67
# A first bill and a renewal for everybody; the years are for `abono simulate`.
YEARS = 0.12


@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + WORLDS))
async def test_no_life_violates_an_invariant(databases: TestDatabases, seed: int) -> None:
    async with open_world(databases) as world:
        outcome = await play(
            world,
            seed=seed,
            lives=plan_lives(seed, LIVES_PER_WORLD, YEARS),
            outages=plan_outages(seed, YEARS),
            years=YEARS,
        )
    again = (
        f"abono simulate --years {YEARS} --subscriptions {LIVES_PER_WORLD} --seed {seed} --faults"
    )
    assert not outcome.violations, f"{outcome.violations}; play it again with: {again}"
    assert outcome.statuses.total() == LIVES_PER_WORLD
    assert outcome.invoices["paid"] > LIVES_PER_WORLD / 2
