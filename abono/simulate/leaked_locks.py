"""Gives back the locks that the time-skipping server forgets, so that its clock goes on skipping.

While a child tells its parent that it has ended, the server keeps its clock from skipping, and the parent's
run lets it go again. When that run had ended before (an abandoned child, as a refund may be), nobody does:
from then on every hour takes an hour. Seen in temporal-test-server 1.40.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, WorkflowExecutionStatus
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.testservice.v1 import UnlockTimeSkippingRequest
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import ListClosedWorkflowExecutionsRequest
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

LOOK_SECONDS = 1.0
# A clock that went further than this beyond real time has skipped, and is not stuck.
SKIPPED_SECONDS = 0.5

_TELL_NOBODY = frozenset(
    {
        WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW,
        WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED,
    }
)
_HEARD = frozenset(
    {
        EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED,
        EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED,
        EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED,
        EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT,
    }
)


@asynccontextmanager
async def leaks_mended(env: WorkflowEnvironment) -> AsyncIterator[None]:
    """For as long as the block lasts. Does nothing for a server that skips no time."""
    if not env.supports_time_skipping:
        yield
        return
    mending = asyncio.create_task(_LeakedLocks(env).mend_for_ever())
    try:
        yield
    finally:
        mending.cancel()
        with suppress(asyncio.CancelledError):
            await mending


class _LeakedLocks:
    def __init__(self, env: WorkflowEnvironment) -> None:
        self._env = env
        self._client: Client = env.client
        self._settled: set[str] = set()  # Run ids that have been judged.

    async def mend_for_ever(self) -> None:
        """Reads histories only while the clock goes no faster than a real one."""
        # What had ended is asked before how far the clock is: whatever it skips then, it skips after that.
        ended_before, before = await self._ended(), await self._lead()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with suppress(RPCError):  # It is busy, or about to end: asked again in a second.
                ended, lead = await self._ended(), await self._lead()
                if lead - before < SKIPPED_SECONDS:
                    await self._mend(ended)
                else:
                    # It skipped after these had ended, so none of them keeps it. To read them all when
                    # it is stuck after years would take longer than the server waits in a sleep.
                    self._settled.update(ended_before)
                ended_before, before = ended, lead

    async def _lead(self) -> float:
        """How far the server's clock is ahead of ours, in seconds."""
        now = await self._env.get_current_time()
        return now.timestamp() - time.time()

    async def _ended(self) -> dict[str, WorkflowExecutionInfo]:
        """Every closed run by its id. This server tells no time of closing."""
        request = ListClosedWorkflowExecutionsRequest(namespace=self._client.namespace)
        closed = await self._client.workflow_service.list_closed_workflow_executions(request)
        return {info.execution.run_id: info for info in closed.executions}

    async def _mend(self, ended: Mapping[str, WorkflowExecutionInfo]) -> None:
        for run_id, info in ended.items():
            if run_id in self._settled:
                continue
            parent = await self._parent(info.execution)
            tells = parent.run_id and info.status not in _TELL_NOBODY
            if tells and not await self._has_heard(parent, info.execution):
                if parent.run_id not in ended:
                    continue  # It is about to hear.
                await self._client.test_service.unlock_time_skipping(UnlockTimeSkippingRequest())
            self._settled.add(run_id)

    async def _parent(self, child: WorkflowExecution) -> WorkflowExecution:
        """Empty for a workflow that nobody else started."""
        [started, *_] = await self._events(child)
        return started.workflow_execution_started_event_attributes.parent_workflow_execution

    async def _has_heard(self, parent: WorkflowExecution, child: WorkflowExecution) -> bool:
        return any(
            event.event_type in _HEARD and child.workflow_id == _child_of(event)
            for event in await self._events(parent)
        )

    async def _events(self, execution: WorkflowExecution) -> list[HistoryEvent]:
        handle = self._client.get_workflow_handle(execution.workflow_id, run_id=execution.run_id)
        return list((await handle.fetch_history()).events)


def _child_of(event: HistoryEvent) -> str:
    told = getattr(event, event.WhichOneof("attributes") or "")
    child_id: str = told.workflow_execution.workflow_id
    return child_id
