"""A caller died before it heard the answer, and sends its command again, to a later run of the workflow."""

from __future__ import annotations

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from models.commands import Cancel, RetryPayment
from tests.support.books import attempts_of
from tests.workflows.test_cards import AUSTIN, DAY, HOUR, holder
from workflows.subscription import SubscriptionWorkflow


async def test_no_command_is_carried_out_twice(world: World) -> None:
    terms = await holder(world, AUSTIN.good)
    handle, _ = await world.open(terms)
    cancel = Cancel(actor="test")
    first = await handle.execute_update(SubscriptionWorkflow.cancel, cancel, id="cancel/key-1")
    await world.sleep(HOUR)
    before = await world.subscription(terms.subscription_id)
    again = await handle.execute_update(SubscriptionWorkflow.cancel, cancel, id="cancel/key-1")
    assert again == first
    assert (await world.subscription(terms.subscription_id)).version == before.version
    with pytest.raises(WorkflowUpdateFailedError):
        await handle.execute_update(SubscriptionWorkflow.cancel, cancel, id="cancel/key-2")


async def test_a_declined_retry_is_not_charged_again(world: World) -> None:
    terms = await holder(world, AUSTIN.refused)
    handle, _ = await world.open(terms)
    await world.sleep(HOUR)
    tried = len(await attempts_of(world, terms))
    retry = RetryPayment(actor="test")
    first = await handle.execute_update(SubscriptionWorkflow.retry_payment, retry, id="retry/key-1")
    await world.sleep(HOUR)
    assert len(await attempts_of(world, terms)) == tried + 1
    again = await handle.execute_update(SubscriptionWorkflow.retry_payment, retry, id="retry/key-1")
    assert again == first
    await world.sleep(HOUR)
    assert len(await attempts_of(world, terms)) == tried + 1
    await check_invariants(world)


async def test_answers_are_forgotten_after_a_day(world: World) -> None:
    terms = await holder(world, AUSTIN.good)
    handle, _ = await world.open(terms)
    await handle.execute_update(SubscriptionWorkflow.cancel, Cancel(actor="test"), id="cancel/1")
    assert [one.update_id for one in (await handle.query(SubscriptionWorkflow.state)).answers]
    await world.sleep(2 * DAY)
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await handle.execute_update(
            SubscriptionWorkflow.cancel, Cancel(actor="test"), id="cancel/1"
        )
    assert isinstance(refused.value.cause, ApplicationError)
