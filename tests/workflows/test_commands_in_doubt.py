"""Commands that come while nobody knows yet what became of a payment, or beside another command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from temporalio.client import (
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateHandle,
    WorkflowUpdateStage,
)

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World, open_world
from models.commands import Cancel, Resume, RetryPayment, subscription_workflow_id
from models.subscription import SubscriptionTerms
from sandbox.faults import Fault, FaultMode
from tests.support.database import TestDatabases
from tests.support.refunds import told
from tests.workflows.test_cards import AUSTIN, DAY, HOUR, holder
from tests.workflows.test_signals_while_writing import OnceWritten
from workflows.subscription import SubscriptionWorkflow

Handle = WorkflowHandle[SubscriptionWorkflow, Any]


@asynccontextmanager
async def opening_in_doubt(world: World, terms: SubscriptionTerms) -> AsyncIterator[Handle]:
    """Within the block the first payment is made, and Stripe does not say so."""
    lost = FaultMode.APPLIED_THEN_TIMEOUT
    world.core.faults.add(Fault(provider="stripe", operation="invoices.pay", mode=lost, count=1))
    for operation in ("invoices.retrieve", "subscriptions.retrieve"):
        world.core.faults.add(Fault(provider="stripe", operation=operation, mode=FaultMode.DOWN))
    opening = asyncio.create_task(world.open(terms))
    while world.core.faults.active[0].operation == "invoices.pay":  # noqa: ASYNC110 - used up by the call
        await asyncio.sleep(0.05)
    workflow_id = subscription_workflow_id(terms.subscription_id)
    yield world.client.get_workflow_handle_for(SubscriptionWorkflow.run, workflow_id)
    world.core.faults.clear()
    await opening
    await world.sleep(HOUR)


async def test_who_cancels_for_the_periods_end_keeps_what_is_being_paid(world: World) -> None:
    terms = await holder(world, AUSTIN.good)
    async with opening_in_doubt(world, terms) as handle:
        cancel = Cancel(actor="test")
        said = await handle.execute_update(SubscriptionWorkflow.cancel, cancel)
        assert (said.status, said.settled) == ("incomplete", False)
    row = await world.subscription(terms.subscription_id)
    assert (row.status, row.cancel_at_period_end) == ("active", True)
    await world.sleep(35 * DAY)
    assert (await world.subscription(terms.subscription_id)).status == "canceled"
    assert len(world.core.charges) == 1
    await check_invariants(world)


@pytest.mark.parametrize("first", [True, False])
async def test_who_cancels_at_once_is_not_overruled(world: World, first: bool) -> None:
    """Whichever comes first: the stronger of two wishes counts."""
    terms = await holder(world, AUSTIN.good)
    async with opening_in_doubt(world, terms) as handle:
        for immediately in (first, not first):
            cancel = Cancel(actor="test", immediately=immediately)
            await handle.execute_update(SubscriptionWorkflow.cancel, cancel)
    assert (await world.subscription(terms.subscription_id)).status == "canceled"
    await check_invariants(world)


async def test_a_cancellation_in_doubt_is_not_taken_back_yet(world: World) -> None:
    terms = await holder(world, AUSTIN.good)
    async with opening_in_doubt(world, terms) as handle:
        await handle.execute_update(SubscriptionWorkflow.cancel, Cancel(actor="test"))
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await handle.execute_update(SubscriptionWorkflow.resume, Resume(actor="test"))
        assert "on its way" in str(refused.value.cause)
    await handle.execute_update(SubscriptionWorkflow.resume, Resume(actor="test"))
    assert not (await world.subscription(terms.subscription_id)).cancel_at_period_end
    await check_invariants(world)


async def test_of_two_retries_at_once_one_is_refused(databases: TestDatabases) -> None:
    """Both are valid when they come, while a step is being written. The second one's card may not be named
    while the first one's is charged."""
    once = OnceWritten()
    async with open_world(databases, interceptors=[once]) as world:
        terms = await holder(world, AUSTIN.refused)
        handle, _ = await world.open(terms)
        await world.sleep(HOUR)
        cards = [await world.store_card(terms.organization_id, AUSTIN.good) for _ in range(2)]
        accepted: list[WorkflowUpdateHandle[Any]] = []

        async def both() -> None:
            for card in cards:
                retry = RetryPayment(actor="test", payment_method_id=card)
                accepted.append(
                    await handle.start_update(
                        SubscriptionWorkflow.retry_payment,
                        retry,
                        wait_for_stage=WorkflowUpdateStage.ACCEPTED,
                    )
                )

        once.do(both)
        await handle.signal("provider_events", told(world, "stripe", "invoice.payment_failed"))
        await world.sleep(HOUR)
        ends = await asyncio.gather(*(one.result() for one in accepted), return_exceptions=True)

        assert [isinstance(end, WorkflowUpdateFailedError) for end in ends] == [False, True]
        row = await world.subscription(terms.subscription_id)
        assert (row.status, row.payment_method_id) == ("active", cards[0])
        assert len([charge for charge in world.core.charges if charge["status"] == "paid"]) == 1
        await check_invariants(world)
