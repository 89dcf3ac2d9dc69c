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
from datetime import UTC, datetime
from itertools import islice

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
# Runs whose history is read at one look.
READ_MAX = 200

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
        self._free_until = datetime.min.replace(tzinfo=UTC)  # What had ended by then keeps no lock.

    async def mend_for_ever(self) -> None:
        """Looks at what has ended only while the clock goes no faster than a real one: this server's list
        fails when a workflow starts in the same moment, and says so in a page of its own log."""
        before, lead = await self._times()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with suppress(RPCError):  # It is busy, or about to end: asked again in a second.
                now, ahead = await self._times()
                if ahead - lead < SKIPPED_SECONDS:
                    await self._mend(await self._ended())
                else:
                    # It has skipped since then, so nothing that had ended by then keeps it.
                    self._free_until = before
                before, lead = now, ahead

    async def _times(self) -> tuple[datetime, float]:
        """The server's clock, and how far it is ahead of ours, in seconds."""
        now = await self._env.get_current_time()
        return now, now.timestamp() - time.time()

    async def _ended(self) -> dict[str, WorkflowExecutionInfo]:
        """Every closed run by its id, the latest started first. This server tells no time of closing."""
        request = ListClosedWorkflowExecutionsRequest(namespace=self._client.namespace)
        closed = await self._client.workflow_service.list_closed_workflow_executions(request)
        latest = sorted(closed.executions, key=_started_at, reverse=True)
        return {info.execution.run_id: info for info in latest}

    async def _mend(self, ended: Mapping[str, WorkflowExecutionInfo]) -> None:
        """To read all of years at once would take minutes: what is at fault has hardly ended long ago."""
        telling = (
            info
            for run_id, info in ended.items()
            if info.status not in _TELL_NOBODY and run_id not in self._settled
        )
        for info in islice(telling, READ_MAX):
            child = await self._events(info.execution)
            parent = child[0].workflow_execution_started_event_attributes.parent_workflow_execution
            keeps = parent.run_id and child[-1].event_time.ToDatetime(UTC) >= self._free_until
            if keeps and not await self._has_heard(parent, info.execution):
                if parent.run_id not in ended:
                    continue  # It is about to hear.
                await self._client.test_service.unlock_time_skipping(UnlockTimeSkippingRequest())
            self._settled.add(info.execution.run_id)

    async def _has_heard(self, parent: WorkflowExecution, child: WorkflowExecution) -> bool:
        return any(
            event.event_type in _HEARD and child.workflow_id == _child_of(event)
            for event in await self._events(parent)
        )

    async def _events(self, execution: WorkflowExecution) -> list[HistoryEvent]:
        handle = self._client.get_workflow_handle(execution.workflow_id, run_id=execution.run_id)
        return list((await handle.fetch_history()).events)


def _started_at(info: WorkflowExecutionInfo) -> int:
    nanoseconds: int = info.start_time.ToNanoseconds()
    return nanoseconds


def _child_of(event: HistoryEvent) -> str:
    told = getattr(event, event.WhichOneof("attributes") or "")
    child_id: str = told.workflow_execution.workflow_id
    return child_id
