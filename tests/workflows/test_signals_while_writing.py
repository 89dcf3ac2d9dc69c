"""Something is signalled in the very moment in which a step is being written.

The server throws away a workflow's task that wants to continue as new while a signal waits. What such a
task decided is decided anew, with the signal. Nothing may have been written for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from sqlalchemy import select
from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World, open_world
from models.commands import InboxEvent, ProviderEvents
from models.storage.tables import WebhookEvent
from tests.support.books import attempts_of
from tests.support.database import TestDatabases
from tests.support.refunds import told
from tests.workflows.test_cards import AUSTIN, HOUR, holder, renew
from tests.workflows.test_cash_table import said_of


class OnceWritten(Interceptor):
    """Does something else after the next step was written, before the workflow hears of it."""

    def __init__(self) -> None:
        self._then: Callable[[], Awaitable[None]] | None = None

    def do(self, then: Callable[[], Awaitable[None]]) -> None:
        self._then = then

    async def written(self) -> None:
        if self._then is not None:
            then, self._then = self._then, None
            await then()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _OnceWrittenInbound(next, self)


class _OnceWrittenInbound(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, once: OnceWritten) -> None:
        super().__init__(next)
        self._once = once

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        answer = await super().execute_activity(input)
        if activity.info().activity_type == "record":
            await self._once.written()
        return answer


async def test_a_decline_heard_while_a_step_is_written_is_not_lost(
    databases: TestDatabases,
) -> None:
    once = OnceWritten()
    async with open_world(databases, interceptors=[once]) as world:
        terms = await holder(world, AUSTIN.good)
        handle, _ = await world.open(terms)
        await renew(world, terms, "failed")
        means_nothing = told(world, "stripe", "customer.subscription.created")
        declined = told(world, "stripe", "invoice.payment_failed")

        async def tell_of_the_decline() -> None:
            await handle.signal("provider_events", declined)

        once.do(tell_of_the_decline)
        await handle.signal("provider_events", means_nothing)
        await world.sleep(HOUR)

        assert (await world.subscription(terms.subscription_id)).status == "past_due"
        assert [one.outcome for one in await attempts_of(world, terms)] == ["succeeded", "declined"]
        assert len(await said_of(world, terms, "subscription.past_due")) == 1
        await check_invariants(world)


def inbox_row(event: InboxEvent, now: datetime) -> WebhookEvent:
    """As the API stores it, and as a database that was restored from a backup has it."""
    return WebhookEvent(
        id=event.id,
        provider=event.event.provider,
        account=event.event.account,
        provider_event_id=event.event.provider_event_id,
        event_type=event.event.event_type,
        kind=event.event.kind,
        payload={},
        event=event.event.model_dump(mode="json"),
        received_at=now,
        attempts=1,
        next_dispatch_at=now,
    )


async def test_an_event_that_the_database_forgot_is_acknowledged_again(world: World) -> None:
    terms = await holder(world, AUSTIN.good)
    handle, _ = await world.open(terms)
    await renew(world, terms, "paid")
    [event] = told(world, "stripe", "invoice.paid").events[-1:]
    batch = ProviderEvents(events=[event])
    await handle.signal("provider_events", batch)
    await world.sleep(HOUR)
    before = await world.subscription(terms.subscription_id)

    await world.add(inbox_row(event, await world.env.get_current_time()))
    await handle.signal("provider_events", batch)
    await world.sleep(HOUR)

    assert await world.all(select(WebhookEvent.disposition)) == ["applied_before"]
    assert (await world.subscription(terms.subscription_id)).version == before.version
    await check_invariants(world)
