"""The ledger of refunds: what may still go back, what is on its way, and what has gone.

Whoever writes here holds the invoice's row, so that two refunds never promise the same money. Every
movement back has a row in `refunds` that names its capture; when the money moved there is a payment of
kind `refund` beside it, under the same provider's id.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from activities.outbox import tell
from activities.purchase_end import give_back_purchase, take_back_purchase
from models.ids import derived_id
from models.outcomes import ProviderName
from models.projections import OutboundProjection
from models.refunds import CaptureBalance, divide_refund
from models.states import InvoiceStatus
from models.storage.tables import (
    AuditEntry,
    CreditEntry,
    Invoice,
    Payment,
    Refund,
    Subscription,
    new_id,
)

PENDING, SUCCEEDED, FAILED = "pending", "succeeded", "failed"
CAPTURE, REFUND, REVERSAL = "capture", "refund", "refund_reversal"
REASON_MAX = 200


def refunded_minor(*statuses: str) -> ColumnElement[int]:
    """Per capture, of the statement around it."""
    total = func.coalesce(func.sum(Refund.amount_minor), 0)
    return (
        select(total)
        .where(Refund.payment_id == Payment.id, Refund.status.in_(statuses))
        .correlate(Payment)
        .scalar_subquery()
    )


def credited_minor() -> ColumnElement[int]:
    total = func.coalesce(func.sum(CreditEntry.amount_minor), 0)
    return (
        select(total)
        .where(CreditEntry.payment_id == Payment.id)
        .correlate(Payment)
        .scalar_subquery()
    )


def unapplied_minor() -> ColumnElement[int]:
    """What is left of a capture, as `CaptureBalance.unapplied_minor`; below zero means nothing."""
    left: ColumnElement[int] = (
        Payment.amount_minor
        - Payment.applied_minor
        - credited_minor()
        - refunded_minor(PENDING, SUCCEEDED)
    )
    return left


async def balances(
    session: AsyncSession, *conditions: ColumnElement[bool]
) -> list[tuple[Payment, CaptureBalance]]:
    statement = select(Payment, refunded_minor(PENDING, SUCCEEDED), credited_minor()).where(
        Payment.kind == CAPTURE, *conditions
    )
    found = await session.execute(statement.order_by(Payment.occurred_at, Payment.id))
    return [(payment, _balance(payment, back, credit)) for payment, back, credit in found]


def provider_of(capture: Payment) -> ProviderName:
    """Only what an operator booked by hand is in no provider's book, and that is no capture."""
    if capture.provider is None:
        raise ValueError(f"payment {capture.id} came through no provider")
    return ProviderName(capture.provider)


async def lock_invoice(session: AsyncSession, invoice_id: UUID) -> Invoice:
    statement = select(Invoice).where(Invoice.id == invoice_id).with_for_update()
    fresh = statement.execution_options(populate_existing=True)
    return (await session.scalars(fresh)).one()


def reservation(
    invoice: Invoice,
    capture: Payment,
    amount_minor: int,
    *,
    refund_id: UUID,
    reason: str | None,
    actor: str,
    at: datetime,
    status: str = PENDING,
    provider_refund_id: str | None = None,
) -> Refund:
    """A row that reserves its amount as soon as it is written."""
    return Refund(
        id=refund_id,
        application_id=invoice.application_id,
        organization_id=invoice.organization_id,
        subscription_id=invoice.subscription_id,
        purchase_id=invoice.purchase_id,
        invoice_id=invoice.id,
        payment_id=capture.id,
        provider=capture.provider,
        account=capture.account,
        provider_refund_id=provider_refund_id,
        amount_minor=amount_minor,
        currency=capture.currency,
        reason=reason,
        status=status,
        actor=actor,
        created_at=at,
        updated_at=at,
    )


