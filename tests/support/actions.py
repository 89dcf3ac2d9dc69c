"""What a history costs: billable actions by Temporal's own table, counted from the events.

Checked against the `action` metric of a real server (tests/cost), so that a year in the time-skipping
world, which has no such metric, can be counted too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHistory
from temporalio.service import RPCError

from abono.simulate.world import World
from models.commands import payment_workflow_id, resolve_workflow_id, subscription_workflow_id
from models.storage.tables import ChargeAttempt

# A child costs two, its own start included; the run that continues another is the action of the one
# that ended. A retried activity costs one more, which its history does not show: nothing retries here.
ACTIONS_BY_EVENT: dict[int, int] = {
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED: 2,
    EventType.EVENT_TYPE_TIMER_STARTED: 1,
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED: 1,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED: 1,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED: 1,
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES: 1,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: 1,
}


class Cost(NamedTuple):
    actions: int
    events: int
    size_bytes: int

    def __sub__(self, other: Cost) -> Cost:
        return Cost(
            self.actions - other.actions,
            self.events - other.events,
            self.size_bytes - other.size_bytes,
        )


def cost_of(histories: Iterable[WorkflowHistory]) -> Cost:
    actions = events = size = 0
    for history in histories:
        actions += _actions(history)
        events += len(history.events)
        size += sum(event.ByteSize() for event in history.events)
    return Cost(actions, events, size)


def _actions(history: WorkflowHistory) -> int:
    counted = Counter(event.event_type for event in history.events)
    actions = sum(ACTIONS_BY_EVENT.get(type_, 0) * count for type_, count in counted.items())
    # All local activities of one workflow task are one action, however many markers they leave.
    local = {
        event.marker_recorded_event_attributes.workflow_task_completed_event_id
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED
    }
    started = history.events[0].workflow_execution_started_event_attributes
    by_caller = not started.continued_execution_run_id and not started.HasField(
        "parent_workflow_execution"
    )
    return actions + len(local) + by_caller


async def cost_of_subscription(world: World, subscription_id: UUID) -> Cost:
    """Everything that ran for it so far: all runs of its workflow, its payments, its resolutions."""
    attempts = await world.all(
        select(ChargeAttempt.id).where(ChargeAttempt.subscription_id == subscription_id)
    )
    ids = [subscription_workflow_id(subscription_id)]
    for attempt in attempts:
        ids += [payment_workflow_id(attempt), resolve_workflow_id(attempt)]
    histories = [history for id_ in ids for history in await all_runs(world.client, id_)]
    return cost_of(histories)


async def all_runs(client: Client, workflow_id: str) -> list[WorkflowHistory]:
    """Every run of a workflow, newest first; none when there is no such workflow."""
    runs: list[WorkflowHistory] = []
    run_id: str | None = None
    while True:
        try:
            history = await client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()
        except RPCError:
            return runs
        runs.append(history)
        started = history.events[0].workflow_execution_started_event_attributes
        run_id = started.continued_execution_run_id
        if not run_id:
            return runs
