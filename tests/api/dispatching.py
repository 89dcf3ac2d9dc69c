"""A dispatcher under test, and the workflows that it talks to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import update
from temporalio.client import WorkflowHandle

from api.clock import now
from api.dispatcher import Dispatcher
from models.calendar import BillingInterval
from models.commands import TASK_QUEUE, SubscriptionInput
from models.events import ProviderEvent
from models.outcomes import Instrument
from models.storage.tables import ChargeAttempt, Subscription, WebhookEvent, new_id
from models.subscription import SubscriptionTerms
from tests.api.support import (
    Api,
)


async def start_subscription(api: Api, row: Subscription) -> WorkflowHandle[Any, Any]:
    terms = SubscriptionTerms(
        subscription_id=row.id,
        application_id=row.application_id,
        organization_id=row.organization_id,
        plan_id=row.plan_id,
        plan_name="Pro",
        billing_interval=BillingInterval.MONTHLY,
        amount_minor=19900,
        currency="MXN",
        instrument=Instrument.OXXO,
    )
    return await api.temporal.start_workflow(
        "SubscriptionWorkflow",
        SubscriptionInput(terms=terms),
        id=row.workflow_id,
        task_queue=TASK_QUEUE,
    )


async def start_payment(api: Api, slip: ChargeAttempt) -> WorkflowHandle[Any, Any]:
    return await api.temporal.start_workflow(
        "PendingPaymentWorkflow", id=f"payment/{slip.id}", task_queue=TASK_QUEUE
    )


async def heard(handle: WorkflowHandle[Any, Any]) -> list[list[UUID]]:
    return [[UUID(str(found)) for found in batch] for batch in await handle.query("batches")]


@asynccontextmanager
async def dispatching(api: Api) -> AsyncIterator[Dispatcher]:
    dispatcher = Dispatcher(api.context)
    running = asyncio.create_task(dispatcher.run())
    try:
        yield dispatcher
    finally:
        await dispatcher.stop()
        await running


async def apply(api: Api, *ids: UUID) -> None:
    """What the workflow's own transaction does."""
    await api.run(
        update(WebhookEvent)
        .where(WebhookEvent.id.in_(ids))
        .values(applied_at=now(), disposition="applied")
    )


async def make_due(api: Api) -> None:
    await api.run(
        update(WebhookEvent)
        .where(WebhookEvent.applied_at.is_(None))
        .values(next_dispatch_at=now() - timedelta(seconds=1))
    )


def inbox_row(said: ProviderEvent) -> WebhookEvent:
    moment = now() - timedelta(seconds=1)
    return WebhookEvent(
        id=new_id(),
        provider=said.provider.value,
        account=said.account,
        provider_event_id=said.provider_event_id,
        event_type=said.event_type,
        kind=said.kind.value,
        payload={},
        event=said.model_dump(mode="json"),
        received_at=moment,
        attempts=0,
        next_dispatch_at=moment,
    )
