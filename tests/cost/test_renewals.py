"""What a year costs, counted: a renewal that grows dearer fails here, not on the bill.

The budget is the design's: four actions for a renewal that the provider charges, nine for one that the
engine collects, reminder included; an idle subscription is a handful of events.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, func, select

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World, open_world
from models.outcomes import Instrument
from models.storage.tables import Invoice, WebhookEvent
from models.subscription import SubscriptionTerms
from tests.api.support import eventually
from tests.support.actions import Cost, all_runs, cost_of, cost_of_subscription
from tests.support.database import TestDatabases
from tests.support.webhooks import webhooks_delivered

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
RENEWALS = 12
PATIENCE_SECONDS = 60.0
IDLE_EVENTS_MAX, IDLE_BYTES_MAX = 8, 4096


async def voucher(world: World) -> SubscriptionTerms:
    world.payer.after = HOUR
    return await world.terms(Instrument.OXXO)


async def card(world: World) -> SubscriptionTerms:
    return await world.terms(
        Instrument.CARD,
        country="US",
        currency="USD",
        amount_minor=1900,
        time_zone="America/Chicago",
        card="pm_card_visa",
    )


# Of one renewal. Less is welcome: lower the number then.
@pytest.mark.parametrize(
    ("make_terms", "actions_max", "events_max", "bytes_max", "writes"),
    [(card, 4, 17, 11_500, 7), (voucher, 9, 48, 23_000, 11)],
    ids=["card", "voucher"],
)
async def test_a_year_stays_within_its_budget(
    databases: TestDatabases,
    make_terms: Callable[[World], Coroutine[Any, Any, SubscriptionTerms]],
    actions_max: int,
    events_max: int,
    bytes_max: int,
    writes: int,
) -> None:
    written: list[str] = []
    async with open_world(databases) as world, webhooks_delivered(world):
        terms = await make_terms(world)
        await world.open(terms)
        await live(world, 2 * HOUR)
        await renewed(world, terms, 0)
        before = await cost_of_subscription(world, terms.subscription_id)
        note_writes(world, written)
        for number in range(1, RENEWALS + 1):
            await live(world, await until_charged(world, terms))
            await live(world, 90 * MINUTE)  # Stripe charges an hour after it made the invoice.
            await renewed(world, terms, number)
        year = await cost_of_subscription(world, terms.subscription_id) - before
        idle = await idle_cost(world, terms)
        await check_invariants(world)
    assert len(written) == writes * RENEWALS
    assert year.actions <= actions_max * RENEWALS
    assert year.events <= events_max * RENEWALS
    assert year.size_bytes <= bytes_max * RENEWALS
    assert idle.events <= IDLE_EVENTS_MAX
    assert idle.size_bytes <= IDLE_BYTES_MAX


def note_writes(world: World, written: list[str]) -> None:
    """The statements from now on that write rows and ledgers: how often the dispatcher looks into its
    inbox depends on the hour, what a renewal writes does not."""

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        words = statement.split(maxsplit=3)
        both = words[:2] == ["WITH", "invoice"]  # And the attempt at it, in one.
        writes = both or words[0] in {"INSERT", "UPDATE"}
        if writes and "webhook_events" not in words[:3]:
            written.append(statement)

    event.listen(world.sessions.engine.sync_engine, "before_cursor_execute", note)


async def until_charged(world: World, terms: SubscriptionTerms) -> timedelta:
    """From now until the next period's money was asked for."""
    row = await world.subscription(terms.subscription_id)
    end = row.paid_ahead_until or row.current_period_end
    assert end is not None
    charged_at = end if terms.instrument is Instrument.CARD else end - terms.policy.lead
    return charged_at + MINUTE - await world.env.get_current_time()


async def live(world: World, duration: timedelta) -> None:
    await world.sleep(duration)
    await world.payer.live_until((await world.env.get_current_time()).timestamp())


async def renewed(world: World, terms: SubscriptionTerms, number: int) -> None:
    """The webhooks arrive, and the workflow comes to rest."""
    paid = select(func.count()).where(
        Invoice.subscription_id == terms.subscription_id, Invoice.status == "paid"
    )
    waiting = select(func.count()).where(WebhookEvent.applied_at.is_(None))

    async def at_rest() -> bool:
        if await world.all(paid) != [number + 1] or await world.all(waiting) != [0]:
            return False
        return (await idle_cost(world, terms)).events <= IDLE_EVENTS_MAX

    await eventually(at_rest, PATIENCE_SECONDS)


async def idle_cost(world: World, terms: SubscriptionTerms) -> Cost:
    """Of the run that waits: what a subscription is while nothing happens."""
    row = await world.subscription(terms.subscription_id)
    return cost_of((await all_runs(world.client, row.workflow_id))[:1])
