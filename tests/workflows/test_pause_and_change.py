"""A pause and a change of the plan that wait for the same moment: the change comes first, and is billed
when the pause is over."""

from __future__ import annotations

from datetime import timedelta

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from models.commands import Pause, PauseAt, Resume
from models.outcomes import Instrument
from models.plan_change import Proration
from tests.support.books import invoices_of
from tests.support.changing import change, offer
from tests.workflows.test_cards import AUSTIN, holder
from workflows.subscription import SubscriptionWorkflow

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PAUSE = Pause(actor="test", at=PauseAt.PERIOD_END)


async def test_both_wait_for_the_periods_end_in_whatever_order(world: World) -> None:
    world.payer.after = HOUR
    voucher = await world.terms(Instrument.OXXO)
    cards = [await holder(world, AUSTIN.good) for _ in range(2)]
    opened = [(terms, (await world.open(terms))[0]) for terms in (voucher, *cards)]
    await world.sleep(4 * DAY)
    for number, (terms, handle) in enumerate(opened):
        if number % 2:
            await handle.execute_update(SubscriptionWorkflow.pause, PAUSE)
        await change(world, handle, offer(terms, 2900), Proration.NEXT_PERIOD)
        if not number % 2:
            await handle.execute_update(SubscriptionWorkflow.pause, PAUSE)
        row = await world.subscription(terms.subscription_id)
        assert row.pending_change is not None
        assert row.pending_change["type"] == "pause"
        assert row.pending_change["change"]["amount_minor"] == 2900
        assert row.status == "active"

    await world.sleep(60 * DAY)
    for terms, _ in opened:
        row = await world.subscription(terms.subscription_id)
        assert (row.status, row.amount_minor, row.pending_change) == ("paused", 2900, None)
        assert len(await invoices_of(world, terms)) == 1, "nothing is billed while it is paused"

    for _, handle in opened:
        await handle.execute_update(SubscriptionWorkflow.resume, Resume(actor="test"))
    await world.sleep(4 * DAY)
    for terms, _ in opened:
        assert (await world.subscription(terms.subscription_id)).status == "active"
        assert [i.amount_minor for i in await invoices_of(world, terms)][1:] == [2900]
    await check_invariants(world)
