"""How much one worker process takes on, and from which queues."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.worker import PollerBehaviorAutoscaling

from abono.settings import Settings
from models.commands import PROVIDER_TASK_QUEUES, TASK_QUEUE

# As `--queues` calls them: workflows with their database writes, and each provider's calls.
WORKFLOWS_QUEUE = "workflows"
QUEUES: dict[str, str] = {
    WORKFLOWS_QUEUE: TASK_QUEUE,
    **{str(provider): queue for provider, queue in PROVIDER_TASK_QUEUES.items()},
}

# The SDK's own numbers; docs/capacity.md has what others came to.
SLOTS = 100
POLLERS_MAX = 100
# An evicted workflow costs a replay of a short history and nothing else.
CACHED_WORKFLOWS_MAX = 1000
# Until a task has ended, so many times more others would have to be heard of before it is forgotten.
CACHED_PER_SLOT = 5
# Long enough for an attempt in flight to hear its provider's answer.
SHUTDOWN_SECONDS = 15.0
# The SDK's too: where the number of pollers begins, between one and the most.
_POLLERS_AT_FIRST = 5
# What a killed worker remembered waits this long before another one takes it: the Go SDK's number, half
# of Python's.
_STICKY_TIMEOUT = timedelta(seconds=5)


@dataclass(frozen=True)
class Tuning:
    """Of one process. Slots and pollers are of each queue that it serves."""

    workflow_slots: int = SLOTS
    activity_slots: int = SLOTS
    local_activity_slots: int = SLOTS
    pollers_max: int = POLLERS_MAX
    cached_workflows_max: int = CACHED_WORKFLOWS_MAX
    shutdown: timedelta = timedelta(seconds=SHUTDOWN_SECONDS)

    def for_activities(self) -> dict[str, Any]:
        """Options of every worker of the SDK's."""
        return {
            "max_concurrent_activities": self.activity_slots,
            "activity_task_poller_behavior": self._pollers(),
            "graceful_shutdown_timeout": self.shutdown,
        }

    def for_workflows(self) -> dict[str, Any]:
        """Options of the one that runs workflows, beside those for activities.

        Far fewer tasks at once than workflows are remembered: to make room the SDK forgets the one that
        it has not heard of for longest, be it in the middle of a task, and the server waits ten seconds
        before it gives that task to anybody again.
        """
        slots_max = self.cached_workflows_max // CACHED_PER_SLOT
        return {
            "max_concurrent_workflow_tasks": min(self.workflow_slots, slots_max),
            "max_concurrent_local_activities": self.local_activity_slots,
            "workflow_task_poller_behavior": self._pollers(),
            "max_cached_workflows": self.cached_workflows_max,
            "sticky_queue_schedule_to_start_timeout": _STICKY_TIMEOUT,
        }

    def _pollers(self) -> PollerBehaviorAutoscaling:
        at_first = min(_POLLERS_AT_FIRST, self.pollers_max)
        return PollerBehaviorAutoscaling(initial=at_first, maximum=self.pollers_max)


USUAL = Tuning()


def tuning_of(settings: Settings) -> Tuning:
    return Tuning(
        workflow_slots=settings.worker_workflow_slots,
        activity_slots=settings.worker_activity_slots,
        local_activity_slots=settings.worker_local_activity_slots,
        pollers_max=settings.worker_pollers_max,
        cached_workflows_max=settings.worker_cached_workflows_max,
        shutdown=timedelta(seconds=settings.worker_shutdown_seconds),
    )


def parse_queues(text: str) -> frozenset[str]:
    """Names out of a comma list. Raises ValueError, in a line for a person."""
    names = frozenset(part.strip().lower() for part in text.split(",") if part.strip())
    known = ", ".join(QUEUES)
    if not names:
        raise ValueError(f"name at least one of {known}")
    if unknown := names - QUEUES.keys():
        raise ValueError(f"{', '.join(sorted(unknown))}: not one of {known}")
    return names


def in_order(names: Iterable[str]) -> list[str]:
    return [name for name in QUEUES if name in set(names)]
