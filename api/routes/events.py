"""What happened, for the calling app: the same events that outbound webhooks carry."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from sqlalchemy import ColumnElement, Select, or_, select

from api.auth import Principal, Reader
from api.context import Context
from api.lists import Created, PageAsked, matching
from api.openapi import problems
from api.pagination import Page, decode_cursor, page, split_page
from api.responses import EventView
from api.tenancy import scoped
from models.storage.tables import OutboundEvent, Purchase, Subscription

router = APIRouter(prefix="/events", tags=["Events"])


@router.get(
    "", response_model=Page[EventView], responses=problems(401, 403, 422), summary="List events"
)
async def list_events(
    context: Context,
    principal: Reader,
    asked: PageAsked,
    created: Created,
    subscription_id: UUID | None = None,
    purchase_id: UUID | None = None,
    organization_id: UUID | None = None,
    event_type: Annotated[
        str | None,
        Query(
            alias="type",
            max_length=100,
            pattern=r"^[a-z_]+(\.[a-z_]+)+$",
            examples=["invoice.paid"],
        ),
    ] = None,
) -> Page[EventView]:
    """Oldest first, unlike the other lists: read on from the last cursor to follow what happens. With
    `subscription_id` or `purchase_id`, in the order of `sequence`. Old ones are dropped, after 90 days
    unless it is set otherwise; a cursor stays good."""
    filters = {
        OutboundEvent.subscription_id: subscription_id,
        OutboundEvent.purchase_id: purchase_id,
        OutboundEvent.type: event_type,
        OutboundEvent.created_at: created,
    }
    statement = matching(scoped(select(OutboundEvent), principal), filters)
    if organization_id is not None:
        statement = statement.where(_of_organization(organization_id, principal))
    is_of_one = subscription_id is not None or purchase_id is not None
    statement = _of_one(statement, asked.cursor) if is_of_one else _across(statement, asked.cursor)
    statement = statement.limit(asked.limit + 1)
    async with context.sessions() as session:
        rows, more = split_page((await session.scalars(statement)).all(), asked.limit)
    position: object = None
    if rows:
        position = rows[-1].sequence if is_of_one else rows[-1].id
    return page([EventView.model_validate(row) for row in rows], more, position)


def _of_organization(organization_id: UUID, principal: Principal) -> ColumnElement[bool]:
    """What its subscriptions and purchases tell."""
    subscriptions = select(Subscription.id).where(
        Subscription.organization_id == organization_id,
        Subscription.application_id == principal.application_id,
    )
    purchases = select(Purchase.id).where(
        Purchase.organization_id == organization_id,
        Purchase.application_id == principal.application_id,
    )
    return or_(
        OutboundEvent.subscription_id.in_(subscriptions), OutboundEvent.purchase_id.in_(purchases)
    )


def _across(statement: Select[OutboundEvent], cursor: str | None) -> Select[OutboundEvent]:
    if cursor is not None:
        statement = statement.where(OutboundEvent.id > decode_cursor(cursor, UUID))
    return statement.order_by(OutboundEvent.id)


def _of_one(statement: Select[OutboundEvent], cursor: str | None) -> Select[OutboundEvent]:
    if cursor is not None:
        statement = statement.where(OutboundEvent.sequence > decode_cursor(cursor, int))
    return statement.order_by(OutboundEvent.sequence)
