"""Row 3. `POST /subscriptions` from end to end, less what the provider took.

Ours authenticates, writes the row and the idempotency key, starts the workflow with its first update,
makes three calls to the provider through the SDK in one activity, writes four ledgers, answers with the
subscription. The baseline starts a workflow with an update that runs one activity that does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any
from uuid import uuid4

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send
from temporalio.client import WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy

from abono.keys import create_key
from abono.simulate.serving import serving
from abono.simulate.world import World
from api.app import create_app
from benchmarks.applied import api_context
from benchmarks.baselines import TASK_QUEUE, RawOpening
from benchmarks.crowd import Crowd
from benchmarks.measure import Figure, Stage, percentile
from models.subscription import SubscriptionTerms
from tests.cost.test_renewals import card

ROW = "POST /subscriptions"
CROWD = 1
ROUNDS = 5
OPENINGS = 8
_MILLISECONDS = 1000.0


class Stopwatch:
    """Around the simulated providers: the time that they take themselves, in seconds."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.seconds = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = perf_counter()
        await self._app(scope, receive, send)
        self.seconds += perf_counter() - began


async def measure(stage: Stage, crowd: Crowd, tell: Callable[[str], None]) -> list[Figure]:
    world = crowd.world
    terms, key = await card(world), await _key(world)
    sandbox = world.sandbox
    if sandbox.middleware_stack is None:
        raise RuntimeError("the sandbox has not served anything yet")
    watch = sandbox.middleware_stack = Stopwatch(sandbox.middleware_stack)
    ours: list[float] = []
    whole: list[float] = []
    base: list[float] = []
    async with (
        serving(create_app(api_context(crowd))) as url,
        httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, trust_env=False
        ) as http,
    ):
        await _open(http, terms)
        await _raw(crowd)
        for number in range(stage.size(ROUNDS, 1)):
            tell(f"round {number + 1}")
            taken = [
                (await _raw(crowd), *(await _less_provider(http, terms, watch)))
                for _ in range(stage.size(OPENINGS, 1))
            ]
            for samples, column in zip((base, whole, ours), zip(*taken, strict=True), strict=True):
                samples.append(percentile(column, 0.5) * _MILLISECONDS)
    return [
        Figure(
            ROW,
            "less the provider, against raw Update-with-start",
            "×",
            [one / raw for one, raw in zip(ours, base, strict=True)],
            target=2.0,
        ),
        Figure(ROW, "less the provider", "ms", ours, baseline=base),
        Figure(ROW, "with the provider (sandbox)", "ms", whole),
    ]


async def _key(world: World) -> str:
    """Of a key that belongs to the world's tenant."""
    return await create_key(
        world.database_url, application_name="Test app", scopes=["*"], pepper="bench"
    )


async def _less_provider(
    http: httpx.AsyncClient, terms: SubscriptionTerms, watch: Stopwatch
) -> tuple[float, float]:
    before, began = watch.seconds, perf_counter()
    await _open(http, terms)
    whole = perf_counter() - began
    return whole, whole - (watch.seconds - before)


async def _open(http: httpx.AsyncClient, terms: SubscriptionTerms) -> None:
    body: dict[str, Any] = {
        "organization_id": str(terms.organization_id),
        "plan_id": str(terms.plan_id),
        "billing_interval": terms.billing_interval.value,
        "payment_method_type": "card",
        "payment_method_id": str(terms.payment_method_id),
    }
    answer = await http.post(
        "/api/v1/billing/subscriptions", json=body, headers={"Idempotency-Key": str(uuid4())}
    )
    if answer.status_code != 201 or answer.json()["status"] != "active":
        raise RuntimeError(f"the subscription was not opened: {answer.text[:300]}")


async def _raw(crowd: Crowd) -> float:
    began = perf_counter()
    start = WithStartWorkflowOperation(
        RawOpening.run,
        id=f"raw/{uuid4()}",
        task_queue=TASK_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
    )
    await crowd.client.execute_update_with_start_workflow(
        RawOpening.open, start_workflow_operation=start
    )
    return perf_counter() - began
