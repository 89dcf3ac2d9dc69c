"""Worker processes beside the one of the stack, and which of them did what, as the histories tell it."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from temporalio.client import Client

from abono.chaos.stage import BACK_SECONDS_MAX
from abono.dev.info import environment_file, worker_ready_file
from abono.dev.process import Child
from abono.dev.services import program
from models.commands import TASK_QUEUE


@asynccontextmanager
async def more_workers(home: Path, *served: str) -> AsyncIterator[list[Child]]:
    """One process for each comma list of queues, polling; killed at the end."""
    async with AsyncExitStack() as until:
        made = [_worker(home, number, queues) for number, queues in enumerate(served, start=2)]
        for child in made:
            until.callback(child.kill)
            child.start()
        await asyncio.gather(*(_until_polling(child) for child in made))
        yield made


def _worker(home: Path, number: int, queues: str) -> Child:
    told = json.loads(environment_file(home).read_text())
    own = home / f"worker-{number}"
    return Child(
        name=f"Worker {number} ({queues})",
        command=[*program(), "worker", "--queues", queues],
        log_file=home / "logs" / f"worker-{number}.log",
        # A home of its own for the file that says that it polls.
        environment=os.environ | told | {"ABONO_HOME": str(own)},
        stop_seconds=3.0,
    )


async def _until_polling(child: Child) -> None:
    ready = worker_ready_file(Path(child.environment["ABONO_HOME"]))

    async def is_there() -> bool:
        return ready.exists()

    await child.wait_until(is_there, BACK_SECONDS_MAX)


async def work_by_process(client: Client) -> dict[int, Counter[str]]:
    """By process id: how many tasks of each queue it began, over all histories."""
    done: dict[int, Counter[str]] = {}
    async for execution in client.list_workflows():
        handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
        queues: dict[int, str] = {}
        async for event in handle.fetch_history_events():
            scheduled = event.activity_task_scheduled_event_attributes
            queues[event.event_id] = scheduled.task_queue.name or TASK_QUEUE
            for began in (
                event.workflow_task_started_event_attributes,
                event.activity_task_started_event_attributes,
            ):
                # The SDK's own way to name a process: its id, at its machine.
                pid = began.identity.partition("@")[0]
                if pid.isdigit():
                    queue = queues.get(began.scheduled_event_id, TASK_QUEUE)
                    done.setdefault(int(pid), Counter())[queue] += 1
    return done
