"""What the app was told, for tests."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from abono.simulate.world import World
from models.storage.tables import OutboundEvent


async def told(world: World, type_: str) -> list[dict[str, Any]]:
    """The data of every event of this type, in the order told."""
    statement = select(OutboundEvent).where(OutboundEvent.type == type_)
    rows = await world.all(statement.order_by(OutboundEvent.sequence))
    return [row.data for row in rows]
