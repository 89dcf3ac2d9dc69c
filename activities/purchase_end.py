"""A purchase whose money goes back: its row, its entitlements, and what the app is told."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from activities.outbox import tell
from models.benefits import GrantStatus
from models.ids import derived_id
from models.projections import OutboundProjection
from models.purchase import PurchaseStatus
from models.states import InvoiceStatus
from models.storage.tables import AuditEntry, BenefitGrant, Invoice, Purchase, Refund


async def give_back_purchase(
    session: AsyncSession, invoice: Invoice, refund: Refund, at: datetime
) -> None:
    """`invoice` is locked and has the refund in its sums. In full the purchase is refunded."""
    locked = select(Purchase).where(Purchase.id == invoice.purchase_id).with_for_update()
    purchase = (await session.scalars(locked)).one()
    before = purchase.status
    if invoice.status == InvoiceStatus.REFUNDED and before == PurchaseStatus.PAID:
        purchase.status = PurchaseStatus.REFUNDED
        await _withdraw_entitlements(session, purchase, at)
    purchase.version += 1
    purchase.updated_at = at
    session.add(
        AuditEntry(
            application_id=purchase.application_id,
            purchase_id=purchase.id,
            version=purchase.version,
            actor=refund.actor,
            action="payment.refunded",
            before={"status": before},
            after={"status": purchase.status, "refunded_minor": refund.amount_minor},
            at=at,
        )
    )
    await session.flush()
    await _tell("purchase.refunded", session, purchase, refund, at)


async def take_back_purchase(session: AsyncSession, invoice: Invoice, at: datetime) -> None:
    """A refund in full came back: it is paid. Benefits that went with the refund stay gone: a person says."""
    locked = select(Purchase).where(Purchase.id == invoice.purchase_id).with_for_update()
    purchase = (await session.scalars(locked)).one()
    if invoice.status == InvoiceStatus.PAID and purchase.status == PurchaseStatus.REFUNDED:
        purchase.status = PurchaseStatus.PAID
    purchase.version += 1
    purchase.updated_at = at
    await session.flush()


async def _withdraw_entitlements(session: AsyncSession, purchase: Purchase, at: datetime) -> None:
    """What was paid for, and was never given by anybody, is owed no longer."""
    await session.execute(
        update(BenefitGrant)
        .where(
            BenefitGrant.purchase_id == purchase.id,
            BenefitGrant.status == GrantStatus.WAITING,
            BenefitGrant.provider_grant_id.is_(None),
        )
        .values(status=GrantStatus.REVOKED, error_code=None, updated_at=at)
    )


async def _tell(
    type_: str, session: AsyncSession, purchase: Purchase, refund: Refund, at: datetime
) -> None:
    data = {
        "purchase_id": str(purchase.id),
        "organization_id": str(purchase.organization_id),
        "status": purchase.status,
        "invoice_id": str(refund.invoice_id),
        "refund_id": str(refund.id),
        "amount_minor": refund.amount_minor,
        "currency": refund.currency,
    }
    event = OutboundProjection(id=derived_id(refund.id, type_, at), type=type_, data=data)
    await tell(
        session,
        [event],
        application_id=purchase.application_id,
        purchase_id=purchase.id,
        at=at,
    )
