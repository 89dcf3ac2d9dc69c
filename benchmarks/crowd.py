"""Many open subscriptions on a real Temporal development server: what most rows need.

Opening them takes longer than measuring with them, so the rows that can share one world do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from abono.dev.temporal import running_temporal
from abono.payload_converter import plain_data_converter
from abono.simulate.world import World, open_world
from benchmarks import baselines
from benchmarks.measure import Stage
from models.storage.tables import Subscription, new_id
from models.subscription import SubscriptionTerms
from tests.api.support import eventually
from tests.cost.test_renewals import card

PATIENCE_SECONDS = 120.0
# API, worker and providers are one process here: so many keep it busy.
_AT_ONCE = 20
_LOOKING_SECONDS = 0.04
# Then the crowd is what has gathered: the rows say of how many they are.
_GATHERING_SECONDS_MAX = 200.0


@dataclass
class Crowd:
    """`ids` are subscriptions that are paid and wait for their next period."""

    world: World
    address: str
    ids: list[UUID] = field(default_factory=list)

    @property
    def client(self) -> Client:
        return self.world.client

    async def paid_events(self) -> list[tuple[UUID, dict[str, Any]]]:
        """The `invoice.paid` of each subscription, as the provider would have sent it."""
        statement = select(Subscription.provider_subscription_id, Subscription.id)
        async with self.world.sessions() as session:
            owners = dict((await session.execute(statement)).tuples().all())
        told = [record["body"] for record in self.world.core.webhooks.events]
        return [
            (owners[_subscription_of(event)], event)
            for event in told
            if event["type"] == "invoice.paid" and _subscription_of(event) in owners
        ]

    async def come_to_rest(self) -> None:
        """To within a twentieth of a second: looking more often would take a part of what is measured."""

        async def has_come() -> bool:
            if await self.nothing_waits():
                return True
            await asyncio.sleep(_LOOKING_SECONDS)
            return False

        await eventually(has_come, PATIENCE_SECONDS)

    async def workflows_heard(self, count: int) -> None:
        """Raises when fewer late webhooks were applied by workflows: then something else was measured."""
        heard = text(
            "SELECT count(*) FROM webhook_events WHERE event_type = 'invoice.payment_failed'"
            " AND workflow_id IS NOT NULL AND applied_at IS NOT NULL"
        )
        async with self.world.sessions() as session:
            found = await session.scalar(heard)
        if found is None or found < count:
            raise RuntimeError(f"workflows applied {found} webhooks of {count}")

    async def nothing_waits(self) -> bool:
        async with self.world.sessions() as session:
            waiting = text(
                "SELECT NOT EXISTS (SELECT 1 FROM webhook_events WHERE applied_at IS NULL)"
            )
            return bool(await session.scalar(waiting))


@dataclass
class _Kept:
    """The stage's databases, but one that outlives its world: other processes look at it afterwards."""

    stage: Stage

    async def create(self) -> str:
        return await self.stage.databases.create()

    async def drop(self, url: str) -> None:
        """The whole server goes with the stage."""


@asynccontextmanager
async def gathered(
    stage: Stage, subscriptions: int, tell: Callable[[str], None]
) -> AsyncIterator[Crowd]:
    """A world with that many open, and the raw worker beside ours. What the provider tells of the openings
    is not sent: their workflows know it from its answers, and applying webhooks is what some rows measure."""
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(
            running_temporal(stage.folder / "crowd-temporal.log")
        )

        async def start() -> WorkflowEnvironment:
            client = await Client.connect(address, data_converter=plain_data_converter)
            return WorkflowEnvironment.from_client(client)

        world = await stack.enter_async_context(open_world(_Kept(stage), start=start))
        await stack.enter_async_context(raw_worker(world.client))
        crowd = Crowd(world, address)
        await _open(crowd, await card(world), stage.size(subscriptions, 3), tell)
        yield crowd


def _subscription_of(event: dict[str, Any]) -> str | None:
    details = (event["data"]["object"].get("parent") or {}).get("subscription_details") or {}
    return details.get("subscription")


def raw_worker(client: Client) -> Worker:
    """Without the sandbox of imports: as quick as a worker can be."""
    return Worker(
        client,
        task_queue=baselines.TASK_QUEUE,
        workflows=baselines.WORKFLOWS,
        activities=baselines.ACTIVITIES,
        workflow_runner=UnsandboxedWorkflowRunner(),
    )


async def _open(
    crowd: Crowd, terms: SubscriptionTerms, count: int, tell: Callable[[str], None]
) -> None:
    """All on one organization and card: only the subscriptions count here."""
    free, until = asyncio.Semaphore(_AT_ONCE), perf_counter() + _GATHERING_SECONDS_MAX

    async def one() -> None:
        async with free:
            if perf_counter() > until:
                return
            mine = terms.model_copy(update={"subscription_id": new_id()})
            await crowd.world.open(mine)
            crowd.ids.append(mine.subscription_id)
            if len(crowd.ids) % 50 == 0:
                tell(f"{len(crowd.ids)} of {count} subscriptions open")

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(one())
