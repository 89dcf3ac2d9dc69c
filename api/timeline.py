"""A subscription's life in one list: what was decided, tried, paid, heard and told.

The sources (some rows are two moments: an attempt begins and ends) are each read from the cursor on, bounded
by the page, and merged. At one instant causes come before effects, in the order of `SOURCES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from api import sentences
from api.auth import Principal
from api.sentences import TimelineEntry
from api.tenancy import scoped
from models.commands import payment_workflow_id
from models.storage.tables import (
    AuditEntry,
    ChargeAttempt,
    CreditEntry,
    Dispute,
    FallbackEvent,
    Invoice,
    OutboundEvent,
    Payment,
    Refund,
    Subscription,
    WebhookEvent,
)

# Of how many slips the webhooks are found: the newest ones. A slip a month makes 40 years.
_ATTEMPTS_MAX = 500


class Position(NamedTuple):
    """Where a page ended."""

    at: datetime
    rank: int
    id: UUID

    def __str__(self) -> str:
        return f"{self.at.isoformat()}|{self.rank}|{self.id}"


class PositionText:
    """A position out of a cursor; raises ValueError for anything that `str(Position)` did not make."""

    def __init__(self, text: str) -> None:
        moment, rank, id_ = text.split("|")
        at = datetime.fromisoformat(moment)
        if at.tzinfo is None:
            raise ValueError("a position has a time zone")
        self.position = Position(at, int(rank), UUID(id_))


@dataclass(frozen=True)
class _Source:
    """One kind of moment: rows of `table` that have a time in `moment`."""

    table: Any
    moment: Any
    entry: Callable[[Any], TimelineEntry]


_PAID_AT = case(
    (Payment.kind == sentences.OUT_OF_BAND, Payment.recorded_at), else_=Payment.occurred_at
)

SOURCES: tuple[_Source, ...] = (
    _Source(WebhookEvent, WebhookEvent.received_at, sentences.of_webhook),
    _Source(Invoice, Invoice.invoice_date, sentences.of_invoice),
    _Source(ChargeAttempt, ChargeAttempt.started_at, sentences.of_attempt),
    _Source(FallbackEvent, FallbackEvent.timestamp, sentences.of_fallback),
    _Source(Payment, _PAID_AT, sentences.of_payment),
    _Source(ChargeAttempt, ChargeAttempt.finished_at, sentences.of_finished_attempt),
    _Source(CreditEntry, CreditEntry.created_at, sentences.of_credit),
    _Source(Invoice, Invoice.paid_at, sentences.of_paid_invoice),
    _Source(Refund, Refund.created_at, sentences.of_refund),
    _Source(Dispute, Dispute.opened_at, sentences.of_dispute),
    _Source(Dispute, Dispute.closed_at, sentences.of_closed_dispute),
    _Source(AuditEntry, AuditEntry.at, sentences.of_audit),
    _Source(OutboundEvent, OutboundEvent.created_at, sentences.of_event),
    _Source(WebhookEvent, WebhookEvent.applied_at, sentences.of_applied_webhook),
)


async def read_timeline(
    session: AsyncSession,
    row: Subscription,
    principal: Principal,
    *,
    after: Position | None,
    newest_first: bool,
    limit: int,
) -> list[tuple[Position, TimelineEntry]]:
    """Up to `limit` entries behind `after`. One query for each source, none longer than the page."""
    workflow_ids = await _workflow_ids(session, row, principal)
    found: list[tuple[Position, TimelineEntry]] = []
    for rank, source in enumerate(SOURCES):
        statement = select(source.table).where(source.moment.is_not(None))
        if source.table is WebhookEvent:
            # The inbox belongs to no tenant; these workflows do.
            statement = statement.where(WebhookEvent.workflow_id.in_(workflow_ids))
        else:
            mine = source.table.subscription_id == row.id
            statement = scoped(statement.where(mine), principal)
        if after is not None:
            statement = statement.where(_behind(source, rank, after, newest_first))
        order = (source.moment, source.table.id)
        statement = statement.order_by(*([c.desc() for c in order] if newest_first else order))
        for each in await session.scalars(statement.limit(limit)):
            entry = source.entry(each)
            found.append((Position(entry.at, rank, each.id), entry))
    found.sort(key=lambda pair: pair[0], reverse=newest_first)
    return found[:limit]


def _behind(source: _Source, rank: int, after: Position, newest_first: bool) -> ColumnElement[bool]:
    """Rows that come after the position in the order of the whole list."""
    here = literal(after.at)
    if rank == after.rank:
        mine, theirs = tuple_(source.moment, source.table.id), tuple_(here, literal(after.id))
        return and_(mine < theirs) if newest_first else and_(mine > theirs)
    together = rank < after.rank if newest_first else rank > after.rank
    if newest_first:
        return and_(source.moment <= here if together else source.moment < here)
    return and_(source.moment >= here if together else source.moment > here)


async def _workflow_ids(
    session: AsyncSession, row: Subscription, principal: Principal
) -> list[str]:
    """Whose webhooks are this subscription's: its own workflow and those of its slips."""
    attempts = (
        select(ChargeAttempt.id)
        .where(
            ChargeAttempt.subscription_id == row.id,
            ChargeAttempt.application_id == principal.application_id,
        )
        .order_by(ChargeAttempt.id.desc())
        .limit(_ATTEMPTS_MAX)
    )
    ids = await session.scalars(attempts)
    return [row.workflow_id, *(payment_workflow_id(id_) for id_ in ids)]
