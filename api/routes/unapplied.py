"""Money that pays no invoice: seen here, and paid back or credited from here."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.money_policy import money_policies
from activities.refund_book import PENDING, SUCCEEDED, balances, credited_minor
from activities.refund_book import refunded_minor as refunded
from activities.refund_book import unapplied_minor as unapplied
from api.auth import Principal, Reader, Writer
from api.context import Context
from api.idempotency import Answer, RunOnce
from api.money_views import CreditRequest, RefundAnswer, RefundRequest, UnappliedPaymentView
from api.openapi import accepted, problems
from api.pagination import Cursor, Limit, Page, newest_first, page, split_page
from api.refunding import REFUND_CODES, Refunding
from api.temporal_calls import WorkflowGone
from api.tenancy import get_scoped, scoped
from models.billing_policy import BillingPolicy
from models.cash_rules import Arrival, action_for, case_of
from models.commands import CreditUnapplied
from models.errors import Conflict, InvalidRequest, NotFound
from models.states import TERMINAL_STATUSES, SubscriptionStatus
from models.storage.tables import Invoice, Payment, Subscription

_CREDIT_CODES = ("no_coming_invoices", "credit_currency_differs", "credit_too_large")

router = APIRouter(prefix="/unapplied-payments", tags=["Refunds"])


@router.get(
    "",
    response_model=Page[UnappliedPaymentView],
    responses=problems(401, 403, 422),
    summary="List money that pays no invoice",
)
async def list_unapplied(
    context: Context,
    principal: Reader,
    organization_id: UUID | None = None,
    subscription_id: UUID | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Page[UnappliedPaymentView]:
    """Newest first, as long as something of it is left."""
    statement = _unapplied(principal)
    if organization_id is not None:
        statement = statement.where(Invoice.organization_id == organization_id)
    if subscription_id is not None:
        statement = statement.where(Payment.subscription_id == subscription_id)
    statement = newest_first(statement, Payment.id, cursor, limit)
    async with context.sessions() as session:
        rows, more = split_page((await session.execute(statement)).all(), limit)
        views = await _views(session, [row[0] for row in rows], principal)
    return page(views, more, rows[-1][0].id if rows else None)


@router.post(
    "/{payment_id}/refund",
    status_code=201,
    response_model=RefundAnswer,
    responses=accepted(RefundAnswer)
    | problems(401, 403, 404, 409, 413, 422, 503, codes=REFUND_CODES),
    summary="Pay unapplied money back",
)
async def refund_unapplied(
    payment_id: UUID, body: RefundRequest, context: Context, principal: Writer, once: RunOnce
) -> JSONResponse:
    """Never more than what is left of it. 202 while the provider has not answered."""
    refunding = Refunding(context, principal, body)

    async def prepare(session: AsyncSession, refund_id: UUID) -> list[UUID]:
        return await refunding.of_unapplied(session, payment_id, refund_id)

    return await once.run(context, principal.application_id, prepare, refunding.carry_out)


@router.post(
    "/{payment_id}/credit",
    response_model=UnappliedPaymentView,
    responses=accepted(UnappliedPaymentView)
    | problems(401, 403, 404, 409, 413, 422, 503, codes=_CREDIT_CODES),
    summary="Turn unapplied money into credit for coming invoices",
)
async def credit_unapplied(
    payment_id: UUID, body: CreditRequest, context: Context, principal: Writer, once: RunOnce
) -> JSONResponse:
    """A subscription that has ended has no coming invoices: 409, refund it instead."""

    async def prepare(
        session: AsyncSession, credit_id: UUID
    ) -> tuple[Subscription, CreditUnapplied]:
        return await _credit_command(session, payment_id, body, principal, credit_id)

    async def act(prepared: tuple[Subscription, CreditUnapplied]) -> Answer:
        subscription, command = prepared
        try:
            result = await context.commands.send(
                subscription.workflow_id, "credit", command, str(command.credit_id)
            )
        except WorkflowGone:
            raise _no_coming_invoices() from None
        if result is not None and not result.settled:
            raise _too_large(0)
        async with context.sessions() as session:
            payment = await get_scoped(session, Payment, payment_id, principal)
            [view] = await _views(session, [payment], principal)
        return Answer(202 if result is None else 200, view.model_dump(mode="json"))

    return await once.run(context, principal.application_id, prepare, act)


def _unapplied(principal: Principal) -> Any:
    left = unapplied()
    statement = (
        select(Payment)
        .join(Invoice, Invoice.id == Payment.invoice_id)
        # The first comparison needs no other table, and leaves little for the second.
        .where(Payment.kind == "capture", Payment.applied_minor < Payment.amount_minor, left > 0)
    )
    return scoped(statement, principal)


async def _views(
    session: AsyncSession, payments: list[Payment], principal: Principal
) -> list[UnappliedPaymentView]:
    statement = (
        select(Payment, Invoice, refunded(PENDING, SUCCEEDED), credited_minor())
        .join(Invoice, Invoice.id == Payment.invoice_id)
        .where(
            Payment.id.in_([payment.id for payment in payments]),
            Payment.application_id == principal.application_id,
        )
        .order_by(Payment.id.desc())
    )
    found = (await session.execute(statement)).all()
    owners = select(Subscription).where(
        Subscription.id.in_([payment.subscription_id for payment in payments])
    )
    by_id = {one.id: one for one in await session.scalars(scoped(owners, principal))}
    policies = await money_policies(session, by_id.values())
    return [
        _view(payment, invoice, _owner(by_id, payment), policies, int(back), int(credit))
        for payment, invoice, back, credit in found
    ]


def _owner(by_id: dict[UUID, Subscription], payment: Payment) -> Subscription | None:
    return by_id.get(payment.subscription_id) if payment.subscription_id is not None else None


def _view(
    payment: Payment,
    invoice: Invoice,
    owner: Subscription | None,
    policies: dict[UUID, BillingPolicy],
    back: int,
    credit: int,
) -> UnappliedPaymentView:
    over = owner is None or owner.status in TERMINAL_STATUSES
    policy = policies[owner.id] if owner is not None else BillingPolicy()
    case = case_of(
        Arrival(
            same_currency=payment.currency == invoice.currency,
            applied_minor=payment.applied_minor,
            subscription_over=over,
            subscription_paused=owner is not None and owner.status == SubscriptionStatus.PAUSED,
            invoice_status=invoice.status,
        )
    )
    return UnappliedPaymentView(
        payment_id=payment.id,
        organization_id=invoice.organization_id,
        subscription_id=payment.subscription_id,
        purchase_id=payment.purchase_id,
        invoice_id=payment.invoice_id,
        provider=payment.provider,
        amount_minor=payment.amount_minor,
        applied_minor=payment.applied_minor,
        refunded_minor=back,
        credited_minor=credit,
        unapplied_minor=max(0, payment.amount_minor - payment.applied_minor - back - credit),
        currency=payment.currency,
        case=str(case),
        rule=str(action_for(case, policy, subscription_over=over)),
        occurred_at=payment.occurred_at,
    )


async def _credit_command(
    session: AsyncSession,
    payment_id: UUID,
    body: CreditRequest,
    principal: Principal,
    credit_id: UUID,
) -> tuple[Subscription, CreditUnapplied]:
    payment = await get_scoped(session, Payment, payment_id, principal)
    if payment.subscription_id is None:
        raise _no_coming_invoices()
    owner = await get_scoped(session, Subscription, payment.subscription_id, principal)
    if owner.status in TERMINAL_STATUSES:
        raise _no_coming_invoices()
    if owner.currency != payment.currency:
        raise Conflict("Credit has the subscription's currency.", code="credit_currency_differs")
    found = await balances(session, Payment.id == payment_id)
    if not found:
        raise NotFound("There is no payment with this id.")
    left = found[0][1].unapplied_minor
    amount = left if body.amount_minor is None else body.amount_minor
    if amount > left or left == 0:
        raise _too_large(left)
    return owner, CreditUnapplied(
        actor=principal.actor,
        credit_id=credit_id,
        payment_id=payment_id,
        amount_minor=amount,
        currency=payment.currency,
    )


def _no_coming_invoices() -> Conflict:
    return Conflict(
        "There are no coming invoices that credit could pay: refund the money instead.",
        code="no_coming_invoices",
    )


def _too_large(left: int) -> InvalidRequest:
    return InvalidRequest(
        f"Only {left} minor units are left to credit.",
        code="credit_too_large",
        errors=[{"field": "amount_minor", "code": "too_large", "message": f"max {left}"}],
    )
