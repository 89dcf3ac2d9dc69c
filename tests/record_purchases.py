"""The lives of purchases and benefits that `tests/record_histories.py` records."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from temporalio.client import WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy

from abono.simulate.world import World
from models.commands import (
    TASK_QUEUE,
    BenefitChange,
    benefit_workflow_id,
    payment_workflow_id,
    purchase_workflow_id,
    resolve_workflow_id,
)
from models.outcomes import ProviderName
from models.purchase import PurchaseTerms
from models.storage.tables import Benefit, new_id
from sandbox.faults import Fault, FaultMode
from tests.support.shop import buy, give_back, pay_page, purchase_terms, told_by, tries_of
from workflows.benefit import BenefitWorkflow
from workflows.late_payment import LatePaymentWorkflow
from workflows.purchase import PurchaseWorkflow

REST = timedelta(days=4)


@dataclass(frozen=True)
class Played:
    """Workflow ids by the names that their files get."""

    workflow_ids: dict[str, str]


PurchaseScenario = Callable[[World], Awaitable[Played]]


async def purchase_paid(world: World) -> Played:
    return await _of_purchase(world, await _paid(world))


async def purchase_paid_at_the_fallback(world: World) -> Played:
    world.core.faults.add(Fault(provider="polar", mode=FaultMode.DOWN))
    terms = await purchase_terms(world)
    await buy(world, terms)
    [page] = [one for one in await tries_of(world, terms) if one.outcome == "pending"]
    await pay_page(world, page)
    await world.sleep(REST)
    return await _of_purchase(world, terms)


async def purchase_expired(world: World) -> Played:
    terms = await purchase_terms(world)
    await buy(world, terms)
    await world.sleep(REST)
    return await _of_purchase(world, terms)


async def purchase_answer_lost(world: World) -> Played:
    """Every provider is away until the second try; of one page the answer gets lost, and somebody pays on
    it. The customer pays on the one that counts, and gets everything back while benefits are awaited."""
    for provider in ("polar", "stripe"):
        world.core.faults.add(Fault(provider=provider, mode=FaultMode.DOWN))
    terms = await purchase_terms(world)
    handle, _ = await buy(world, terms)
    world.core.faults.clear()
    operation, mode = "checkouts.create", FaultMode.APPLIED_THEN_TIMEOUT
    world.core.faults.add(Fault(provider="polar", operation=operation, mode=mode))
    await world.sleep(timedelta(minutes=2))
    world.core.faults.clear()
    checkouts = world.sandbox.state.polar.checkouts
    checkouts.pay(next(iter(checkouts.all)))
    told = told_by(world, terms, "polar", "order.paid")
    await handle.signal(PurchaseWorkflow.provider_events, told)
    [page] = [one for one in await tries_of(world, terms) if one.outcome == "pending"]
    await pay_page(world, page)
    await give_back(world, page, terms.amount_minor)
    await world.sleep(REST)
    return await _of_purchase(world, terms)


async def purchase_refunded_late(world: World) -> Played:
    terms = await _paid(world)
    [page] = await tries_of(world, terms)
    await give_back(world, page, terms.amount_minor)
    told = told_by(world, terms, "polar", "order.refunded")
    await world.client.execute_workflow(
        LatePaymentWorkflow.run, told, id="late/recorded", task_queue=TASK_QUEUE
    )
    return Played({**(await _of_purchase(world, terms)).workflow_ids, "late": "late/recorded"})


async def purchase_page_forgotten(world: World) -> Played:
    """The provider says for a day that there is no such page: it is asked until it knows it again."""
    terms = await purchase_terms(world)
    await buy(world, terms)
    [page] = await tries_of(world, terms)
    await pay_page(world, page)
    pages = world.sandbox.state.polar.checkouts.all
    forgotten = pages.pop(page.provider_object_id)
    await world.sleep(timedelta(hours=25))
    pages[forgotten["id"]] = forgotten
    await world.sleep(REST)
    return await _of_purchase(world, terms)


async def benefit_given_and_taken(world: World) -> Played:
    """Two wishes while the provider is away, carried out one after the other."""
    terms = await purchase_terms(world)
    [benefit_id] = await world.all(select(Benefit.id))
    operation = "subscriptions.create"
    fault = Fault(provider="polar", operation=operation, mode=FaultMode.APPLIED_THEN_ERROR, count=1)
    world.core.faults.add(fault)
    workflow_id = benefit_workflow_id(terms.organization_id, benefit_id)
    for granted in (True, False):
        change = BenefitChange(
            actor="record",
            change_id=new_id(),
            application_id=terms.application_id,
            organization_id=terms.organization_id,
            benefit_id=benefit_id,
            provider=ProviderName.POLAR,
            granted=granted,
        )
        start = WithStartWorkflowOperation(
            BenefitWorkflow.run,
            id=workflow_id,
            task_queue=TASK_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        await world.client.execute_update_with_start_workflow(
            BenefitWorkflow.change, change, start_workflow_operation=start
        )
    return Played({"benefit": workflow_id})


PURCHASE_SCENARIOS: tuple[PurchaseScenario, ...] = (
    purchase_paid,
    purchase_paid_at_the_fallback,
    purchase_expired,
    purchase_answer_lost,
    purchase_refunded_late,
    purchase_page_forgotten,
    benefit_given_and_taken,
)


async def _paid(world: World) -> PurchaseTerms:
    terms = await purchase_terms(world)
    await buy(world, terms)
    [page] = await tries_of(world, terms)
    await pay_page(world, page)
    await world.sleep(REST)
    return terms


async def _of_purchase(world: World, terms: PurchaseTerms) -> Played:
    found = {"purchase": purchase_workflow_id(terms.purchase_id)}
    for number, attempt in enumerate(await tries_of(world, terms), start=1):
        found[f"payment-{number}"] = payment_workflow_id(attempt.id)
        found[f"resolve-{number}"] = resolve_workflow_id(attempt.id)
    return Played(found)
