"""What moves after a purchase has come to its end: refunds, and money on a page that does not count."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from models.purchase import PurchaseTerms
from models.storage.tables import (
    AuditEntry,
    BenefitGrant,
    OutboundEvent,
    Payment,
    Refund,
    new_id,
)
from sandbox.faults import Fault, FaultMode
from tests.support.shop import (
    bills_of,
    buy,
    give_back,
    hear_late,
    pay_page,
    purchase_terms,
    row_of,
    told_by,
    tries_of,
)
from workflows.purchase import PurchaseWorkflow

DAY = timedelta(days=1)
REFUNDS = select(Payment).where(Payment.kind == "refund").order_by(Payment.recorded_at)
TOLD = select(OutboundEvent.data).where(OutboundEvent.type == "purchase.refunded")


async def test_a_refund_at_polar_takes_purchase_and_benefit_back(world: World) -> None:
    terms = await purchase_terms(world)
    handle, _ = await buy(world, terms)
    [attempt] = await tries_of(world, terms)
    await pay_page(world, attempt)
    await world.sleep(4 * DAY)
    assert await handle.result() == "paid"

    await give_back(world, attempt, 4900)
    news = told_by(world, terms, "polar", "order.refunded")
    for _ in range(2):
        await hear_late(world, news)
        row = await row_of(world, terms)
        [invoice] = await bills_of(world, terms)
        [refund] = await world.all(REFUNDS)
        [grant] = await world.all(select(BenefitGrant))
        assert (row.status, invoice.status, invoice.amount_refunded_minor) == (
            "refunded",
            "refunded",
            4900,
        )
        assert (refund.amount_minor, refund.applied_minor) == (4900, 4900)
        assert (refund.attempt_id, refund.purchase_id) == (attempt.id, terms.purchase_id)
        assert grant.status == "revoked"
        [told] = await world.all(TOLD)
        assert (told["amount_minor"], told["status"]) == (4900, "refunded")
        assert len(await world.all(select(AuditEntry).where(_REFUNDED))) == 1
        await check_invariants(world)


async def test_refunds_at_stripe_are_counted_one_by_one(world: World) -> None:
    world.core.faults.add(Fault(provider="polar", mode=FaultMode.DOWN))
    terms = await purchase_terms(world)
    handle, _ = await buy(world, terms)
    [page] = [one for one in await tries_of(world, terms) if one.outcome == "pending"]
    await pay_page(world, page)
    await world.sleep(4 * DAY)
    assert await handle.result() == "paid"

    for amount_minor, status, granted in ((900, "paid", "waiting"), (4000, "refunded", "revoked")):
        await give_back(world, page, amount_minor)
        await hear_late(world, told_by(world, terms, "stripe", "charge.refunded"))
        assert (await row_of(world, terms)).status == status
        [grant] = await world.all(select(BenefitGrant))
        assert grant.status == granted
        await check_invariants(world)
    assert [one.amount_minor for one in await world.all(REFUNDS)] == [900, 4000]
    assert [told["amount_minor"] for told in await world.all(TOLD)] == [900, 4000]


async def test_paid_and_refunded_before_anybody_heard(world: World) -> None:
    """Webhooks are lost; the page is read when it has run out."""
    terms = await purchase_terms(world)
    handle, _ = await buy(world, terms)
    [attempt] = await tries_of(world, terms)
    await pay_page(world, attempt)
    await give_back(world, attempt, 4900)
    await world.sleep(4 * DAY)
    assert await handle.result() == "refunded"
    assert (await row_of(world, terms)).status == "refunded"
    await check_invariants(world)


async def test_a_refund_while_the_benefits_are_awaited(world: World) -> None:
    terms = await purchase_terms(world)
    handle, _ = await buy(world, terms)
    [attempt] = await tries_of(world, terms)
    await pay_page(world, attempt)
    await handle.signal(
        PurchaseWorkflow.provider_events, told_by(world, terms, "polar", "checkout.updated")
    )
    page = world.client.get_workflow_handle(f"payment/{attempt.id}")
    with world.env.auto_time_skipping_disabled():
        await page.signal("provider_events", told_by(world, terms, "polar", "order.paid"))
        await page.result()
    await give_back(world, attempt, 4900)
    await handle.signal(
        PurchaseWorkflow.provider_events, told_by(world, terms, "polar", "order.refunded")
    )
    await world.sleep(2 * DAY)
    assert await handle.result() == "refunded"
    await check_invariants(world)


async def test_a_refund_that_was_ordered_here_is_not_counted_twice(world: World) -> None:
    """Whoever ordered it has it on the way, and writes it down."""
    terms = await purchase_terms(world)
    handle, _ = await buy(world, terms)
    [attempt] = await tries_of(world, terms)
    await pay_page(world, attempt)
    await world.sleep(4 * DAY)
    assert await handle.result() == "paid"
    [capture] = await world.all(select(Payment))
    await world.add(_ordered(capture, terms))
    await give_back(world, attempt, 4900)
    await hear_late(world, told_by(world, terms, "polar", "order.refunded"))
    assert await world.all(REFUNDS) == []
    assert (await row_of(world, terms)).status == "paid"


async def test_money_on_a_page_whose_address_got_lost(world: World) -> None:
    """Nobody should ever see that page; if somebody pays on it all the same, the money stays in sight,
    and it goes back first."""
    mode = FaultMode.APPLIED_THEN_TIMEOUT
    world.core.faults.add(Fault(provider="polar", operation="checkouts.create", mode=mode))
    terms = await purchase_terms(world)
    handle, _ = await buy(world, terms)
    world.core.faults.clear()
    lost, counts = await tries_of(world, terms)
    polar = world.sandbox.state.polar
    page = next(iter(polar.checkouts.all))
    assert polar.checkouts.pay(page)["reference"] == page
    news = told_by(world, terms, "polar", "order.paid")
    await handle.signal(PurchaseWorkflow.provider_events, news)
    await pay_page(world, counts)
    await world.sleep(4 * DAY)
    assert await handle.result() == "paid"
    by_provider = {one.provider: one for one in await world.all(select(Payment))}
    assert (by_provider["polar"].applied_minor, by_provider["stripe"].applied_minor) == (0, 4900)
    await check_invariants(world)

    lost.provider_object_id = page
    await give_back(world, lost, 4900)
    await hear_late(world, told_by(world, terms, "polar", "order.refunded"))
    [refund] = await world.all(REFUNDS)
    assert (refund.amount_minor, refund.applied_minor) == (4900, 0)
    assert (await row_of(world, terms)).status == "paid"
    await check_invariants(world)


_REFUNDED = AuditEntry.action == "payment.refunded"


def _ordered(capture: Payment, terms: PurchaseTerms) -> Refund:
    return Refund(
        id=new_id(),
        application_id=capture.application_id,
        organization_id=terms.organization_id,
        purchase_id=terms.purchase_id,
        invoice_id=capture.invoice_id,
        payment_id=capture.id,
        provider=capture.provider,
        account="default",
        amount_minor=capture.amount_minor,
        currency=capture.currency,
        status="pending",
        actor="test",
        created_at=capture.recorded_at,
        updated_at=capture.recorded_at,
    )
