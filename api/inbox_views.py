"""The inbox as operators see it: what waits, what failed and why, and having it delivered again.

A webhook belongs to no tenant. What leads to an application's own objects is shown to its operators; what
leads nowhere belongs to the installation, and what leads to another application is never shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from api.auth import Principal, Scope
from api.operator_schemas import InboxEventView
from models.commands import payment_workflow_id
from models.ids import our_id
from models.storage.tables import (
    ChargeAttempt,
    Organization,
    Purchase,
    Subscription,
    WebhookEvent,
)

# Rows looked at for one page: of a long list of strangers' events a page may come back short.
_SCANNED_MAX = 500
NOT_OURS = "not_ours"


class InboxState(StrEnum):
    UNAPPLIED = "unapplied"  # Not dealt with yet, whether or not a try failed.
    FAILED = "failed"  # Not dealt with, and the last try left an error.
    APPLIED = "applied"


def in_state(state: InboxState) -> ColumnElement[bool]:
    unapplied = WebhookEvent.applied_at.is_(None)
    if state is InboxState.FAILED:
        return and_(unapplied, WebhookEvent.last_error.is_not(None))
    return unapplied if state is InboxState.UNAPPLIED else WebhookEvent.applied_at.is_not(None)


def state_of(row: WebhookEvent) -> InboxState:
    if row.applied_at is not None:
        return InboxState.APPLIED
    return InboxState.FAILED if row.last_error is not None else InboxState.UNAPPLIED


def inbox_view(row: WebhookEvent) -> InboxEventView:
    return InboxEventView(
        id=row.id,
        provider=row.provider,
        provider_event_id=row.provider_event_id,
        event_type=row.event_type,
        state=state_of(row),
        disposition=row.disposition,
        workflow_id=row.workflow_id,
        tries=row.attempts,
        last_error=row.last_error,
        received_at=row.received_at,
        applied_at=row.applied_at,
        next_try_at=row.next_dispatch_at if row.applied_at is None else None,
    )


async def list_inbox(
    session: AsyncSession, state: InboxState, before: UUID | None, limit: int
) -> list[WebhookEvent]:
    """Newest first, of the whole installation."""
    statement = select(WebhookEvent).where(in_state(state)).order_by(WebhookEvent.id.desc())
    # What was received may be large, and nobody is shown it.
    statement = statement.options(defer(WebhookEvent.payload))
    if before is not None:
        statement = statement.where(WebhookEvent.id < before)
    return list(await session.scalars(statement.limit(limit)))


async def list_visible(
    session: AsyncSession,
    principal: Principal,
    state: InboxState,
    before: UUID | None,
    limit: int,
) -> tuple[list[WebhookEvent], UUID | None]:
    """Up to `limit` rows that the principal may see, and where to go on; None at the end."""
    scanned = await list_inbox(session, state, before, _SCANNED_MAX)
    visible = await _visible(session, principal, scanned)
    shown = visible[:limit]
    if len(visible) > limit:
        return shown, shown[-1].id
    return shown, scanned[-1].id if len(scanned) == _SCANNED_MAX else None


async def find_visible(
    session: AsyncSession, principal: Principal, event_id: UUID
) -> WebhookEvent | None:
    row = await session.get(WebhookEvent, event_id, with_for_update=True)
    return row if row is not None and await _visible(session, principal, [row]) else None


def may_replay(row: WebhookEvent) -> bool:
    """What was applied stays applied; what was taken for a stranger's may be looked at again."""
    return row.applied_at is None or row.disposition == NOT_OURS


async def replay(session: AsyncSession, ids: Sequence[UUID]) -> int:
    """Due at once, with the patience of a new one. How many that were."""
    done = await session.execute(
        update(WebhookEvent)
        .where(
            WebhookEvent.id.in_(ids),
            or_(WebhookEvent.applied_at.is_(None), WebhookEvent.disposition == NOT_OURS),
        )
        .values(
            next_dispatch_at=func.now(),
            attempts=0,
            last_error=None,
            applied_at=None,
            disposition=None,
        )
        .returning(WebhookEvent.id)
        .execution_options(synchronize_session=False)
    )
    return len(done.all())


async def _visible(
    session: AsyncSession, principal: Principal, rows: Sequence[WebhookEvent]
) -> list[WebhookEvent]:
    owners = await _owners(session, rows)
    unowned = principal.may(Scope.ADMIN)

    def may_see(row: WebhookEvent) -> bool:
        owner = owners.get(row.id)
        return owner == principal.application_id or (owner is None and unowned)

    return [row for row in rows if may_see(row)]


async def _owners(session: AsyncSession, rows: Sequence[WebhookEvent]) -> dict[UUID, UUID]:
    """The application that each row leads to: by the workflow that hears of it, or by an id of ours that
    the provider carried. Four queries, however many rows."""
    clues = {row.id: _clues(row) for row in rows}
    wanted = {clue for found in clues.values() for clue in found}
    known: dict[str, UUID] = {}
    for table, prefix in (
        (Subscription, "subscription/"),
        (Purchase, "purchase/"),
        (ChargeAttempt, "payment/"),
        (Organization, "organization/"),
    ):
        ids = [found for clue in wanted if (found := our_id(_id_in(clue, prefix)))]
        if ids:
            statement = select(table.id, table.application_id).where(table.id.in_(ids))
            for id_, application_id in await session.execute(statement):
                known[f"{prefix}{id_}"] = application_id
    return {
        row_id: known[clue]
        for row_id, found in clues.items()
        for clue in found[::-1]
        if clue in known
    }


def _clues(row: WebhookEvent) -> list[str]:
    """The surest first."""
    event: dict[str, Any] = row.event or {}
    attempt_id = our_id(event.get("attempt_id"))
    clues = [
        row.workflow_id,
        payment_workflow_id(attempt_id) if attempt_id else None,
        _clue("subscription/", event.get("subscription_id")),
        _clue("purchase/", event.get("purchase_id")),
        _clue("organization/", event.get("organization_id")),
    ]
    return [clue for clue in clues if clue is not None]


def _clue(prefix: str, value: object) -> str | None:
    found = our_id(str(value)) if value else None
    return f"{prefix}{found}" if found else None


def _id_in(clue: str, prefix: str) -> str | None:
    return clue.removeprefix(prefix) if clue.startswith(prefix) else None
