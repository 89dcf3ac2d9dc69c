"""One world of the first chapter: planned lives, with everything going wrong that can, checked at rest."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random

import uvloop
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter

from abono.chaos.crashes import Crashes, FaultyCalls
from abono.simulate.courier import Shares
from abono.simulate.databases import FreshDatabases
from abono.simulate.driver import play
from abono.simulate.lives import Life, Outage, plan_lives, plan_outages
from abono.simulate.world import open_world
from abono.worker_tuning import CACHED_WORKFLOWS_MAX, Tuning
from sandbox.faults import FaultMode

LIVES_PER_WORLD, YEARS = 25, 0.5
# So many that a bill seldom comes to its end without one.
OUTAGES_PER_YEAR = 60.0
CRASH_SHARE, CALL_SHARE = 0.02, 0.06
# Longer than any step of a world takes. With a lost connection the skipping server may lose a workflow's task
# too, and waits for it for ever.
STUCK_SECONDS = 400.0
NETWORK = Shares(lost=0.05, held=0.1, doubled=0.1, shuffled=0.3)
# As few as a worker takes, too few for the lives of a world, and what a worker has by itself.
_CACHES = (10, 15, CACHED_WORKFLOWS_MAX)


@dataclass(frozen=True)
class Plan:
    """One world. `only_lives` (numbers) and `only_outages` (positions) leave the others out; None
    keeps all of them."""

    seed: int
    lives: int = LIVES_PER_WORLD
    years: float = YEARS
    only_lives: tuple[int, ...] | None = None
    only_outages: tuple[int, ...] | None = None
    crashes: bool = True

    def planned_lives(self) -> list[Life]:
        lives = plan_lives(self.seed, self.lives, self.years)
        return [one for one in lives if self.only_lives is None or one.number in self.only_lives]

    def planned_outages(self) -> list[Outage]:
        modes = [str(mode) for mode in FaultMode]
        outages = plan_outages(self.seed, self.years, modes=modes, per_year=OUTAGES_PER_YEAR)
        kept = self.only_outages
        return [one for n, one in enumerate(outages) if kept is None or n in kept]

    @property
    def cached_workflows_max(self) -> int:
        return Random(f"{self.seed}/cache").choice(_CACHES)  # noqa: S311 - seeded on purpose

    @property
    def command(self) -> str:
        """What plays this world again."""
        words = ["abono chaos lives --worlds 1", f"--seed {self.seed}", f"--lives {self.lives}"]
        words.append(f"--years {self.years:g}")
        words += [f"--life {number}" for number in self.only_lives or ()]
        words += [f"--outage {position}" for position in self.only_outages or ()]
        if self.only_outages == ():
            words.append("--no-outages")
        return " ".join(words if self.crashes else [*words, "--no-crashes"])


@dataclass
class Figures:
    """What worlds came to, one or many."""

    worlds: int = 0
    begun_again: int = 0
    lives: int = 0
    renewals: int = 0
    world_seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    invoices: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    caches: Counter[str] = field(default_factory=Counter)

    def add(self, other: Figures) -> None:
        self.worlds += other.worlds
        self.begun_again += other.begun_again
        self.lives += other.lives
        self.renewals += other.renewals
        self.world_seconds += other.world_seconds
        self.statuses += other.statuses
        self.invoices += other.invoices
        self.attempts += other.attempts
        self.faults += other.faults
        self.caches += other.caches


@dataclass
class Lived:
    """One world's end. `suspects` are the lives that a violation names; a world that `broke` could not
    be lived to its end, which need not be its story's doing."""

    plan: Plan
    figures: Figures
    violations: list[str]
    suspects: list[int] = field(default_factory=list)
    broke: bool = False


def live(plan: Plan, server_url: str) -> Lived:
    """Plays the plan to its end, in this process, in a database of its own on the prepared server. A world
    that breaks is begun once more: the skipping server loses a connection in one of dozens."""
    _be_quiet()
    try:
        return _lived(plan, server_url)
    except Exception:
        try:
            again = _lived(plan, server_url)
        except Exception as trouble:
            # Told by name: not every exception can be sent to another process.
            last = "".join(traceback.format_exception(trouble)[-3:])
            broken = f"the world broke twice: {type(trouble).__name__}: {last}"
            return Lived(plan, Figures(), [broken], broke=True)
        again.figures.begun_again = 1
        return again


def _lived(plan: Plan, server_url: str) -> Lived:
    return uvloop.run(_live(plan, FreshDatabases(server_url, is_prepared=True)))


async def _live(plan: Plan, databases: FreshDatabases) -> Lived:
    began, clock = time.monotonic(), asyncio.get_running_loop().time
    crashes = Crashes(plan.seed, CRASH_SHARE if plan.crashes else 0.0)
    lives = plan.planned_lives()
    async with open_world(
        databases,
        interceptors=[crashes],
        tuning=Tuning(cached_workflows_max=plan.cached_workflows_max),
    ) as world:
        world.core.faults = faulty = FaultyCalls(plan.seed, CALL_SHARE if plan.crashes else 0.0)
        world.on_calm += [crashes.stop, faulty.stop]
        async with asyncio.timeout(STUCK_SECONDS) as limit:
            outcome = await play(
                world,
                seed=plan.seed,
                lives=lives,
                outages=plan.planned_outages(),
                years=plan.years,
                shares=NETWORK,
                tell=lambda _: limit.reschedule(clock() + STUCK_SECONDS),
            )
    network = Counter({f"webhook {fate}": count for fate, count in outcome.webhooks.items()})
    calls = Counter({f"call {mode}": count for mode, count in outcome.calls_hit.items()})
    figures = Figures(
        worlds=1,
        lives=len(lives),
        renewals=outcome.renewals,
        world_seconds=time.monotonic() - began,
        statuses=outcome.statuses,
        invoices=outcome.invoices,
        attempts=outcome.attempts,
        faults=calls + crashes.placed + network,
        caches=Counter({f"{plan.cached_workflows_max} workflows cached": 1}),
    )
    return Lived(plan, figures, outcome.violations, outcome.suspects)


def smaller(found: Lived) -> Iterator[Plan]:
    """What to try for a shorter story, the boldest first. Each is smaller than `found`'s plan."""
    plan = found.plan
    numbers = tuple(life.number for life in plan.planned_lives())
    positions = plan.only_outages
    if positions is None:
        positions = tuple(range(len(plan.planned_outages())))
    suspects = tuple(sorted(set(found.suspects)))
    if suspects and suspects != numbers:
        yield replace(plan, only_lives=suspects)
    elif len(numbers) > 1:
        yield from (replace(plan, only_lives=half) for half in _halves(numbers))
    if plan.crashes:
        yield replace(plan, crashes=False)
    if positions:
        yield replace(plan, only_outages=())
    if len(positions) > 1:
        yield from (replace(plan, only_outages=half) for half in _halves(positions))


def _halves(items: tuple[int, ...]) -> list[tuple[int, ...]]:
    middle = len(items) // 2
    return [items[:middle], items[middle:]]


def _be_quiet() -> None:
    """Faults are meant to happen: what activities and servers say about them is no news here."""
    logging.disable(logging.CRITICAL)
    quiet = TelemetryFilter(core_level="ERROR", other_level="ERROR")
    telemetry = TelemetryConfig(logging=LoggingConfig(filter=quiet))
    Runtime.set_default(Runtime(telemetry=telemetry), error_if_already_set=False)
