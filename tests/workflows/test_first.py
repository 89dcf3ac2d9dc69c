from __future__ import annotations

from datetime import timedelta

from models.outcomes import Instrument
from tests.support.world import World


async def test_oxxo_opens(world: World) -> None:
    terms = await world.terms(Instrument.OXXO)
    handle, result = await world.open(terms)
    assert result.status == "incomplete"
    row = await world.subscription(terms.subscription_id)
    print(row.status, row.version, world.core.charges)
    world.payer.after = timedelta(hours=5)
    with_skip = await world.env.sleep(timedelta(days=3))
    row = await world.subscription(terms.subscription_id)
    print(row.status, row.version, row.current_period_start, row.current_period_end)
