"""Our count of actions against the server's own: the `action` metric of a real Temporal server."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from abono.dev.ports import spare_port
from abono.dev.temporal import FAST_DYNAMIC_CONFIG
from abono.simulate.world import World, open_world
from models.commands import Cancel, Resume, payment_method_workflow_id
from models.outcomes import Instrument
from models.storage.tables import Invoice, WebhookEvent
from tests.api.support import eventually
from tests.cost.test_renewals import PATIENCE_SECONDS, card, voucher
from tests.support.actions import all_runs, cost_of, cost_of_subscription
from tests.support.database import TestDatabases
from tests.support.webhooks import webhooks_delivered
from workflows.subscription import SubscriptionWorkflow


def with_metrics(port: int) -> Callable[[], Awaitable[WorkflowEnvironment]]:
    settings = [
        f"--dynamic-config-value={key}={value}" for key, value in FAST_DYNAMIC_CONFIG.items()
    ]

    async def start() -> WorkflowEnvironment:
        return await WorkflowEnvironment.start_local(
            data_converter=pydantic_data_converter,
            dev_server_existing_path=str(Path(sys.executable).with_name("temporal")),
            dev_server_extra_args=["--metrics-port", str(port), *settings],
        )

    return start


async def actions_metered(port: int) -> int:
    """The sum of the server's `action` counter over everything that it counts as one."""
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("action{")]
    # A heartbeat is counted too, but only a slow machine needs one.
    ours = [one for one in lines if 'namespace="default"' in one and "Heartbeat" not in one]
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in ours)


@pytest.mark.parametrize("instrument", [Instrument.OXXO, Instrument.CARD])
async def test_actions_are_counted_as_the_server_meters_them(
    databases: TestDatabases, instrument: Instrument
) -> None:
    with spare_port() as port:
        async with (
            open_world(databases, start=with_metrics(port)) as world,
            webhooks_delivered(world),
        ):
            terms = await (voucher if instrument is Instrument.OXXO else card)(world)
            handle, _ = await world.open(terms)
            if instrument is Instrument.OXXO:
                await pay_all(world)
            await eventually(lambda: is_paid(world), PATIENCE_SECONDS)
            await handle.execute_update(SubscriptionWorkflow.cancel, Cancel(actor="test"))
            await handle.execute_update(SubscriptionWorkflow.resume, Resume(actor="test"))

            async def agrees() -> bool:
                # The server publishes its counters once a second, and the last webhooks are on their way.
                # It lives on: a signal to a workflow that has just ended is metered and in no history.
                counted = (await cost_of_subscription(world, terms.subscription_id)).actions
                if terms.payment_method_id is not None:
                    stored = payment_method_workflow_id(terms.payment_method_id)
                    counted += cost_of(await all_runs(world.client, stored)).actions
                return await actions_metered(port) == counted

            await eventually(agrees, PATIENCE_SECONDS)


async def pay_all(world: World) -> None:
    for charge in [charge for charge in world.core.charges if charge["status"] == "pending"][:1]:
        await getattr(world.sandbox.state, charge["provider"]).pay(charge["reference"], None)


async def is_paid(world: World) -> bool:
    waiting = select(func.count()).where(WebhookEvent.applied_at.is_(None))
    paid = select(func.count()).where(Invoice.status == "paid")
    return await world.all(paid) == [1] and await world.all(waiting) == [0]
