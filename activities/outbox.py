"""Telling the app: outbound events, numbered without gaps per subscription or purchase.

Not only workflows tell things (a refund, a reminder and late money do so too), so the number is given
here, in the transaction of the change, under a lock on the row whose events are numbered.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.statements import insert_all, told
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
    locked: bool = False,
) -> None:
    """Append the events; one whose id is there already is left as it is. `locked`: this transaction has
    written the row of the subscription or purchase, and so has its lock."""
    if not events:
        return
    if not locked:
        await _lock(session, subscription_id, purchase_id)
    last, known = await _told(session, events, subscription_id, purchase_id)
    new = [event for event in events if event.id not in known]
    if not new:
        return
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
    await session.execute(insert_all(OutboundEvent), rows)
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


async def _lock(
    session: AsyncSession, subscription_id: UUID | None, purchase_id: UUID | None
) -> None:
    """Nobody else can give the next number until this transaction ends."""
    if subscription_id is not None:
        owner = select(Subscription.id).where(Subscription.id == subscription_id)
    else:
        owner = select(Purchase.id).where(Purchase.id == purchase_id)
    # No key update: rows that refer to it may be inserted meanwhile.
    await session.execute(owner.with_for_update(key_share=True))


async def _told(
    session: AsyncSession,
    events: Sequence[OutboundProjection],
    subscription_id: UUID | None,
    purchase_id: UUID | None,
) -> tuple[int, set[UUID]]:
    """The highest number so far, and which of the events are there. Not in the statement that takes the
    lock: while that waits, it would still see what was there before."""
    owner = "subscription_id" if subscription_id is not None else "purchase_id"
    values = {"owner_id": subscription_id or purchase_id, "ids": [event.id for event in events]}
    last, known = (await session.execute(told(owner), values)).one()
    return last, set(known or ())
