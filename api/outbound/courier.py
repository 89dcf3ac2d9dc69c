"""Brings events to the endpoints of applications. Any number of replicas may run one each.

Each lane (a subscription at an endpoint) has at most one event under way; lanes go side by side. What is
claimed is sent, and what came of it is written, in two transactions with the network between them: a crash
there means that the receiver gets the same event again, with the same id.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime
from uuid import UUID

import structlog

from api.clock import now
from api.context import ApiContext
from api.outbound import queue
from api.outbound.health import settle
from api.outbound.queue import Errand
from api.outbound.secrets import Sealer
from api.outbound.sender import TIMEOUT_SECONDS, Result, body_of, signed_headers
from api.problems import is_database_away, log_unexpected

# Tries under way in this process; each costs a socket, and a connection to PostgreSQL only at its ends.
AT_ONCE_MAX = 32
# Of them to one endpoint: a slow one leaves room for the others.
AT_ONCE_EACH_MAX = 8
# A bell that was not heard costs no more than this.
_IDLE_SECONDS_MAX = 5.0
_IDLE_SECONDS_MIN = 0.05
_AWAY_PAUSE_SECONDS = 2.0

_log = structlog.get_logger("abono.outbound")


class Courier:
    def __init__(self, context: ApiContext) -> None:
        self._context = context
        self._sealer = Sealer(context.pepper)
        self._under_way: dict[asyncio.Task[None], UUID] = {}

    async def run(self) -> None:
        """Until cancelled; what is under way then is brought to its end."""
        try:
            while True:
                await self._context.doorbell.wait_told(await self._turn())
        finally:
            if self._under_way:
                await asyncio.wait(self._under_way, timeout=TIMEOUT_SECONDS + 1)

    async def run_once(self) -> int:
        """Claim what is due, bring it, and wait for all of it; how many events were tried."""
        tasks = await self._set_off()
        if tasks:
            await asyncio.wait(tasks)
        return len(tasks)

    async def _turn(self) -> float:
        """One pass; the seconds until something will be due."""
        try:
            if await self._set_off():
                return _IDLE_SECONDS_MIN
            async with self._context.sessions() as session:
                seconds = await queue.seconds_to_next(session)
        except Exception as error:
            if not is_database_away(error):
                log_unexpected("outbound pass failed", error)
            await asyncio.sleep(_AWAY_PAUSE_SECONDS)
            return 0.0
        lag = 0.0 if seconds is None else max(0.0, -seconds)
        self._context.metrics.outbound_lag.set(lag)
        if seconds is None or len(self._under_way) >= AT_ONCE_MAX:
            return _IDLE_SECONDS_MAX
        return min(max(seconds, _IDLE_SECONDS_MIN), _IDLE_SECONDS_MAX)

    async def _set_off(self) -> list[asyncio.Task[None]]:
        room = AT_ONCE_MAX - len(self._under_way)
        if room <= 0:
            return []
        async with self._context.sessions.begin() as session:
            errands = await queue.claim(
                session,
                room=room,
                each=AT_ONCE_EACH_MAX,
                busy=Counter(self._under_way.values()),
            )
        tasks = []
        for errand in errands:
            task = asyncio.create_task(self._bring(errand))
            self._under_way[task] = errand.delivery.endpoint_id
            task.add_done_callback(self._came_back)
            tasks.append(task)
        return tasks

    def _came_back(self, task: asyncio.Task[None]) -> None:
        """There is room again, and perhaps the next event of the same lane."""
        del self._under_way[task]
        self._context.doorbell.ring_told_here()

    async def _bring(self, errand: Errand) -> None:
        began = now()
        try:
            result = await self._send(errand)
            await self._write_down(errand, result, began)
        except Exception as error:
            # The claim runs out, and the event is sent again.
            if not is_database_away(error):
                log_unexpected("outbound delivery failed", error)
            self._count("unrecorded")

    async def _send(self, errand: Errand) -> Result:
        at, event_id = now(), str(errand.event.id)
        secrets = self._sealer.readable(errand.endpoint.secrets, at)
        if not secrets:
            return Result("secret_unreadable")
        body = body_of(errand.event)
        headers = signed_headers(secrets, event_id, body, at)
        sender = self._context.sender
        with self._context.metrics.outbound_seconds.time():
            return await sender.send(errand.endpoint.url, headers, body)

    async def _write_down(self, errand: Errand, result: Result, began: datetime) -> None:
        at = now()
        async with self._context.sessions.begin() as session:
            held = await queue.lock(session, errand)
            word = await settle(session, held, result, began, at) if held else "overtaken"
        self._count(word)
        if result.delivered:
            age = (at - errand.event.created_at).total_seconds()
            self._context.metrics.outbound_age.observe(max(0.0, age))
        else:
            _log.info(
                "webhook not delivered",
                webhook_endpoint_id=str(errand.delivery.endpoint_id),
                event_id=str(errand.event.id),
                error=result.error,
                status=result.response_status,
            )

    def _count(self, result: str) -> None:
        self._context.metrics.outbound_deliveries.labels(result).inc()
