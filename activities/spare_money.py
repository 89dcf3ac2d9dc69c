"""What a subscription's step decided about money that pays no invoice: credit, or a refund."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from activities.refund_book import PENDING
from models.outcomes import DEFAULT_ACCOUNT
from models.projections import ProjectionBatch
from models.storage.tables import CreditEntry, Payment, Refund


async def write_spare_money(session: AsyncSession, batch: ProjectionBatch) -> None:
    """After the payments of the batch, in its transaction. A capture that the ledger knew already was
    dealt with by whoever wrote it, so nothing is decided about it twice."""
    if not (batch.credits or batch.refunds):
        return
    named = {credit.payment_id for credit in batch.credits if credit.payment_id is not None}
    named |= {refund.payment_id for refund in batch.refunds}
    written = set(await session.scalars(select(Payment.id).where(Payment.id.in_(named))))
    owner = {**batch.owner, "organization_id": batch.organization_id}
    for credit in batch.credits:
        if credit.payment_id is None or credit.payment_id in written:
            values = {**credit.model_dump(), **owner, "created_at": batch.recorded_at}
            await session.execute(insert(CreditEntry).values(values).on_conflict_do_nothing())
    for refund in batch.refunds:
        if refund.payment_id in written:
            values = {
                **refund.model_dump(),
                **owner,
                "account": DEFAULT_ACCOUNT,
                "status": PENDING,
                "actor": "engine",
                "created_at": batch.recorded_at,
                "updated_at": batch.recorded_at,
            }
            await session.execute(insert(Refund).values(values).on_conflict_do_nothing())
