"""Unapplied money that becomes credit for coming invoices of the same subscription."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.refund_book import balances, lock_invoice
from activities.signatures.money import CreditOrder, CreditRecords
from models.storage.engine import Sessions
from models.storage.tables import CreditEntry, Payment, Subscription

UNAPPLIED_REASON = "unapplied_money"


class CreditActivities(CreditRecords):
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @activity.defn(name="credit_unapplied")
    async def credit_unapplied(self, order: CreditOrder) -> int:
        """Minor units that are credit now by this command: none when less is left than was asked for.
        Safe to repeat: the entry has the command's id."""
        command = order.command
        async with self._sessions.begin() as session:
            there = await session.get(CreditEntry, command.credit_id)
            if there is not None:
                return there.amount_minor
            capture = await session.get(Payment, command.payment_id)
            if capture is None or capture.subscription_id != order.subscription_id:
                return 0
            await lock_invoice(session, capture.invoice_id)
            [(_, balance)] = await balances(session, Payment.id == capture.id)
            if command.amount_minor > balance.unapplied_minor:
                return 0
            await _enter(session, order, capture)
            return command.amount_minor


async def _enter(session: AsyncSession, order: CreditOrder, capture: Payment) -> None:
    owner = select(Subscription).where(Subscription.id == order.subscription_id)
    subscription = (await session.scalars(owner)).one()
    session.add(
        CreditEntry(
            id=order.command.credit_id,
            application_id=subscription.application_id,
            organization_id=subscription.organization_id,
            subscription_id=subscription.id,
            payment_id=capture.id,
            amount_minor=order.command.amount_minor,
            currency=capture.currency,
            reason=UNAPPLIED_REASON,
            created_at=order.at,
        )
    )
    await session.flush()
