"""Takes what is due out of the inbox and to its workflow. Any number of replicas may run one each.

A row is *claimed* by moving its next dispatch into the future, in one transaction; it is *applied* by
the workflow, in another. In between anything may crash: what was not applied is due again, and is sent
again. Nothing is ever taken out of the inbox.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal
from uuid import UUID

import structlog
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from activities.benefits import write_grant
from activities.event_facts import DueEvent, load_facts, name_payments
from activities.event_targets import Disposition, Parked, Target, judge
from api.clock import now
from api.context import ApiContext
from api.delivery import Delivery, Report
from api.inbox_statements import CLAIM, GIVE_BACK, SECONDS_TO_NEXT, SETTLE, write_texts
from api.outbound.courier import Courier
from api.problems import is_database_away, log_unexpected
from api.reminders import Reminders
from api.retention import Cleaner
from api.starter import Starter
from models.events import EventKind, ProviderEvent

# A bell that was not heard (another replica's, a lost connection) costs no more than this.
_IDLE_SECONDS_MAX = 5.0
# When all that is due is locked by another replica.
_IDLE_SECONDS_MIN = 0.05
_AWAY_PAUSE_SECONDS_MIN, _AWAY_PAUSE_SECONDS_MAX = 0.1, 2.0

_log = structlog.get_logger("abono.dispatcher")

Addressed = list[tuple[DueEvent, Target]]


class Dispatcher:
    def __init__(self, context: ApiContext) -> None:
        self._context = context
        self._delivery = Delivery(context)
        self._starter = Starter(context)
        self._stopping = asyncio.Event()
        self._temporal_away = False
        self._failures = 0

    async def run(self) -> None:
        """Until `stop`. Whatever goes wrong is logged and tried again."""
        helpers = [
            asyncio.create_task(self._context.doorbell.connect(self._context.engine)),
            asyncio.create_task(self._starter.run()),
            asyncio.create_task(Cleaner(self._context).run()),
            asyncio.create_task(Reminders(self._context).run()),
            asyncio.create_task(Courier(self._context).run()),
        ]
        try:
            while not self._stopping.is_set():
                await self._context.doorbell.wait(await self._turn())
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)

    async def stop(self) -> None:
        """Ends `run` after the pass that it is in."""
        self._stopping.set()
        self._context.doorbell.ring_here()

    async def _turn(self) -> float:
        """Passes until nothing is due; the seconds until something will be."""
        try:
            if self._temporal_away and not await self._context.commands.is_reachable():
                await self._seconds_to_next()  # The lag grows, and has to be seen now of all times.
                return await self._pause("temporal")
            self._temporal_away = False
            while not self._stopping.is_set() and await self.run_once():
                if self._temporal_away:
                    return await self._pause("temporal")
            self._failures = 0
            return await self._seconds_to_next()
        except Exception as error:
            if is_database_away(error):
                return await self._pause("database")
            log_unexpected("dispatcher pass failed", error)
            return await self._pause("other")

    async def _pause(self, cause: str) -> float:
        """Something is away. The bell must not shorten the wait: it rings with every webhook."""
        self._context.metrics.dispatcher_errors.labels(cause).inc()
        seconds = min(_AWAY_PAUSE_SECONDS_MIN * 2**self._failures, _AWAY_PAUSE_SECONDS_MAX)
        self._failures = min(self._failures + 1, 10)
        _log.info("dispatcher waits", away=cause, seconds=seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return 0.0

    async def run_once(self) -> int:
        """One pass: claim, judge, deliver. How many rows it took."""
        try:
            async with self._context.sessions.begin() as session:
                due, unreadable = await _claim(session)
                addressed = await self._sort_out(session, due, unreadable)
        except Exception as error:
            if is_database_away(error):
                raise
            log_unexpected("events cannot be judged together", error)
            due, unreadable, addressed = await self._one_by_one()
        if addressed:
            report = await self._delivery.deliver(addressed)
            await self._settle(report)
        return len(due) + len(unreadable)

    async def _one_by_one(self) -> tuple[list[DueEvent], list[UUID], Addressed]:
        """Something in a batch breaks what is done with all of it: it alone is left behind, with a note."""
        addressed: Addressed = []
        async with self._context.sessions.begin() as session:
            due, unreadable = await _claim(session)
            for item in due:
                try:
                    async with session.begin_nested():
                        addressed += await self._sort_out(session, [item], [])
                except Exception as error:
                    if is_database_away(error):
                        raise
                    log_unexpected("event cannot be judged", error, inbox_id=str(item.id))
                    note = {item.id: f"cannot be judged: {type(error).__name__}"}
                    await _write_texts(session, "last_error", note)
            await self._sort_out(session, [], unreadable)
        return due, unreadable, addressed

    async def _sort_out(
        self, session: AsyncSession, due: list[DueEvent], unreadable: list[UUID]
    ) -> Addressed:
        """Write down what needs no workflow; return the rest."""
        notes: dict[UUID, str] = dict.fromkeys(unreadable, "unreadable")
        settled: dict[Disposition, list[UUID]] = defaultdict(list)
        addressed: Addressed = []
        events = await name_payments(session, [item.event for item in due])
        due = [replace(item, event=event) for item, event in zip(due, events, strict=True)]
        facts = await load_facts(session, events)
        moment = now()
        for item in due:
            if await _applied_here(session, item.event):
                settled[Disposition.APPLIED].append(item.id)
                continue
            verdict = judge(item, facts, moment)
            if isinstance(verdict, Target):
                addressed.append((item, verdict))
            elif isinstance(verdict, Parked):
                notes[item.id] = verdict.reason
            else:
                settled[verdict].append(item.id)
        for disposition, ids in settled.items():
            await session.execute(SETTLE, {"ids": ids, "said": disposition.value})
        await _write_texts(session, "last_error", notes)
        workflow_ids = {item.id: target.workflow_id for item, target in addressed}
        await _write_texts(session, "workflow_id", workflow_ids)
        self._count(settled, len(notes), len(addressed))
        return addressed

    def _count(self, settled: dict[Disposition, list[UUID]], parked: int, addressed: int) -> None:
        results = Counter({disposition.value: len(ids) for disposition, ids in settled.items()})
        results.update(parked=parked, addressed=addressed)
        for result, count in results.items():
            self._context.metrics.dispatched.labels(result).inc(count)

    async def _settle(self, report: Report) -> None:
        """Give back what Temporal was not there for: its turn was not used up."""
        self._temporal_away = bool(report.away)
        if not report.away and not report.errors:
            return
        async with self._context.sessions.begin() as session:
            if report.away:
                await session.execute(GIVE_BACK, {"ids": report.away})
            await _write_texts(session, "last_error", report.errors)

    async def _seconds_to_next(self) -> float:
        async with self._context.sessions() as session:
            seconds = await session.scalar(SECONDS_TO_NEXT)
        lag = 0.0 if seconds is None else max(0.0, -float(seconds))
        self._context.metrics.dispatcher_lag.set(lag)
        if seconds is None:
            return _IDLE_SECONDS_MAX
        return min(max(float(seconds), _IDLE_SECONDS_MIN), _IDLE_SECONDS_MAX)


async def _applied_here(session: AsyncSession, event: ProviderEvent) -> bool:
    """A benefit that was granted or taken away needs no decision: its row is written in the transaction
    that settles the event, also long after the purchase has ended."""
    if event.kind is not EventKind.BENEFIT or event.grant is None:
        return False
    return await write_grant(session, event.account, event.grant, now())


async def _claim(session: AsyncSession) -> tuple[list[DueEvent], list[UUID]]:
    """What is due and nobody else has, oldest first; and the ids of rows that cannot be read."""
    return _read(sorted((await session.execute(CLAIM)).all()))


def _read(rows: Sequence[Any]) -> tuple[list[DueEvent], list[UUID]]:
    due: list[DueEvent] = []
    unreadable: list[UUID] = []
    for row_id, event, tries, received_at in rows:
        try:
            parsed = ProviderEvent.model_validate(event)
        except ValidationError as error:
            log_unexpected("inbox row cannot be read", error, inbox_id=str(row_id))
            unreadable.append(row_id)
        else:
            due.append(DueEvent(row_id, parsed, tries, received_at))
    return due, unreadable


async def _write_texts(
    session: AsyncSession, column: Literal["last_error", "workflow_id"], texts: dict[UUID, str]
) -> None:
    if texts:
        pairs = {"ids": list(texts), "texts": list(texts.values())}
        await session.execute(write_texts(column), pairs)
