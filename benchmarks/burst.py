"""Row 4. A burst: four webhooks for each of many subscriptions wait in the inbox; how fast do they drain?

As at a renewal, a subscription's events come one after the other, so that the dispatcher makes one signal
of them. The baseline sends as many signals as there are events, to as many idle workflows that only
count them: no database, no decision.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Any
from uuid import uuid4

from temporalio.client import WorkflowHandle

from api.dispatcher import Dispatcher
from benchmarks.applied import SECRET, api_context
from benchmarks.baselines import TASK_QUEUE, RawIdle, Tally
from benchmarks.crowd import PATIENCE_SECONDS, Crowd
from benchmarks.measure import Figure, Stage, quotients
from benchmarks.payloads import late_copy_of, signature_headers
from models.outcomes import ProviderName
from tests.api.support import eventually

ROW = "Burst of webhooks"
CROWD = 500
EVENTS_EACH = 4
ROUNDS = 3
# The new runs of our workflows begin a second after the round before: the baseline must not pay for them.
_REST_SECONDS = 5.0
# As many signals at once as our dispatcher sends.
_AT_ONCE = 32


async def measure(stage: Stage, crowd: Crowd, tell: Callable[[str], None]) -> list[Figure]:
    raw = await _start_raw(crowd, len(crowd.ids))
    ours: list[float] = []
    base: list[float] = []
    for number in range(stage.size(ROUNDS, 1)):
        tell(f"round {number + 1}")
        await asyncio.sleep(0 if stage.tiny else _REST_SECONDS)
        base.append(await _signal_all(raw))
        ours.append(await _drain(crowd))
    await asyncio.gather(*(handle.terminate() for handle in raw))
    await crowd.workflows_heard(stage.size(ROUNDS, 1) * EVENTS_EACH * len(crowd.ids))
    size = f"{EVENTS_EACH * len(crowd.ids)} webhooks, {len(crowd.ids)} subscriptions"
    return [
        Figure(
            ROW,
            "drained against raw signals",
            "×",
            quotients(ours, base),
            target=0.8,
            at_least=True,
            note=size,
        ),
        Figure(ROW, "drained", "/s", ours, baseline=base),
    ]


async def _start_raw(crowd: Crowd, count: int) -> list[WorkflowHandle[RawIdle, None]]:
    free = asyncio.Semaphore(_AT_ONCE)

    async def one() -> WorkflowHandle[RawIdle, None]:
        async with free:
            return await crowd.client.start_workflow(
                RawIdle.run, id=f"raw/{uuid4()}", task_queue=TASK_QUEUE
            )

    return await asyncio.gather(*(one() for _ in range(count)))


async def _signal_all(raw: list[WorkflowHandle[RawIdle, None]]) -> float:
    free, total = asyncio.Semaphore(_AT_ONCE), len(raw) * EVENTS_EACH
    before, began = Tally.heard, perf_counter()

    async def one(handle: WorkflowHandle[RawIdle, None]) -> None:
        async with free:
            await handle.signal(RawIdle.hear, "news")

    async def all_heard() -> bool:
        return Tally.heard - before >= total

    await asyncio.gather(*(one(handle) for handle in raw for _ in range(EVENTS_EACH)))
    await eventually(all_heard, PATIENCE_SECONDS)
    return total / (perf_counter() - began)


async def _drain(crowd: Crowd) -> float:
    """The inbox is filled before the clock starts: filling it is the first row's matter."""
    context = api_context(crowd)
    stripe, total = crowd.world.providers.get(ProviderName.STRIPE), 0
    if stripe is None:
        raise RuntimeError("the world has no Stripe")
    for event in await _news_of(crowd):
        for _ in range(EVENTS_EACH):
            raw = late_copy_of(event)
            headers = {k.lower(): v for k, v in signature_headers(raw, SECRET).items()}
            await context.inbox.receive(stripe.parse_webhook(raw, headers), raw)
            total += 1
    dispatcher = Dispatcher(context)
    began = perf_counter()
    running = asyncio.create_task(dispatcher.run())
    await crowd.come_to_rest()
    seconds = perf_counter() - began
    await dispatcher.stop()
    await running
    return total / seconds


async def _news_of(crowd: Crowd) -> list[dict[str, Any]]:
    """One `invoice.paid` of each subscription, however often it has been told."""
    ids = set(crowd.ids)
    told = {owner: event for owner, event in await crowd.paid_events() if owner in ids}
    return list(told.values())
