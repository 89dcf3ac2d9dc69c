"""Row 9. What an idle subscription weighs in a worker's memory, and how fast a forgotten one is back.

A process of its own remembers hundreds of workflows that wait; its resident memory grows by what they
weigh. Ours are copies of a paid subscription of the crowd, the baseline waits for the same month and has
nothing in it. Both run under our workflow runner. Bound by the SDK: an event loop for each workflow.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

from temporalio.client import Client, WorkflowHandle

from abono.dev.process import Child
from benchmarks.baselines import RawIdle
from benchmarks.crowd import Crowd
from benchmarks.measure import Figure, Stage, percentile, quotients
from models.commands import SubscriptionInput, subscription_workflow_id
from models.storage.tables import new_id
from tests.api.support import eventually
from workflows.subscription import SubscriptionWorkflow

ROW = "Idle subscription"
CROWD = 1
ROUNDS = 3
REMEMBERED = 400
FORGETFUL, RESUMED = 10, 50
_AT_ONCE = 20
_PROGRAM = ("-m", "benchmarks.memory_worker")
# A run that waits: begun, one task, a timer.
_EVENTS_WAITING = 5

Start = Callable[[str], Any]


async def measure(stage: Stage, crowd: Crowd, tell: Callable[[str], None]) -> list[Figure]:
    idle = await _idle_input(crowd)
    count = stage.size(REMEMBERED, 5)
    ours: list[float] = []
    raw: list[float] = []
    for number in range(stage.size(ROUNDS, 1)):
        tell(f"round {number + 1}: {count} workflows in memory, raw and ours")
        raw.append(await _weight(stage, crowd, count, _raw_starter(crowd.client)))
        ours.append(await _weight(stage, crowd, count, _starter(crowd.client, idle)))
    tell("forgotten workflows, asked one after the other")
    seconds = await _resumed(stage, crowd, _starter(crowd.client, idle))
    return [
        Figure(ROW, "in memory, × raw", "×", quotients(ours, raw), target=1.5),
        Figure(ROW, "in memory", "bytes", ours, baseline=raw, note=f"of {count}, resident"),
        Figure(
            ROW,
            "evicted and back, p99",
            "s",
            [percentile(seconds, 0.99)],
            target=1.0,
            note=f"a query of each of {len(seconds)}, median {percentile(seconds, 0.5) * 1000:.0f} ms",
        ),
    ]


async def _idle_input(crowd: Crowd) -> SubscriptionInput:
    """What the waiting run of a subscription was begun with."""
    handle = crowd.client.get_workflow_handle(subscription_workflow_id(crowd.ids[0]))
    async for event in handle.fetch_history_events():
        payloads = event.workflow_execution_started_event_attributes.input.payloads
        [found] = await crowd.client.data_converter.decode(payloads, [SubscriptionInput])
        if not isinstance(found, SubscriptionInput):
            raise TypeError(f"a run of a subscription began with {type(found).__name__}")
        return found
    raise RuntimeError("a run without a history")


def _starter(client: Client, idle: SubscriptionInput) -> Start:
    async def start(queue: str) -> WorkflowHandle[Any, Any]:
        terms = idle.terms.model_copy(update={"subscription_id": new_id()})
        copy = idle.model_copy(update={"terms": terms})
        id_ = f"memory/{terms.subscription_id}"
        return await client.start_workflow(SubscriptionWorkflow.run, copy, id=id_, task_queue=queue)

    return start


def _raw_starter(client: Client) -> Start:
    async def start(queue: str) -> WorkflowHandle[Any, Any]:
        return await client.start_workflow(RawIdle.run, id=f"memory/{uuid4()}", task_queue=queue)

    return start


async def _weight(stage: Stage, crowd: Crowd, count: int, start: Start) -> float:
    """Bytes that each of `count` adds to a worker which has warmed up with a tenth of them."""
    async with _worker(stage, crowd, 2 * count) as (child, queue):
        await _begun(crowd.client, queue, max(1, count // 10), start)
        before = _resident_bytes(child)
        await _begun(crowd.client, queue, count, start)
        return (_resident_bytes(child) - before) / count


async def _resumed(stage: Stage, crowd: Crowd, start: Start) -> list[float]:
    """Seconds until each of many answered a query, on a worker that remembers few of them."""
    async with _worker(stage, crowd, FORGETFUL) as (_, queue):
        handles = await _begun(crowd.client, queue, stage.size(RESUMED, FORGETFUL + 2), start)
        seconds = []
        for handle in handles:
            began = perf_counter()
            await handle.query(SubscriptionWorkflow.explain)
            seconds.append(perf_counter() - began)
        return seconds


@asynccontextmanager
async def _worker(stage: Stage, crowd: Crowd, cached_max: int) -> AsyncIterator[tuple[Child, str]]:
    queue = f"memory-{uuid4()}"
    child = Child(
        name="Worker",
        command=[sys.executable, *_PROGRAM, crowd.address, queue, str(cached_max)],
        log_file=stage.folder / f"{queue}.log",
        environment=os.environ,
    )
    child.start()
    try:
        yield child, queue
    finally:
        child.kill()
        await child.wait()


async def _begun(
    client: Client, queue: str, count: int, start: Start
) -> list[WorkflowHandle[Any, Any]]:
    """Started, and come to the wait that they are in for a month."""
    free = asyncio.Semaphore(_AT_ONCE)

    async def one() -> WorkflowHandle[Any, Any]:
        async with free:
            handle: WorkflowHandle[Any, Any] = await start(queue)

            async def waits() -> bool:
                return (await handle.describe()).history_length >= _EVENTS_WAITING

            await eventually(waits)
            return handle

    return await asyncio.gather(*(one() for _ in range(count)))


def _resident_bytes(child: Child) -> int:
    status = Path(f"/proc/{child.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024
