"""What happens by itself, at intervals: Temporal Schedules, made by whichever worker starts first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import structlog
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from models.commands import TASK_QUEUE
from models.outcomes import ProviderName
from models.reconcile import ReconcileInput, reconcile_workflow_id
from workflows.reconcile import ReconcileWorkflow

# So that three providers, and many installations, do not begin in the same second.
JITTER = timedelta(minutes=5)

_log = structlog.get_logger("abono.worker")


def reconcile_schedule_id(provider: ProviderName) -> str:
    return f"reconcile-{provider}"


async def ensure_reconcile_schedules(
    client: Client, providers: Sequence[ProviderName], every: timedelta | None
) -> None:
    """One schedule for each configured provider; none at all where `every` is None. What an operator
    paused stays paused. A Temporal that takes no schedules is told of in the log, and is no reason not
    to work."""
    for provider in ProviderName:
        try:
            if every is not None and provider in providers:
                await _ensure(client, provider, every)
            else:
                await _remove(client, reconcile_schedule_id(provider))
        except RPCError as error:
            _log.warning("schedule not made", provider=str(provider), reason=error.status.name)


async def _ensure(client: Client, provider: ProviderName, every: timedelta) -> None:
    wanted = Schedule(
        action=ScheduleActionStartWorkflow(
            ReconcileWorkflow.run,
            ReconcileInput(provider=provider),
            id=reconcile_workflow_id(provider),
            task_queue=TASK_QUEUE,
        ),
        spec=ScheduleSpec(
            intervals=[ScheduleIntervalSpec(every=every)], jitter=min(JITTER, every / 10)
        ),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
    )
    try:
        await client.create_schedule(reconcile_schedule_id(provider), wanted)
    except ScheduleAlreadyRunningError:

        def changed(now: ScheduleUpdateInput) -> ScheduleUpdate:
            wanted.state = now.description.schedule.state
            return ScheduleUpdate(schedule=wanted)

        await client.get_schedule_handle(reconcile_schedule_id(provider)).update(changed)


async def _remove(client: Client, schedule_id: str) -> None:
    try:
        await client.get_schedule_handle(schedule_id).delete()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
