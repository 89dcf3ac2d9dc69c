"""What happened, for the calling app: the same events that outbound webhooks carry."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter
from sqlalchemy import Select, select

from api.auth import Reader
from api.context import Context
from api.openapi import problems
from api.pagination import Cursor, Limit, Page, decode_cursor, page, split_page
from api.responses import EventView
from api.tenancy import scoped
from models.storage.tables import OutboundEvent

router = APIRouter(prefix="/events", tags=["Events"])


@router.get(
    "", response_model=Page[EventView], responses=problems(401, 403, 422), summary="List events"
)
async def list_events(
    context: Context,
    principal: Reader,
    subscription_id: UUID | None = None,
    purchase_id: UUID | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Page[EventView]:
    """Oldest first, unlike the other lists: read on from the last cursor to follow what happens. With
    `subscription_id` or `purchase_id`, in the order of `sequence`."""
    statement = scoped(select(OutboundEvent), principal)
    if subscription_id is not None:
        statement = statement.where(OutboundEvent.subscription_id == subscription_id)
    if purchase_id is not None:
        statement = statement.where(OutboundEvent.purchase_id == purchase_id)
    is_of_one = subscription_id is not None or purchase_id is not None
    statement = _of_one(statement, cursor) if is_of_one else _across(statement, cursor)
    async with context.sessions() as session:
        rows, more = split_page((await session.scalars(statement.limit(limit + 1))).all(), limit)
    position: object = None
    if rows:
        position = rows[-1].sequence if is_of_one else rows[-1].id
    return page([EventView.model_validate(row) for row in rows], more, position)


def _across(statement: Select[OutboundEvent], cursor: str | None) -> Select[OutboundEvent]:
    if cursor is not None:
        statement = statement.where(OutboundEvent.id > decode_cursor(cursor, UUID))
    return statement.order_by(OutboundEvent.id)


def _of_one(statement: Select[OutboundEvent], cursor: str | None) -> Select[OutboundEvent]:
    if cursor is not None:
        statement = statement.where(OutboundEvent.sequence > decode_cursor(cursor, int))
    return statement.order_by(OutboundEvent.sequence)
