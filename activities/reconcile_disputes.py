"""Disputes in a comparison: which of ours are asked about, and what our books say about theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.disputes import find_payment
from activities.money_seen import object_of_capture
from models.events import ProviderEvent
from models.outcomes import ProviderName
from models.reconcile import Drift, Ours
from models.snapshots import DisputeSnapshot, DisputeStatus
from models.storage.tables import Dispute, Payment, ReconciliationFinding


class Owner(NamedTuple):
    """Whose an object is, by our own rows."""

    application_id: UUID | None = None
    subscription_id: UUID | None = None
    purchase_id: UUID | None = None


class Side(NamedTuple):
    owner: Owner
    ours: Ours


class OpenDispute(NamedTuple):
    """One of ours, and by what its provider is asked about it."""

    id: UUID
    seen: DisputeSnapshot


async def next_disputes(
    session: AsyncSession, provider: str, account: str, after: UUID, limit: int
) -> list[OpenDispute]:
    """Those that nobody has decided yet, as far as we know."""
    statement = select(Dispute).where(
        Dispute.provider == provider,
        Dispute.account == account,
        Dispute.status == DisputeStatus.OPEN,
        Dispute.id > after,
    )
    rows = await session.scalars(statement.order_by(Dispute.id).limit(limit))
    return [OpenDispute(row.id, await _seen(session, row)) for row in rows.all()]


async def _seen(session: AsyncSession, row: Dispute) -> DisputeSnapshot:
    where = await object_of_capture(session, row.payment_id) if row.payment_id else None
    return DisputeSnapshot(
        provider=ProviderName(row.provider),
        provider_dispute_id=row.provider_dispute_id,
        provider_payment_id=where.object_id if where else None,
        status=DisputeStatus(row.status),
        opened_at=row.opened_at,
    )


async def dispute_sides(session: AsyncSession, events: Sequence[ProviderEvent]) -> dict[str, Side]:
    """By the event's id. A few queries each: disputes are rare."""
    return {
        event.provider_event_id: await _side(session, event, event.dispute)
        for event in events
        if event.dispute is not None
    }


async def _side(session: AsyncSession, event: ProviderEvent, seen: DisputeSnapshot) -> Side:
    row = await session.scalar(
        select(Dispute).where(
            Dispute.provider == event.provider,
            Dispute.account == event.account,
            Dispute.provider_dispute_id == seen.provider_dispute_id,
        )
    )
    if row is None:
        payment = await find_payment(session, seen, event.account)
        if payment is None:
            return Side(Owner(), Ours(has_owner=await _is_on_its_way(session, event, seen)))
        owner = Owner(payment.application_id, payment.subscription_id, payment.purchase_id)
        return Side(owner, Ours(has_owner=True))
    moved = select(Payment.kind).where(
        Payment.provider == event.provider,
        Payment.account == event.account,
        Payment.provider_charge_id == seen.provider_dispute_id,
    )
    kinds = set(await session.scalars(moved))
    ours = Ours(
        has_owner=True,
        dispute_status=row.status,
        dispute_is_taken="dispute" in kinds,
        dispute_is_returned="dispute_reversal" in kinds,
    )
    return Side(Owner(row.application_id, row.subscription_id, row.purchase_id), ours)


async def _is_on_its_way(
    session: AsyncSession, event: ProviderEvent, seen: DisputeSnapshot
) -> bool:
    """The disputed money is ours, and its owner was told of it a moment ago: nobody has booked it yet."""
    finding = ReconciliationFinding
    statement = select(finding.id).where(
        finding.provider == event.provider,
        finding.account == event.account,
        finding.kind == Drift.MONEY_NOT_BOOKED,
        finding.object_id.in_([*seen.provider_charge_ids, seen.provider_payment_id or ""]),
        ~finding.dry_run,
    )
    return await session.scalar(statement.limit(1)) is not None
