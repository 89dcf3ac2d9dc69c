"""The second chapter: the whole stack as real processes under load, and one after the other is killed."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx

from abono.chaos.blows import Round
from abono.chaos.calling import Caller, GaveUp, Tally
from abono.chaos.customers import Crowd, Shop, open_shop
from abono.chaos.rest import (
    StackBooks,
    books_of,
    check_logs,
    check_replays,
    check_tenants,
    come_to_rest,
)
from abono.chaos.stage import Stage, stage
from abono.chaos.strikes import Recovery, Striker
from abono.chaos.weather import Weather
from abono.simulate.invariants import InvariantViolated, one_live_charge_per_invoice

PATIENCE_SECONDS = 150.0
# An unknown outcome is asked for after 5 s, 1 and 5 minutes; a little more than those together.
REST_SECONDS_MAX = 400.0
_WATCH_SECONDS = 1.0


@dataclass
class Report:
    """What came of it. `violations` is empty when everything held."""

    seed: int
    seconds: float = 0.0
    rounds: int = 0
    blows: Counter[str] = field(default_factory=Counter)
    recoveries: list[Recovery] = field(default_factory=list)
    stories: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)
    rest_seconds: float = 0.0
    replayed: int = 0
    violations: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Campaign:
    """`seconds`: after that no further round begins. `customers` live at once."""

    seed: int
    seconds: float
    rounds: Iterable[Round]
    customers: int = 4
    rest_seconds_max: float = REST_SECONDS_MAX
    keep: Path | None = (
        None  # A folder that stays, with databases and logs, for whoever has to look.
    )


async def run_campaign(campaign: Campaign, tell: Callable[[str], None]) -> Report:
    """Everything it starts it also ends, whatever happens. Raises DevError when nothing can start."""
    report = Report(campaign.seed)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="abono-chaos-") as folder:
        home = campaign.keep or Path(folder)
        async with stage(home, tell) as on, books_of(on.info) as books:
            tell(f"the stack runs in {home}")
            await _Run(campaign, report, on, books, tell).play()
    report.seconds = time.monotonic() - began
    return report


class _Run:
    def __init__(
        self,
        campaign: Campaign,
        report: Report,
        on: Stage,
        books: StackBooks,
        tell: Callable[[str], None],
    ) -> None:
        self._campaign = campaign
        self._report = report
        self._stage = on
        self._books = books
        self._tell = tell
        run = uuid4().hex[:8]
        self._caller = Caller(on.info, report.tally, run=run, patience_seconds=PATIENCE_SECONDS)
        self._weather = Weather(self._caller, campaign.seed)

    async def play(self) -> None:
        try:
            shop = await open_shop(self._caller)
            await self._under_load(shop)
            await self._at_rest()
        finally:
            await self._caller.aclose()
        self._report.faults = self._weather.placed
        self._report.violations += sorted(set(self._report.tally.faulty))

    async def _under_load(self, shop: Shop) -> None:
        campaign = self._campaign
        crowd = Crowd(
            self._caller, self._report.tally, shop, campaign.seed, size=campaign.customers
        )
        striker = Striker(self._stage, self._books.sessions, self._caller, shop)
        living = asyncio.create_task(crowd.run())
        watching = asyncio.create_task(self._watch())
        try:
            await self._strike(striker)
            crowd.stop()
            await self._weather.turn_fair()
            self._tell("no more blows; waiting for the customers")
            await living
            await striker.finish()
        except GaveUp as tired:
            self._report.violations.append(f"work did not go on: {tired}")
        finally:
            for task in (living, watching):
                task.cancel()
            await asyncio.gather(living, watching, return_exceptions=True)
        self._report.stories = crowd.stories

    async def _strike(self, striker: Striker) -> None:
        report, over = self._report, time.monotonic() + self._campaign.seconds
        for round_ in self._campaign.rounds:
            if time.monotonic() > over:
                return
            await self._weather.turn_fair()
            probe = await striker.prepare()
            await asyncio.sleep(round_.gap_seconds)
            self._tell(f"round {round_.number}: {' and '.join(map(str, round_.blows))}")
            if round_.weather:
                self._tell(f"  weather: {await self._weather.turn_bad()}")
            if round_.burst:
                await self._weather.burst(round_.burst)
            clearing = asyncio.create_task(self._weather.clear_up())
            try:
                recovery = await striker.play(round_, probe)
            except TimeoutError:
                report.violations.append(f"round {round_.number}: a part did not come back")
                return
            finally:
                clearing.cancel()
            report.rounds += 1
            report.blows.update(f"{blow.target}: {blow.act}" for blow in round_.blows)
            report.recoveries.append(recovery)
            self._tell(
                f"  back after {recovery.back_seconds:.1f} s; new work {recovery.new_seconds:.1f} s, "
                f"known work {recovery.known_seconds:.1f} s later"
            )

    async def _watch(self) -> None:
        """Two live charges for an invoice are wrong at any moment, also if they are gone at rest."""
        while True:
            with suppress(httpx.HTTPError):
                movements = await self._books.movements()
                try:
                    one_live_charge_per_invoice(movements)
                except InvariantViolated as violation:
                    self._report.violations.append(str(violation))
            await asyncio.sleep(_WATCH_SECONDS)

    async def _at_rest(self) -> None:
        report, info = self._report, self._stage.info
        self._tell("checking the books")
        try:
            report.rest_seconds = await come_to_rest(
                self._books, self._caller, self._campaign.rest_seconds_max, self._tell
            )
            await check_tenants(info)
            check_logs(self._stage.home, info)
            report.replayed = await check_replays(self._books)
        except InvariantViolated as violation:
            report.violations.append(str(violation).splitlines()[0])
