"""What a provider said before something else, and what arrives after that."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from abono.simulate.invariants import check_invariants
from abono.simulate.world import open_world
from models.commands import InboxEvent, ProviderEvents
from models.ids import derived_id
from models.snapshots import ProviderInvoiceStatus
from models.storage.tables import WebhookEvent
from tests.support.database import TestDatabases
from tests.support.refunds import told
from tests.workflows.test_cards import AUSTIN, HOUR, holder, renew
from tests.workflows.test_signals_while_writing import inbox_row


class Noted(Interceptor):
    """The types of the activities that ran."""

    def __init__(self) -> None:
        self.types: list[str] = []

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _NotedInbound(next, self.types)


class _NotedInbound(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, types: list[str]) -> None:
        super().__init__(next)
        self._types = types

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        self._types.append(activity.info().activity_type)
        return await super().execute_activity(input)


def before_it_was_paid(paid: InboxEvent) -> InboxEvent:
    """The same invoice when it had just been refused, without a reason, as Stripe's webhooks tell it."""
    invoice = paid.event.invoice
    assert invoice is not None
    refused = invoice.model_copy(
        update={
            "status": ProviderInvoiceStatus.OPEN,
            "attempt_count": 1,
            "captures": [],
        }
    )
    event = paid.event.model_copy(
        update={
            "provider_event_id": "late",
            "event_type": "invoice.payment_failed",
            "invoice": refused,
        }
    )
    return InboxEvent(id=derived_id(paid.id, "late", invoice.created_at), event=event)


async def test_of_a_failure_that_was_paid_since_the_provider_is_asked_nothing(
    databases: TestDatabases,
) -> None:
    noted = Noted()
    async with open_world(databases, interceptors=[noted]) as world:
        terms = await holder(world, AUSTIN.good)
        handle, _ = await world.open(terms)
        await renew(world, terms, "paid")
        [paid] = told(world, "stripe", "invoice.paid").events[-1:]
        await handle.signal("provider_events", ProviderEvents(events=[paid]))
        await world.sleep(HOUR)
        late = before_it_was_paid(paid)
        await world.add(inbox_row(late, await world.env.get_current_time()))
        noted.types.clear()

        await handle.signal("provider_events", ProviderEvents(events=[late]))
        await world.sleep(HOUR)

        assert await world.all(select(WebhookEvent.disposition)) == ["stale"]
        assert noted.types == ["record"]
        assert (await world.subscription(terms.subscription_id)).status == "active"
        await check_invariants(world)
