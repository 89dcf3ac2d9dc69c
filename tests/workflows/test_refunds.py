"""Money that goes back: ordered here or at the provider, whole or in part, whatever gets lost."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from models.commands import TASK_QUEUE, Cancel
from models.outcomes import Instrument
from models.storage.tables import AuditEntry, OutboundEvent, Payment, Refund
from models.subscription import SubscriptionTerms
from sandbox.faults import Fault, FaultMode
from tests.support.books import invoices_of
from tests.support.refunds import (
    captures_of,
    carry_out,
    follow,
    refund,
    refund_elsewhere,
    reserve,
    told,
)
from tests.workflows.test_cards import AUSTIN, MEXICO_CITY, Wallet, holder
from workflows.refund import RefundWorkflow
from workflows.subscription import SubscriptionWorkflow

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BACK = select(Payment).where(Payment.kind == "refund").order_by(Payment.recorded_at, Payment.id)
BACK_TYPES = {
    "stripe": ("charge.refunded", "refund.created"),
    "conekta": ("charge.refunded", "order.refunded", "order.partially_refunded"),
}


async def paid_transfer(world: World) -> SubscriptionTerms:
    world.payer.after = HOUR
    terms = await world.terms(Instrument.SPEI)
    await world.open(terms)
    await world.sleep(3 * DAY + HOUR)
    return terms


async def events_of(world: World, type_: str) -> list[dict[str, object]]:
    statement = select(OutboundEvent.data).where(OutboundEvent.type == type_)
    return await world.all(statement.order_by(OutboundEvent.sequence))


async def test_in_parts_and_then_in_full_and_the_webhooks_add_nothing(world: World) -> None:
    terms = await paid_transfer(world)
    [capture] = await captures_of(world, terms.subscription_id)
    for amount_minor, status, refunded in ((900, "paid", 900), (19000, "refunded", 19900)):
        order = await reserve(world, capture, amount_minor)
        assert (await carry_out(world, order)).status == "succeeded"
        [invoice] = await invoices_of(world, terms)
        assert (invoice.status, invoice.amount_refunded_minor) == (status, refunded)
        await follow(world, told(world, "conekta", *BACK_TYPES["conekta"]))
        await check_invariants(world)
    assert [one.amount_minor for one in await world.all(BACK)] == [900, 19000]
    said = await events_of(world, "invoice.refunded")
    assert [one["amount_minor"] for one in said] == [900, 19000]
    row = await world.subscription(terms.subscription_id)
    assert row.status == "active", "a refund ends nothing by itself"


@pytest.mark.parametrize("mode", [FaultMode.APPLIED_THEN_TIMEOUT, FaultMode.APPLIED_THEN_ERROR])
@pytest.mark.parametrize("wallet", [AUSTIN, MEXICO_CITY], ids=["stripe", "conekta"])
async def test_a_lost_answer_pays_back_once(world: World, wallet: Wallet, mode: FaultMode) -> None:
    terms = await holder(world, wallet.good, wallet)
    await world.open(terms)
    [capture] = await captures_of(world, terms.subscription_id)
    operation = "refunds.create" if capture.provider == "stripe" else "orders.refund"
    world.core.faults.add(Fault(provider=capture.provider, operation=operation, mode=mode, count=1))
    assert (await refund(world, capture, 700)).status == "succeeded"
    [moved] = [one for one in world.core.charges if one["kind"] == "refund"]
    assert moved["amount_minor"] == 700
    await check_invariants(world)


@pytest.mark.parametrize("wallet", [AUSTIN, MEXICO_CITY], ids=["stripe", "conekta"])
async def test_a_refund_at_the_dashboard_is_booked_once(world: World, wallet: Wallet) -> None:
    terms = await holder(world, wallet.good, wallet)
    handle, _ = await world.open(terms)
    [invoice] = await invoices_of(world, terms)
    assert invoice.provider_invoice_id is not None
    provider = str(wallet.provider)
    await refund_elsewhere(world, provider, invoice.provider_invoice_id, 500)
    for _ in range(2):
        await follow(world, told(world, provider, *BACK_TYPES[provider]))
    [back] = await world.all(BACK)
    assert (back.amount_minor, back.applied_minor) == (500, 500)
    await check_invariants(world)

    # After its end as well.
    await handle.execute_update(SubscriptionWorkflow.cancel, Cancel(actor="test", immediately=True))
    assert await handle.result() == "canceled"
    await refund_elsewhere(world, provider, invoice.provider_invoice_id, 1400, already=500)
    await follow(
        world, told(world, provider, *BACK_TYPES[provider], subscription_id=terms.subscription_id)
    )
    [invoice] = await invoices_of(world, terms)
    assert (invoice.status, invoice.amount_refunded_minor) == ("refunded", 1900)
    await check_invariants(world)


async def test_a_refund_that_comes_back_days_later_is_taken_back_in_the_books(
    world: World,
) -> None:
    """Ours in full after one at the dashboard: each fails, and the invoice is paid as if none had been."""
    terms = await holder(world, AUSTIN.good)
    await world.open(terms)
    [capture] = await captures_of(world, terms.subscription_id)
    [invoice] = await invoices_of(world, terms)
    assert invoice.provider_invoice_id is not None
    await refund_elsewhere(world, "stripe", invoice.provider_invoice_id, 500)
    await follow(world, told(world, "stripe", *BACK_TYPES["stripe"]))
    assert (await refund(world, capture, 1400)).status == "succeeded"
    assert [i.status for i in await invoices_of(world, terms)] == ["refunded"]
    theirs, ours = list(world.core.collection("stripe", "refunds"))
    for refund_id, left in ((ours, 500), (theirs, 0)):
        await world.sandbox.state.stripe.fail_refund(refund_id)
        for _ in range(2):
            await follow(world, told(world, "stripe", "refund.failed", "charge.refund.updated"))
        [invoice] = await invoices_of(world, terms)
        assert (invoice.status, invoice.amount_refunded_minor) == ("paid", left)
        await check_invariants(world)
    rows = await world.all(select(Refund))
    assert {(row.status, row.failure_code) for row in rows} == {
        ("failed", "expired_or_canceled_card")
    }
    said = await events_of(world, "refund.failed")
    assert [(one["amount_minor"], one["invoice_status"]) for one in said] == [
        (1400, "paid"),
        (500, "paid"),
    ]
    audited = select(AuditEntry.action).where(AuditEntry.action == "refund.reversed")
    assert len(await world.all(audited)) == 2
    assert invoice.provider_invoice_id is not None
    # The same total again is another refund, and all of it may go back.
    await refund_elsewhere(world, "stripe", invoice.provider_invoice_id, 500)
    await follow(world, told(world, "stripe", *BACK_TYPES["stripe"]))
    assert (await refund(world, capture, 1400)).status == "succeeded"
    await check_invariants(world)


async def test_a_refund_at_the_dashboard_that_nobody_told_of(world: World) -> None:
    """Conekta names no refund: by its sums alone ours is told from somebody else's."""
    terms = await paid_transfer(world)
    [capture] = await captures_of(world, terms.subscription_id)
    [order_id] = list(world.sandbox.state.conekta.payments.orders)
    await refund_elsewhere(world, "conekta", order_id, 300)
    assert (await refund(world, capture, 900)).status == "succeeded"
    assert sorted(one.amount_minor for one in await world.all(BACK)) == [300, 900]
    await check_invariants(world)


