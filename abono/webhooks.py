"""Webhooks that wait or failed, at the command line: of the whole installation."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from abono.settings import Settings
from api.inbox_views import InboxState, in_state, inbox_view, list_inbox, replay
from api.operator_schemas import InboxEventView
from models.storage.engine import make_engine, make_sessions
from models.storage.tables import WebhookEvent

# Failed ones that are delivered again by one command: the dispatcher takes 200 at a time.
REPLAY_MAX = 10_000
HEADINGS = (
    *("ID", "PROVIDER", "EVENT", "PROVIDER'S ID", "RECEIVED (UTC)", "STATE", "TRIES"),
    *("NEXT TRY (UTC)", "WORKFLOW", "LAST ERROR"),
)
_NONE = "-"
_TIME = "%Y-%m-%d %H:%M:%S"


async def list_webhooks(database_url: str, state: InboxState, limit: int) -> list[InboxEventView]:
    """Newest first."""
    async with _database(database_url) as session:
        return [inbox_view(row) for row in await list_inbox(session, state, None, limit)]


async def replay_webhooks(database_url: str, ids: Sequence[UUID]) -> int:
    """How many of these will be delivered again; those that were applied are left alone."""
    async with _database(database_url) as session:
        return await replay(session, ids)


async def replay_failed(database_url: str) -> int:
    async with _database(database_url) as session:
        failed = select(WebhookEvent.id).where(in_state(InboxState.FAILED)).limit(REPLAY_MAX)
        return await replay(session, list(await session.scalars(failed)))


def as_json(events: Sequence[InboxEventView]) -> str:
    return json.dumps([event.model_dump(mode="json") for event in events], indent=2)


def as_table(events: Sequence[InboxEventView]) -> str:
    """A line for each, in columns. Never folded: a line is for grep."""
    rows = [HEADINGS, *(_cells(event) for event in events)]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _cells(event: InboxEventView) -> tuple[str, ...]:
    return (
        str(event.id),
        event.provider,
        event.event_type,
        event.provider_event_id,
        event.received_at.strftime(_TIME),
        event.disposition or event.state,
        str(event.tries),
        event.next_try_at.strftime(_TIME) if event.next_try_at else _NONE,
        event.workflow_id or _NONE,
        event.last_error or _NONE,
    )


@asynccontextmanager
async def _database(database_url: str) -> AsyncIterator[AsyncSession]:
    """A session in a transaction, on a connection of its own."""
    engine = make_engine(Settings(DATABASE_URL=database_url).sqlalchemy_url, pool_size=1)
    try:
        async with make_sessions(engine).begin() as session:
            yield session
    finally:
        await engine.dispose()
