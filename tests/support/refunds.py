"""Money that goes back, for tests: ordered here, or by somebody at the provider."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select

from abono.simulate.world import World
from activities.refund_book import lock_invoice, provider_of, reservation
from models.commands import (
    TASK_QUEUE,
    InboxEvent,
    ProviderEvents,
    RefundInput,
    RefundResult,
    refund_workflow_id,
)
from models.outcomes import ProviderName
from models.storage.tables import Payment, new_id
from providers.drafts import RefundDraft
from workflows.late_payment import LatePaymentWorkflow
from workflows.refund import RefundWorkflow


async def captures_of(world: World, subscription_id: UUID) -> list[Payment]:
    mine = Payment.subscription_id == subscription_id
    statement = select(Payment).where(mine, Payment.kind == "capture")
    return await world.all(statement.order_by(Payment.occurred_at, Payment.id))


async def reserve(world: World, capture: Payment, amount_minor: int) -> RefundInput:
    """As the API does, before anybody asks the provider."""
    refund_id = new_id()
    async with world.sessions.begin() as session:
        invoice = await lock_invoice(session, capture.invoice_id)
        session.add(
            reservation(
                invoice,
                capture,
                amount_minor,
                refund_id=refund_id,
                reason=None,
                actor="test",
                at=datetime.fromtimestamp(world.core.clock.now(), UTC),
            )
        )
    return RefundInput(refund_id=refund_id, provider=provider_of(capture))


async def carry_out(world: World, order: RefundInput) -> RefundResult:
    with world.env.auto_time_skipping_disabled():
        return await world.client.execute_workflow(
            RefundWorkflow.run,
            order,
            id=refund_workflow_id(order.refund_id),
            task_queue=TASK_QUEUE,
        )


async def refund(world: World, capture: Payment, amount_minor: int) -> RefundResult:
    return await carry_out(world, await reserve(world, capture, amount_minor))


async def refund_elsewhere(
    world: World, provider: str, object_id: str, amount_minor: int, already: int = 0
) -> None:
    """Somebody uses the provider's dashboard."""
    adapter = world.providers.get(ProviderName(provider))
    assert adapter is not None
    await adapter.refund(
        RefundDraft(
            refund_id=str(new_id()),
            provider_payment_id=object_id,
            amount_minor=amount_minor,
            currency="MXN",
            reason="requested_by_customer",
            already_refunded_minor=already,
        )
    )


def told(
    world: World, provider: str, *types: str, subscription_id: UUID | None = None
) -> ProviderEvents:
    """The webhooks of these types that the sandbox has made so far, as the engine reads them; the
    dispatcher adds the subscription where our rows lead to one."""
    reader = world.providers.get(ProviderName(provider))
    assert reader is not None
    owner: dict[str, Any] = {"subscription_id": str(subscription_id) if subscription_id else None}
    events = []
    for record in world.core.webhooks.events:
        if record["provider"] == provider and record["body"]["type"] in types:
            raw = json.dumps(record["body"], separators=(",", ":")).encode()
            signed = world.core.webhooks.signers[provider](raw)
            event = reader.parse_webhook(raw, {key.lower(): signed[key] for key in signed})
            events.append(InboxEvent(id=new_id(), event=event.model_copy(update=owner)))
    assert events, f"{provider} told of none of {types}"
    return ProviderEvents(events=events)


async def follow(world: World, events: ProviderEvents) -> None:
    """As the dispatcher does with money that no living workflow waits for."""
    with world.env.auto_time_skipping_disabled():
        await world.client.execute_workflow(
            LatePaymentWorkflow.run, events, id=f"late/{new_id()}", task_queue=TASK_QUEUE
        )
