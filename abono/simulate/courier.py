"""Carries the simulators' webhooks through our own inbox and dispatcher, on the clock that skips.

What a provider sends is verified, stored and dispatched as in production, only without a socket: while
an HTTP request is under way the clock would skip days. Some are lost, some come twice, some late.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from sqlalchemy import text
from starlette.applications import Starlette

from api.context import ApiContext
from api.dispatcher import Dispatcher
from api.inbox_statements import BATCH, RESEND_AFTER
from models.events import ProviderEvent
from models.outcomes import ProviderName
from sandbox.core import Core

# Webhooks on their way to the inbox: of this order, so that none waits long for the others.
_TOGETHER_MAX = 200

# Whether something is to be sent now; NULL when all is applied.
_SOMETHING_IS_DUE = text(
    "SELECT bool_or(next_dispatch_at <= now()) FROM webhook_events WHERE applied_at IS NULL"
)
# Waiting is in real seconds; here they are over at once.
_MAKE_DUE = text(
    "UPDATE webhook_events SET next_dispatch_at = now() WHERE applied_at IS NULL AND attempts = 0"
)


@dataclass(frozen=True)
class Shares:
    """Of all webhooks, as shares of one; what is held comes with a later delivery. `shuffled` is of
    all deliveries: those whose webhooks come in any order."""

    lost: float = 0.0
    held: float = 0.0
    doubled: float = 0.0
    shuffled: float = 0.0


class Courier:
    def __init__(
        self, app: Starlette, context: ApiContext, *, seed: int, shares: Shares = Shares()
    ) -> None:
        self._core: Core = app.state.core
        self._context = context
        self._dispatcher = Dispatcher(context)
        self._chance = Random(f"{seed}/webhooks")  # noqa: S311 - seeded on purpose
        self._shares = shares
        self._seen = 0
        self._all_applied = True  # Nobody else fills the inbox: until something comes, it is so.
        self._fresh = False  # Something has come since the dispatcher's last pass.
        self._look_at = 0.0  # Monotonic: until then nothing that was sent is due again.
        self._held: list[dict[str, Any]] = []
        self._lock = asyncio.Lock()
        self.met: Counter[str] = Counter()  # How many webhooks had which fate.

    async def deliver(self) -> None:
        """Everything that the providers have sent since the last time, less what the network loses."""
        async with self._lock:
            await self._hand_over(self._on_the_way())
            await self._dispatch()

    async def deliver_all(self) -> None:
        """The network is whole again, and what the providers repeat arrives, the lost included."""
        async with self._lock:
            await self._hand_over(self._core.webhooks.events)
            self._seen, self._held = len(self._core.webhooks.events), []
            await self._dispatch()

    async def send_again(self) -> None:
        """What was sent and not taken by anybody, as the inbox does it after a while."""
        async with self._lock:
            await self._dispatcher.run_once()

    def _on_the_way(self) -> list[dict[str, Any]]:
        new, self._held = [*self._held, *self._core.webhooks.events[self._seen :]], []
        self._seen = len(self._core.webhooks.events)
        arriving, shares = [], self._shares
        for event in new:
            roll = self._chance.random()
            if roll < shares.lost:
                self.met["lost"] += 1
                continue
            if roll < shares.lost + shares.held:
                self.met["held"] += 1
                self._held.append(event)
                continue
            twice = roll < shares.lost + shares.held + shares.doubled
            self.met["doubled"] += twice
            arriving += [event, event] if twice else [event]
        if shares.shuffled and self._chance.random() < shares.shuffled:
            self.met["shuffled"] += len(arriving)
            self._chance.shuffle(arriving)
        return arriving

    async def _hand_over(self, records: Sequence[dict[str, Any]]) -> None:
        """In their order, stored together as a burst is."""
        receive = self._context.inbox.receive
        self._fresh = self._fresh or bool(records)
        for start in range(0, len(records), _TOGETHER_MAX):
            parsed = [self._parse(one) for one in records[start : start + _TOGETHER_MAX]]
            await asyncio.gather(*(receive(*one) for one in parsed if one is not None))

    def _parse(self, record: dict[str, Any]) -> tuple[ProviderEvent, bytes] | None:
        adapter = self._context.providers.get(ProviderName(record["provider"]))
        if adapter is None:
            return None
        raw = json.dumps(record["body"], separators=(",", ":")).encode()
        headers = self._core.webhooks.signers[record["provider"]](raw)
        named = {name.lower(): text for name, text in headers.items()}
        return adapter.parse_webhook(raw, named), raw

    async def _dispatch(self) -> None:
        """What has just come, and what was sent before and is due again. A pass takes all of it, so nobody
        has to look between two passes before the first of it may be due again."""
        if self._fresh:
            await self._make_due()
            self._fresh, self._all_applied = False, False
        elif self._all_applied or time.monotonic() < self._look_at:
            return
        elif not await self._something_is_due():
            self._look_at = time.monotonic() + RESEND_AFTER[0].total_seconds()
            return
        self._look_at = time.monotonic() + RESEND_AFTER[0].total_seconds()
        while await self._dispatcher.run_once() == BATCH:
            pass

    async def _make_due(self) -> None:
        async with self._context.sessions() as session:
            await session.execute(_MAKE_DUE)

    async def _something_is_due(self) -> bool:
        async with self._context.sessions() as session:
            due: bool | None = await session.scalar(_SOMETHING_IS_DUE)
        self._all_applied = due is None
        return bool(due)
