"""A transfer that comes when no slip is out at Stripe: heard of by its customer's name, or found later."""

from __future__ import annotations

from sqlalchemy import select

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from api.context import ApiContext
from api.dispatcher import Dispatcher
from models.billing_policy import BillingPolicy, SpareMoneyAction
from models.commands import Cancel
from models.events import EventKind
from models.outcomes import Instrument, ProviderName
from models.reconcile import Drift
from models.storage.tables import Refund, WebhookEvent
from models.subscription import SubscriptionTerms
from tests.api.dispatching import inbox_row
from tests.support.books import invoices_of
from tests.support.refunds import captures_of, told
from tests.workflows.test_cash_table import (
    DAY,
    FULL,
    HOUR,
    differing,
    opened,
    slip_of,
    transfer,
    unapplied_of,
)
from tests.workflows.test_reconcile import dispatching, findings, reconcile
from workflows.subscription import SubscriptionWorkflow

MONEY_CAME = "customer_cash_balance_transaction.created"


async def canceled(world: World, **policy: SpareMoneyAction) -> tuple[SubscriptionTerms, str]:
    """Over before anything was paid; the customer keeps the CLABE."""
    terms, handle = await opened(
        world,
        Instrument.SPEI,
        force_provider=ProviderName.STRIPE,
        policy=BillingPolicy.model_validate(policy),
    )
    clabe = slip_of(world, terms)
    cancel = Cancel(actor="test", immediately=True)
    await handle.execute_update(SubscriptionWorkflow.cancel, cancel)
    await world.sleep(HOUR)
    return terms, clabe


async def hear(world: World) -> None:
    """Every webhook about a cash balance so far comes, again if it came before."""
    events = told(world, "stripe", MONEY_CAME).events
    times = len(await world.all(select(WebhookEvent.id)))
    for number, one in enumerate(events):
        if one.event.kind is EventKind.IGNORED:
            continue  # The inbox settles them as they come.
        known_as = f"{one.event.provider_event_id}:{times}:{number}"
        await world.add(inbox_row(one.event.model_copy(update={"provider_event_id": known_as})))
    context = ApiContext(
        sessions=world.sessions, temporal=world.client, providers=world.providers, pepper=""
    )
    await Dispatcher(context).run_once()
    await world.sleep(HOUR)


async def captured(world: World, terms: SubscriptionTerms) -> list[int]:
    found = await captures_of(world, terms.subscription_id)
    return sorted(one.amount_minor for one in found)


async def test_money_that_no_slip_waits_for_is_in_sight_once(world: World) -> None:
    """After the end, by both rules; for a subscription that goes on; and when its webhook is lost."""
    ended, to_ended = await canceled(world)
    returning, to_returning = await canceled(world, late_money=SpareMoneyAction.REFUND)
    missed, to_missed = await canceled(world)
    lives, _ = await opened(world, Instrument.SPEI, force_provider=ProviderName.STRIPE)
    to_lives = slip_of(world, lives)
    await transfer(world, to_lives)
    await world.sleep(3 * DAY + HOUR)
    [invoice] = await invoices_of(world, lives)
    assert invoice.status == "paid"

    await transfer(world, to_ended, FULL)
    await transfer(world, to_returning, 4000)
    await transfer(world, to_lives, 700)
    for _ in range(2):
        await hear(world)
        assert await captured(world, ended) == [FULL]
        assert await captured(world, returning) == [4000]
        assert await captured(world, lives) == [700, FULL]
        assert await unapplied_of(world, ended) == [("after_end", "hold", FULL)]
        assert await unapplied_of(world, returning) == [("after_end", "refund", 4000)]
        assert await unapplied_of(world, lives) == [("paid_twice", "hold", 700)]
        refunds = await world.all(select(Refund.amount_minor, Refund.status))
        assert refunds == [4000]
    assert (await world.subscription(ended.subscription_id)).status == "canceled"
    assert await differing(world) == []

    await transfer(world, to_missed, 1200)
    async with dispatching(world):
        report = await reconcile(world, ProviderName.STRIPE)
        again = await reconcile(world, ProviderName.STRIPE)
    assert (report.repaired, report.left, again.repaired, again.left) == (1, 0, 0, 0)
    assert await findings(world) == {(Drift.MONEY_NOT_BOOKED, "repaired")}
    assert await unapplied_of(world, missed) == [("after_end", "hold", 1200)]
    await check_invariants(world)
