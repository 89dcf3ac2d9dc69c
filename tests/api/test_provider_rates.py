"""Each provider is called at its own rate, which the Temporal server keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from pydantic import ValidationError
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from abono.dev.explain import explain
from abono.settings import Settings
from abono.wiring import call_rates
from abono.worker import make_workers
from activities.signatures.attempts import PaymentReference, ProviderCalls
from models.commands import PROVIDER_TASK_QUEUES, TASK_QUEUE
from models.outcomes import ProviderName
from models.storage.engine import Sessions
from providers.registry import ProviderRegistry

POLAR = ProviderName.POLAR
CALLS = 30
# The server lets a burst of up to two seconds' worth through before it holds.
BURST_SECONDS = 2


@workflow.defn(name="Burst")
class Burst:
    @workflow.run
    async def run(self) -> None:
        reference = PaymentReference(provider=POLAR, provider_payment_id="none")
        calls = (
            workflow.execute_activity_method(
                ProviderCalls.read_payment,
                reference,
                task_queue=PROVIDER_TASK_QUEUES[POLAR],
                start_to_close_timeout=timedelta(seconds=10),
                retry_policy=RetryPolicy(maximum_attempts=1),
            )
            for _ in range(CALLS)
        )
        # Polar has no key here, so each call ends at once: nothing but the rate takes time.
        await asyncio.gather(*calls, return_exceptions=True)


def rates_of(workers: Sequence[Worker]) -> dict[str, float | None]:
    configs = [worker.config() for worker in workers]
    return {
        config.get("task_queue", ""): config.get("max_task_queue_activities_per_second")
        for config in configs
    }


async def test_each_queue_has_its_providers_rate(temporal: Client, sessions: Sessions) -> None:
    settings = Settings(ABONO_CONEKTA_CALLS_PER_SECOND=2.5)
    rates = call_rates(settings)
    workers = make_workers(temporal, sessions, ProviderRegistry({}), calls_per_second=rates)
    assert rates_of(workers) == {
        TASK_QUEUE: None,
        "abono-stripe": 20.0,
        "abono-conekta": 2.5,
        "abono-polar": 2.0,
    }


async def test_a_burst_is_held_to_the_rate(temporal: Client, sessions: Sessions) -> None:
    """A slow machine takes longer; only a rate that is not kept takes less."""
    rate = 10.0
    workers = make_workers(temporal, sessions, ProviderRegistry({}), calls_per_second={POLAR: rate})
    (polar,) = [each for each in workers if each.task_queue == PROVIDER_TASK_QUEUES[POLAR]]
    queue = f"burst-{uuid4()}"
    bursts = Worker(
        temporal, task_queue=queue, workflows=[Burst], workflow_runner=UnsandboxedWorkflowRunner()
    )
    async with AsyncExitStack() as stack:
        for worker in (polar, bursts):
            await stack.enter_async_context(worker)
        handle = await temporal.start_workflow(Burst.run, id=queue, task_queue=queue)
        await handle.result()
        history = await handle.fetch_history()
    started: list[datetime] = [
        event.event_time.ToDatetime()
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED
    ]
    assert len(started) == CALLS
    held = CALLS - 1 - BURST_SECONDS * rate
    assert max(started) - min(started) >= timedelta(seconds=held / rate)


@pytest.mark.parametrize("value", ["0", "-1", "fast", "inf", "nan"])
@pytest.mark.parametrize("provider", ProviderName)
def test_a_rate_that_is_none_is_a_line_for_a_person(provider: ProviderName, value: str) -> None:
    name = f"ABONO_{provider.upper()}_CALLS_PER_SECOND"
    with pytest.raises(ValidationError) as caught:
        Settings(**{name: value})  # type: ignore[arg-type]
    line = explain(caught.value)
    assert line is not None
    assert line.startswith(f"Settings are wrong. {name}: ")
    assert "\n" not in line
