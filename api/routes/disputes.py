"""Disputes: payments that customers have taken back through their banks, and what an operator can do."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Principal, Reader, Writer
from api.clock import now
from api.context import ApiContext, Context
from api.idempotency import Answer, RunOnce
from api.invoice_views import DisputeView
from api.lists import PageAsked, newest
from api.openapi import problems
from api.pagination import Page
from api.tenancy import get_scoped
from models.commands import DisputeInput
from models.errors import Conflict
from models.outcomes import ProviderName
from models.snapshots import DisputeSnapshot, DisputeStatus
from models.storage.tables import AuditEntry, Dispute
from providers.capabilities import Capability

router = APIRouter(prefix="/disputes", tags=["Disputes"])


@router.get(
    "",
    response_model=Page[DisputeView],
    responses=problems(401, 403, 422),
    summary="List disputes",
)
async def list_disputes(
    context: Context,
    principal: Reader,
    asked: PageAsked,
    subscription_id: UUID | None = None,
    invoice_id: UUID | None = None,
    organization_id: UUID | None = None,
    status: Annotated[DisputeStatus | None, Query()] = None,
) -> Page[DisputeView]:
    """Newest first."""
    filters = {
        Dispute.subscription_id: subscription_id,
        Dispute.invoice_id: invoice_id,
        Dispute.organization_id: organization_id,
        Dispute.status: status,
    }
    async with context.sessions() as session:
        found = await newest(session, Dispute, principal, asked, filters)
    return found.page([DisputeView.model_validate(row) for row in found.rows])


@router.get(
    "/{dispute_id}",
    response_model=DisputeView,
    responses=problems(401, 403, 404),
    summary="Read a dispute",
)
async def read_dispute(dispute_id: UUID, context: Context, principal: Reader) -> DisputeView:
    """As the provider told it last."""
    async with context.sessions() as session:
        row = await get_scoped(session, Dispute, dispute_id, principal)
    return DisputeView.model_validate(row)


@router.post(
    "/{dispute_id}/accept",
    response_model=DisputeView,
    responses={
        202: {"model": DisputeView, "description": "The provider has not answered yet."},
        **problems(401, 403, 404, 409, 413, 422, 503, codes=("dispute_not_answerable",)),
    },
    summary="Accept a dispute",
)
async def accept_dispute(
    dispute_id: UUID, context: Context, principal: Writer, once: RunOnce
) -> JSONResponse:
    """Tell the provider that it is not contested: it is lost, for good. 202 while the provider has not
    answered. A provider whose API takes no answer to disputes is a 409 with the code
    `dispute_not_answerable`; it is answered in the provider's own panel."""

    async def prepare(session: AsyncSession, change_id: UUID) -> DisputeInput | Answer:
        row = await get_scoped(session, Dispute, dispute_id, principal)
        if row.status == DisputeStatus.LOST:
            return _answer(200, row)
        if row.status == DisputeStatus.WON:
            raise Conflict("The dispute is won: there is nothing to accept.")
        _require_answerable(context, row)
        session.add(_audit(row, principal, change_id))
        return _request(row)

    async def act(request: DisputeInput) -> Answer:
        news = await context.jobs.accept_dispute(dispute_id, request)
        if news is not None and news.refusal is not None:
            raise Conflict(f"The provider refuses: {news.refusal}", code="dispute_not_answerable")
        async with context.sessions() as session:
            row = await get_scoped(session, Dispute, dispute_id, principal)
        return _answer(202 if news is None else 200, row)

    return await once.run(context, principal.application_id, prepare, act)


def _require_answerable(context: ApiContext, row: Dispute) -> None:
    provider = context.providers.get(ProviderName(row.provider))
    if provider is None:
        raise Conflict(f"{row.provider} has no API key here.", code="dispute_not_answerable")
    why = provider.capabilities.refusals.get(Capability.ACCEPT_DISPUTE)
    if why is not None:
        raise Conflict(f"{row.provider}: {why}.", code="dispute_not_answerable")


def _request(row: Dispute) -> DisputeInput:
    seen = DisputeSnapshot(
        provider=ProviderName(row.provider),
        provider_dispute_id=row.provider_dispute_id,
        status=DisputeStatus(row.status),
        opened_at=row.opened_at,
    )
    return DisputeInput(seen=seen, account=row.account, accept=True)


def _audit(row: Dispute, principal: Principal, change_id: UUID) -> AuditEntry:
    """Who gave the money up: acceptance cannot be taken back."""
    return AuditEntry(
        id=change_id,
        application_id=row.application_id,
        subscription_id=row.subscription_id,
        purchase_id=row.purchase_id,
        version=0,
        actor=principal.actor,
        action="dispute.accept",
        before={"dispute_status": row.status},
        after={"dispute_id": str(row.id)},
        at=now(),
    )


def _answer(status: int, row: Dispute) -> Answer:
    return Answer(status, DisputeView.model_validate(row).model_dump(mode="json"))