async def test_what_the_provider_refuses_is_free_again(world: World) -> None:
    """Somebody was faster at the dashboard: ours is refused, and theirs is in the books."""
    terms = await holder(world, AUSTIN.good)
    await world.open(terms)
    [capture] = await captures_of(world, terms.subscription_id)
    order = await reserve(world, capture, 1900)
    await refund_elsewhere(world, "stripe", capture.provider_charge_id, 1900)
    assert (await carry_out(world, order)).status == "failed"
    ours, theirs = await world.all(select(Refund).order_by(Refund.id))
    assert (ours.status, ours.failure_code) == ("failed", "charge_already_refunded")
    assert (theirs.status, theirs.actor) == ("succeeded", "provider:stripe")
    assert [one["failure_code"] for one in await events_of(world, "refund.failed")] == [
        "charge_already_refunded"
    ]
    assert [one.amount_minor for one in await world.all(BACK)] == [1900]
    await check_invariants(world)


async def test_two_refunds_at_once_take_turns(world: World) -> None:
    terms = await paid_transfer(world)
    [capture] = await captures_of(world, terms.subscription_id)
    first, second = [await reserve(world, capture, 500) for _ in range(2)]
    handle = await world.client.start_workflow(
        "RefundWorkflow", second, id=f"refund/{second.refund_id}", task_queue="abono"
    )
    assert (await carry_out(world, first)).status == "succeeded"
    with world.env.auto_time_skipping_disabled():
        await handle.result()
    moved = [one["amount_minor"] for one in world.core.charges if one["kind"] == "refund"]
    assert moved == [500, 500], "of equal amounts neither is taken for the other"
    assert {one.status for one in await world.all(select(Refund))} == {"succeeded"}
    await check_invariants(world)


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_refund_that_the_provider_has_not_paid_out_is_followed(
    world: World, arrives: bool
) -> None:
    """Days may pass, in which the provider forgets under which key the refund was asked for."""
    terms = await holder(world, "pm_card_pendingRefund")
    await world.open(terms)
    [capture] = await captures_of(world, terms.subscription_id)
    order = await reserve(world, capture, 700)
    if not arrives:
        refused = Fault(provider="stripe", operation="refunds.retrieve", mode=FaultMode.DECLINE)
        world.core.faults.add(refused)
    handle = await world.client.start_workflow(
        RefundWorkflow.run, order, id=f"refund/{order.refund_id}", task_queue=TASK_QUEUE
    )
    await world.sleep(HOUR)
    [row] = await world.all(select(Refund))
    assert (row.status, row.provider_refund_id is None) == ("pending", False)
    assert await world.all(BACK) == []
    await world.sleep(DAY)
    with world.env.auto_time_skipping_disabled():
        result = await handle.result()
    [row] = await world.all(select(Refund))
    [moved] = [one for one in world.core.charges if one["kind"] == "refund"]
    [invoice] = await invoices_of(world, terms)
    if arrives:
        assert (result.status, row.status, moved["status"]) == (
            "succeeded",
            "succeeded",
            "succeeded",
        )
        assert invoice.amount_refunded_minor == 700
    else:
        assert (result.status, row.failure_code) == ("failed", "refund_failed")
        assert (moved["status"], invoice.amount_refunded_minor) == ("declined", 0)
        assert [one["refund_id"] for one in await events_of(world, "refund.failed")] == [
            str(order.refund_id)
        ]
        world.core.faults.clear()
        assert (await reserve(world, capture, 1900)).refund_id, "all of it may go back again"
    await check_invariants(world)
