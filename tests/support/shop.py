"""Products and purchases for tests of workflows."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from temporalio.client import WithStartWorkflowOperation, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy

from abono.simulate.world import World
from models.commands import (
    TASK_QUEUE,
    CommandResult,
    InboxEvent,
    Open,
    ProviderEvents,
    PurchaseInput,
    purchase_workflow_id,
)
from models.outcomes import ProviderName
from models.purchase import PurchaseTerms
from models.storage.tables import (
    Benefit,
    ChargeAttempt,
    Invoice,
    Organization,
    Product,
    Purchase,
    new_id,
)
from providers.drafts import RefundDraft
from workflows.late_payment import LatePaymentWorkflow
from workflows.purchase import PurchaseWorkflow


async def purchase_terms(world: World) -> PurchaseTerms:
    """A product with one benefit, and somebody who wants it."""
    moment = datetime.now(UTC)
    organization = Organization(
        id=new_id(),
        application_id=world.application_id,
        name="Ana López",
        email=f"ana-{new_id()}@example.com",
        country="MX",
        time_zone="UTC",
        created_at=moment,
        updated_at=moment,
    )
    product = Product(
        id=new_id(),
        application_id=world.application_id,
        name="Handbook",
        amount_minor=4900,
        currency="USD",
        is_active=True,
        provider_product_ids={},
        created_at=moment,
    )
    await world.add(organization, product)
    await world.add(
        Benefit(
            id=new_id(),
            application_id=world.application_id,
            product_id=product.id,
            type="custom",
            description="Thank you",
            properties={"note": "You are great"},
            provider_benefit_ids={},
            created_at=moment,
        )
    )
    return PurchaseTerms(
        purchase_id=new_id(),
        application_id=world.application_id,
        organization_id=organization.id,
        product_id=product.id,
        product_name=product.name,
        amount_minor=4900,
        currency="USD",
        success_url="https://shop.example/thanks",
        country="MX",
    )


async def buy(
    world: World, terms: PurchaseTerms
) -> tuple[WorkflowHandle[PurchaseWorkflow, Any], CommandResult]:
    """Insert the row as the API does, then start the workflow and its update."""
    moment = datetime.now(UTC)
    workflow_id = purchase_workflow_id(terms.purchase_id)
    await world.add(
        Purchase(
            id=terms.purchase_id,
            application_id=terms.application_id,
            organization_id=terms.organization_id,
            product_id=terms.product_id,
            version=0,
            opening=terms.model_dump(mode="json"),
            workflow_id=workflow_id,
            status="pending",
            amount_minor=terms.amount_minor,
            currency=terms.currency,
            metadata_={},
            created_at=moment,
            updated_at=moment,
        )
    )
    start = WithStartWorkflowOperation(
        PurchaseWorkflow.run,
        PurchaseInput(terms=terms),
        id=workflow_id,
        task_queue=TASK_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )
    result = await world.client.execute_update_with_start_workflow(
        PurchaseWorkflow.open, Open(actor="test"), start_workflow_operation=start, id="open"
    )
    handle = await start.workflow_handle()
    return world.client.get_workflow_handle_for(PurchaseWorkflow.run, handle.id), result


async def row_of(world: World, terms: PurchaseTerms) -> Purchase:
    rows = await world.all(select(Purchase).where(Purchase.id == terms.purchase_id))
    found: Purchase = rows[0]
    return found


async def tries_of(world: World, terms: PurchaseTerms) -> list[ChargeAttempt]:
    mine = ChargeAttempt.purchase_id == terms.purchase_id
    return await world.all(select(ChargeAttempt).where(mine).order_by(ChargeAttempt.started_at))


async def bills_of(world: World, terms: PurchaseTerms) -> list[Invoice]:
    return await world.all(select(Invoice).where(Invoice.purchase_id == terms.purchase_id))


async def pay_page(world: World, attempt: ChargeAttempt) -> dict[str, Any]:
    simulator = getattr(world.sandbox.state, attempt.provider)
    answer: dict[str, Any] = await simulator.pay(attempt.provider_object_id, None)
    return answer


async def give_back(world: World, attempt: ChargeAttempt, amount_minor: int) -> None:
    """Somebody refunds at the provider, and not through the engine."""
    provider = world.providers.get(ProviderName(attempt.provider))
    assert provider is not None
    assert attempt.provider_object_id is not None
    await provider.refund(
        RefundDraft(
            refund_id=str(new_id()),
            provider_payment_id=attempt.provider_object_id,
            amount_minor=amount_minor,
            currency=attempt.currency,
            reason="requested_by_customer",
            already_refunded_minor=0,
        )
    )


def told_by(world: World, terms: PurchaseTerms, provider: str, *types: str) -> ProviderEvents:
    """The webhooks of these types that the sandbox has made so far, as the engine reads them and as the
    dispatcher addresses them."""
    reader = world.providers.get(ProviderName(provider))
    assert reader is not None
    events = []
    for record in world.core.webhooks.events:
        if record["provider"] == provider and record["body"]["type"] in types:
            raw = json.dumps(record["body"], separators=(",", ":")).encode()
            signed = world.core.webhooks.signers[provider](raw)
            event = reader.parse_webhook(raw, {key.lower(): signed[key] for key in signed})
            owned = event.model_copy(update={"purchase_id": str(terms.purchase_id)})
            events.append(InboxEvent(id=new_id(), event=owned))
    return ProviderEvents(events=events)


async def hear_late(world: World, events: ProviderEvents) -> None:
    """As the dispatcher does for what comes after the end."""
    await world.client.execute_workflow(
        LatePaymentWorkflow.run, events, id=f"late/{new_id()}", task_queue=TASK_QUEUE
    )
