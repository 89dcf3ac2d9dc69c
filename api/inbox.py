"""Puts verified webhooks where they cannot be lost: one row per event, however often it comes.

Webhooks that arrive while inserts are under way share the next one, so a burst costs a few statements
and commits, not one for each. A webhook is answered when the statement that carries it has committed.

Two inserts at most are under way, on a connection each: PostgreSQL writes one while this process reads
what the next one will carry. With one, whoever waits for its answer waits together with all others.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import asyncpg
from pydantic_core import PydanticSerializationError
from sqlalchemy.ext.asyncio import AsyncEngine

from models.events import EventKind, ProviderEvent
from models.redaction import hide_event
from models.storage.tables import new_id
from providers.failures import WebhookMalformed

# The telling event (an invoice that was paid) comes with these and usually makes them nothing new.
SECOND_LOOK = timedelta(seconds=1)
_SECOND_LOOK_KINDS = frozenset({EventKind.SUBSCRIPTION, EventKind.LOOK})
# Some 4 KB each: a statement stays below a megabyte.
_BATCH = 200
# A third made more statements and no more webhooks (measured at 16 senders).
LINES = 2
# A burst beyond that is told to come back: the providers keep what is not taken.
_WAITING_MAX = 5000
# Stripe waits 10 s for an answer at the least; after that nobody listens.
_TIMEOUT_SECONDS = 8.0

# The database's clock, because the dispatcher of another replica will compare with it.
_INSERT = """
INSERT INTO webhook_events (
    id, provider, account, provider_event_id, event_type, kind, payload, event,
    received_at, applied_at, disposition, attempts, next_dispatch_at
)
SELECT
    id, provider, account, provider_event_id, event_type, kind, payload::jsonb, event::jsonb,
    now(), CASE kind WHEN 'ignored' THEN now() END, CASE kind WHEN 'ignored' THEN 'ignored' END,
    0, now() + delay
FROM unnest(
    $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::interval[]
) AS new (id, provider, account, provider_event_id, event_type, kind, payload, event, delay)
ON CONFLICT (provider, account, provider_event_id) DO NOTHING
RETURNING id
"""

# A provider that repeats itself may know of trouble that we do not: look again now. A repetition that
# comes at once finds the first delivery still under way, not stuck.
_MAKE_DUE = """
UPDATE webhook_events AS known
SET next_dispatch_at = least(next_dispatch_at, now())
FROM unnest($1::text[], $2::text[], $3::text[]) AS again (provider, account, provider_event_id)
WHERE known.provider = again.provider AND known.account = again.account
  AND known.provider_event_id = again.provider_event_id
  AND applied_at IS NULL AND received_at < now() - interval '2 seconds'
