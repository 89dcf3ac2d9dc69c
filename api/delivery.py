"""Brings events to workflows: one signal per workflow, to the next best one when that is over."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from sqlalchemy import select

from activities.event_facts import DueEvent
from activities.event_targets import Target
from api.context import ApiContext
from api.problems import is_database_away, log_unexpected
from api.temporal_calls import TemporalAway, WorkflowGone
from models.commands import (
    DisputeInput,
    InboxEvent,
    ProviderEvents,
    dispute_workflow_id,
    late_workflow_id,
)
from models.events import ProviderEvent
from models.purchase import PURCHASE_ENDS
from models.states import TERMINAL_STATUSES
from models.storage.tables import Purchase, Subscription

# Signals in flight at once: enough to hide their latency, few enough for a small Temporal.
_CONCURRENCY = 32
# Keeps one signal far below Temporal's 2 MB for a payload; an event is 1 to 4 KB.
_EVENTS_PER_SIGNAL = 100

_log = structlog.get_logger("abono.dispatcher")


@dataclass
class Report:
    """What could not be delivered: `away` because Temporal was, `errors` for another reason."""

    delivered: int = 0
    away: list[UUID] = field(default_factory=list)
    errors: dict[UUID, str] = field(default_factory=dict)


class Delivery:
    def __init__(self, context: ApiContext) -> None:
        self._context = context

    async def deliver(self, addressed: list[tuple[DueEvent, Target]]) -> Report:
        """Everything, coalesced by workflow, in the order received. Never raises for one of them."""
        groups: dict[Target, list[DueEvent]] = defaultdict(list)
        for due, target in addressed:
            groups[target].append(due)
        report = Report()
        free = asyncio.Semaphore(_CONCURRENCY)

        async def one(target: Target, events: list[DueEvent]) -> None:
            async with free:
                await self._guarded(target, events, report)

        async with asyncio.TaskGroup() as group:
            for target, events in groups.items():
                group.create_task(one(target, events))
        return report

    async def _guarded(self, target: Target, events: list[DueEvent], report: Report) -> None:
        """In chunks, one after the other, so that a workflow hears them in order."""
        for chunk in _chunks(events):
            try:
                await self._send(target, chunk, report)
            except TemporalAway:
                report.away.extend(due.id for due in chunk)
                self._count("away")
            except Exception as error:
                if not is_database_away(error):
                    log_unexpected("signal failed", error, workflow_id=target.workflow_id)
                self._note(chunk, f"signal failed: {type(error).__name__}", report)

    async def _send(self, target: Target, events: list[DueEvent], report: Report) -> None:
        if target.dispute_event_id is not None:
            await self._send_disputes(events, report)
            return
        if target.follow_id is not None:
            await self._send_late(target, events, report)
            return
        try:
            await self._context.commands.signal_events(target.workflow_id, _message(target, events))
        except WorkflowGone as gone:
            other = target.next_best()
            if other is not None:
                await self._send(other, events, report)
            elif await self._is_over(target, gone):
                await self._send_late(target, events, report)
            else:
                self._note(events, "its workflow has not started", report)
            return
        report.delivered += len(events)
        self._count("sent")

    async def _is_over(self, target: Target, gone: WorkflowGone) -> bool:
        """Temporal forgets workflows some time after they end; our row does not."""
        if gone.completed:
            return True
        if target.purchase_id is not None:
            bought = select(Purchase.status).where(Purchase.id == target.purchase_id)
            async with self._context.sessions() as session:
                return await session.scalar(bought) in PURCHASE_ENDS
        statement = select(Subscription.status).where(Subscription.id == target.subscription_id)
        async with self._context.sessions() as session:
            return await session.scalar(statement) in TERMINAL_STATUSES

    async def _send_late(self, target: Target, events: list[DueEvent], report: Report) -> None:
        for due in events:
            await self._context.jobs.follow_late_payment(
                late_workflow_id(due.id), _message(target, [due])
            )
            report.delivered += 1
        self._count("late")

    async def _send_disputes(self, events: list[DueEvent], report: Report) -> None:
        for due in events:
            if due.event.dispute is not None:
                request = DisputeInput(
                    seen=due.event.dispute, account=due.event.account, event_id=due.id
                )
                await self._context.jobs.follow_dispute(dispute_workflow_id(due.id), request)
            report.delivered += 1
        self._count("sent")

    def _note(self, events: list[DueEvent], reason: str, report: Report) -> None:
        report.errors.update(dict.fromkeys((due.id for due in events), reason))
        self._count("failed")

    def _count(self, result: str) -> None:
        self._context.metrics.signals.labels(result).inc()


def _chunks(events: list[DueEvent]) -> Iterator[list[DueEvent]]:
    for start in range(0, len(events), _EVENTS_PER_SIGNAL):
        yield events[start : start + _EVENTS_PER_SIGNAL]


def _message(target: Target, events: list[DueEvent]) -> ProviderEvents:
    """With the owner that our own rows led to: metadata can be missing, or name another one."""
    owner: dict[str, str | None] = {"subscription_id": None, "purchase_id": None}
    if target.purchase_id is not None:
        owner["purchase_id"] = str(target.purchase_id)
    elif target.subscription_id is not None:
        owner["subscription_id"] = str(target.subscription_id)
    return ProviderEvents(
        events=[InboxEvent(id=due.id, event=_owned(due.event, owner)) for due in events]
    )


def _owned(event: ProviderEvent, owner: dict[str, str | None]) -> ProviderEvent:
    """A copy costs more than everything else here, and most events name their owner."""
    named = {"subscription_id": event.subscription_id, "purchase_id": event.purchase_id}
    return event if named == owner else event.model_copy(update=owner)
