"""Whatever dies between a webhook's acceptance and its effect: every accepted one is applied once.

Method: the engine as real processes, two of them the API. The sandbox's providers bill customers steadily
and tell of it twice and out of order. One after the other is taken away at a moment that is not left to
chance: one worker of three under load, both API processes while what they accepted can go nowhere,
Temporal for a while, PostgreSQL in order and without. Then inbox, ledger and the providers' own books are
compared, to the minor unit.

A few seconds each here; `make outages` takes Temporal away for as long as ABONO_TEST_OUTAGE_SECONDS says.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from rich.console import Console

from abono.chaos.calling import Caller, Tally
from abono.chaos.rest import StackBooks, books_of
from abono.chaos.telling import clock_lines
from tests.api.support import eventually
from tests.outages.books import tries, unapplied, untaken, until_applied
from tests.outages.replicas import workers_share_and_one_dies
from tests.outages.stack import Stack, open_stack
from tests.outages.traffic import Customers, bill, flowing, open_customers

SECONDS = float(os.environ.get("ABONO_TEST_OUTAGE_SECONDS", "6"))
WHOLE = SECONDS >= 60
CARDS, SLIPS = (40, 12) if WHOLE else (4, 3)
BILLS_PER_SECOND = 3.0 if WHOLE else 2.0
# Without PostgreSQL that long, and customers are billed that long before and after.
DATABASE_SECONDS = min(SECONDS / 6, 5.0)
# Half of what the least patient provider waits; on a quiet machine it is hundredths of a second.
ACCEPT_SECONDS_MAX = 5.0
DRAIN_SECONDS_MAX = 60.0 + 2 * SECONDS


@dataclass
class Story:
    stack: Stack
    books: StackBooks
    customers: Customers
    tell: Callable[[str], None]

    async def waiting(self) -> int:
        return len(await unapplied(self.books))

    def answers(self, since: float) -> str:
        """How many were answered what, and how fast those were that were accepted."""
        answers = self.stack.balancer.since(since)
        seconds = sorted(answer.seconds for answer in answers if answer.status == 200)
        statuses = dict(Counter(answer.status for answer in answers))
        slow = seconds[int(len(seconds) * 0.99)] if seconds else 0.0
        half = seconds[len(seconds) // 2] if seconds else 0.0
        return (
            f"answers {statuses}, accepted in {half * 1000:.0f} ms (median), {slow * 1000:.0f} ms (p99),"
            f" {max(seconds, default=0.0) * 1000:.0f} ms (longest)"
        )


@pytest.mark.timeout(240 + 8 * SECONDS)
async def test_every_accepted_webhook_is_applied_once(tmp_path: Path) -> None:
    tell = clock_lines(Console(width=200))
    async with open_stack(tmp_path, tell) as stack, books_of(stack.info) as books:
        caller = Caller(stack.info, Tally(), run=uuid4().hex[:8], patience_seconds=60.0)
        tell("the stack runs")
        try:
            customers = await open_customers(caller, CARDS, SLIPS)
            tell(f"{CARDS} cards and {SLIPS} slips")
            told = Story(stack, books, customers, tell)
            await until_applied(stack, books, DRAIN_SECONDS_MAX)
            await workers_share_and_one_dies(stack, books, tell)
            await api_killed_between_accept_and_dispatch(told)
            await temporal_away_under_load(told)
            await postgres_restarted_under_load(told, signal.SIGINT)
            await postgres_restarted_under_load(told, signal.SIGKILL)
        finally:
            await caller.aclose()


async def api_killed_between_accept_and_dispatch(told: Story) -> None:
    """Without Temporal nothing can be handed on, so that all of it waits when both processes die."""
    stack, customers, began = told.stack, told.customers, time.monotonic()
    async with stack.on.without("temporal"):
        for known_as in customers.billed:
            await bill(customers, known_as)

        async def all_is_accepted() -> bool:
            return not await untaken(stack, told.books)

        await eventually(all_is_accepted, 30)
        waiting = await told.waiting()
        reviving = asyncio.create_task(stack.kill_api())
        await asyncio.sleep(0)
    await reviving
    seconds = await until_applied(stack, told.books, DRAIN_SECONDS_MAX)
    told.tell(
        f"both API processes killed with {waiting} webhooks accepted and not handed on: applied once,"
        f" {seconds:.1f} s after they were back; {told.answers(began)}"
    )


async def temporal_away_under_load(told: Story) -> None:
    """Every webhook is taken as if nothing were, and nobody wears himself out knocking meanwhile."""
    stack, began = told.stack, time.monotonic()
    before = await _figures(stack)
    async with stack.on.without("temporal"):
        async with flowing(told.customers, BILLS_PER_SECOND, slips=len(told.customers.slips) // 2):
            await _until(began + SECONDS)
        waiting, taken = await told.waiting(), stack.balancer.since(began)
        spent = Counter(await _figures(stack)) - Counter(before)
    seconds = await until_applied(stack, told.books, DRAIN_SECONDS_MAX)
    told.tell(
        f"Temporal away for {SECONDS:.0f} s under load: {waiting} webhooks waited, all applied once"
        f" {seconds:.1f} s after it was back; both dispatchers looked {spent['looks']:.0f} times and sent"
        f" {spent['signals']:.0f} signals in vain, later each webhook at most {await tries(told.books)}"
        f" times; {told.answers(began)}"
    )
    assert {answer.status for answer in taken} == {200}
    assert max(answer.seconds for answer in taken) < ACCEPT_SECONDS_MAX
    assert waiting > SECONDS * BILLS_PER_SECOND / 2, "there was load"
    # After 0.1 s, then twice as long each time, up to 2 s: by each of the two.
    assert spent["looks"] <= 2 * (6 + SECONDS / 2)
    # What one pass had in hand when it was gone; after that nothing is sent before it answers.
    assert spent["signals"] <= 2 * len(told.customers.billed)


async def postgres_restarted_under_load(told: Story, how: signal.Signals) -> None:
    """In order (SIGINT, as `pg_ctl restart` does it) or by force: who was answered is safe, who was not
    comes again, and neither API nor worker has to be started anew."""
    stack, began, pids = told.stack, time.monotonic(), told.stack.pids()
    async with flowing(told.customers, BILLS_PER_SECOND, slips=len(told.customers.slips)):
        await _until(began + DATABASE_SECONDS)
        async with stack.on.without("postgres", how):
            await _until(time.monotonic() + DATABASE_SECONDS)
        await _until(time.monotonic() + DATABASE_SECONDS)
    seconds = await until_applied(stack, told.books, DRAIN_SECONDS_MAX)
    answers = stack.balancer.since(began)
    refused = {answer.event for answer in answers if answer.status != 200}
    told.tell(
        f"PostgreSQL away for {DATABASE_SECONDS:.0f} s ({how.name}) under load: {len(refused)} webhooks"
        f" were refused and came again, all applied once {seconds:.1f} s after the load;"
        f" {told.answers(began)}"
    )
    assert {answer.status for answer in answers} == {200, 503}
    assert refused <= stack.balancer.accepted()
    assert stack.pids() == pids, "API and worker lived through it"


async def _until(moment: float) -> None:
    await asyncio.sleep(moment - time.monotonic())


async def _figures(stack: Stack) -> dict[str, float]:
    """What both dispatchers did in vain: looks at Temporal, and signals."""
    text = await stack.figures()
    names = {
        "looks": 'abono_dispatcher_errors_total{cause="temporal"}',
        "signals": 'abono_dispatcher_signals_total{result="away"}',
    }
    return {
        name: sum(map(float, re.findall(rf"^{re.escape(series)} (\S+)$", text, re.M)))
        for name, series in names.items()
    }
