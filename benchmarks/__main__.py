"""`make bench`: every benchmark, or those that ABONO_BENCH_ONLY names."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from time import perf_counter

import uvloop
from rich.console import Console
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter

from abono.logging import configure_logging
from benchmarks import accept, applied, burst, idle, memory, opening, renewals, report, years
from benchmarks.crowd import gathered
from benchmarks.measure import Figure, Stage
from tests.support.database import test_databases

ALONE = {"accept": accept, "renewals": renewals, "years": years}
# Each says how many it needs. The burst is last: it leaves the most behind.
IN_A_CROWD = {
    "idle": idle,
    "memory": memory,
    "opening": opening,
    "applied": applied,
    "burst": burst,
}
NAMES = (*ALONE, *IN_A_CROWD)
# What a row or the crowd may take before it is given up, and all together: a run has to end, also on a
# machine that is busy with other things.
ROW_SECONDS_MAX = 150.0
CROWD_SECONDS_MAX = 300.0
RUN_SECONDS_MAX = 840.0


@dataclass
class Run:
    """The named benchmarks, one after the other: two at once would measure each other.

    A row that fails or takes too long is told among the results, and the next one begins. `keep` is
    given what there is after each.
    """

    stage: Stage
    names: Sequence[str]
    console: Console
    keep: Callable[[Run], object]
    figures: list[Figure] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    async def everything(self) -> None:
        for name, module in ALONE.items():
            if name in self.names:
                await self._row(name, partial(module.measure, self.stage))
        crowd_names = [name for name in IN_A_CROWD if name in self.names]
        if crowd_names:
            with self._failing("crowd"):
                await self._crowd(crowd_names)

    async def _crowd(self, names: Sequence[str]) -> None:
        count = max(IN_A_CROWD[name].CROWD for name in names)
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(self._left(CROWD_SECONDS_MAX)):
                crowd = await stack.enter_async_context(
                    gathered(self.stage, count, partial(self._tell, "crowd"))
                )
            for name in names:
                await self._row(name, partial(IN_A_CROWD[name].measure, self.stage, crowd))

    async def _row(
        self, name: str, measure: Callable[[Callable[[str], None]], Awaitable[list[Figure]]]
    ) -> None:
        with self._failing(name):
            async with asyncio.timeout(self._left(ROW_SECONDS_MAX)):
                self.figures += await measure(partial(self._tell, name))
        self.keep(self)

    @contextmanager
    def _failing(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if self.stage.tiny:
                raise
            self.failures[name] = f"{type(error).__name__}: {error}"[:300]
            self._tell(name, f"failed: {self.failures[name]}")

    def _left(self, seconds: float) -> float:
        return max(0.0, min(seconds, RUN_SECONDS_MAX - (perf_counter() - self.stage.began)))

    def _tell(self, name: str, what: str) -> None:
        minutes, seconds = divmod(int(perf_counter() - self.stage.began), 60)
        self.console.print(
            f"{minutes:02}:{seconds:02} {name:>9} {what}", highlight=False, markup=False
        )


def main() -> int:
    # A log file is no terminal, and the table needs room.
    width = None if sys.stdout.isatty() else 180
    console, only = Console(width=width), os.environ.get("ABONO_BENCH_ONLY")
    names = NAMES if only is None else tuple(only.split(","))
    if not set(names) <= set(NAMES):
        console.print(f"ABONO_BENCH_ONLY is some of, with commas: {', '.join(NAMES)}")
        return 2
    configure_logging("ERROR", json=False)
    logging.getLogger("temporalio").setLevel(logging.CRITICAL)
    quiet = LoggingConfig(filter=TelemetryFilter(core_level="ERROR", other_level="ERROR"))
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=quiet)))
    began = report.now()
    with (
        tempfile.TemporaryDirectory(prefix="abono-bench-") as folder,
        test_databases(Path(folder) / "postgres") as databases,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        stage = Stage(databases, Path(folder))
        whole = Run(stage, names, console, lambda run: _write(run, began))
        runner.run(whole.everything())
    report.tell(console, whole.figures)
    console.print(f"Written to {_write(whole, began)}, and a picture beside it.")
    for name, why in whole.failures.items():
        console.print(f"{name} failed: {why}", markup=False)
    return 1 if whole.failures else 0


def _write(run: Run, began: datetime) -> Path:
    return report.write(run.figures, began, run.failures)


if __name__ == "__main__":
    sys.exit(main())
