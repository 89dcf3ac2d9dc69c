"""Where the calling application is told what happens: its endpoints, their secrets and their health."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body
from fastapi.responses import JSONResponse, Response
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.webhook_queue import ring
from api.auth import Principal, Reader, WebhookWriter
from api.clock import now
from api.context import ApiContext, Context
from api.idempotency import Answer, RunOnce
from api.openapi import problems
from api.outbound import health, queue
from api.outbound.addresses import AddressRefused
from api.outbound.secrets import Sealer, Unreadable, new_secret, rotated, valid
from api.pagination import Cursor, Limit, Page, newest_first, page, split_page
from api.tenancy import get_scoped, scoped
from api.webhook_schemas import (
    CreateWebhookEndpoint,
    NewWebhookEndpointView,
    RotateWebhookSecret,
    UpdateWebhookEndpoint,
    WebhookEndpointView,
)
from models.errors import Conflict, InvalidRequest, NotFound
from models.outbound import EndpointStatus, StatusReason
from models.storage.tables import Application, WebhookEndpoint

# Every event is written once for each endpoint that wants it.
ENDPOINTS_MAX = 16

router = APIRouter(prefix="/webhook-endpoints", tags=["Webhook endpoints"])


@router.post(
    "",
    status_code=201,
    response_model=NewWebhookEndpointView,
    responses=problems(
        401, 403, 409, 413, 422, 503, codes=("webhook_url_refused", "too_many_webhook_endpoints")
    ),
    summary="Register a webhook endpoint",
)
async def create_webhook_endpoint(
    body: CreateWebhookEndpoint, context: Context, principal: WebhookWriter, once: RunOnce
) -> JSONResponse:
    """Events from now on are sent to `url`, signed. The answer holds the secret, and no other one does."""

    async def prepare(session: AsyncSession, endpoint_id: UUID) -> Answer:
        await _check_url(context, body.url)
        await _check_room(session, principal)
        row = _new_row(body, principal, endpoint_id, Sealer(context.pepper))
        session.add(row)
        await session.flush()
        health.audit(session, row, principal.actor, "webhook_endpoint.created", {}, now())
        return Answer(201, _view(row).model_dump(mode="json"))

    answer = await once.create(context, principal.application_id, prepare)
    return await _with_secret(context, principal, answer)


def _new_row(
    body: CreateWebhookEndpoint, principal: Principal, endpoint_id: UUID, sealer: Sealer
) -> WebhookEndpoint:
    moment = now()
    return WebhookEndpoint(
        id=endpoint_id,
        application_id=principal.application_id,
        url=body.url,
        description=body.description,
        event_types=body.event_types,
        status=EndpointStatus.ENABLED if body.enabled else EndpointStatus.DISABLED,
        status_reason=None if body.enabled else StatusReason.BY_REQUEST,
        status_changed_at=moment,
        secrets=[sealer.seal(new_secret(), moment)],
        version=0,
        consecutive_failures=0,
        created_at=moment,
        updated_at=moment,
    )


async def _check_url(context: ApiContext, url: str) -> None:
    try:
        await context.sender.check(url)
    except AddressRefused as refusal:
        raise InvalidRequest(
            "No webhook can be sent to this address: see errors.",
            code="webhook_url_refused",
            errors=[{"field": "url", "code": "refused", "message": str(refusal)}],
        ) from None


async def _check_room(session: AsyncSession, principal: Principal) -> None:
    """One registration at a time, so that two of them cannot both be the last one."""
    application = select(Application.id).where(Application.id == principal.application_id)
    await session.execute(application.with_for_update(key_share=True))
    count = select(func.count()).where(WebhookEndpoint.application_id == principal.application_id)
    if (await session.scalar(count) or 0) >= ENDPOINTS_MAX:
        raise Conflict(
            f"An application can have {ENDPOINTS_MAX} webhook endpoints: delete one first.",
            code="too_many_webhook_endpoints",
        )


@router.get(
    "",
    response_model=Page[WebhookEndpointView],
    responses=problems(401, 403, 422),
    summary="List webhook endpoints",
)
async def list_webhook_endpoints(
    context: Context, principal: Reader, limit: Limit = 20, cursor: Cursor = None
) -> Page[WebhookEndpointView]:
    """Newest first, each with its health."""
    statement = scoped(select(WebhookEndpoint), principal)
    statement = newest_first(statement, WebhookEndpoint.id, cursor, limit)
    async with context.sessions() as session:
        rows, more = split_page((await session.scalars(statement)).all(), limit)
    return page([_view(row) for row in rows], more, rows[-1].id if rows else None)


@router.get(
    "/{endpoint_id}",
    response_model=WebhookEndpointView,
    responses=problems(401, 403, 404),
    summary="Read a webhook endpoint and its health",
)
async def read_webhook_endpoint(
    endpoint_id: UUID, context: Context, principal: Reader
) -> WebhookEndpointView:
    """Whether events arrive there, since when they do not, and what the last error was."""
    async with context.sessions() as session:
        return _view(await get_scoped(session, WebhookEndpoint, endpoint_id, principal))


@router.patch(
    "/{endpoint_id}",
    response_model=WebhookEndpointView,
    responses=problems(401, 403, 404, 413, 422, codes=("webhook_url_refused",)),
    summary="Change, pause or resume a webhook endpoint",
)
async def update_webhook_endpoint(
    endpoint_id: UUID,
    body: UpdateWebhookEndpoint,
    context: Context,
    principal: WebhookWriter,
    once: RunOnce,
) -> JSONResponse:
    """What waits is sent to the new `url`; new `event_types` hold for events to come."""
    changes = body.model_dump(exclude_unset=True)
    enabled = changes.pop("enabled", None)

    async def prepare(session: AsyncSession, _: UUID) -> Answer:
        if "url" in changes:
            await _check_url(context, body.url)
        row = await locked(session, endpoint_id, principal)
        before = {name: getattr(row, name) for name in changes}
        for name, value in changes.items():
            setattr(row, name, value)
        if changes:
            row.updated_at = now()
            health.audit(session, row, principal.actor, "webhook_endpoint.changed", before, now())
        if enabled is not None:
            await _switch(session, row, principal.actor, on=enabled)
        return Answer(200, _view(row).model_dump(mode="json"))

    return await once.create(context, principal.application_id, prepare)


async def _switch(session: AsyncSession, row: WebhookEndpoint, actor: str, *, on: bool) -> None:
    wanted = EndpointStatus.ENABLED if on else EndpointStatus.DISABLED
    if row.status == wanted:
        return
    reason = None if on else StatusReason.BY_REQUEST
    health.change_status(session, row, wanted, reason, actor=actor, at=now())
    if not on:
        await session.flush()
        await queue.drop(session, row.id)
        return
    row.consecutive_failures = 0
    row.failing_since = row.held_until = None
    await session.flush()
    await queue.start_anew(session, row.id)
    await ring(session)


@router.delete(
    "/{endpoint_id}",
    status_code=204,
    response_class=Response,
    responses=problems(401, 403, 404),
    summary="Delete a webhook endpoint and its delivery log",
)
async def delete_webhook_endpoint(
    endpoint_id: UUID, context: Context, principal: WebhookWriter, once: RunOnce
) -> JSONResponse:
    """What waits for it is not sent any more. The events themselves stay."""

    async def prepare(session: AsyncSession, _: UUID) -> Answer:
        row = await locked(session, endpoint_id, principal)
        before = {"status": row.status}
        health.audit(session, row, principal.actor, "webhook_endpoint.deleted", before, now())
        await session.delete(row)
        return Answer(204)

    return await once.create(context, principal.application_id, prepare)


@router.post(
    "/{endpoint_id}/rotate-secret",
    response_model=NewWebhookEndpointView,
    responses=problems(401, 403, 404, 409, 413, 422),
    summary="Make a new signing secret",
)
async def rotate_webhook_secret(
    endpoint_id: UUID,
    context: Context,
    principal: WebhookWriter,
    once: RunOnce,
    body: Annotated[RotateWebhookSecret | None, Body()] = None,
) -> JSONResponse:
    """The old one signs too until the overlap is over; `overlap_hours: 0` when it was leaked."""
    sealer = Sealer(context.pepper)
    overlap = timedelta(hours=(body or RotateWebhookSecret()).overlap_hours)

    async def prepare(session: AsyncSession, _: UUID) -> Answer:
        row = await locked(session, endpoint_id, principal)
        moment = now()
        new = sealer.seal(new_secret(), moment)
        row.secrets = rotated(row.secrets, new, moment, overlap)
        row.updated_at = moment
        health.audit(session, row, principal.actor, "webhook_endpoint.secret_rotated", {}, moment)
        return Answer(200, _view(row).model_dump(mode="json"))

    answer = await once.create(context, principal.application_id, prepare)
    return await _with_secret(context, principal, answer)


async def locked(session: AsyncSession, endpoint_id: UUID, principal: Principal) -> WebhookEndpoint:
    """The row, as the courier locks it. Raises NotFound."""
    statement = scoped(select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id), principal)
    row = await session.scalar(statement.with_for_update(key_share=True))
    if row is None:
        raise NotFound("There is no webhook endpoint with this id.")
    return row


def _view(row: WebhookEndpoint) -> WebhookEndpointView:
    own = {
        name: getattr(row, name)
        for name in WebhookEndpointView.model_fields
        if name not in {"enabled", "secrets"}
    }
    return WebhookEndpointView(
        **own,
        enabled=row.status == EndpointStatus.ENABLED,
        secrets=[{**one, "id": one["id"]} for one in valid(row.secrets, now())],
    )


async def _with_secret(
    context: ApiContext, principal: Principal, answer: JSONResponse
) -> JSONResponse:
    """The answer with the secret that it made. An idempotency record never holds one, so a repetition
    reads it again; it is null when it has been rotated away meanwhile."""
    body: dict[str, Any] = json.loads(bytes(answer.body))
    if answer.status_code >= 400:
        return answer
    made = body["secrets"][0]["id"]
    statement = select(WebhookEndpoint).where(WebhookEndpoint.id == UUID(body["id"]))
    async with context.sessions() as session:
        row = await session.scalar(scoped(statement, principal))
    found = [one for one in (row.secrets if row is not None else []) if one["id"] == made]
    try:
        secret = Sealer(context.pepper).open(found[0]) if found else None
    except Unreadable:
        secret = None
    kept = {name: value for name, value in answer.headers.items() if name.startswith("idempotent")}
    return JSONResponse({**body, "secret": secret}, answer.status_code, headers=kept)
