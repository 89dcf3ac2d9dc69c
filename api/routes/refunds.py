"""Refunds: ordered for an invoice, listed and read."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Reader, Writer
from api.context import Context
from api.idempotency import RunOnce
from api.lists import Created, PageAsked, newest
from api.money_views import RefundAnswer, RefundRequest, RefundView
from api.openapi import accepted, problems
from api.pagination import Page
from api.refunding import REFUND_CODES, Refunding
from api.tenancy import get_scoped
from models.storage.tables import Refund

RefundStatus = Literal["pending", "succeeded", "failed"]

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
    asked: PageAsked,
    created: Created,
    invoice_id: UUID | None = None,
    subscription_id: UUID | None = None,
    organization_id: UUID | None = None,
    status: RefundStatus | None = None,
) -> Page[RefundView]:
    """Also those that somebody made at the provider itself."""
    filters = {
        Refund.invoice_id: invoice_id,
        Refund.subscription_id: subscription_id,
        Refund.organization_id: organization_id,
        Refund.status: status,
        Refund.created_at: created,
    }
    async with context.sessions() as session:
        found = await newest(session, Refund, principal, asked, filters)
    return found.page([RefundView.model_validate(row) for row in found.rows])


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
