"""Telling the app: outbound events, numbered without gaps per subscription or purchase.

Not only workflows tell things (a refund, a reminder and late money do so too), so the number is given
here, in the transaction of the change, under a lock on the row whose events are numbered.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from activities.webhook_queue import hand_out
from models.projections import OutboundProjection
from models.storage.tables import OutboundEvent, Purchase, Subscription, new_id


async def tell(
    session: AsyncSession,
    events: Sequence[OutboundProjection],
    *,
    application_id: UUID,
    subscription_id: UUID | None = None,
    purchase_id: UUID | None = None,
    at: datetime,
) -> None:
    """Append the events; one whose id is there already is left as it is."""
    if not events:
        return
    known = set(
        await session.scalars(
            select(OutboundEvent.id).where(OutboundEvent.id.in_([event.id for event in events]))
        )
    )
    new = [event for event in events if event.id not in known]
    if not new:
        return
    last = await _last_sequence(session, subscription_id, purchase_id)
    rows = [
        {
            **event.model_dump(),
            "sequence": last + position,
            "application_id": application_id,
            "subscription_id": subscription_id,
            "purchase_id": purchase_id,
            "created_at": at,
        }
        for position, event in enumerate(new, start=1)
    ]
    await session.execute(insert(OutboundEvent).values(rows))
    await hand_out(session, [event.id for event in new])


async def tell_about(
    session: AsyncSession,
    subscription_id: UUID,
    type_: str,
    data: dict[str, Any],
    at: datetime,
) -> None:
    """Tell something about a subscription, with what every event of one carries."""
    row = await session.get_one(Subscription, subscription_id)
    event = OutboundProjection(
        id=new_id(),
        type=type_,
        data={
            "subscription_id": str(row.id),
            "organization_id": str(row.organization_id),
            "status": row.status,
            **data,
        },
    )
    await tell(session, [event], application_id=row.application_id, subscription_id=row.id, at=at)


async def _last_sequence(
    session: AsyncSession, subscription_id: UUID | None, purchase_id: UUID | None
) -> int:
    """The highest number so far; nobody else can give the next one until this transaction ends."""
    if subscription_id is not None:
        owner = select(Subscription.id).where(Subscription.id == subscription_id)
        theirs = OutboundEvent.subscription_id == subscription_id
    else:
        owner = select(Purchase.id).where(Purchase.id == purchase_id)
        theirs = OutboundEvent.purchase_id == purchase_id
    # No key update: rows that refer to it may be inserted meanwhile.
    await session.execute(owner.with_for_update(key_share=True))
    last = await session.scalar(select(func.max(OutboundEvent.sequence)).where(theirs))
    return last or 0
