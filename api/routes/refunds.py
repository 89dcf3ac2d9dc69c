"""Refunds: ordered for an invoice, listed and read."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Reader, Writer
from api.context import Context
from api.idempotency import RunOnce
from api.money_views import RefundAnswer, RefundRequest, RefundView
from api.openapi import accepted, problems
from api.pagination import Cursor, Limit, Page, newest_first, page, split_page
from api.refunding import REFUND_CODES, Refunding
from api.tenancy import get_scoped, scoped
from models.storage.tables import Refund

router = APIRouter(tags=["Refunds"])


@router.post(
    "/invoices/{invoice_id}/refund",
    status_code=201,
    response_model=RefundAnswer,
    responses=accepted(RefundAnswer)
    | problems(401, 403, 404, 409, 413, 422, 503, codes=REFUND_CODES),
    summary="Pay an invoice's money back, in full or in part",
)
async def refund_invoice(
    invoice_id: UUID, body: RefundRequest, context: Context, principal: Writer, once: RunOnce
) -> JSONResponse:
    """Money that pays nothing goes back first, then what paid the invoice; in full it becomes `refunded`.
    The subscription goes on: cancel it beside, if that is meant. 202 while the provider has not answered."""
    refunding = Refunding(context, principal, body)

    async def prepare(session: AsyncSession, refund_id: UUID) -> list[UUID]:
        return await refunding.of_invoice(session, invoice_id, refund_id)

    return await once.run(context, principal.application_id, prepare, refunding.carry_out)


@router.get(
    "/refunds",
    response_model=Page[RefundView],
    responses=problems(401, 403, 422),
    summary="List refunds",
)
async def list_refunds(
    context: Context,
    principal: Reader,
    invoice_id: UUID | None = None,
    subscription_id: UUID | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Page[RefundView]:
    """Also those that somebody made at the provider itself."""
    statement = scoped(select(Refund), principal)
    if invoice_id is not None:
        statement = statement.where(Refund.invoice_id == invoice_id)
    if subscription_id is not None:
        statement = statement.where(Refund.subscription_id == subscription_id)
    statement = newest_first(statement, Refund.id, cursor, limit)
    async with context.sessions() as session:
        rows, more = split_page((await session.scalars(statement)).all(), limit)
    views = [RefundView.model_validate(row) for row in rows]
    return page(views, more, rows[-1].id if rows else None)


@router.get(
    "/refunds/{refund_id}",
    response_model=RefundView,
    responses=problems(401, 403, 404),
    summary="Read a refund",
)
async def read_refund(refund_id: UUID, context: Context, principal: Reader) -> RefundView:
    """`status` is `pending` until the provider has answered."""
    async with context.sessions() as session:
        return RefundView.model_validate(await get_scoped(session, Refund, refund_id, principal))
