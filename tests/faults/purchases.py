"""The life of one purchase under faults: the page, the money on it, and the benefits."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from models.storage.tables import BenefitGrant
from sandbox.faults import Fault
from tests.support.shop import buy, pay_page, purchase_terms, row_of, tries_of

# Webhooks are lost here, so the money is seen when the page has run out, and the benefits after that.
REST = timedelta(days=4)
BENEFIT_BY_PROVIDER = {"polar": "granted", "stripe": "waiting"}


async def live_one_purchase(world: World, faults: list[Fault]) -> None:
    """Open a page under the faults, pay on it, come to rest, and check the books. The faults stay until
    the calls that they are meant for are made: some come a day after the money."""
    for fault in faults:
        world.core.faults.add(fault)
    terms = await purchase_terms(world)
    handle, _ = await buy(world, terms)
    # Whatever did not answer at once is asked again within these.
    await world.sleep(timedelta(minutes=2))
    pages = [attempt for attempt in await tries_of(world, terms) if attempt.outcome == "pending"]
    assert len(pages) == 1, f"{len(pages)} pages to pay on"
    await pay_page(world, pages[0])
    await world.sleep(REST)
    assert await handle.result() == "paid"
    world.core.faults.clear()
    row = await row_of(world, terms)
    assert (row.status, row.provider) == ("paid", pages[0].provider)
    mine = select(BenefitGrant).where(BenefitGrant.organization_id == terms.organization_id)
    [grant] = await world.all(mine)
    assert grant.status == BENEFIT_BY_PROVIDER[pages[0].provider], f"the benefit is {grant.status}"
    await check_invariants(world)
