"""Two processes of the API and three workers on one Temporal and one PostgreSQL share the work.

One worker serves every queue, one workflows alone, one the providers' calls alone. Customers open, pay,
are billed and change their minds at both APIs; in the middle of it the worker that serves every queue is
killed and stays away. Then all books are compared, and the histories say who did what.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from uuid import uuid4

from sqlalchemy import func, select

from abono.chaos.calling import Caller, Tally
from abono.chaos.customers import OXXO, Route, Shop, open_shop, path_of, reference_of, subscribe
from abono.chaos.rest import StackBooks
from models.commands import PROVIDER_TASK_QUEUES, TASK_QUEUE
from models.storage.tables import Subscription
from tests.api.support import eventually
from tests.outages.books import until_applied
from tests.outages.stack import Stack
from tests.outages.traffic import CARD
from tests.outages.workers import more_workers, work_by_process

REST_SECONDS_MAX = 60.0
CUSTOMERS = (OXXO, CARD, CARD, OXXO)
PROVIDER_QUEUES = set(PROVIDER_TASK_QUEUES.values())
_HANDED_ON = re.compile(r'^abono_dispatched_events_total\{result="addressed"\} (\S+)$', re.M)


async def workers_share_and_one_dies(
    stack: Stack, books: StackBooks, tell: Callable[[str], None]
) -> None:
    async with (
        more_workers(stack.on.home, "workflows", "stripe,conekta,polar") as others,
        _both_doors(stack) as doors,
    ):
        pids = [child.pid for child in (stack.on.supervisor.child("worker"), *others)]
        general, deciding, calling = (pid or 0 for pid in pids)
        shop, open_before = await open_shop(doors[0]), await _open(books)
        living = asyncio.create_task(_live(doors, shop))
        await eventually(partial(_are_open, books, open_before + 1), REST_SECONDS_MAX)
        async with stack.on.without("worker"):
            await living
            seconds = await until_applied(stack, books, REST_SECONDS_MAX)
            work = await work_by_process(books.client)
        handed_on = [float(count) for count in _HANDED_ON.findall(await stack.figures())]
    tell(
        f"the worker of every queue killed among three: all applied once, {seconds:.1f} s after the last"
        f" customer; tasks by process {work}, events by dispatcher {handed_on}"
    )
    assert set(work) == {general, deciding, calling}
    assert set(work[deciding]) == {TASK_QUEUE}
    assert work[calling].keys() <= PROVIDER_QUEUES
    assert len(handed_on) == len(doors)
    assert all(handed_on), "both dispatchers took events to workflows"


@asynccontextmanager
async def _both_doors(stack: Stack) -> AsyncIterator[list[Caller]]:
    """An application at each process of the API."""
    infos = [stack.info, replace(stack.info, api_url=stack.second_url)]
    run = uuid4().hex[:8]
    doors = [
        Caller(info, Tally(), run=f"{run}-{number}", patience_seconds=REST_SECONDS_MAX)
        for number, info in enumerate(infos)
    ]
    try:
        yield doors
    finally:
        for door in doors:
            await door.aclose()


async def _live(doors: list[Caller], shop: Shop) -> None:
    """All at once. Whoever opens at one API is served by the other one afterwards."""
    lives = [
        _life(doors[number % 2], doors[(number + 1) % 2], shop, route, f"replicas-{number}")
        for number, route in enumerate(CUSTOMERS)
    ]
    await asyncio.gather(*lives)


async def _life(first: Caller, other: Caller, shop: Shop, route: Route, name: str) -> None:
    path = path_of(await subscribe(first, shop, route, name))
    if route is OXXO:
        slip = await other.until(path, lambda row: reference_of(row) is not None)
        await other.control("POST", f"/payments/{reference_of(slip)}/pay", {})
    row = await other.until(path, lambda row: row["status"] == "active")
    if route is OXXO:
        await other.post(f"{path}/cancel?cancel_immediately=false")
        # Answered 202 while the workflow waits for another worker: nothing to take back yet.
        await other.until(path, lambda row: row["cancel_at_period_end"])
        await first.post(f"{path}/resume")
    else:
        known_as = row["provider_subscription_id"]
        await other.control("POST", f"/subscriptions/stripe/{known_as}/renew", {"outcome": "paid"})
        wish = {"amount_minor": 100, "reason": "requested_by_customer"}
        await first.post(f"/billing/invoices/{row['latest_invoice_id']}/refund", wish)


async def _open(books: StackBooks) -> int:
    """How many subscriptions there are."""
    return int((await books.all(select(func.count()).select_from(Subscription)))[0])


async def _are_open(books: StackBooks, count: int) -> bool:
    return await _open(books) >= count
