"""Row 2. From the webhook's POST to its row being applied by the workflow, while nothing else happens.

Bound by hops: the API's commit, the dispatcher's claim, Temporal's signal and workflow task, the commit
that applies. The raw signal beside it makes the last two alone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from itertools import chain
from time import perf_counter
from uuid import uuid4

import httpx
from sqlalchemy import text
from temporalio.client import WorkflowHandle

from abono.simulate.serving import serving
from api.app import create_app
from api.context import ApiContext
from benchmarks.baselines import TASK_QUEUE, RawApplying, Tally
from benchmarks.crowd import Crowd
from benchmarks.measure import Figure, Stage, percentile
from benchmarks.payloads import PATH, late_copy_of, signature_headers
from tests.api.support import eventually

ROW = "Webhook to applied"
WEBHOOKS = 120
ROUNDS = 3
CROWD = WEBHOOKS // ROUNDS
SECRET = "whsec_sandbox"  # noqa: S105 - of the simulated providers
_POLL_SECONDS = 0.002
_MILLISECONDS = 1000.0
_IS_APPLIED = text(
    "SELECT applied_at IS NOT NULL FROM webhook_events WHERE provider_event_id = :id"
)


def api_context(crowd: Crowd) -> ApiContext:
    world = crowd.world
    return ApiContext(
        sessions=world.sessions, temporal=world.client, providers=world.providers, pepper="bench"
    )


async def measure(stage: Stage, crowd: Crowd, tell: Callable[[str], None]) -> list[Figure]:
    raw = await crowd.client.start_workflow(
        RawApplying.run, id=f"raw/{uuid4()}", task_queue=TASK_QUEUE
    )
    ours: list[list[float]] = []
    base: list[list[float]] = []
    events = [payload for _, payload in await crowd.paid_events()]
    async with (
        serving(create_app(api_context(crowd))) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as http,
    ):
        for number in range(stage.size(ROUNDS, 1)):
            tell(f"round {number + 1}")
            ours.append([])
            base.append([])
            for place in range(stage.size(WEBHOOKS // ROUNDS, 2)):
                event = events[place % len(events)]
                ours[-1].append(await _one(crowd, http, late_copy_of(event)))
                base[-1].append(await _raw(raw))
    await raw.terminate()
    await crowd.workflows_heard(sum(map(len, ours)))
    return [
        _figure("p50", 0.5, ours, base, 100.0),
        _figure("p99", 0.99, [list(chain(*ours))], [list(chain(*base))], 500.0),
    ]


def _figure(
    name: str, share: float, ours: list[list[float]], base: list[list[float]], target: float
) -> Figure:
    return Figure(
        ROW,
        name,
        "ms",
        [percentile(part, share) * _MILLISECONDS for part in ours],
        target=target,
        baseline=[percentile(part, share) * _MILLISECONDS for part in base],
        note="baseline: a signal and one local activity",
    )


async def _one(crowd: Crowd, http: httpx.AsyncClient, raw: bytes) -> float:
    """Seen by somebody who asks the database every 2 ms."""
    event_id = json.loads(raw)["id"]
    headers = signature_headers(raw, SECRET)
    began = perf_counter()
    (await http.post(PATH, content=raw, headers=headers)).raise_for_status()
    async with crowd.world.sessions() as session:
        while not await session.scalar(_IS_APPLIED, {"id": event_id}):
            await asyncio.sleep(_POLL_SECONDS)
            if perf_counter() - began > 30.0:
                raise RuntimeError("the webhook was not applied")
    return perf_counter() - began


async def _raw(raw: WorkflowHandle[RawApplying, None]) -> float:
    heard, began = Tally.heard, perf_counter()
    await raw.signal(RawApplying.hear, "news")

    async def is_heard() -> bool:
        return Tally.heard > heard

    await eventually(is_heard)
    return perf_counter() - began
