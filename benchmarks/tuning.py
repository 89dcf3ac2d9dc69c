"""What other settings of a worker come to: `python -m benchmarks.tuning`. No row of `make bench`.

Each tuning opens the same number of card subscriptions at once, on a Temporal development server; the
tunings take turns, round after round. Engine and simulated providers are one process, whose CPU time
says what a setting costs, and the wall clock what it brings.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import uvloop
from rich.console import Console
from rich.table import Table
from temporalio.client import Client
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.testing import WorkflowEnvironment

from abono.dev.temporal import running_temporal
from abono.payload_converter import plain_data_converter
from abono.simulate.world import open_world
from abono.worker_tuning import USUAL, Tuning
from benchmarks.measure import Stage
from models.storage.tables import new_id
from tests.cost.test_renewals import card
from tests.support.database import test_databases

OPENINGS = 60
ROUNDS = 3
TUNINGS = {
    "as it comes": USUAL,
    "workflow slots 5": Tuning(workflow_slots=5),
    "workflow slots 500": Tuning(workflow_slots=500),
    "activity slots 5": Tuning(activity_slots=5),
    "activity slots 500": Tuning(activity_slots=500),
    "pollers 5 at most": Tuning(pollers_max=5),
    "cache of 10 workflows": Tuning(cached_workflows_max=10),
}


async def compare(stage: Stage, console: Console) -> None:
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in TUNINGS}
    async with running_temporal(stage.folder / "temporal.log") as address:
        for number in range(ROUNDS):
            for name, tuning in TUNINGS.items():
                console.print(f"round {number + 1}: {name}", highlight=False)
                spent[name].append(await _open_many(stage, address, tuning))
    table = Table("tuning", "seconds", "spread", "CPU seconds", "spread")
    for name, rounds in spent.items():
        columns = [sorted(column) for column in zip(*rounds, strict=True)]
        cells = [
            text
            for column in columns
            for text in (f"{median(column):.1f}", f"{column[0]:.1f} to {column[-1]:.1f}")
        ]
        table.add_row(name, *cells)
    console.print(table)


async def _open_many(stage: Stage, address: str, tuning: Tuning) -> tuple[float, float]:
    """Wall clock and CPU time, of the openings alone."""

    async def start() -> WorkflowEnvironment:
        client = await Client.connect(address, data_converter=plain_data_converter)
        return WorkflowEnvironment.from_client(client)

    async with open_world(stage.databases, start=start, tuning=tuning) as world:
        terms = await card(world)
        await world.open(terms)  # Customer and price are there, and everything has run once.
        many = [terms.model_copy(update={"subscription_id": new_id()}) for _ in range(OPENINGS)]
        began, cpu_began = perf_counter(), process_time()
        await asyncio.gather(*(world.open(one) for one in many))
        return perf_counter() - began, process_time() - cpu_began


def main() -> int:
    logging.disable(logging.CRITICAL)
    quiet = LoggingConfig(filter=TelemetryFilter(core_level="ERROR", other_level="ERROR"))
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=quiet)))
    with (
        tempfile.TemporaryDirectory(prefix="abono-tuning-") as folder,
        test_databases(Path(folder) / "postgres") as databases,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(compare(Stage(databases, Path(folder)), Console()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
