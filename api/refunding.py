"""Orders refunds: reserves the money in one transaction, then has it carried out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.refund_book import FAILED, PENDING, balances, lock_invoice, provider_of, reservation
from api.auth import Principal
from api.clock import now
from api.context import ApiContext
from api.idempotency import Answer
from api.money_views import RefundRequest, RefundView, refund_answer
from api.tenancy import get_scoped, scoped
from models.commands import RefundInput
from models.errors import Conflict, InvalidRequest
from models.ids import derived_id
from models.outcomes import Instrument, ProviderName
from models.refunds import CaptureBalance, divide_refund
from models.states import InvoiceStatus
from models.storage.tables import AuditEntry, ChargeAttempt, Dispute, Invoice, Payment, Refund
from providers.capabilities import Capability

REFUND_CODES = (
    "invoice_is_open",
    "nothing_to_refund",
    "refund_refused",
    "refund_too_large",
    "payment_disputed",
    "cash_refund_not_possible",
    "provider_not_configured",
)

Balances = list[tuple[Payment, CaptureBalance]]


class Refunding:
    """One request. `refund_id` is the first refund's, so that a repetition finds what was reserved."""

    def __init__(self, context: ApiContext, principal: Principal, body: RefundRequest) -> None:
        self._context = context
        self._principal = principal
        self._body = body

    async def of_invoice(
        self, session: AsyncSession, invoice_id: UUID, refund_id: UUID
    ) -> list[UUID]:
        """Reserve it over the invoice's captures, the newest first."""
        await get_scoped(session, Invoice, invoice_id, self._principal)
        invoice = await lock_invoice(session, invoice_id)
        there = await self._reserved_before(session, refund_id)
        if there:
            return there
        if invoice.status == InvoiceStatus.PENDING:
            raise Conflict(
                "The invoice is still being collected: cancel the subscription first, or refund what is"
                " listed as unapplied.",
                code="invoice_is_open",
            )
        found = await balances(
            session, Payment.invoice_id == invoice_id, Payment.currency == invoice.currency
        )
        left = sum(balance.refundable_minor for _, balance in found)
        amount = self._amount(left)
        possible = await self._possible(session, found)
        await self._refuse_what_cannot(session, amount, found, possible)
        return await self._reserve(session, invoice, amount, possible, refund_id)

    async def of_unapplied(
        self, session: AsyncSession, payment_id: UUID, refund_id: UUID
    ) -> list[UUID]:
        """Reserve it of this capture's unapplied money alone."""
        payment = await get_scoped(session, Payment, payment_id, self._principal)
        invoice = await lock_invoice(session, payment.invoice_id)
        there = await self._reserved_before(session, refund_id)
        if there:
            return there
        found = await balances(session, Payment.id == payment_id)
        amount = self._amount(sum(balance.unapplied_minor for _, balance in found))
        possible = await self._possible(session, found)
        await self._refuse_what_cannot(session, amount, found, possible)
        return await self._reserve(session, invoice, amount, possible, refund_id)

    async def carry_out(self, refund_ids: Sequence[UUID]) -> Answer:
        """201 when they succeeded in time, 202 while one is on its way."""
        rows = await self._rows(refund_ids)
        await asyncio.gather(
            *(
                self._context.jobs.refund(
                    RefundInput(refund_id=row.id, provider=ProviderName(row.provider))
                )
                for row in rows
                if row.status == PENDING
            )
        )
        answer = refund_answer(
            [RefundView.model_validate(row) for row in await self._rows(refund_ids)]
        )
        if answer.status == FAILED:
            refused = [view for view in answer.refunds if view.status == FAILED]
            raise Conflict(
                f"The provider refuses the refund: {refused[0].failure_code}. Nothing of it moved; its row"
                " says so.",
                code="refund_refused",
                errors=[{"refund_id": str(v.id), "code": str(v.failure_code)} for v in refused],
            )
        status = 202 if answer.status == PENDING else 201
        return Answer(status, answer.model_dump(mode="json"))

    def _amount(self, left: int) -> int:
        if left <= 0:
            raise Conflict("Nothing is left that could be paid back.", code="nothing_to_refund")
        amount = left if self._body.amount_minor is None else self._body.amount_minor
        if amount > left:
            raise InvalidRequest(
                f"Only {left} minor units are left: the rest was refunded, is on its way, or became credit.",
                code="refund_too_large",
                errors=[{"field": "amount_minor", "code": "too_large", "message": f"max {left}"}],
            )
        return amount

    async def _possible(self, session: AsyncSession, found: Balances) -> Balances:
        """Those that their provider can pay back. What a bank has taken back, or may, goes back no other
        way: the customer would have it twice."""
        disputed = await _disputed(session, found)
        possible: Balances = []
        for payment, balance in found:
            provider = self._context.providers.get(provider_of(payment))
            if provider is None:
                raise Conflict(
                    f"{payment.provider} is not configured here, so nothing can go back through it.",
                    code="provider_not_configured",
                )
            needed = await _needed(session, payment)
            if payment.id not in disputed and needed in provider.capabilities.supports:
                possible.append((payment, balance))
        return possible

    async def _refuse_what_cannot(
        self, session: AsyncSession, amount: int, found: Balances, possible: Balances
    ) -> None:
        if sum(balance.refundable_minor for _, balance in possible) >= amount:
            return
        if await _disputed(session, found):
            raise Conflict(
                "The customer had the bank take this payment back, or tries to: a refund beside the dispute"
                " would pay twice.",
                code="payment_disputed",
            )
        able = {payment.id for payment, _ in possible}
        unable = next(payment for payment, _ in found if payment.id not in able)
        provider = self._context.providers.get(provider_of(unable))
        refusals = provider.capabilities.refusals if provider is not None else {}
        why = refusals.get(Capability.CASH_REFUND, "The provider cannot pay this back")
        raise Conflict(
            f"{why}. Money that pays nothing can be credited to coming invoices instead.",
            code="cash_refund_not_possible",
        )

    async def _reserve(
        self,
        session: AsyncSession,
        invoice: Invoice,
        amount: int,
        possible: Balances,
        refund_id: UUID,
    ) -> list[UUID]:
        captures = {payment.id: payment for payment, _ in possible}
        moment, ids = now(), []
        for position, (balance, part) in enumerate(
            divide_refund(amount, [balance for _, balance in possible])
        ):
            id_ = refund_id if position == 0 else derived_id(refund_id, str(position), moment)
            refund = reservation(
                invoice,
                captures[balance.payment_id],
                part,
                refund_id=id_,
                reason=self._body.reason,
                actor=self._principal.actor,
                at=moment,
            )
            session.add(refund)
            session.add(_ordered(refund))
            ids.append(id_)
        await session.flush()
        return ids

    async def _reserved_before(self, session: AsyncSession, refund_id: UUID) -> list[UUID]:
        first = await session.get(Refund, refund_id)
        if first is None:
            return []
        together = select(Refund.id).where(
            Refund.invoice_id == first.invoice_id,
            Refund.created_at == first.created_at,
            Refund.actor == first.actor,
        )
        return list(await session.scalars(together))

    async def _rows(self, refund_ids: Sequence[UUID]) -> list[Refund]:
        statement = select(Refund).where(Refund.id.in_(refund_ids)).order_by(Refund.id)
        async with self._context.sessions() as session:
            return list(await session.scalars(scoped(statement, self._principal)))


async def _disputed(session: AsyncSession, found: Balances) -> set[UUID]:
    statement = select(Dispute.payment_id).where(
        Dispute.payment_id.in_([payment.id for payment, _ in found]),
        Dispute.status.in_(("open", "lost")),
    )
    return {id_ for id_ in await session.scalars(statement) if id_ is not None}


async def _needed(session: AsyncSession, payment: Payment) -> Capability:
    attempt = await session.get(ChargeAttempt, payment.attempt_id) if payment.attempt_id else None
    cash = attempt is not None and attempt.instrument == Instrument.OXXO
    return Capability.CASH_REFUND if cash else Capability.REFUND


def _ordered(refund: Refund) -> AuditEntry:
    return AuditEntry(
        application_id=refund.application_id,
        subscription_id=refund.subscription_id,
        purchase_id=refund.purchase_id,
        version=0,
        actor=refund.actor,
        action="refund.ordered",
        before={},
        after={
            "refund_id": str(refund.id),
            "payment_id": str(refund.payment_id),
            "amount_minor": refund.amount_minor,
        },
        at=refund.created_at,
    )
