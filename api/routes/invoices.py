"""Bills, the tries at collecting them, and the money that came."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter
from sqlalchemy import select

from api.auth import Reader
from api.context import Context
from api.expanding import EXPAND_CODES, Expander, ExpandInvoice, InvoiceDetail, InvoiceListed
from api.invoice_views import AttemptView, DisputeView, InvoiceView, PaymentView
from api.lists import Created, Due, PageAsked, newest
from api.openapi import problems
from api.pagination import Page
from api.tenancy import get_scoped, scoped
from models.outcomes import ProviderName
from models.states import InvoiceStatus
from models.storage.tables import ChargeAttempt, Dispute, Invoice, Payment

router = APIRouter(prefix="/invoices", tags=["Invoices"])


@router.get(
    "",
    response_model=Page[InvoiceListed],
    responses=problems(401, 403, 422, codes=EXPAND_CODES),
    summary="List invoices",
)
async def list_invoices(
    context: Context,
    principal: Reader,
    asked: PageAsked,
    created: Created,
    due: Due,
    expand: ExpandInvoice,
    subscription_id: UUID | None = None,
    purchase_id: UUID | None = None,
    organization_id: UUID | None = None,
    status: InvoiceStatus | None = None,
    provider: ProviderName | None = None,
) -> Page[InvoiceListed]:
    """Newest first, without their attempts and payments. An invoice is made at its `invoice_date`."""
    filters = {
        Invoice.subscription_id: subscription_id,
        Invoice.purchase_id: purchase_id,
        Invoice.organization_id: organization_id,
        Invoice.status: status,
        Invoice.provider: provider,
        Invoice.invoice_date: created,
        Invoice.due_date: due,
    }
    async with context.sessions() as session:
        found = await newest(session, Invoice, principal, asked, filters)
        views = [InvoiceView.model_validate(row) for row in found.rows]
        more = await Expander(session, principal, expand).invoices(views)
    return found.page(
        [
            InvoiceListed(**view.model_dump(), expanded=expanded)
            for view, expanded in zip(views, more, strict=True)
        ]
    )


@router.get(
    "/{invoice_id}",
    response_model=InvoiceDetail,
    responses=problems(401, 403, 404, 422, codes=EXPAND_CODES),
    summary="Read an invoice with its attempts and payments",
)
async def read_invoice(
    invoice_id: UUID, context: Context, principal: Reader, expand: ExpandInvoice
) -> InvoiceDetail:
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
        view = InvoiceView.model_validate(row)
        [expanded] = await Expander(session, principal, expand).invoices([view])
        return InvoiceDetail(
            **view.model_dump(),
            expanded=expanded,
            attempts=[AttemptView.model_validate(attempt) for attempt in tries],
            payments=[PaymentView.model_validate(payment) for payment in movements],
            disputes=[DisputeView.model_validate(dispute) for dispute in disputed],
        )
