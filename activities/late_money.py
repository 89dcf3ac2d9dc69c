"""Events that come when it is over: acknowledged, and their money kept in sight."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.money_policy import money_policies
from activities.outbox import tell
from activities.records import write_applied
from activities.refund_book import lock_invoice, provider_of, reservation
from activities.signatures.records import (
    Acknowledgement,
    AttemptFacts,
    AttemptQuestion,
    InboxRecords,
)
from models.billing_policy import BillingPolicy
from models.cash_rules import Arrival, MoneyAction, MoneyCase, action_for, case_of
from models.commands import InboxEvent, RefundInput
from models.ids import derived_id, our_id
from models.outcomes import DEFAULT_ACCOUNT, Instrument, ProviderName
from models.projections import OutboundProjection
from models.snapshots import Capture
from models.states import TERMINAL_STATUSES
from models.storage.engine import Sessions
from models.storage.tables import (
    AuditEntry,
    ChargeAttempt,
    Invoice,
    Payment,
    Subscription,
    new_id,
)


class InboxActivities(InboxRecords):
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @activity.defn(name="acknowledge")
    async def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        async with self._sessions() as session:
            await write_applied(session, acknowledgement.events, acknowledgement.at)

    @activity.defn(name="find_attempt")
    async def find_attempt(self, question: AttemptQuestion) -> AttemptFacts | None:
        async with self._sessions() as session:
            attempt = await _asked_for(session, question)
            if attempt is None:
                return None
            known = await session.scalars(
                select(Payment.provider_charge_id).where(
                    Payment.invoice_id == attempt.invoice_id, Payment.kind == "capture"
                )
            )
            return AttemptFacts(
                attempt_id=attempt.id,
                invoice_id=attempt.invoice_id,
                provider=ProviderName(attempt.provider),
                instrument=Instrument(attempt.instrument),
                amount_minor=attempt.amount_minor,
                currency=attempt.currency,
                started_at=attempt.started_at,
                known_charge_ids=list(known),
                invoice_status=(await session.get_one(Invoice, attempt.invoice_id)).status,
            )


async def _asked_for(session: AsyncSession, question: AttemptQuestion) -> ChargeAttempt | None:
    if question.attempt_id is not None:
        return await session.get(ChargeAttempt, question.attempt_id)
    return await session.scalar(
        select(ChargeAttempt).where(
            ChargeAttempt.provider == question.provider,
            ChargeAttempt.provider_object_id == question.provider_payment_id,
        )
    )


class LateMoney(NamedTuple):
    booked_minor: int
    refunds: list[RefundInput]


async def owner_is_over(session: AsyncSession, subscription_id: UUID) -> bool:
    status = await session.scalar(
        select(Subscription.status).where(Subscription.id == subscription_id)
    )
    return status in TERMINAL_STATUSES


async def book_late(
    session: AsyncSession,
    inbox: InboxEvent,
    captures: Sequence[Capture],
    subscription_id: UUID,
    at: datetime,
) -> LateMoney:
    """The subscription is over (invariant 6): what the ledger does not know is unapplied money. It is
    held in sight, or goes back at once where the plan says so."""
    invoice = await _invoice_of(session, inbox, subscription_id)
    if invoice is None:
        return LateMoney(0, [])
    owner = await session.get_one(Subscription, subscription_id)
    invoice = await lock_invoice(session, invoice.id)
    policies = await money_policies(session, [owner])
    late = _Late(session, inbox, invoice, owner, policies[owner.id], at)
    for capture in captures:
        await late.book(capture)
    return LateMoney(late.booked_minor, late.refunds)


async def _invoice_of(
    session: AsyncSession, inbox_event: InboxEvent, subscription_id: UUID
) -> Invoice | None:
    """The invoice that the money was meant for: by our attempt, else by the provider's invoice id,
    else the owner's latest."""
    event = inbox_event.event
    mine = select(Invoice).where(Invoice.subscription_id == subscription_id)
    attempt_id = our_id(event.attempt_id)
    if attempt_id is not None:
        by_attempt = mine.join(ChargeAttempt, ChargeAttempt.invoice_id == Invoice.id)
        found = await session.scalar(by_attempt.where(ChargeAttempt.id == attempt_id))
        if found is not None:
            return found
    if event.provider_payment_id is not None:
        by_object = mine.join(ChargeAttempt, ChargeAttempt.invoice_id == Invoice.id).where(
            ChargeAttempt.provider_object_id == event.provider_payment_id
        )
        found = await session.scalar(by_object.limit(1))
        if found is not None:
            return found
    known_as = event.provider_invoice_id or event.provider_payment_id
    if known_as is not None:
        found = await session.scalar(mine.where(Invoice.provider_invoice_id == known_as))
        if found is not None:
            return found
    return await session.scalar(mine.order_by(Invoice.id.desc()).limit(1))


