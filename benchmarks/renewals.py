"""Row 5. What a renewal costs: exact counts, the same on every machine.

`tests/cost` pins the first three. SQL statements are what SQLAlchemy sends, of all of the engine; a
webhook's accept is one more statement each, or less when several came together.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import event

from abono.simulate.world import open_world
from benchmarks.measure import Figure, Stage
from benchmarks.storage import stored
from tests.cost.test_renewals import HOUR, card, live, renewed, until_charged, voucher
from tests.support.actions import cost_of_subscription
from tests.support.webhooks import webhooks_delivered

ROW = "Cost of a renewal"
RENEWALS = 3
_SETTLING = HOUR * 1.5  # Stripe charges an hour after it made the invoice.


async def measure(stage: Stage, tell: Callable[[str], None]) -> list[Figure]:
    figures: list[Figure] = []
    for name, make_terms, actions_max in (
        ("by the provider", card, 4),
        ("by the engine", voucher, 9),
    ):
        tell(f"renewals {name}")
        async with open_world(stage.databases) as world, webhooks_delivered(world):
            terms = await make_terms(world)
            await world.open(terms)
            await live(world, 2 * HOUR)
            await renewed(world, terms, 0)
            statements: list[str] = []
            event.listen(
                world.sessions.engine.sync_engine,
                "before_cursor_execute",
                lambda *arguments, into=statements: into.append(arguments[2]),
            )
            before = await cost_of_subscription(world, terms.subscription_id)
            stored_before = await stored(world.sessions)
            count = stage.size(RENEWALS, 1)
            for number in range(1, count + 1):
                await live(world, await until_charged(world, terms))
                await live(world, _SETTLING)
                await renewed(world, terms, number)
            # Less what asks whether it is over: those are the benchmark's.
            ours = [one for one in statements if "count(" not in one.lower()]
            cost = await cost_of_subscription(world, terms.subscription_id) - before
            kept = await stored(world.sessions) - stored_before
        figures += [
            Figure(ROW, f"actions {name}", "", [cost.actions / count], target=actions_max),
            Figure(ROW, f"history events {name}", "", [cost.events / count]),
            Figure(ROW, f"history size {name}", "bytes", [cost.size_bytes / count]),
            Figure(ROW, f"PostgreSQL rows {name}", "", [kept.rows / count]),
            Figure(ROW, f"PostgreSQL data {name}", "bytes", [kept.data_bytes / count]),
            Figure(
                ROW,
                f"SQL statements {name}",
                "",
                [len(ours) / count],
                note="at most: the idle dispatcher's own looks are among them",
            ),
        ]
    return figures
