"""`abono simulate`: years of lives, a bar while they are lived, and what came of them."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from abono.dev.postgres import running_postgres
from abono.migrate import upgrade
from abono.settings import Settings
from abono.simulate import driver
from abono.simulate.lives import plan_lives, plan_outages
from abono.simulate.quiet import quieten_sdk
from abono.simulate.telling import tell_outcome, tell_timeline
from abono.simulate.world import open_world


@dataclass(frozen=True)
class Options:
    years: float
    subscriptions: int
    seed: int
    faults: bool

    @property
    def command(self) -> str:
        """What plays the same lives again."""
        years = f"{self.years:g}"
        words = f"abono simulate --years {years} --subscriptions {self.subscriptions}"
        return f"{words} --seed {self.seed}" + (" --faults" if self.faults else "")


class OneDatabase:
    """The world's own database, gone with the server that it lives in."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def create(self) -> str:
        await upgrade(Settings(DATABASE_URL=self._url).sqlalchemy_url)
        return self._url

    async def drop(self, url: str) -> None:
        """Nothing to do: the server's folder is deleted with all that is in it."""


async def simulate(options: Options, console: Console) -> int:
    """Play the lives; the exit code is 1 when an invariant did not hold."""
    quieten_sdk()
    lives = plan_lives(options.seed, options.subscriptions, options.years)
    outages = plan_outages(options.seed, options.years) if options.faults else []
    with tempfile.TemporaryDirectory(prefix="abono-simulate-") as folder:
        console.print("Starting PostgreSQL, the skipping Temporal server and the sandbox …")
        with running_postgres(Path(folder) / "postgres") as url:
            async with open_world(OneDatabase(url)) as world, _bar(console) as bar:
                task = bar.add_task("living", total=1.0, what="")

                def tell(progress: driver.Progress) -> None:
                    done = progress.elapsed / progress.total if progress.total else 1.0
                    bar.update(task, completed=min(done, 1.0), what=progress.summary)

                outcome = await driver.play(
                    world,
                    seed=options.seed,
                    lives=lives,
                    outages=outages,
                    years=options.years,
                    tell=tell,
                )
                bar.stop()
                if options.subscriptions == 1:
                    await tell_timeline(console, world, outcome)
                tell_outcome(console, outcome, options.command)
    return 1 if outcome.violations else 0


@asynccontextmanager
async def _bar(console: Console) -> AsyncIterator[Progress]:
    columns = (TextColumn("[bold]living"), BarColumn(), TextColumn("{task.fields[what]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        yield progress
