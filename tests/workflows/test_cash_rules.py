"""Money that comes late, twice or to nobody: each has its place, whatever order it is heard in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from models.billing_policy import BillingPolicy, SpareMoneyAction
from models.cash_rules import MoneyCase
from models.commands import (
    Cancel,
    CreditUnapplied,
    ProviderEvents,
    RefundInput,
    payment_workflow_id,
)
from models.outcomes import Instrument, ProviderName
from models.storage.tables import (
    AuditEntry,
    CreditEntry,
    OutboundEvent,
    Payment,
    Refund,
    new_id,
)
from models.subscription import SubscriptionTerms
from tests.support.books import attempts_of, invoices_of, live_references
from tests.support.cash import plays
from tests.support.refunds import captures_of, carry_out, follow, told
from workflows.subscription import SubscriptionWorkflow

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def opened(
    world: World, instrument: Instrument, **policy: Any
) -> tuple[SubscriptionTerms, Any, str]:
    terms = await world.terms(instrument, policy=BillingPolicy(**policy))
    handle, _ = await world.open(terms)
    [reference] = live_references(world)
    return terms, handle, reference


async def pay(world: World, reference: str) -> None:
    await world.sandbox.state.conekta.pay(reference, None)


async def unapplied_told(world: World) -> list[tuple[str, str]]:
    statement = select(OutboundEvent.data).where(OutboundEvent.type == "payment.unapplied")
    said = await world.all(statement.order_by(OutboundEvent.sequence))
    return [(one["case"], one["action"]) for one in said]


async def canceled(world: World, handle: Any) -> None:
    await handle.execute_update(SubscriptionWorkflow.cancel, Cancel(actor="test", immediately=True))
    assert await handle.result() == "canceled"


@plays(MoneyCase.AFTER_END)
async def test_a_transfer_after_the_end_is_read_and_held(world: World) -> None:
    """The event that a CLABE was paid may say no more than: look."""
    terms, handle, clabe = await opened(world, Instrument.SPEI)
    await canceled(world, handle)
    await pay(world, clabe)
    looks = told(world, "conekta", "charge.paid", subscription_id=terms.subscription_id)
    assert [one.event.payment for one in looks.events] == [None]
    for _ in range(2):
        await follow(world, looks)
    [capture] = await captures_of(world, terms.subscription_id)
    assert (capture.amount_minor, capture.applied_minor) == (19900, 0)
    assert await unapplied_told(world) == [("after_end", "hold")]
    assert await world.all(select(Refund)) == []
    assert (await world.subscription(terms.subscription_id)).status == "canceled"
    await check_invariants(world)


async def test_a_plan_may_pay_late_money_back_by_itself(world: World) -> None:
    terms, handle, clabe = await opened(world, Instrument.SPEI, late_money=SpareMoneyAction.REFUND)
    await canceled(world, handle)
    await pay(world, clabe)
    await follow(
        world, told(world, "conekta", "charge.paid", subscription_id=terms.subscription_id)
    )
    [refund] = await world.all(select(Refund))
    await world.client.get_workflow_handle(f"refund/{refund.id}").result()
    [refund] = await world.all(select(Refund))
    assert (refund.status, refund.actor, refund.reason) == ("succeeded", "engine", "late_money")
    [back] = await world.all(select(Payment).where(Payment.kind == "refund"))
    assert (back.amount_minor, back.applied_minor) == (19900, 0)
    assert await unapplied_told(world) == [("after_end", "refund")]
    await check_invariants(world)


@plays(MoneyCase.PAID_TWICE)
async def test_two_transfers_are_told_of_in_one_breath(world: World) -> None:
    """The first one's event has a body that pays the invoice; the second one's says only: look."""
    terms, _, clabe = await opened(world, Instrument.SPEI)
    await pay(world, clabe)
    await pay(world, clabe)
    subscription_id = terms.subscription_id
    batch = ProviderEvents(
        events=[
            *told(world, "conekta", "order.paid", subscription_id=subscription_id).events[:1],
            *told(world, "conekta", "charge.paid", subscription_id=subscription_id).events,
        ]
    )
    assert [
        len(one.event.payment.captures) if one.event.payment else None for one in batch.events
    ] == [
        1,
        None,
        None,
    ]
    [attempt] = await attempts_of(world, terms)
    payment = world.client.get_workflow_handle(payment_workflow_id(attempt.id))
    await payment.signal("provider_events", batch)
    await payment.result()
    await world.sleep(HOUR)
    parts = [one.applied_minor for one in await captures_of(world, subscription_id)]
    assert sorted(parts) == [0, 19900]
    await check_invariants(world)


@pytest.mark.parametrize("action", list(SpareMoneyAction))
async def test_a_voucher_that_is_paid_twice(world: World, action: SpareMoneyAction) -> None:
    terms, _, reference = await opened(world, Instrument.OXXO, spare_money=action)
    await pay(world, reference)
    await pay(world, reference)
    await world.sleep(3 * DAY + HOUR)
    assert [i.status for i in await invoices_of(world, terms)] == ["paid"]
    parts = [one.applied_minor for one in await captures_of(world, terms.subscription_id)]
    assert sorted(parts) == [0, 19900]
    assert await unapplied_told(world) == [("paid_twice", str(action))]
    row = await world.subscription(terms.subscription_id)
    refunds = [one.status for one in await world.all(select(Refund))]
    if action is SpareMoneyAction.CREDIT:
        [entry] = await world.all(select(CreditEntry))
        assert (entry.amount_minor, row.credit_minor, refunds) == (19900, 19900, [])
    elif action is SpareMoneyAction.REFUND:
        assert (refunds, row.credit_minor) == (["pending"], 0)
        [waiting] = await world.all(select(Refund))
        order = RefundInput(refund_id=waiting.id, provider=ProviderName.CONEKTA)
        assert (await carry_out(world, order)).status == "succeeded"
    else:
        assert (refunds, row.credit_minor) == ([], 0)
    await check_invariants(world)


async def test_held_money_becomes_credit_by_command_once(world: World) -> None:
    terms, handle, reference = await opened(world, Instrument.OXXO)
    await pay(world, reference)
    await pay(world, reference)
    await world.sleep(3 * DAY + HOUR)
    [spare] = [
        one for one in await captures_of(world, terms.subscription_id) if not one.applied_minor
    ]
    credit_id = new_id()
    for amount_minor, id_, settled in (
        (900, credit_id, True),
        (900, credit_id, True),
        (19001, new_id(), False),
        (19000, new_id(), True),
    ):
        command = CreditUnapplied(
            actor="test",
            credit_id=id_,
            payment_id=spare.id,
            amount_minor=amount_minor,
            currency="MXN",
        )
        result = await handle.execute_update(SubscriptionWorkflow.credit, command)
        assert result.settled is settled
    entries = await world.all(select(CreditEntry).order_by(CreditEntry.id))
    assert [one.amount_minor for one in entries] == [900, 19000]
    assert (await world.subscription(terms.subscription_id)).credit_minor == 19900
    added = select(AuditEntry).where(AuditEntry.action == "credit.added")
    assert len(await world.all(added)) == 2
    await check_invariants(world)


@plays(MoneyCase.AFTER_REISSUE)
async def test_old_voucher_and_new_one_are_both_paid(world: World) -> None:
    terms, _, old = await opened(world, Instrument.OXXO)
    await world.sleep(3 * DAY + HOUR)
    [new] = live_references(world)
    await pay(world, old)
    await pay(world, new)
    await follow_to_subscription(world, terms, "order.paid")
    await world.sleep(DAY)
    assert [i.status for i in await invoices_of(world, terms)] == ["paid"]
    parts = [one.applied_minor for one in await captures_of(world, terms.subscription_id)]
    assert sorted(parts) == [0, 19900]
    assert await unapplied_told(world) == [("paid_twice", "hold")]
    await check_invariants(world)


@plays(MoneyCase.AFTER_EXPIRY, MoneyCase.AFTER_REISSUE)
async def test_a_voucher_that_is_paid_after_it_ran_out(world: World) -> None:
    """The invoice is still open, and the slip that replaced it must not be paid any more."""
    terms, _, old = await opened(world, Instrument.OXXO)
    await world.sleep(3 * DAY + HOUR)
    await pay(world, old)
    await follow_to_subscription(world, terms, "order.paid")
    await world.sleep(HOUR)
    assert live_references(world) == []
    assert [i.status for i in await invoices_of(world, terms)] == ["paid"]
    attempts = {a.outcome: a.reason for a in await attempts_of(world, terms)}
    assert attempts["succeeded"] == "paid_late"
    assert await unapplied_told(world) == []
    await check_invariants(world)


async def follow_to_subscription(world: World, terms: SubscriptionTerms, *types: str) -> None:
    """As the dispatcher does for a payment whose own workflow has ended."""
    events = told(world, "conekta", *types, subscription_id=terms.subscription_id)
    handle = world.client.get_workflow_handle(f"subscription/{terms.subscription_id}")
    await handle.signal("provider_events", events)


async def test_conekta_sends_a_transfer_of_another_amount_back(world: World) -> None:
    terms, _, clabe = await opened(world, Instrument.SPEI)
    returned = await world.sandbox.state.conekta.pay(clabe, 9900)
    assert returned["status"] == "returned"
    assert live_references(world) == [clabe]
    await pay(world, clabe)
    await world.sleep(3 * DAY + HOUR)
    assert [i.status for i in await invoices_of(world, terms)] == ["paid"]
    await check_invariants(world)


async def test_stripe_takes_its_due_of_a_transfer_of_too_much(world: World) -> None:
    """The rest is in the books as soon as the transfer is: nothing waits in a balance there."""
    terms = await world.terms(Instrument.SPEI, force_provider=ProviderName.STRIPE)
    await world.open(terms)
    [clabe] = live_references(world)
    await world.sandbox.state.stripe.pay(clabe, 25001)
    await world.sleep(3 * DAY + HOUR)
    [invoice] = await invoices_of(world, terms)
    assert (invoice.status, invoice.amount_paid_minor) == ("paid", 19900)
    captures = await captures_of(world, terms.subscription_id)
    assert {(c.amount_minor, c.applied_minor) for c in captures} == {(19900, 19900), (5101, 0)}
    assert await unapplied_told(world) == [("paid_twice", "hold")]
    assert "pending" not in {c["status"] for c in world.core.charges}, "the balance is empty"
    await check_invariants(world)
