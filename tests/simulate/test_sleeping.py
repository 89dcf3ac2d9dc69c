"""Time that several callers let pass at once does not pass over an activity that runs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import cast

import pytest
from temporalio import activity, workflow
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from abono.simulate.sleeping import Sleeping
from abono.simulate.world import TEST_SERVER

QUEUE = "sleeps"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WORK_SECONDS = 1.5


@workflow.defn
class Working:
    """Ends with the number of tries that its activity needed."""

    @workflow.run
    async def run(self) -> int:
        return await workflow.execute_activity(work, start_to_close_timeout=timedelta(minutes=1))


@activity.defn
async def work() -> int:
    await asyncio.sleep(WORK_SECONDS)
    return activity.info().attempt


@pytest.mark.timeout(60)
async def test_two_sleepers_wait_for_the_work_that_is_under_way() -> None:
    env = await WorkflowEnvironment.start_time_skipping(test_server_existing_path=str(TEST_SERVER))
    async with (
        env,
        Worker(
            env.client,
            task_queue=QUEUE,
            workflows=[Working],
            activities=[work],
            workflow_runner=UnsandboxedWorkflowRunner(),
        ),
    ):
        sleeping = Sleeping(env)
        handle = await env.client.start_workflow(Working.run, id="working", task_queue=QUEUE)
        await asyncio.sleep(WORK_SECONDS / 3)
        began = await env.get_current_time()
        await asyncio.gather(sleeping.sleep(DAY), sleeping.sleep(HOUR))
        with env.auto_time_skipping_disabled():
            assert await handle.result() == 1
        # The clock still skips afterwards, and nothing passes by itself.
        await sleeping.sleep(DAY)
        passed = await env.get_current_time() - began
        assert timedelta(0) <= passed - (2 * DAY + HOUR) < timedelta(seconds=30)


class LosingConnections:
    """An environment whose client hears of no sleep's end, while the server goes on with it."""

    supports_time_skipping = True

    def __init__(self, env: WorkflowEnvironment) -> None:
        self.get_current_time = env.get_current_time
        self._env = env
        self.going_on: list[asyncio.Task[None]] = []

    async def sleep(self, duration: timedelta) -> None:
        self.going_on.append(asyncio.create_task(self._env.sleep(duration)))
        raise RPCError("h2 protocol error: http2 error", RPCStatusCode.INTERNAL, b"")


@pytest.mark.timeout(60)
async def test_a_sleep_whose_connection_is_lost_is_waited_for() -> None:
    env = await WorkflowEnvironment.start_time_skipping(test_server_existing_path=str(TEST_SERVER))
    async with env:
        losing, began = LosingConnections(env), await env.get_current_time()
        await Sleeping(cast("WorkflowEnvironment", losing)).sleep(DAY)
        passed = await env.get_current_time() - began
        assert timedelta(0) <= passed - DAY < timedelta(seconds=30)
        await asyncio.gather(*losing.going_on)
