"""Disputes in our books: read at the provider, then written down once, never moving back.

The money that a dispute takes and gives back are movements of their own beside the capture, so the books
stay equal to the provider's; the invoice stays paid, for the customer did pay it.
"""

from __future__ import annotations

from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.outbox import tell
from activities.signatures.disputes import DisputeCalls, DisputeRecord, DisputeRecords
from models.commands import DisputeInput, DisputeNews
from models.disputes import follow
from models.projections import OutboundProjection
from models.snapshots import DisputeSnapshot, DisputeStatus
from models.storage.engine import Sessions
from models.storage.tables import (
    AuditEntry,
    ChargeAttempt,
    Dispute,
    Invoice,
    Payment,
    Purchase,
    Subscription,
    WebhookEvent,
    new_id,
)
from providers.failures import FailureKind, ProviderFailure
from providers.protocol import PaymentProvider
from providers.registry import ProviderRegistry

# What asking again cannot change.
REFUSED = "dispute_refused"
_FINAL = frozenset({FailureKind.UNSUPPORTED, FailureKind.REJECTED, FailureKind.NOT_FOUND})


_TOLD = {
    DisputeStatus.OPEN: "dispute.opened",
    DisputeStatus.WON: "dispute.closed",
    DisputeStatus.LOST: "dispute.closed",
}


class DisputeActivities(DisputeCalls, DisputeRecords):
    def __init__(self, sessions: Sessions, providers: ProviderRegistry) -> None:
        self._sessions = sessions
        self._providers = providers

    @activity.defn(name="read_dispute")
    async def read_dispute(self, request: DisputeInput) -> DisputeSnapshot:
        """As it stands now. Raises while the provider is away: a webhook alone does not say which
        invoice the payment paid."""
        provider = self._provider(request)
        try:
            return await provider.get_dispute(request.seen)
        except ProviderFailure as failure:
            # It was told of by an authentic webhook: whatever is said now, it is asked again.
            raise ApplicationError(failure.message, type=str(failure.kind)) from None

    @activity.defn(name="accept_dispute")
    async def accept_dispute(self, request: DisputeInput) -> DisputeSnapshot:
        """Tell the provider that it is not contested. Safe to repeat."""
        provider = self._provider(request)
        try:
            return await provider.accept_dispute(request.seen.provider_dispute_id)
        except ProviderFailure as failure:
            final = failure.kind in _FINAL
            kind = REFUSED if final else str(failure.kind)
            raise ApplicationError(failure.message, type=kind, non_retryable=final) from None

    @activity.defn(name="record_dispute")
    async def record_dispute(self, record: DisputeRecord) -> DisputeNews | None:
        """Write it down, and what it means for the books; None when its payment is not known (yet)."""
        async with self._sessions.begin() as session:
            payment = await find_payment(session, record.seen, record.account)
            if payment is None:
                return None
            news = await _write(session, record, payment)
            if record.event_id is not None:
                await session.execute(
                    update(WebhookEvent)
                    .where(WebhookEvent.id == record.event_id, WebhookEvent.applied_at.is_(None))
                    .values(applied_at=record.at, disposition="dispute", last_error=None)
                )
            return news

    def _provider(self, request: DisputeInput) -> PaymentProvider:
        provider = self._providers.get(request.seen.provider)
        if provider is None:
            raise ApplicationError(f"{request.seen.provider} has no key here")
        return provider


async def find_payment(
    session: AsyncSession, seen: DisputeSnapshot, account: str
) -> Payment | None:
    """The capture that is disputed: by the charge's own id, else by the payment or order that it was."""
    ours = select(Payment).where(
        Payment.provider == seen.provider,
        Payment.account == account,
        Payment.kind == "capture",
    )
    ids = [
        *seen.provider_charge_ids,
        *([seen.provider_payment_id] if seen.provider_payment_id else []),
    ]
    found = await session.scalar(ours.where(Payment.provider_charge_id.in_(ids)).limit(1))
    if found is not None or seen.provider_payment_id is None:
        return found
    by_object = (
        ours.outerjoin(ChargeAttempt, ChargeAttempt.id == Payment.attempt_id)
        .join(Invoice, Invoice.id == Payment.invoice_id)
        .where(
            or_(
                ChargeAttempt.provider_object_id == seen.provider_payment_id,
                Invoice.provider_invoice_id == seen.provider_payment_id,
            )
        )
    )
    return await session.scalar(by_object.order_by(Payment.id.desc()).limit(1))


