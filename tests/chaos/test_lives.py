"""One world of the first chapter: crashes, faults in every call, a bad network, evicted workflows."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import pytest

from abono.chaos.crashes import Crashes, FaultyCalls
from abono.chaos.lives import CALL_SHARE, CRASH_SHARE, NETWORK, Plan, live
from abono.simulate.driver import play
from abono.simulate.world import open_world
from abono.worker_tuning import Tuning
from tests.support.database import TestDatabases

SEED = int(os.environ.get("ABONO_TEST_SEED", "2"))
LIVES, YEARS = 20, 0.12
CACHED_WORKFLOWS_MAX = 10


@pytest.mark.timeout(400)
async def test_no_life_violates_an_invariant_whatever_goes_wrong(databases: TestDatabases) -> None:
    plan = Plan(SEED, lives=LIVES, years=YEARS)
    crashes, faults = Crashes(SEED, CRASH_SHARE), FaultyCalls(SEED, CALL_SHARE)
    async with open_world(
        databases,
        interceptors=[crashes],
        tuning=Tuning(cached_workflows_max=CACHED_WORKFLOWS_MAX),
    ) as world:
        world.core.faults = faults
        world.on_calm += [crashes.stop, faults.stop]
        outcome = await play(
            world,
            seed=SEED,
            lives=plan.planned_lives(),
            outages=plan.planned_outages(),
            years=YEARS,
            shares=NETWORK,
        )
    assert not outcome.violations, f"{outcome.violations}; play it again with: {plan.command}"
    assert outcome.statuses.total() == LIVES
    assert outcome.invoices["paid"] > LIVES / 2
    assert crashes.placed.total() > 0
    assert outcome.calls_hit.total() > 0


def test_a_world_that_cannot_be_lived_is_told_as_broken() -> None:
    """In a process of its own, as in a campaign."""
    nowhere = "postgresql://nobody@127.0.0.1:9/nothing"
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        lived = pool.submit(live, Plan(SEED, lives=1), nowhere).result()
    assert lived.broke
    [told] = lived.violations
    assert "the world broke twice: ConnectionRefusedError" in told
    assert lived.figures.lives == 0
