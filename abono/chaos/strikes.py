"""Carries out one round of blows, and measures how long it takes until work goes on."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from abono.chaos.blows import Act, Blow, Round
from abono.chaos.calling import Caller, GaveUp
from abono.chaos.customers import OXXO, Shop, path_of, reference_of, subscribe
from abono.chaos.stage import Stage
from api.clock import now
from models.storage.engine import Sessions
from models.storage.tables import IdempotencyKey, WebhookEvent

# What the design promises, after the process is back and in fair weather.
RESUME_SECONDS_TARGET = 10.0
# Longer than that is no slow recovery but none.
RESUME_SECONDS_MAX = 120.0
_CAUGHT_SECONDS_MAX = 15.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Recovery:
    """In seconds from the last blow: until all parts were back; then, from there, until a new
    subscription had its slip, and until a slip that was paid had made an old one active."""

    blows: str
    weather: bool
    back_seconds: float
    new_seconds: float
    known_seconds: float

    @property
    def slowest_seconds(self) -> float:
        return max(self.new_seconds, self.known_seconds)


@dataclass(frozen=True)
class Probe:
    """A subscription with a slip in hand."""

    path: str
    reference: str


class Striker:
    def __init__(self, stage: Stage, sessions: Sessions, caller: Caller, shop: Shop) -> None:
        self._stage = stage
        self._sessions = sessions
        self._caller = caller
        self._shop = shop
        self._count = 0
        self._begun: list[asyncio.Task[dict[str, Any]]] = []

    async def prepare(self) -> Probe:
        opened = await self._open()
        return await self._slip_of(opened)

    async def play(self, round_: Round, probe: Probe) -> Recovery:
        """Raises GaveUp or TimeoutError when work does not go on, which is a violation by itself."""
        first = asyncio.create_task(self._strike(round_.blows[0], probe))
        others = []
        for blow in round_.blows[1:]:
            await asyncio.sleep(round_.apart_seconds)
            others.append(asyncio.create_task(self._strike(blow, probe)))
        lasting = [blow.seconds for blow in round_.blows]
        struck = time.monotonic() + max(lasting)
        paid = any(blow.act is Act.UNDISPATCHED for blow in round_.blows)
        resuming = asyncio.create_task(self._resume(probe, paid=paid))
        try:
            backs = await asyncio.gather(first, *others)
            new, known = await resuming
        finally:
            resuming.cancel()
        back = max(max(backs), struck)
        return Recovery(
            blows=" and ".join(map(str, round_.blows)),
            weather=round_.weather,
            back_seconds=back - struck,
            new_seconds=max(new - back, 0.0),
            known_seconds=max(known - back, 0.0),
        )

    async def finish(self) -> None:
        """Wishes whose first answer was lost with the API are answered in the end."""
        await asyncio.gather(*self._begun)

    async def _strike(self, blow: Blow, probe: Probe) -> float:
        """When what was struck was back, in monotonic seconds."""
        stage = self._stage
        match blow.act:
            case Act.KILL:
                return await stage.kill(blow.target)
            case Act.RESTART:
                return await stage.restart(blow.target)
            case Act.AWAY:
                return await stage.kill_for(blow.target, blow.seconds)
            case Act.FREEZE:
                async with stage.freezing(blow.target):
                    await asyncio.sleep(blow.seconds)
                return time.monotonic()
            case Act.UNDISPATCHED:
                return await self._kill_before_dispatch(probe)
            case Act.HALF_DONE:
                return await self._kill_half_done()

    async def _kill_before_dispatch(self, probe: Probe) -> float:
        """Without Temporal a webhook is accepted and cannot be handed on: then the API is killed."""
        async with self._stage.freezing("temporal"):
            begun = now()
            await self._caller.control("POST", f"/payments/{probe.reference}/pay", {})
            waits = WebhookEvent.applied_at.is_(None) & (WebhookEvent.received_at >= begun)
            await self._until_there(select(func.count(WebhookEvent.id)).where(waits))
            killing = asyncio.create_task(self._stage.kill("api"))
            await asyncio.sleep(0)
        return await killing

    async def _kill_half_done(self) -> float:
        """Without Temporal a POST has its key and its row, and no effect yet: then the API is killed.
        The caller sends it again with the same key, as long as it takes."""
        async with self._stage.freezing("temporal"):
            begun = now()
            self._begun.append(asyncio.create_task(self._open()))
            half = IdempotencyKey.response_status.is_(None) & (IdempotencyKey.created_at >= begun)
            await self._until_there(select(func.count(IdempotencyKey.key)).where(half))
            killing = asyncio.create_task(self._stage.kill("api"))
            await asyncio.sleep(0)
        return await killing

    async def _until_there(self, count: Any) -> None:
        """Tried for a while: in bad weather the moment may not come, and the kill is then a plain one."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CAUGHT_SECONDS_MAX):
                while True:
                    with suppress(SQLAlchemyError, OSError):
                        async with self._sessions() as session:
                            if await session.scalar(count):
                                return
                    await asyncio.sleep(_POLL_SECONDS)

    async def _resume(self, probe: Probe, *, paid: bool) -> tuple[float, float]:
        """When a new and when a known subscription had got what they were waiting for."""

        async def new() -> float:
            await self._slip_of(await self._open())
            return time.monotonic()

        async def known() -> float:
            if not paid:
                await self._caller.control("POST", f"/payments/{probe.reference}/pay", {})
            active = lambda row: row["status"] == "active"  # noqa: E731
            await self._caller.until(probe.path, active, RESUME_SECONDS_MAX)
            return time.monotonic()

        seen = await asyncio.gather(new(), known())
        return seen[0], seen[1]

    async def _open(self) -> dict[str, Any]:
        self._count += 1
        return await subscribe(self._caller, self._shop, OXXO, f"probe-{self._count}")

    async def _slip_of(self, opened: dict[str, Any]) -> Probe:
        path = path_of(opened)
        row = await self._caller.until(
            path, lambda row: bool(reference_of(row)), RESUME_SECONDS_MAX
        )
        reference = reference_of(row)
        if reference is None:
            raise GaveUp(f"{path}: no slip")
        return Probe(path, reference)
