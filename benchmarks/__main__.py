"""`make bench`: every benchmark, or the one that ABONO_BENCH_ONLY names."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import uvloop
from rich.console import Console

from abono.logging import configure_logging
from benchmarks import accept, applied, burst, idle, opening, renewals, report, years
from benchmarks.crowd import gathered
from benchmarks.measure import Figure, Stage
from tests.support.database import test_databases

ALONE = {"accept": accept, "renewals": renewals, "years": years}
# The burst is last: it leaves the most behind.
IN_A_CROWD = {"idle": idle, "opening": opening, "applied": applied, "burst": burst}
NAMES = (*ALONE, *IN_A_CROWD)


async def run(
    stage: Stage,
    names: Sequence[str],
    console: Console,
    keep: Callable[[list[Figure]], object] = lambda _: None,
) -> list[Figure]:
    """The named benchmarks, one after the other: two at once would measure each other. `keep` is given
    what there is after each, so that a later one that fails loses nothing."""
    figures: list[Figure] = []

    def tell(name: str, what: str) -> None:
        console.print(f"[dim]{name:>9}[/] {what}", highlight=False)

    for name, module in ALONE.items():
        if name in names:
            figures += await module.measure(stage, partial(tell, name))
            keep(figures)
    crowd_names = [name for name in IN_A_CROWD if name in names]
    if crowd_names:
        async with gathered(stage, partial(tell, "crowd")) as crowd:
            for name in crowd_names:
                figures += await IN_A_CROWD[name].measure(stage, crowd, partial(tell, name))
                keep(figures)
    return figures


def main() -> int:
    console, only = Console(), os.environ.get("ABONO_BENCH_ONLY")
    if only is not None and only not in NAMES:
        console.print(f"ABONO_BENCH_ONLY is one of: {', '.join(NAMES)}")
        return 2
    configure_logging("ERROR", json=False)
    logging.getLogger("temporalio").setLevel(logging.CRITICAL)
    began = report.now()
    with (
        tempfile.TemporaryDirectory(prefix="abono-bench-") as folder,
        test_databases(Path(folder) / "postgres") as databases,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        names = NAMES if only is None else (only,)
        stage = Stage(databases, Path(folder))
        figures = runner.run(run(stage, names, console, lambda found: report.write(found, began)))
    report.tell(console, figures)
    console.print(f"Written to {report.write(figures, began)}, and a picture beside it.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
