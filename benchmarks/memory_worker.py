"""A worker process that only remembers workflows.

`python -m benchmarks.memory_worker ADDRESS QUEUE CACHED_MAX`. Its memory is looked at from outside. It runs
no activities: what waits does nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import sys

from temporalio.client import Client
from temporalio.worker import Worker

from abono.payload_converter import plain_data_converter
from abono.worker import WORKFLOWS
from abono.workflow_runner import workflow_runner
from benchmarks.baselines import RawIdle


async def work(address: str, queue: str, cached_max: int) -> None:
    client = await Client.connect(address, data_converter=plain_data_converter)
    worker = Worker(
        client,
        task_queue=queue,
        workflows=[*WORKFLOWS, RawIdle],
        workflow_runner=workflow_runner(),
        max_cached_workflows=cached_max,
    )
    await worker.run()


if __name__ == "__main__":
    logging.getLogger("temporalio").setLevel(logging.CRITICAL)
    asyncio.run(work(sys.argv[1], sys.argv[2], int(sys.argv[3])))
