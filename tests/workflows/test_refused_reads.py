"""A provider says that what it billed does not exist: a key of another account, a version of its API that is
spoken no more, test data that was cleared. Whatever the reason, a subscription outlives it."""

from __future__ import annotations

from temporalio.client import WorkflowExecutionStatus, WorkflowHandle

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from models.commands import Cancel
from models.outcomes import Instrument
from sandbox.faults import Fault, FaultMode
from tests.workflows.test_cards import AUSTIN, DAY, HOUR, Wallet, holder, wallet
from workflows.subscription import SubscriptionWorkflow

__all__ = ["wallet"]


def gone(world: World, provider: str, operation: str = "*") -> None:
    world.core.faults.add(Fault(provider=provider, operation=operation, mode=FaultMode.GONE))


async def is_running(handle: WorkflowHandle[SubscriptionWorkflow, object]) -> bool:
    return (await handle.describe()).status is WorkflowExecutionStatus.RUNNING


async def test_a_card_renews_when_its_provider_knows_it_again(world: World, wallet: Wallet) -> None:
    terms = await holder(world, wallet.good, wallet)
    handle, _ = await world.open(terms)
    gone(world, wallet.provider)
    await world.sleep(40 * DAY)
    assert await is_running(handle)
    assert (await world.subscription(terms.subscription_id)).status == "active"
    world.core.faults.clear()
    await world.sleep(5 * DAY)
    row = await world.subscription(terms.subscription_id)
    assert (row.status, len(world.core.charges)) == ("active", 2)
    await check_invariants(world)


async def test_a_voucher_is_paid_that_its_provider_did_not_know(world: World) -> None:
    world.payer.after = 5 * HOUR
    terms = await world.terms(Instrument.OXXO)
    handle, _ = await world.open(terms)
    gone(world, "conekta", "orders.retrieve")
    await world.sleep(5 * DAY)
    assert await is_running(handle)
    assert (await world.subscription(terms.subscription_id)).status == "incomplete"
    world.core.faults.clear()
    await world.sleep(DAY)
    assert (await world.subscription(terms.subscription_id)).status == "active"
    await check_invariants(world)


async def test_who_cancels_meanwhile_is_heard(world: World) -> None:
    terms = await holder(world, AUSTIN.good)
    handle, _ = await world.open(terms)
    gone(world, "stripe")
    cancel = Cancel(actor="test", immediately=True)
    said = await handle.execute_update(SubscriptionWorkflow.cancel, cancel)
    assert not said.settled
    await world.sleep(2 * HOUR)
    assert await is_running(handle)
    world.core.faults.clear()
    await world.sleep(DAY)
    assert (await world.subscription(terms.subscription_id)).status == "canceled"
    await world.sleep(40 * DAY)
    assert len(world.core.charges) == 1
    await check_invariants(world)
