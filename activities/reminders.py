"""Reminders: rows that become outbound events at their moment, if what they are about still holds.

A row costs nothing while it waits. As a timer in the workflow each would cost a timer, a signal and a
write for every period of every subscription.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.outbox import tell_about
from activities.statements import insert_new
from models.outcomes import OutcomeClass
from models.projections import ReminderKind
from models.states import SubscriptionStatus
from models.storage.tables import ChargeAttempt, Reminder, Subscription

_TOLD = {
    ReminderKind.PAYMENT: "payment.reminder",
    ReminderKind.RENEWAL: "invoice.upcoming",
    ReminderKind.TRIAL_END: "trial.will_end",
}
# What the subscription has to be for a period's reminder to hold.
_STATUS = {
    ReminderKind.RENEWAL: SubscriptionStatus.ACTIVE,
    ReminderKind.TRIAL_END: SubscriptionStatus.TRIALING,
}


async def schedule_reminder(
    session: AsyncSession,
    *,
    id_: UUID,
    application_id: UUID,
    subscription_id: UUID | None,
    kind: ReminderKind,
    due_at: datetime,
    attempt_id: UUID | None = None,
    valid_for: datetime | None = None,
) -> None:
    """Once per id, however often it is asked for."""
    values = {
        "id": id_,
        "application_id": application_id,
        "subscription_id": subscription_id,
        "attempt_id": attempt_id,
        "kind": kind,
        "due_at": due_at,
        "valid_for": valid_for,
    }
    await session.execute(insert_new(Reminder), values)


async def tell_due_reminders(session: AsyncSession, moment: datetime, limit: int) -> int:
    """Tell what is due at `moment` and still holds; the rest is obsolete. How many rows were settled.

    Rows are locked, so any number of processes may do this at once.
    """
    due = await session.scalars(
        select(Reminder)
        .where(Reminder.settled_at.is_(None), Reminder.due_at <= moment)
        .order_by(Reminder.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    reminders = due.all()
    for reminder in reminders:
        told = await _tell(session, reminder, moment)
        reminder.settled_at, reminder.outcome = moment, "told" if told else "obsolete"
    await session.flush()
    return len(reminders)


async def _tell(session: AsyncSession, reminder: Reminder, moment: datetime) -> bool:
    subscription = await session.get(Subscription, reminder.subscription_id)
    if subscription is None:
        return False
    kind = ReminderKind(reminder.kind)
    data = (
        await _about_payment(session, reminder)
        if kind is ReminderKind.PAYMENT
        else _about_period(subscription, reminder, kind)
    )
    if data is None:
        return False
    await tell_about(session, subscription.id, _TOLD[kind], data, moment)
    return True


async def _about_payment(session: AsyncSession, reminder: Reminder) -> dict[str, Any] | None:
    attempt = await session.get(ChargeAttempt, reminder.attempt_id)
    if attempt is None or attempt.outcome != OutcomeClass.PENDING:
        return None
    expires_at = (attempt.next_action or {}).get("expires_at")
    return {"invoice_id": str(attempt.invoice_id), "expires_at": expires_at}


def _about_period(
    subscription: Subscription, reminder: Reminder, kind: ReminderKind
) -> dict[str, Any] | None:
    end = reminder.valid_for
    still = (
        subscription.status == _STATUS[kind]
        and not subscription.cancel_at_period_end
        and subscription.current_period_end == end
    )
    if not still or end is None:
        return None
    if kind is ReminderKind.TRIAL_END:
        known = subscription.payment_method_id is not None
        return {"trial_end": end.isoformat(), "has_payment_method": known}
    return {
        "at": end.isoformat(),
        "amount_minor": subscription.amount_minor,
        "currency": subscription.currency,
    }
