"""The skipping server's clock goes on when a child has outlived the run that started it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from temporalio.workflow import ParentClosePolicy

from abono.simulate.leaked_locks import leaks_mended
from abono.simulate.world import TEST_SERVER

QUEUE = "leaks"
HOUR, YEAR = timedelta(hours=1), timedelta(days=365)


@workflow.defn
class Child:
    @workflow.run
    async def run(self) -> None:
        await workflow.sleep(HOUR)


@workflow.defn
class Parent:
    """Waits for its child, ends before it, or goes on in another run."""

    @workflow.run
    async def run(self, how: str) -> None:
        if how == "goes on":
            await workflow.sleep(YEAR)
            return
        child = await workflow.start_child_workflow(
            Child.run,
            id=f"{workflow.info().workflow_id}/child",
            parent_close_policy=ParentClosePolicy.ABANDON,
        )
        if how == "continues":
            workflow.continue_as_new("goes on")
        if how == "waits":
            await child


@pytest.mark.timeout(60)
async def test_time_goes_on_skipping_after_children_that_nobody_hears() -> None:
    env = await WorkflowEnvironment.start_time_skipping(test_server_existing_path=str(TEST_SERVER))
    async with (
        env,
        leaks_mended(env),
        Worker(
            env.client,
            task_queue=QUEUE,
            workflows=[Parent, Child],
            workflow_runner=UnsandboxedWorkflowRunner(),
        ),
    ):
        for number, how in enumerate(["waits", "ends", "continues", "waits", "ends"]):
            started = await env.get_current_time()
            await env.client.start_workflow(Parent.run, how, id=f"{number}", task_queue=QUEUE)
            # Within the minute that a test server is waited for, or not at all.
            await env.sleep(3 * HOUR)
            await env.sleep(3 * HOUR)
            # Given back once and not twice: nothing passes by itself now.
            passed = await env.get_current_time() - started
            assert timedelta(0) <= passed - 6 * HOUR < timedelta(seconds=30), how
