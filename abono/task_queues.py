"""Who takes work: the task queues of this installation, and when each was asked last."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from abono.worker_tuning import QUEUES, WORKFLOWS_QUEUE, in_order
from models.outcomes import ProviderName

# Temporal ends a question for work that had no answer after a minute, and a worker asks again at once. Half
# as long again is for clocks that differ. Who is gone is remembered for five minutes.
ASKED_WITHIN = timedelta(seconds=90)


def needed(providers: Iterable[ProviderName]) -> list[str]:
    """What has to be served, as `abono worker --queues` calls it."""
    return in_order([WORKFLOWS_QUEUE, *(str(name) for name in providers)])


async def last_asked(client: Client, name: str) -> datetime | None:
    """When a worker asked for work of this queue; None when none did within five minutes.

    Raises RPCError; of status UNIMPLEMENTED by a server that does not tell.
    """
    of_workflows = name == WORKFLOWS_QUEUE
    question = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=QUEUES[name]),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
        if of_workflows
        else TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
    )
    answer = await client.workflow_service.describe_task_queue(question)
    times = [one.last_access_time.ToDatetime(tzinfo=UTC) for one in answer.pollers]
    return max(times, default=None)


async def never_asked(client: Client, names: Iterable[str]) -> list[str]:
    """Queues that no worker has asked for within five minutes; none where the server does not tell."""
    try:
        return [name for name in names if await last_asked(client, name) is None]
    except RPCError as error:
        if error.status is not RPCStatusCode.UNIMPLEMENTED:
            raise
        return []


async def unserved(client: Client, names: Iterable[str], at: datetime) -> list[str]:
    """Queues that no worker serves at `at`, which is now."""
    found = []
    for name in names:
        asked = await last_asked(client, name)
        if asked is None or at - asked > ASKED_WITHIN:
            found.append(name)
    return found
