"""Events that come when it is over: acknowledged, and their money kept in sight."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.signatures import (
    Acknowledgement,
    AttemptFacts,
    AttemptQuestion,
    InboxRecords,
    LateMoney,
)
from models.commands import InboxEvent
from models.ids import our_id
from models.outcomes import DEFAULT_ACCOUNT, Instrument, ProviderName
from models.snapshots import Capture
from models.storage.engine import Sessions
from models.storage.tables import (
    AuditEntry,
    ChargeAttempt,
    Invoice,
    Payment,
    Subscription,
    WebhookEvent,
    new_id,
)


class InboxActivities(InboxRecords):
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @activity.defn(name="acknowledge")
    async def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        async with self._sessions.begin() as session:
            for event in acknowledgement.events:
                await session.execute(
                    update(WebhookEvent)
                    .where(WebhookEvent.id == event.id, WebhookEvent.applied_at.is_(None))
                    .values(applied_at=acknowledgement.at, disposition=event.disposition)
                )

    @activity.defn(name="find_attempt")
    async def find_attempt(self, question: AttemptQuestion) -> AttemptFacts | None:
        async with self._sessions() as session:
            attempt = await session.get(ChargeAttempt, question.attempt_id)
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
            )

    @activity.defn(name="record_late_money")
    async def record_late_money(self, late: LateMoney) -> None:
        """The subscription is over (invariant 6): its money is written down as unapplied, with an
        audit entry, and stays visible until an operator refunds or credits it."""
        async with self._sessions.begin() as session:
            owner = await session.get_one(Subscription, late.subscription_id)
            for inbox_event in late.events.events:
                booked = 0
                invoice = await _invoice_of(session, inbox_event, late)
                if invoice is not None:
                    booked = await _book(session, late, inbox_event, invoice)
                if booked:
                    await _audit(session, late, owner, inbox_event, booked)
                await session.execute(
                    update(WebhookEvent)
                    .where(WebhookEvent.id == inbox_event.id, WebhookEvent.applied_at.is_(None))
                    .values(
                        applied_at=late.at,
                        disposition="unapplied_money" if booked else "subscription_is_over",
                    )
                )


async def _invoice_of(
    session: AsyncSession, inbox_event: InboxEvent, late: LateMoney
) -> Invoice | None:
    """The invoice that the money was meant for: by our attempt, else by the provider's invoice id,
    else the owner's latest."""
    event = inbox_event.event
    mine = select(Invoice).where(Invoice.subscription_id == late.subscription_id)
    attempt_id = our_id(event.attempt_id)
    if attempt_id is not None:
        by_attempt = mine.join(ChargeAttempt, ChargeAttempt.invoice_id == Invoice.id)
        found = await session.scalar(by_attempt.where(ChargeAttempt.id == attempt_id))
        if found is not None:
            return found
    if event.provider_invoice_id is not None:
        found = await session.scalar(
            mine.where(Invoice.provider_invoice_id == event.provider_invoice_id)
        )
        if found is not None:
            return found
    return await session.scalar(mine.order_by(Invoice.id.desc()).limit(1))


def _captures(inbox_event: InboxEvent) -> Sequence[Capture]:
    event = inbox_event.event
    if event.payment is not None:
        return event.payment.captures
    if event.invoice is not None:
        return event.invoice.captures
    return ()


async def _book(
    session: AsyncSession, late: LateMoney, inbox_event: InboxEvent, invoice: Invoice
) -> int:
    """Minor units that were not known before."""
    booked = 0
    for capture in _captures(inbox_event):
        inserted = await session.scalar(
            insert(Payment)
            .values(
                id=new_id(),
                application_id=invoice.application_id,
                subscription_id=late.subscription_id,
                invoice_id=invoice.id,
                provider=inbox_event.event.provider,
                account=DEFAULT_ACCOUNT,
                provider_charge_id=capture.provider_charge_id,
                kind="capture",
                amount_minor=capture.amount_minor,
                applied_minor=0,
                currency=capture.currency,
                occurred_at=capture.captured_at,
                recorded_at=late.at,
            )
            .on_conflict_do_nothing()
            .returning(Payment.amount_minor)
        )
        booked += inserted or 0
    return booked


async def _audit(
    session: AsyncSession,
    late: LateMoney,
    owner: Subscription,
    inbox_event: InboxEvent,
    booked_minor: int,
) -> None:
    session.add(
        AuditEntry(
            application_id=owner.application_id,
            subscription_id=late.subscription_id,
            version=owner.version,
            actor=f"provider:{inbox_event.event.provider}",
            action="payment.unapplied",
            before={"status": owner.status},
            after={"status": owner.status, "unapplied_minor": booked_minor},
            at=late.at,
        )
    )
    await session.flush()
