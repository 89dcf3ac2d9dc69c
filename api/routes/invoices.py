"""Bills, the tries at collecting them, and the money that came."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter
from sqlalchemy import select

from api.auth import Reader
from api.context import Context
from api.openapi import problems
from api.pagination import Cursor, Limit, Page, newest_first, page, split_page
from api.responses import AttemptView, DisputeView, InvoiceDetail, InvoiceView, PaymentView
from api.tenancy import get_scoped, scoped
from models.storage.tables import ChargeAttempt, Dispute, Invoice, Payment

router = APIRouter(prefix="/invoices", tags=["Invoices"])


@router.get(
    "", response_model=Page[InvoiceView], responses=problems(401, 403, 422), summary="List invoices"
)
async def list_invoices(
    context: Context,
    principal: Reader,
    subscription_id: UUID | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Page[InvoiceView]:
    """Newest first, without their attempts and payments."""
    statement = scoped(select(Invoice), principal)
    if subscription_id is not None:
        statement = statement.where(Invoice.subscription_id == subscription_id)
    statement = newest_first(statement, Invoice.id, cursor, limit)
    async with context.sessions() as session:
        rows, more = split_page((await session.scalars(statement)).all(), limit)
    views = [InvoiceView.model_validate(row) for row in rows]
    return page(views, more, rows[-1].id if rows else None)


@router.get(
    "/{invoice_id}",
    response_model=InvoiceDetail,
    responses=problems(401, 403, 404),
    summary="Read an invoice with its attempts and payments",
)
async def read_invoice(invoice_id: UUID, context: Context, principal: Reader) -> InvoiceDetail:
    """Every try at collecting it, every movement of money, and every dispute."""
    attempts = (
        select(ChargeAttempt)
        .where(ChargeAttempt.invoice_id == invoice_id)
        .order_by(ChargeAttempt.started_at, ChargeAttempt.id)
    )
    payments = (
        select(Payment)
        .where(Payment.invoice_id == invoice_id)
        .order_by(Payment.occurred_at, Payment.id)
    )
    disputes = select(Dispute).where(Dispute.invoice_id == invoice_id).order_by(Dispute.id)
    async with context.sessions() as session:
        row = await get_scoped(session, Invoice, invoice_id, principal)
        tries = await session.scalars(scoped(attempts, principal))
        movements = await session.scalars(scoped(payments, principal))
        disputed = await session.scalars(scoped(disputes, principal))
        return InvoiceDetail(
            **InvoiceView.model_validate(row).model_dump(),
            attempts=[AttemptView.model_validate(attempt) for attempt in tries],
            payments=[PaymentView.model_validate(payment) for payment in movements],
            disputes=[DisputeView.model_validate(dispute) for dispute in disputed],
        )
