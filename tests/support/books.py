"""Short questions to the ledgers, for tests."""

from __future__ import annotations

from sqlalchemy import select

from models.storage.tables import ChargeAttempt, Invoice
from models.subscription import SubscriptionTerms
from tests.support.world import World


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