class RefundBook:
    """Writes down what became of refunds, in a transaction that has `invoice` locked."""

    def __init__(self, session: AsyncSession, invoice: Invoice, at: datetime) -> None:
        self._session = session
        self._invoice = invoice
        self._at = at

    async def succeeded(self, refund: Refund, provider_refund_id: str) -> None:
        """The money of a reserved refund has moved."""
        refund.provider_refund_id = provider_refund_id
        refund.status = SUCCEEDED
        refund.updated_at = self._at
        await self._session.flush()
        await self._moved(refund, provider_refund_id)

    async def failed(self, refund: Refund, code: str) -> None:
        """The provider refuses it: what was reserved is free again."""
        refund.status, refund.failure_code, refund.updated_at = FAILED, code, self._at
        await self._session.flush()
        self._audit(refund.actor, "refund.failed", {"refund_id": str(refund.id), "code": code})
        await self._tell("refund.failed", refund, failure_code=code)

    async def reversed(self, refund: Refund, code: str) -> None:
        """It had moved and came back: the invoice is paid again, and the money is free to go another way."""
        before = self._invoice.status
        refund.status, refund.failure_code, refund.updated_at = FAILED, code, self._at
        await self._session.flush()
        back = await self._write_movement(refund, REVERSAL, refund.provider_refund_id or "")
        self._invoice.amount_refunded_minor -= back
        less = self._invoice.amount_refunded_minor < self._invoice.amount_paid_minor
        if before == InvoiceStatus.REFUNDED and less:
            self._invoice.status = InvoiceStatus.PAID
        await self._session.flush()
        if self._invoice.purchase_id is not None:
            await take_back_purchase(self._session, self._invoice, self._at)
        after = {"refund_id": str(refund.id), "code": code, "invoice_status": self._invoice.status}
        actor = f"provider:{refund.provider}"
        self._audit(actor, "refund.reversed", after, before={"invoice_status": before})
        await self._tell("refund.failed", refund, failure_code=code)

    async def seen(
        self, captures: Sequence[Payment], total_minor: int, *, but: UUID | None = None
    ) -> int:
        """Minor units that went back without our order: the provider's total less what we know.

        What was ordered here and is on its way counts as known, but for the refund `but`, of which it is
        known that the provider has not heard.
        """
        ids = [capture.id for capture in captures]
        known = select(func.coalesce(func.sum(Refund.amount_minor), 0)).where(
            Refund.payment_id.in_(ids), Refund.status.in_((PENDING, SUCCEEDED))
        )
        if but is not None:
            known = known.where(Refund.id != but)
        new = total_minor - int(await self._session.scalar(known) or 0)
        if new <= 0:
            return 0
        rows = {p.id: (p, b) for p, b in await balances(self._session, Payment.id.in_(ids))}
        parts = divide_refund(new, [one for _, one in rows.values()])
        unplaced = new - sum(part for _, part in parts)
        if unplaced:
            # Credit was given for it already: only a person can say who owes whom.
            actor = f"provider:{captures[0].provider}"
            self._audit(actor, "refund.unplaced", {"amount_minor": unplaced})
        for balance, part in parts:
            capture = rows[balance.payment_id][0]
            name = f"{capture.provider_charge_id}:refunded:{total_minor}"
            name += await self._again(capture)
            refund = reservation(
                self._invoice,
                capture,
                part,
                refund_id=new_id(),
                reason=None,
                actor=f"provider:{capture.provider}",
                at=self._at,
                status=SUCCEEDED,
                provider_refund_id=name,
            )
            self._session.add(refund)
            await self._session.flush()
            await self._moved(refund, name)
        return new

    async def _again(self, capture: Payment) -> str:
        """What tells a total from the same total before a refund came back."""
        came_back = await self._session.scalar(
            select(func.count()).where(
                Payment.kind == REVERSAL, Payment.invoice_id == capture.invoice_id
            )
        )
        return f":{came_back}" if came_back else ""

    async def _moved(self, refund: Refund, provider_refund_id: str) -> None:
        await self._give_back(
            refund, await self._write_movement(refund, REFUND, provider_refund_id)
        )

    async def _write_movement(self, refund: Refund, kind: str, provider_refund_id: str) -> int:
        """How much of it is the invoice's, in minor units."""
        [(capture, balance)] = await balances(self._session, Payment.id == refund.payment_id)
        settled = await self._settled_before(refund)
        applied = balance.applied_part(settled, refund.amount_minor)
        await self._session.execute(
            insert(Payment).values(
                id=new_id(),
                application_id=capture.application_id,
                subscription_id=capture.subscription_id,
                purchase_id=capture.purchase_id,
                invoice_id=capture.invoice_id,
                attempt_id=capture.attempt_id,
                provider=capture.provider,
                account=capture.account,
                provider_charge_id=provider_refund_id,
                kind=kind,
                amount_minor=refund.amount_minor,
                applied_minor=applied,
                currency=capture.currency,
                occurred_at=self._at,
                recorded_at=self._at,
            )
        )
        return applied

    async def _settled_before(self, refund: Refund) -> int:
        total = await self._session.scalar(
            select(func.coalesce(func.sum(Refund.amount_minor), 0)).where(
                Refund.payment_id == refund.payment_id,
                Refund.status == SUCCEEDED,
                Refund.id != refund.id,
            )
        )
        return int(total or 0)

    async def _give_back(self, refund: Refund, applied: int) -> None:
        invoice = self._invoice
        invoice.amount_refunded_minor += applied
        whole = invoice.amount_refunded_minor >= invoice.amount_paid_minor > 0
        if whole and invoice.status == InvoiceStatus.PAID:
            invoice.status = InvoiceStatus.REFUNDED
        await self._session.flush()
        if invoice.purchase_id is not None:
            await give_back_purchase(self._session, invoice, refund, self._at)
            return
        after = {"refund_id": str(refund.id), "refunded_minor": refund.amount_minor}
        self._audit(refund.actor, "payment.refunded", {**after, "invoice_status": invoice.status})
        await self._tell("invoice.refunded", refund)

    def _audit(
        self, actor: str, action: str, after: dict[str, Any], before: dict[str, Any] | None = None
    ) -> None:
        self._session.add(
            AuditEntry(
                application_id=self._invoice.application_id,
                subscription_id=self._invoice.subscription_id,
                purchase_id=self._invoice.purchase_id,
                version=0,
                actor=actor,
                action=action,
                before=before or {},
                after=after,
                at=self._at,
            )
        )

    async def _tell(self, type_: str, refund: Refund, **more: object) -> None:
        invoice = self._invoice
        data: dict[str, object] = {
            "organization_id": str(invoice.organization_id),
            "invoice_id": str(invoice.id),
            "refund_id": str(refund.id),
            "amount_minor": refund.amount_minor,
            "currency": refund.currency,
            "invoice_status": invoice.status,
            **more,
        }
        if invoice.purchase_id is not None:
            data["purchase_id"] = str(invoice.purchase_id)
        else:
            data["subscription_id"] = str(invoice.subscription_id)
            data["status"] = await self._session.scalar(
                select(Subscription.status).where(Subscription.id == invoice.subscription_id)
            )
        event = OutboundProjection(id=derived_id(refund.id, type_, self._at), type=type_, data=data)
        await tell(
            self._session,
            [event],
            application_id=invoice.application_id,
            subscription_id=invoice.subscription_id,
            purchase_id=invoice.purchase_id,
            at=self._at,
        )


def _balance(payment: Payment, refunded: int, credited: int) -> CaptureBalance:
    return CaptureBalance(
        payment_id=payment.id,
        amount_minor=payment.amount_minor,
        applied_minor=payment.applied_minor,
        refunded_minor=int(refunded),
        credited_minor=int(credited),
        occurred_at=payment.occurred_at,
    )