class _Late:
    """Books what came after the end, in the transaction that has the invoice locked."""

    def __init__(
        self,
        session: AsyncSession,
        inbox: InboxEvent,
        invoice: Invoice,
        owner: Subscription,
        policy: BillingPolicy,
        at: datetime,
    ) -> None:
        self._policy = policy
        self._session = session
        self._event = inbox.event
        self._invoice = invoice
        self._owner = owner
        self._at = at
        self.booked_minor = 0
        self.refunds: list[RefundInput] = []

    async def book(self, capture: Capture) -> None:
        payment = await self._insert(capture)
        if payment is None:
            return
        self.booked_minor += capture.amount_minor
        case = case_of(
            Arrival(
                same_currency=capture.currency == self._invoice.currency,
                applied_minor=0,
                subscription_over=True,
                subscription_paused=False,
                invoice_status=self._invoice.status,
            )
        )
        action = action_for(case, self._policy, subscription_over=True)
        self._audit(case, action, payment)
        await self._tell("payment.unapplied", case, action, payment)
        if action is MoneyAction.REFUND:
            await self._order_refund(payment)

    async def _insert(self, capture: Capture) -> Payment | None:
        """None when the ledger has it already."""
        statement = (
            insert(Payment)
            .values(
                id=new_id(),
                application_id=self._invoice.application_id,
                subscription_id=self._owner.id,
                invoice_id=self._invoice.id,
                attempt_id=await self._attempt_id(),
                provider=self._event.provider,
                account=DEFAULT_ACCOUNT,
                provider_charge_id=capture.provider_charge_id,
                kind="capture",
                amount_minor=capture.amount_minor,
                applied_minor=0,
                currency=capture.currency,
                occurred_at=capture.captured_at,
                recorded_at=self._at,
            )
            .on_conflict_do_nothing()
            .returning(Payment.id)
        )
        payment_id = await self._session.scalar(statement)
        return None if payment_id is None else await self._session.get_one(Payment, payment_id)

    async def _attempt_id(self) -> UUID | None:
        """So that the money can be asked for, and paid back, where it came from."""
        ours = select(ChargeAttempt.id).where(ChargeAttempt.invoice_id == self._invoice.id)
        attempt_id = our_id(self._event.attempt_id)
        if attempt_id is not None:
            found = await self._session.scalar(ours.where(ChargeAttempt.id == attempt_id))
            if found is not None:
                return found
        by_object = ChargeAttempt.provider_object_id == self._event.provider_payment_id
        return await self._session.scalar(ours.where(by_object).limit(1))

    async def _order_refund(self, payment: Payment) -> None:
        refund = reservation(
            self._invoice,
            payment,
            payment.amount_minor,
            refund_id=new_id(),
            reason="late_money",
            actor="engine",
            at=self._at,
        )
        self._session.add(refund)
        await self._session.flush()
        self.refunds.append(RefundInput(refund_id=refund.id, provider=provider_of(payment)))

    def _audit(self, case: MoneyCase, action: MoneyAction, payment: Payment) -> None:
        self._session.add(
            AuditEntry(
                application_id=self._owner.application_id,
                subscription_id=self._owner.id,
                version=self._owner.version,
                actor=f"provider:{self._event.provider}",
                action="payment.unapplied",
                before={"status": self._owner.status},
                after={
                    "status": self._owner.status,
                    "unapplied_minor": payment.amount_minor,
                    "case": str(case),
                    "action": str(action),
                },
                at=self._at,
            )
        )

    async def _tell(
        self, type_: str, case: MoneyCase, action: MoneyAction, payment: Payment
    ) -> None:
        await self._session.flush()
        data = {
            "subscription_id": str(self._owner.id),
            "organization_id": str(self._owner.organization_id),
            "status": self._owner.status,
            "invoice_id": str(self._invoice.id),
            "payment_id": str(payment.id),
            "amount_minor": payment.amount_minor,
            "currency": payment.currency,
            "case": str(case),
            "action": str(action),
        }
        event = OutboundProjection(
            id=derived_id(payment.id, type_, self._at), type=type_, data=data
        )
        await tell(
            self._session,
            [event],
            application_id=self._owner.application_id,
            subscription_id=self._owner.id,
            at=self._at,
        )
