"""Purchases through their whole life, webhooks all lost: the workflow looks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from models.commands import TASK_QUEUE, InboxEvent, ProviderEvents
from models.events import EventKind, ProviderEvent
from models.outcomes import ProviderName
from models.snapshots import Capture, PaymentSnapshot, PaymentStatus
from models.storage.tables import (
    AuditEntry,
    BenefitGrant,
    FallbackEvent,
    OutboundEvent,
    Payment,
    new_id,
)
from sandbox.faults import Fault, FaultMode
from tests.support.shop import bills_of, buy, pay_page, purchase_terms, row_of, tries_of
from workflows.late_payment import LatePaymentWorkflow
from workflows.purchase import PurchaseWorkflow

DAY = timedelta(days=1)


async def test_a_page_is_paid_and_the_benefit_arrives(world: World) -> None:
    terms = await purchase_terms(world)
    handle, result = await buy(world, terms)
    [attempt] = await tries_of(world, terms)
    assert (result.status, result.settled) == ("pending", True)
    assert (attempt.provider, attempt.outcome) == ("polar", "pending")
    assert attempt.next_action is not None
    assert attempt.next_action["type"] == "redirect"

    assert (await pay_page(world, attempt))["status"] == "paid"
    await world.sleep(4 * DAY)
    assert await handle.result() == "paid"

    row = await row_of(world, terms)
    [invoice] = await bills_of(world, terms)
    [payment] = await world.all(select(Payment))
    [grant] = await world.all(select(BenefitGrant))
    assert (row.status, row.provider, row.paid_at is not None) == ("paid", "polar", True)
    assert (invoice.status, invoice.amount_paid_minor) == ("paid", 4900)
    assert (payment.purchase_id, payment.applied_minor) == (terms.purchase_id, 4900)
    assert (grant.status, grant.provider, grant.purchase_id) == (
        "granted",
        "polar",
        terms.purchase_id,
    )
    told = select(OutboundEvent.type).order_by(OutboundEvent.sequence)
    of_purchase = told.where(OutboundEvent.purchase_id == terms.purchase_id)
    assert await world.all(of_purchase) == ["payment.issued", "purchase.paid"]
    others = told.where(OutboundEvent.purchase_id.is_(None))
    assert await world.all(others) == ["benefit.granted"]
    await check_invariants(world)


async def test_a_page_that_nobody_pays_expires(world: World) -> None:
    terms = await purchase_terms(world)
    handle, _ = await buy(world, terms)
    await world.sleep(4 * DAY)
    assert await handle.result() == "expired"
    row = await row_of(world, terms)
    [attempt] = await tries_of(world, terms)
    [invoice] = await bills_of(world, terms)
    assert (row.status, row.paid_at, invoice.status) == ("expired", None, "void")
    assert (attempt.outcome, attempt.next_action) == ("declined", None)
    assert await world.all(select(BenefitGrant)) == []


@pytest.mark.parametrize(
    "mode",
    [FaultMode.DOWN, FaultMode.ERROR, FaultMode.RATE_LIMIT, FaultMode.APPLIED_THEN_TIMEOUT],
)
async def test_stripe_stands_in_for_polar(world: World, mode: FaultMode) -> None:
    """Also when only the answer was lost: the page at Polar is there, but nobody has its address."""
    world.core.faults.add(Fault(provider="polar", operation="checkouts.create", mode=mode))
    terms = await purchase_terms(world)
    handle, result = await buy(world, terms)
    assert result.settled
    first, second = await tries_of(world, terms)
    assert (first.provider, first.outcome) == ("polar", "not_attempted")
    assert (second.provider, second.outcome) == ("stripe", "pending")
    [fallback] = await world.all(select(FallbackEvent))
    assert (fallback.attempted_provider, fallback.fallback_provider) == ("polar", "stripe")
    assert fallback.purchase_id == terms.purchase_id
    assert fallback.invoice_id == first.invoice_id

    await pay_page(world, second)
    await world.sleep(4 * DAY)
    assert await handle.result() == "paid"
    assert (await row_of(world, terms)).provider == "stripe"
    [grant] = await world.all(select(BenefitGrant))
    assert (grant.status, grant.error_code) == ("waiting", "provider_grants_no_benefits")
    await check_invariants(world)


@pytest.mark.parametrize("operation", ["customers.create", "products.create", "benefits.create"])
@pytest.mark.parametrize("mode", [FaultMode.APPLIED_THEN_TIMEOUT, FaultMode.APPLIED_THEN_ERROR])
async def test_a_lost_answer_before_the_page_leaves_one_page(
    world: World, operation: str, mode: FaultMode
) -> None:
    world.core.faults.add(Fault(provider="polar", operation=operation, mode=mode, count=1))
    terms = await purchase_terms(world)
    await buy(world, terms)
    [attempt] = await tries_of(world, terms)
    assert (attempt.provider, attempt.outcome) == ("polar", "pending")
    assert list(world.sandbox.state.polar.checkouts.all) == [attempt.provider_object_id]


async def test_a_page_that_its_provider_forgets_for_a_while_is_asked_for(world: World) -> None:
    terms = await purchase_terms(world)
    handle, _ = await buy(world, terms)
    [attempt] = await tries_of(world, terms)
    await pay_page(world, attempt)
    pages = world.sandbox.state.polar.checkouts.all
    forgotten = pages.pop(attempt.provider_object_id)
    await world.sleep(timedelta(hours=25))
    pages[forgotten["id"]] = forgotten
    await world.sleep(4 * DAY)
    assert await handle.result() == "paid"
    await check_invariants(world)


async def test_no_page_anywhere_is_a_failure_in_the_end(world: World) -> None:
    for provider in ("polar", "stripe"):
        world.core.faults.add(Fault(provider=provider, mode=FaultMode.DOWN))
    terms = await purchase_terms(world)
    handle, result = await buy(world, terms)
    assert (result.status, result.settled) == ("pending", False)
    await world.sleep(4 * DAY)
    assert await handle.result() == "failed"
    assert {a.outcome for a in await tries_of(world, terms)} == {"not_attempted"}
    [invoice] = await bills_of(world, terms)
    assert invoice.status == "failed"
    await check_invariants(world)


async def test_money_on_two_pages_pays_once_and_stays_in_sight(world: World) -> None:
    """The page whose answer was lost is paid beside the one that counts."""
    mode = FaultMode.APPLIED_THEN_TIMEOUT
    world.core.faults.add(Fault(provider="polar", operation="checkouts.create", mode=mode))
    terms = await purchase_terms(world)
    handle, _ = await buy(world, terms)
    lost, counts = await tries_of(world, terms)
    event = _paid_elsewhere(str(lost.id))
    await handle.signal(PurchaseWorkflow.provider_events, event)
    await handle.signal(PurchaseWorkflow.provider_events, event)
    await pay_page(world, counts)
    await world.sleep(4 * DAY)
    assert await handle.result() == "paid"

    payments = await world.all(select(Payment).order_by(Payment.provider))
    assert [(p.provider, p.applied_minor) for p in payments] == [("polar", 0), ("stripe", 4900)]
    [invoice] = await bills_of(world, terms)
    assert (invoice.status, invoice.amount_paid_minor) == ("paid", 4900)
    [entry] = await world.all(select(AuditEntry).where(_UNAPPLIED))
    assert entry.purchase_id == terms.purchase_id


async def test_money_after_the_end_stays_in_sight(world: World) -> None:
    terms = await purchase_terms(world)
    handle, _ = await buy(world, terms)
    [attempt] = await tries_of(world, terms)
    await world.sleep(4 * DAY)
    assert await handle.result() == "expired"
    told = _paid_elsewhere(str(attempt.id))
    owned = told.events[0].event.model_copy(update={"purchase_id": str(terms.purchase_id)})
    late = ProviderEvents(events=[InboxEvent(id=told.events[0].id, event=owned)])
    for number in (1, 2):
        await world.client.execute_workflow(
            LatePaymentWorkflow.run, late, id=f"late/{number}", task_queue=TASK_QUEUE
        )
    [payment] = await world.all(select(Payment))
    assert (payment.purchase_id, payment.applied_minor) == (terms.purchase_id, 0)
    assert len(await world.all(select(AuditEntry).where(_UNAPPLIED))) == 1


_UNAPPLIED = AuditEntry.action == "payment.unapplied"


def _paid_elsewhere(attempt_id: str) -> ProviderEvents:
    moment = datetime.now(UTC)
    capture = Capture(
        provider_charge_id="order_lost", amount_minor=4900, currency="USD", captured_at=moment
    )
    payment = PaymentSnapshot(
        provider=ProviderName.POLAR,
        provider_payment_id="lost",
        status=PaymentStatus.SUCCEEDED,
        amount_minor=4900,
        currency="USD",
        captures=[capture],
    )
    event = ProviderEvent(
        provider=ProviderName.POLAR,
        provider_event_id="evt_lost",
        event_type="order.paid",
        kind=EventKind.PAYMENT,
        occurred_at=moment,
        attempt_id=attempt_id,
        payment=payment,
    )
    return ProviderEvents(events=[InboxEvent(id=new_id(), event=event)])
