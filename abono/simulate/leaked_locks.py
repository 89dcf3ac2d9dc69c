"""Gives back the locks that the time-skipping server forgets, so that its clock goes on skipping.

While a child tells its parent that it has ended, the server keeps its clock from skipping, and the parent's
run lets it go again. When that run had ended before (an abandoned child, as a refund may be), nobody does:
from then on every hour takes an hour. Seen in temporal-test-server 1.40.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, WorkflowExecutionStatus
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.testservice.v1 import UnlockTimeSkippingRequest
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
        """Looks only while the clock goes no faster than a real one."""
        before = await self._lead()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with suppress(RPCError):  # It is busy, or about to end: asked again in a second.
                lead = await self._lead()
                if lead - before < SKIPPED_SECONDS:
                    await self._mend()
                before = lead

    async def _lead(self) -> float:
        """How far the server's clock is ahead of ours, in seconds."""
        now = await self._env.get_current_time()
        return now.timestamp() - time.time()

    async def _mend(self) -> None:
        request = ListClosedWorkflowExecutionsRequest(namespace=self._client.namespace)
        closed = await self._client.workflow_service.list_closed_workflow_executions(request)
        ended = {info.execution.run_id for info in closed.executions}
        for info in closed.executions:
            child = info.execution
            if child.run_id in self._settled:
                continue
            parent = await self._parent(child)
            tells = parent.run_id and info.status not in _TELL_NOBODY
            if tells and not await self._has_heard(parent, child):
                if parent.run_id not in ended:
                    continue  # It is about to hear.
                await self._client.test_service.unlock_time_skipping(UnlockTimeSkippingRequest())
            self._settled.add(child.run_id)

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
