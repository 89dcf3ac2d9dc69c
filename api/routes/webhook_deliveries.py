"""What became of each event at an endpoint; sending events again; trying an endpoint out."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy import Row, Select, and_, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from activities.webhook_queue import REPLAY_MAX, Choice, queue_again
from api.auth import Principal, Reader, WebhookWriter
from api.clock import now
from api.context import Context
from api.idempotency import Answer, RunOnce
from api.openapi import problems
from api.outbound.secrets import Sealer
from api.outbound.sender import body_of, signed_headers
from api.pagination import Cursor, Limit, Page, decode_cursor, page, split_page
from api.routes.webhook_endpoints import locked
from api.tenancy import get_scoped
from api.webhook_schemas import (
    ReplayView,
    ReplayWebhookEvents,
    WebhookDeliveryView,
    WebhookTryView,
)
from models.errors import Conflict, NotFound
from models.event_catalogue import TEST_EVENT
from models.outbound import DeliveryStatus, EndpointStatus
from models.storage.tables import (
    OutboundEvent,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookLane,
    new_id,
)

router = APIRouter(prefix="/webhook-endpoints/{endpoint_id}", tags=["Webhook endpoints"])

_Earlier = aliased(WebhookDelivery)


@router.post(
    "/test",
    response_model=WebhookTryView,
    responses=problems(401, 403, 404, 409, 413, 422, codes=("webhook_secret_unreadable",)),
    summary="Send a test event now",
)
async def test_webhook_endpoint(
    endpoint_id: UUID, context: Context, principal: WebhookWriter, once: RunOnce
) -> JSONResponse:
    """A signed `webhook.test`, also to an endpoint that is paused or disabled: it says whether it would
    work. It is sent once, and is no event of the list."""

    async def prepare(session: AsyncSession, _: UUID) -> WebhookEndpoint:
        return await get_scoped(session, WebhookEndpoint, endpoint_id, principal)

    async def act(row: WebhookEndpoint) -> Answer:
        at = now()
        secrets = Sealer(context.pepper).readable(row.secrets, at)
        if not secrets:
            raise Conflict(
                "No signing secret of this endpoint can be read: rotate it.",
                code="webhook_secret_unreadable",
            )
        event = OutboundEvent(
            id=new_id(),
            type=TEST_EVENT,
            sequence=1,
            data={"webhook_endpoint_id": str(row.id)},
            created_at=at,
        )
        body = body_of(event)
        headers = signed_headers(secrets, str(event.id), body, at)
        result = await context.sender.send(
            row.url, headers, body, timeout_seconds=context.response_wait_seconds
        )
        view = WebhookTryView(
            delivered=result.delivered,
            response_status=result.response_status,
            response_excerpt=result.response_excerpt,
            error=result.error,
        )
        return Answer(200, view.model_dump(mode="json"))

    return await once.run(context, principal.application_id, prepare, act)


@router.get(
    "/deliveries",
    response_model=Page[WebhookDeliveryView],
    responses=problems(401, 403, 404, 422),
    summary="List deliveries",
)
async def list_webhook_deliveries(
    endpoint_id: UUID,
    context: Context,
    principal: Reader,
    status: DeliveryStatus | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Page[WebhookDeliveryView]:
    """Newest event first."""
    statement = _deliveries(endpoint_id, principal)
    if status is not None:
        statement = statement.where(WebhookDelivery.status == status.value)
    if cursor is not None:
        statement = statement.where(WebhookDelivery.event_id < decode_cursor(cursor, UUID))
    statement = statement.order_by(WebhookDelivery.event_id.desc()).limit(limit + 1)
    async with context.sessions() as session:
        await get_scoped(session, WebhookEndpoint, endpoint_id, principal)
        rows, more = split_page((await session.execute(statement)).all(), limit)
    return page([_view(row) for row in rows], more, rows[-1][0].event_id if rows else None)


@router.get(
    "/deliveries/{event_id}",
    response_model=WebhookDeliveryView,
    responses=problems(401, 403, 404),
    summary="Read a delivery",
)
async def read_webhook_delivery(
    endpoint_id: UUID, event_id: UUID, context: Context, principal: Reader
) -> WebhookDeliveryView:
    """What the endpoint answered to an event, and when it is tried again."""
    async with context.sessions() as session:
        return await _find(session, endpoint_id, event_id, principal)


@router.post(
    "/deliveries/{event_id}/replay",
    status_code=202,
    response_model=WebhookDeliveryView,
    responses=problems(401, 403, 404, 409, 413, 422, codes=("webhook_endpoint_disabled",)),
    summary="Send one event again",
)
async def replay_webhook_delivery(
    endpoint_id: UUID,
    event_id: UUID,
    context: Context,
    principal: WebhookWriter,
    once: RunOnce,
) -> JSONResponse:
    """Any event of yours, also one that the endpoint was never sent. Its `webhook-id` is the same as
    before. An earlier event of the same subscription that waits still goes first."""

    async def prepare(session: AsyncSession, _: UUID) -> Answer:
        await _find_open(session, endpoint_id, principal)
        known = select(OutboundEvent.id).where(OutboundEvent.id == event_id)
        if (
            await session.scalar(
                known.where(OutboundEvent.application_id == principal.application_id)
            )
            is None
        ):
            raise NotFound("There is no event with this id.")
        await queue_again(session, endpoint_id, Choice(event_id=event_id))
        view = await _find(session, endpoint_id, event_id, principal)
        return Answer(202, view.model_dump(mode="json"))

    return await once.create(context, principal.application_id, prepare)


@router.post(
    "/replay",
    status_code=202,
    response_model=ReplayView,
    responses=problems(401, 403, 404, 409, 413, 422, codes=("webhook_endpoint_disabled",)),
    summary="Send the events of a time again",
)
async def replay_webhook_events(
    endpoint_id: UUID,
    body: ReplayWebhookEvents,
    context: Context,
    principal: WebhookWriter,
    once: RunOnce,
) -> JSONResponse:
    """In the order of each subscription, up to 10,000 at once. What waits is tried at once."""

    async def prepare(session: AsyncSession, _: UUID) -> Answer:
        await _find_open(session, endpoint_id, principal)
        choice = Choice(
            since=body.since,
            until=body.until,
            after=body.after,
            undelivered=body.undelivered_only,
        )
        queued = await queue_again(session, endpoint_id, choice)
        view = ReplayView(
            queued=len(queued),
            has_more=len(queued) == REPLAY_MAX,
            last_event_id=queued[-1] if queued else None,
        )
        return Answer(202, view.model_dump(mode="json"))

    return await once.create(context, principal.application_id, prepare)


async def _find_open(session: AsyncSession, endpoint_id: UUID, principal: Principal) -> None:
    row = await locked(session, endpoint_id, principal)
    if row.status == EndpointStatus.DISABLED:
        raise Conflict(
            "The webhook endpoint is disabled: enable it first.", code="webhook_endpoint_disabled"
        )


def _deliveries(
    endpoint_id: UUID, principal: Principal
) -> Select[WebhookDelivery, OutboundEvent, WebhookLane, UUID]:
    """With the lane that each waits in, and the event that has to arrive before it."""
    first = (
        select(_Earlier.event_id)
        .where(
            _Earlier.endpoint_id == WebhookDelivery.endpoint_id,
            _Earlier.lane == WebhookDelivery.lane,
            _Earlier.status == text("'pending'"),
        )
        .order_by(_Earlier.sequence, _Earlier.event_id)
        .limit(1)
        .scalar_subquery()
    )
    lane = and_(
        WebhookLane.endpoint_id == WebhookDelivery.endpoint_id,
        WebhookLane.lane == WebhookDelivery.lane,
    )
    return (
        select(WebhookDelivery, OutboundEvent, WebhookLane, first)
        .join(OutboundEvent, OutboundEvent.id == WebhookDelivery.event_id)
        .outerjoin(WebhookLane, lane)
        .where(
            WebhookDelivery.endpoint_id == endpoint_id,
            WebhookDelivery.application_id == principal.application_id,
        )
    )


async def _find(
    session: AsyncSession, endpoint_id: UUID, event_id: UUID, principal: Principal
) -> WebhookDeliveryView:
    statement = _deliveries(endpoint_id, principal).where(WebhookDelivery.event_id == event_id)
    row = (await session.execute(statement.execution_options(populate_existing=True))).first()
    if row is None:
        raise NotFound("There is no delivery of this event to this endpoint.")
    return _view(row)


def _view(
    row: Row[WebhookDelivery, OutboundEvent, WebhookLane, UUID],
) -> WebhookDeliveryView:
    delivery, event, lane, first = row
    pending = delivery.status == DeliveryStatus.PENDING
    is_first = pending and first == delivery.event_id
    return WebhookDeliveryView(
        event_id=event.id,
        event_type=event.type,
        subscription_id=event.subscription_id,
        purchase_id=event.purchase_id,
        sequence=event.sequence,
        status=DeliveryStatus(delivery.status),
        attempts=delivery.attempts,
        error=delivery.error,
        response_status=delivery.response_status,
        response_excerpt=delivery.response_excerpt,
        last_attempt_at=delivery.last_attempt_at,
        next_attempt_at=lane.due_at if is_first and lane is not None else None,
        delivered_at=delivery.delivered_at,
        waits_for=first if pending and not is_first else None,
        created_at=delivery.created_at,
    )
