"""Row 6. Ten years of one subscription in `abono simulate`, and what a thousand would take.

Bound by the CPU of one Python process: worker, activities and sandbox. The baseline is a timer and a local
activity a month on the same server. The thousand are extrapolated from the few that are run.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from uuid import uuid4

from abono.simulate import driver
from abono.simulate.lives import plan_lives
from abono.simulate.world import open_world
from benchmarks.baselines import TASK_QUEUE, RawYears
from benchmarks.crowd import raw_worker
from benchmarks.measure import Figure, Stage

ROW = "abono simulate"
YEARS = 10
ROUNDS = 2
MANY, MANY_YEARS = 10, 5
THOUSAND = 1000


async def measure(stage: Stage, tell: Callable[[str], None]) -> list[Figure]:
    years = stage.size(YEARS, 1)
    ours: list[float] = []
    base: list[float] = []
    for number in range(stage.size(ROUNDS, 1)):
        tell(f"{years} years of one subscription, round {number + 1}")
        base.append(await _raw(stage, years))
        ours.append(await _live(stage, 1, years))
    figures = [Figure(ROW, "ten years of one", "s", ours, target=5.0, baseline=base)]
    if not stage.tiny:
        tell(f"{MANY_YEARS} years of {MANY} subscriptions")
        seconds = await _live(stage, MANY, MANY_YEARS)
        figures.append(
            Figure(
                ROW,
                "1,000 subscription-years",
                "s",
                [seconds / (MANY * MANY_YEARS) * THOUSAND],
                target=600.0,
                note=f"extrapolated from {MANY * MANY_YEARS}",
            )
        )
    return figures


async def _live(stage: Stage, subscriptions: int, years: int) -> float:
    async with open_world(stage.databases) as world:
        lives = plan_lives(1, subscriptions, years)
        outcome = await driver.play(world, seed=1, lives=lives, outages=[], years=years)
    if outcome.violations:
        raise RuntimeError(outcome.violations[0])
    return outcome.seconds


async def _raw(stage: Stage, years: int) -> float:
    async with open_world(stage.databases) as world, raw_worker(world.client):
        began = perf_counter()
        await world.client.execute_workflow(
            RawYears.run, years * 12, id=f"raw/{uuid4()}", task_queue=TASK_QUEUE
        )
        return perf_counter() - began
