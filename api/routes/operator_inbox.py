"""Webhooks that wait or failed, and having them delivered again."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Operator, Principal
from api.clock import now
from api.context import Context
from api.idempotency import Answer, RunOnce
from api.inbox_views import (
    InboxState,
    find_visible,
    inbox_view,
    list_visible,
    may_replay,
    replay,
    state_of,
)
from api.openapi import problems
from api.operator_schemas import InboxEventView, OperatorAction
from api.pagination import Cursor, Limit, Page, decode_cursor, page
from models.errors import Conflict, NotFound
from models.ids import our_id
from models.storage.tables import AuditEntry, Subscription, new_id

router = APIRouter(prefix="/operator/webhooks", tags=["Operator"])


@router.get(
    "",
    response_model=Page[InboxEventView],
    responses=problems(401, 403, 422),
    summary="List webhooks that wait or failed",
)
async def list_webhooks(
    context: Context,
    principal: Operator,
    state: InboxState = InboxState.UNAPPLIED,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Page[InboxEventView]:
    """Those that lead to your objects; with the scope `admin` also those that lead nowhere."""
    before = decode_cursor(cursor, UUID) if cursor is not None else None
    async with context.sessions() as session:
        rows, following = await list_visible(session, principal, state, before, limit)
    views = [inbox_view(row) for row in rows]
    return page(views, has_more=following is not None, position=following)


@router.post(
    "/{webhook_id}/replay",
    response_model=InboxEventView,
    responses=problems(401, 403, 404, 409, 413, 422),
    summary="Deliver a webhook again",
)
async def replay_webhook(
    webhook_id: UUID,
    context: Context,
    principal: Operator,
    once: RunOnce,
    body: Annotated[OperatorAction, Body()],
) -> JSONResponse:
    """At once, with the patience of a new one. What was applied is not applied again."""

    async def prepare(session: AsyncSession, _: UUID) -> Answer:
        row = await find_visible(session, principal, webhook_id)
        if row is None:
            raise NotFound("There is no webhook with this id.")
        if not may_replay(row):
            raise Conflict("The webhook was applied: it is not applied again.")
        before = {"state": state_of(row), "last_error": row.last_error, "tries": row.attempts}
        await replay(session, [row.id])
        session.add(
            AuditEntry(
                id=new_id(),
                application_id=principal.application_id,
                subscription_id=await _subscription_of(session, row.workflow_id, principal),
                version=0,
                actor=principal.actor,
                action="webhook.replayed",
                before=before,
                after={"webhook_id": str(row.id), "reason": body.reason},
                at=now(),
            )
        )
        await session.flush()
        await session.refresh(row)
        return Answer(200, inbox_view(row).model_dump(mode="json"))

    answer = await once.create(context, principal.application_id, prepare)
    context.doorbell.ring()
    return answer


async def _subscription_of(
    session: AsyncSession, workflow_id: str | None, principal: Principal
) -> UUID | None:
    found = our_id((workflow_id or "").removeprefix("subscription/"))
    row = await session.get(Subscription, found) if found else None
    return row.id if row is not None and row.application_id == principal.application_id else None
