"""What happened to a subscription, why it is in its state, and what comes next."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select

from api.auth import Reader
from api.context import Context
from api.explaining import NextStep, NowView, explain_now, next_of
from api.openapi import problems
from api.pagination import Cursor, Limit, Page, decode_cursor, newest_first, page, split_page
from api.sentences import TimelineEntry
from api.tenancy import get_scoped, scoped
from api.timeline import PositionText, read_timeline
from models.storage.tables import AuditEntry, Subscription

router = APIRouter(tags=["Timeline"])


class Order(StrEnum):
    NEWEST_FIRST = "newest_first"
    OLDEST_FIRST = "oldest_first"


class TimelinePage(Page[TimelineEntry]):
    """`now` says in which state it is and why, `next` what happens next by itself."""

    now: NowView
    next: NextStep


class ExplanationView(BaseModel):
    """`text` is Markdown: why, what next, and what an operator could do."""

    subscription_id: UUID
    status: str
    text: str
    told_by: str


class AuditView(BaseModel):
    """`actor`: `engine`, `provider:…`, `key:…` or `operator:…`. `version` is the row's that it led to."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    subscription_id: UUID | None
    purchase_id: UUID | None
    version: int
    actor: str
    action: str
    before: dict[str, Any]
    after: dict[str, Any]
    at: datetime


@router.get(
    "/subscriptions/{subscription_id}/timeline",
    response_model=TimelinePage,
    responses=problems(401, 403, 404, 422),
    summary="Read a subscription's timeline",
)
async def read_subscription_timeline(
    subscription_id: UUID,
    context: Context,
    principal: Reader,
    order: Order = Order.NEWEST_FIRST,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> TimelinePage:
    """What was decided, tried, paid, heard and told, each as one sentence."""
    after = decode_cursor(cursor, PositionText).position if cursor is not None else None
    async with context.sessions() as session:
        row = await get_scoped(session, Subscription, subscription_id, principal)
        found = await read_timeline(
            session,
            row,
            principal,
            after=after,
            newest_first=order is Order.NEWEST_FIRST,
            limit=limit + 1,
        )
    now = await explain_now(context, row, principal)
    kept, more = split_page(found, limit)
    listed = page([entry for _, entry in kept], more, kept[-1][0] if kept else None)
    return TimelinePage(**listed.model_dump(), now=now, next=next_of(row))


@router.get(
    "/subscriptions/{subscription_id}/explain",
    response_model=ExplanationView,
    responses=problems(401, 403, 404),
    summary="Explain why a subscription is in its state",
)
async def explain_subscription(
    subscription_id: UUID, context: Context, principal: Reader
) -> ExplanationView:
    """As its workflow tells it in the Temporal UI; from the row when the workflow does not answer."""
    async with context.sessions() as session:
        row = await get_scoped(session, Subscription, subscription_id, principal)
    now = await explain_now(context, row, principal)
    return ExplanationView(
        subscription_id=row.id, status=row.status, text=now.why, told_by=now.told_by
    )


@router.get(
    "/audit",
    response_model=Page[AuditView],
    responses=problems(401, 403, 422),
    summary="List the audit log",
)
async def list_audit(
    context: Context,
    principal: Reader,
    subscription_id: UUID | None = None,
    purchase_id: UUID | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Page[AuditView]:
    """Who changed what and why."""
    statement = scoped(select(AuditEntry), principal)
    if subscription_id is not None:
        statement = statement.where(AuditEntry.subscription_id == subscription_id)
    if purchase_id is not None:
        statement = statement.where(AuditEntry.purchase_id == purchase_id)
    statement = newest_first(statement, AuditEntry.id, cursor, limit)
    async with context.sessions() as session:
        rows, more = split_page((await session.scalars(statement)).all(), limit)
    views = [AuditView.model_validate(row) for row in rows]
    return page(views, more, rows[-1].id if rows else None)
