"""The rows of runs: where one begins, where it stands, and that what was cut off is gone on with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from activities.reconcile_signatures import BeginRun
from models.reconcile_runs import RunBefore, where_to_begin
from models.storage.tables import ReconciliationRun

RUNNING, FINISHED, CUT_OFF = "running", "finished", "cut_off"
_DONE = "done"


async def begin(session: AsyncSession, beginning: BeginRun, account: str) -> None:
    """Write the run down. It goes on where the one before was cut off, or done."""
    request, at = beginning.request, beginning.at
    before = await _latest(session, request.provider, account)
    await _close_the_dead(session, request.provider, account, at)
    begins = where_to_begin(before, request.since, at)
    session.add(
        ReconciliationRun(
            id=beginning.run_id,
            provider=request.provider,
            account=account,
            dry_run=request.dry_run,
            is_aside=begins.is_aside,
            since=begins.since,
            chain_started_at=begins.chain_started_at,
            started_at=at,
            status=RUNNING,
            cursor=begins.cursor,
            objects=0,
            repaired=0,
            left_over=0,
        )
    )
    await session.flush()


async def _latest(session: AsyncSession, provider: str, account: str) -> RunBefore | None:
    run = ReconciliationRun
    mine = run.provider == provider, run.account == account
    statement = select(run).where(*mine, ~run.dry_run, ~run.is_aside)
    found = await session.scalar(statement.order_by(run.started_at.desc()).limit(1))
    if found is None:
        return None
    return RunBefore(
        found.since, found.chain_started_at, found.status == FINISHED, dict(found.cursor)
    )


async def _close_the_dead(session: AsyncSession, provider: str, account: str, at: datetime) -> None:
    """One run at a time for each provider: another that is under way by its row was stopped by somebody."""
    run = ReconciliationRun
    mine = run.provider == provider, run.account == account
    await session.execute(
        update(run).where(*mine, run.status == RUNNING).values(status=CUT_OFF, finished_at=at)
    )


def place(cursor: dict[str, Any], parts: Sequence[str]) -> tuple[int, str | None]:
    """Which part is next, and where in it. A part that the provider does not have any more begins the run
    anew: looking twice does no harm."""
    part = cursor.get("part")
    if part == _DONE:
        return len(parts), None
    return (parts.index(part), cursor.get("cursor")) if part in parts else (0, None)


def place_after(number: int, next_cursor: str | None, parts: Sequence[str]) -> dict[str, Any]:
    if next_cursor is not None:
        return {"part": parts[number], "cursor": next_cursor}
    return {"part": parts[number + 1] if number + 1 < len(parts) else _DONE, "cursor": None}


async def turn(
    session: AsyncSession, run: ReconciliationRun, moved: dict[str, Any], objects: int
) -> bool:
    """Put the cursor after a page; False when another try of the same page was here before."""
    table = ReconciliationRun
    turned: UUID | None = await session.scalar(
        update(table)
        .where(table.id == run.id, table.cursor == run.cursor)
        .values(cursor=moved, objects=table.objects + objects)
        .returning(table.id)
    )
    return turned is not None
