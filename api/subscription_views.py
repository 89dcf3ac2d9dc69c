"""A subscription row as the API shows it, with what belongs to it from other tables.

Three queries for a whole page, whatever its length.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Principal
from api.clock import now
from api.responses import ChangePreview, FallbackView, SubscriptionView
from api.tenancy import scoped
from models.change_rules import Decision
from models.commands import ChangePlan
from models.outcomes import OutcomeClass
from models.states import TERMINAL_STATUSES
from models.storage.tables import ChargeAttempt, FallbackEvent, Invoice, Subscription


def preview_view(row: Subscription, change: ChangePlan, found: Decision) -> ChangePreview:
    return ChangePreview(
        **found.offer.model_dump(exclude={"plan_name"}),
        **found.model_dump(include=_PREVIEWED),
        proration=change.proration,
        currency=row.currency,
    )


_PREVIEWED = {
    "at",
    "takes_effect_at",
    "lines",
    "amount_due_minor",
    "credit_change_minor",
    "credit_minor",
    "pay_by",
    "next_invoice_minor",
    "next_invoice_at",
}


@dataclass
class _Belongings:
    """By subscription id."""

    latest_invoice_ids: dict[UUID, UUID] = field(default_factory=dict)
    open_attempts: dict[UUID, ChargeAttempt] = field(default_factory=dict)
    fallbacks: dict[UUID, list[FallbackEvent]] = field(default_factory=dict)


async def subscription_views(
    session: AsyncSession, rows: Sequence[Subscription], principal: Principal
) -> list[SubscriptionView]:
    if not rows:
        return []
    belongings = await _load(session, [row.id for row in rows], principal)
    moment = now()
    return [_view(row, belongings, moment) for row in rows]


async def subscription_view(
    session: AsyncSession, row: Subscription, principal: Principal
) -> SubscriptionView:
    return (await subscription_views(session, [row], principal))[0]


async def _load(session: AsyncSession, ids: list[UUID], principal: Principal) -> _Belongings:
    newest = (
        select(Invoice.subscription_id, Invoice.id)
        .ext(distinct_on(Invoice.subscription_id))
        .where(Invoice.subscription_id.in_(ids), Invoice.application_id == principal.application_id)
        .order_by(Invoice.subscription_id, Invoice.invoice_date.desc(), Invoice.id.desc())
    )
    invoices = await session.execute(newest)
    attempts = await session.scalars(
        scoped(
            select(ChargeAttempt)
            .where(
                ChargeAttempt.subscription_id.in_(ids),
                ChargeAttempt.outcome == OutcomeClass.PENDING,
            )
            .order_by(ChargeAttempt.started_at),
            principal,
        )
    )
    fallbacks = await session.scalars(
        scoped(
            select(FallbackEvent)
            .where(FallbackEvent.subscription_id.in_(ids))
            .order_by(FallbackEvent.timestamp.desc()),
            principal,
        )
    )
    by_subscription: dict[UUID, list[FallbackEvent]] = defaultdict(list)
    for fallback in fallbacks:
        if fallback.subscription_id is not None:
            by_subscription[fallback.subscription_id].append(fallback)
    return _Belongings(
        {row.subscription_id: row.id for row in invoices if row.subscription_id is not None},
        {row.subscription_id: row for row in attempts if row.subscription_id is not None},
        by_subscription,
    )


def _view(row: Subscription, belongings: _Belongings, moment: datetime) -> SubscriptionView:
    invoice_id = belongings.latest_invoice_ids.get(row.id)
    attempt = belongings.open_attempts.get(row.id)
    start, end = _current_period(row, moment)
    own = {
        name: getattr(row, name)
        for name in SubscriptionView.model_fields
        if name not in _COMPUTED_FIELDS
    }
    return SubscriptionView(
        **own,
        current_period_start=start,
        current_period_end=end,
        latest_invoice_id=invoice_id,
        # A slip that is being voided is nothing to pay any more.
        next_action=attempt.next_action
        if attempt and row.status not in TERMINAL_STATUSES
        else None,
        fallback=_fallback(belongings.fallbacks.get(row.id, []), invoice_id),
        metadata=row.metadata_,
    )


_COMPUTED_FIELDS = frozenset(
    {
        "current_period_start",
        "current_period_end",
        "latest_invoice_id",
        "next_action",
        "fallback",
        "metadata",
    }
)


def _current_period(row: Subscription, moment: datetime) -> tuple[datetime | None, datetime | None]:
    """A period that was paid ahead (a voucher before its time) begins when the one before ends,
    also in the moments before the workflow has written so."""
    paid_ahead, end = row.paid_ahead_until, row.current_period_end
    if paid_ahead is not None and end is not None and moment >= end:
        return end, paid_ahead
    return row.current_period_start, end


def _fallback(newest_first: list[FallbackEvent], invoice_id: UUID | None) -> FallbackView | None:
    for event in newest_first:
        if event.invoice_id is None or event.invoice_id == invoice_id:
            return FallbackView.model_validate(event)
    return None