"""


class Reception(StrEnum):
    ACCEPTED = "accepted"
    ALREADY_PROCESSED = "already_processed"


class InboxFull(Exception):
    """More webhooks wait to be stored than can be in time."""


@dataclass
class _Arrival:
    """`columns` are made before it joins others: what shares a statement fails together."""

    id: UUID
    columns: tuple[Any, ...]
    received: asyncio.Future[Reception] = field(default_factory=asyncio.Future)


class Inbox:
    """`engine` is asked for each time, so that its connections are found where they are now."""

    def __init__(
        self, engine: Callable[[], AsyncEngine], timeout_seconds: float = _TIMEOUT_SECONDS
    ) -> None:
        self._engine = engine
        self._timeout_seconds = timeout_seconds
        self._waiting: list[_Arrival] = []
        self._storing: set[asyncio.Task[None]] = set()
        self._lines = 0  # Connections in use, and those of them on which an insert is under way.
        self._busy_lines = 0

    async def receive(self, event: ProviderEvent, raw: bytes) -> Reception:
        """Store it, committed when this returns.

        Raises WebhookMalformed for a body that PostgreSQL cannot hold as a JSON object, InboxFull,
        TimeoutError, and whatever the database raises when it is away.
        """
        if len(self._waiting) >= _WAITING_MAX:
            raise InboxFull
        arrival = _arrival(event, raw)
        self._waiting.append(arrival)
        if self._lines < LINES:
            self._lines += 1
            storing = asyncio.create_task(self._store())
            self._storing.add(storing)
            storing.add_done_callback(self._storing.discard)
        late = asyncio.get_running_loop().call_later(
            self._timeout_seconds, _fail, [arrival], TimeoutError()
        )
        try:
            return await arrival.received
        finally:
            late.cancel()

    async def _store(self) -> None:
        try:
            while batch := self._take():
                await self._store_while_more_come(batch)
        finally:
            # Not when the task is seen to be done: what came in between would find no line.
            self._lines -= 1

    async def _store_while_more_come(self, batch: list[_Arrival]) -> None:
        try:
            async with self._line() as line:
                while batch:
                    self._busy_lines += 1
                    try:
                        await _store_batch(line, batch)
                    finally:
                        self._busy_lines -= 1
                    batch = self._take()
        except BaseException as error:  # Also cancellation: nobody may be left waiting.
            _fail(batch, error if isinstance(error, Exception) else InboxFull())
            if not isinstance(error, Exception):
                raise

    def _take(self) -> list[_Arrival]:
        """The share of one line that is free of what waits."""
        share = math.ceil(len(self._waiting) / (LINES - self._busy_lines))
        count = min(share, _BATCH)
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    @asynccontextmanager
    async def _line(self) -> AsyncIterator[Any]:
        """A connection of the driver: a statement of its own is its own transaction there."""
        async with self._engine().connect() as connection:
            yield (await connection.get_raw_connection()).driver_connection


async def _store_batch(line: Any, batch: list[_Arrival]) -> None:
    try:
        await _insert(line, batch)
    except asyncpg.DataError:
        # One that cannot be stored must not keep the others out.
        for arrival in batch:
            await _insert_alone(line, arrival)


async def _insert_alone(line: Any, arrival: _Arrival) -> None:
    try:
        await _insert(line, [arrival])
    except asyncpg.DataError:
        _fail([arrival], WebhookMalformed("PostgreSQL cannot hold the body"))


async def _insert(line: Any, batch: list[_Arrival]) -> None:
    # In one order everywhere: two statements with the same events would wait for each other.
    batch = sorted(batch, key=_key)
    columns = zip(*(arrival.columns for arrival in batch), strict=True)
    stored = {row[0] for row in await line.fetch(_INSERT, *map(list, columns))}
    known = [arrival for arrival in batch if arrival.id not in stored]
    if known:
        keys = zip(*map(_key, known), strict=True)
        await line.execute(_MAKE_DUE, *map(list, keys))
    for arrival in batch:
        new = arrival.id in stored
        _settle(arrival, Reception.ACCEPTED if new else Reception.ALREADY_PROCESSED)


def _key(arrival: _Arrival) -> tuple[Any, ...]:
    """Provider, account and event: what no two rows have."""
    return arrival.columns[1:4]


def _settle(arrival: _Arrival, reception: Reception) -> None:
    if not arrival.received.done():  # The sender may have gone.
        arrival.received.set_result(reception)


def _fail(batch: list[_Arrival], error: Exception) -> None:
    for arrival in batch:
        if not arrival.received.done():
            arrival.received.set_exception(error)


def _arrival(event: ProviderEvent, raw: bytes) -> _Arrival:
    delay = SECOND_LOOK if event.kind in _SECOND_LOOK_KINDS else timedelta(0)
    names = event.provider.value, event.account, event.provider_event_id, event.event_type
    try:
        said = hide_event(event).model_dump_json()
    except PydanticSerializationError as error:
        raise WebhookMalformed("there is half of a character in it") from error
    row_id = new_id()
    return _Arrival(row_id, (row_id, *names, event.kind.value, _payload(raw), said, delay))


def _payload(raw: bytes) -> str:
    """The body as it came. NUL is left out: PostgreSQL cannot hold it in a JSON string, and no
    identifier or amount needs one."""
    if raw.lstrip()[:1] != b"{":
        raise WebhookMalformed("the body is not a JSON object")
    try:
        return raw.decode().replace("\\u0000", "")
    except UnicodeDecodeError as error:
        raise WebhookMalformed("the body is not UTF-8") from error
