"""Every movement of money that the books know, across invoices: for whoever closes a month."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from sqlalchemy import select

from api.auth import Reader
from api.context import Context
from api.invoice_views import BookedPaymentView, PaymentKind
from api.lists import Occurred, PageAsked, newest
from api.openapi import problems
from api.pagination import Page
from api.tenancy import get_scoped
from models.outcomes import ProviderName
from models.storage.tables import Invoice, Payment

router = APIRouter(prefix="/payments", tags=["Invoices"])


@router.get(
    "",
    response_model=Page[BookedPaymentView],
    responses=problems(401, 403, 422),
    summary="List movements of money",
)
async def list_payments(
    context: Context,
    principal: Reader,
    asked: PageAsked,
    occurred: Occurred,
    organization_id: UUID | None = None,
    subscription_id: UUID | None = None,
    purchase_id: UUID | None = None,
    invoice_id: UUID | None = None,
    kind: Annotated[PaymentKind | None, Query()] = None,
    provider: ProviderName | None = None,
) -> Page[BookedPaymentView]:
    """Captures, refunds, disputes and what operators booked, newest first. They are never changed."""
    filters = {
        Payment.subscription_id: subscription_id,
        Payment.purchase_id: purchase_id,
        Payment.invoice_id: invoice_id,
        Payment.kind: kind,
        Payment.provider: provider,
        Payment.occurred_at: occurred,
    }
    theirs = []
    if organization_id is not None:
        invoices = select(Invoice.id).where(
            Invoice.organization_id == organization_id,
            Invoice.application_id == principal.application_id,
        )
        theirs = [Payment.invoice_id.in_(invoices)]
    async with context.sessions() as session:
        found = await newest(session, Payment, principal, asked, filters, *theirs)
    return found.page([BookedPaymentView.model_validate(row) for row in found.rows])


@router.get(
    "/{payment_id}",
    response_model=BookedPaymentView,
    responses=problems(401, 403, 404),
    summary="Read a movement of money",
)
async def read_payment(payment_id: UUID, context: Context, principal: Reader) -> BookedPaymentView:
    """With the invoice that it belongs to."""
    async with context.sessions() as session:
        row = await get_scoped(session, Payment, payment_id, principal)
    return BookedPaymentView.model_validate(row)
