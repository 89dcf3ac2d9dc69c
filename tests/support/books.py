"""Short questions to the ledgers, for tests."""

from __future__ import annotations

from sqlalchemy import select

from abono.simulate.world import World
from activities.reminders import tell_due_reminders
from models.storage.tables import ChargeAttempt, Invoice, OutboundEvent
from models.subscription import SubscriptionTerms


async def attempts_of(world: World, terms: SubscriptionTerms) -> list[ChargeAttempt]:
    mine = ChargeAttempt.subscription_id == terms.subscription_id
    return await world.all(select(ChargeAttempt).where(mine).order_by(ChargeAttempt.started_at))


async def invoices_of(world: World, terms: SubscriptionTerms) -> list[Invoice]:
    """In the order of the periods that they pay for; an invoice without one comes last."""
    mine = Invoice.subscription_id == terms.subscription_id
    return await world.all(
        select(Invoice).where(mine).order_by(Invoice.period_start.nulls_last(), Invoice.id)
    )


def live_references(world: World) -> list[str]:
    """What a customer could pay at this moment, at any provider."""
    return [c["reference"] for c in world.core.charges if c["status"] == "pending"]


async def told_by_the_clock(world: World, terms: SubscriptionTerms) -> list[str]:
    """What the reminders that are due by now have told the app of a subscription."""
    async with world.sessions.begin() as session:
        await tell_due_reminders(session, await world.env.get_current_time(), limit=100)
    return await world.all(
        select(OutboundEvent.type)
        .where(
            OutboundEvent.subscription_id == terms.subscription_id,
            OutboundEvent.type.in_(["payment.reminder", "invoice.upcoming", "trial.will_end"]),
        )
        .order_by(OutboundEvent.sequence)
    )