async def _write(session: AsyncSession, record: DisputeRecord, payment: Payment) -> DisputeNews:
    seen = record.seen
    row, is_new = await _row(session, record, payment)
    before = None if is_new else DisputeStatus(row.status)
    status = follow(before, seen.status)
    row.status = status
    row.reason = seen.reason or row.reason
    row.evidence_due_at = seen.evidence_due_at or row.evidence_due_at
    if status is not DisputeStatus.OPEN and row.closed_at is None:
        row.closed_at = record.at
    await session.flush()
    await _move_money(session, record, row, payment)
    news = [DisputeStatus.OPEN] if is_new else []
    if status is not DisputeStatus.OPEN and status is not before:
        news.append(status)
    for one in news:
        await _announce(session, record, row, _TOLD[one])
    return DisputeNews(dispute_id=row.id, subscription_id=row.subscription_id, status=status)


async def _row(
    session: AsyncSession, record: DisputeRecord, payment: Payment
) -> tuple[Dispute, bool]:
    seen = record.seen
    invoice = await session.get_one(Invoice, payment.invoice_id)
    made = await session.scalar(
        insert(Dispute)
        .values(
            id=new_id(),
            application_id=payment.application_id,
            organization_id=invoice.organization_id,
            subscription_id=payment.subscription_id,
            purchase_id=payment.purchase_id,
            invoice_id=payment.invoice_id,
            payment_id=payment.id,
            provider=seen.provider,
            account=record.account,
            provider_dispute_id=seen.provider_dispute_id,
            amount_minor=seen.amount_minor or payment.amount_minor,
            currency=seen.currency or payment.currency,
            reason=seen.reason,
            status=DisputeStatus.OPEN,
            evidence_due_at=seen.evidence_due_at,
            opened_at=seen.opened_at,
        )
        .on_conflict_do_nothing()
        .returning(Dispute.id)
    )
    row = await session.scalar(
        select(Dispute)
        .where(
            Dispute.provider == seen.provider,
            Dispute.account == record.account,
            Dispute.provider_dispute_id == seen.provider_dispute_id,
        )
        .with_for_update()
    )
    if row is None:
        raise LookupError("the dispute was written and is not there")
    return row, made is not None


async def _move_money(
    session: AsyncSession, record: DisputeRecord, row: Dispute, payment: Payment
) -> None:
    """What was taken is booked once; it comes back only if it was taken before."""
    if record.seen.withdrawn or row.status == DisputeStatus.LOST:
        await _book(session, record, row, payment, "dispute")
    if row.status != DisputeStatus.WON:
        return
    taken = select(Payment.id).where(
        Payment.provider == row.provider,
        Payment.account == row.account,
        Payment.kind == "dispute",
        Payment.provider_charge_id == row.provider_dispute_id,
    )
    if await session.scalar(taken) is not None:
        await _book(session, record, row, payment, "dispute_reversal")


async def _book(
    session: AsyncSession, record: DisputeRecord, row: Dispute, payment: Payment, kind: str
) -> None:
    await session.execute(
        insert(Payment)
        .values(
            id=new_id(),
            application_id=row.application_id,
            subscription_id=row.subscription_id,
            purchase_id=row.purchase_id,
            invoice_id=payment.invoice_id,
            attempt_id=payment.attempt_id,
            provider=row.provider,
            account=row.account,
            provider_charge_id=row.provider_dispute_id,
            kind=kind,
            amount_minor=row.amount_minor,
            applied_minor=0,
            currency=row.currency,
            occurred_at=record.seen.opened_at if kind == "dispute" else record.at,
            recorded_at=record.at,
        )
        .on_conflict_do_nothing()
    )


async def _announce(session: AsyncSession, record: DisputeRecord, row: Dispute, type_: str) -> None:
    """To the app and to the audit log, in the transaction of the change."""
    owner = (
        await session.get_one(Subscription, row.subscription_id)
        if row.subscription_id is not None
        else await session.get_one(Purchase, row.purchase_id)
    )
    facts = {
        "dispute_id": str(row.id),
        "invoice_id": str(row.invoice_id),
        "amount_minor": row.amount_minor,
        "currency": row.currency,
        "reason": row.reason,
        "dispute_status": str(row.status),
    }
    whose = {"subscription_id": row.subscription_id, "purchase_id": row.purchase_id}
    named = {name: str(id_) for name, id_ in whose.items() if id_ is not None}
    data = {**named, "organization_id": str(row.organization_id), "status": owner.status, **facts}
    await tell(
        session,
        [OutboundProjection(id=new_id(), type=type_, data=data)],
        application_id=row.application_id,
        subscription_id=row.subscription_id,
        purchase_id=row.purchase_id,
        at=record.at,
    )
    session.add(
        AuditEntry(
            application_id=row.application_id,
            **whose,
            version=owner.version,
            actor=f"provider:{row.provider}",
            action=type_,
            before={},
            after=facts,
            at=record.at,
        )
    )
    await session.flush()
