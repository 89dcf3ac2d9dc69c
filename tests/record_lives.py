"""What happens in the middle of a subscription's life, for `tests/record_histories.py`: pauses, changes of
the plan, money that comes late or goes back, disputes, cards that are kept and forgotten."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from abono.simulate.world import World
from models.billing_policy import OnUnpaid
from models.calendar import BillingInterval
from models.commands import (
    TASK_QUEUE,
    Cancel,
    DetachPaymentMethodInput,
    Pause,
    PauseAt,
    Resume,
    RetryPayment,
    SetPaymentMethod,
    dispute_workflow_id,
    late_workflow_id,
    payment_method_workflow_id,
    payment_workflow_id,
    refund_workflow_id,
)
from models.outcomes import Instrument, ProviderName
from models.plan_change import Proration
from models.reconcile import ReconcileInput
from models.storage.tables import new_id
from models.subscription import SubscriptionTerms
from sandbox.faults import Fault, FaultMode
from tests.record_purchases import Played
from tests.support.books import attempts_of, live_references
from tests.support.changing import change, offer, sell
from tests.support.disputes import hear_disputes
from tests.support.refunds import captures_of, reserve, told
from tests.workflows.test_cards import AUSTIN, MEXICO_CITY, holder
from tests.workflows.test_dunning import kept, missed
from workflows.late_payment import LatePaymentWorkflow
from workflows.payment_method import DetachPaymentMethodWorkflow
from workflows.reconcile import ReconcileWorkflow
from workflows.refund import RefundWorkflow
from workflows.subscription import SubscriptionWorkflow

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PAUSE, RESUME = Pause(actor="record"), Resume(actor="record")


async def paid_by_voucher(world: World) -> tuple[SubscriptionTerms, Any]:
    """Paid an hour after it was opened; from then on nobody pays by itself."""
    world.payer.after = HOUR
    terms = await world.terms(Instrument.OXXO)
    handle, _ = await world.open(terms)
    await world.sleep(3 * DAY + HOUR)
    world.payer.after = None
    return terms, handle


async def voucher_paused_and_resumed(world: World) -> SubscriptionTerms:
    """While the next period's slip is out; resumed when what was paid for is long over."""
    terms, handle = await paid_by_voucher(world)
    await world.sleep(26 * DAY)
    await handle.execute_update(SubscriptionWorkflow.pause, PAUSE)
    await world.sleep(60 * DAY)
    await handle.execute_update(SubscriptionWorkflow.resume, RESUME)
    world.payer.after = HOUR
    await world.sleep(4 * DAY)
    return terms


async def card_paused_and_resumed(world: World) -> SubscriptionTerms:
    terms = await holder(world, AUSTIN.good)
    handle, _ = await world.open(terms)
    await handle.execute_update(SubscriptionWorkflow.pause, PAUSE)
    await world.sleep(40 * DAY)
    await handle.execute_update(SubscriptionWorkflow.resume, RESUME)
    await world.sleep(DAY)
    return terms


async def card_paused_with_its_period(world: World) -> SubscriptionTerms:
    """The other provider, and by itself."""
    terms = await holder(world, MEXICO_CITY.good, MEXICO_CITY)
    handle, _ = await world.open(terms)
    end = (await world.subscription(terms.subscription_id)).current_period_end
    assert end is not None
    command = Pause(actor="record", at=PauseAt.PERIOD_END, resume_at=end + 10 * DAY)
    await handle.execute_update(SubscriptionWorkflow.pause, command)
    await world.sleep(42 * DAY)
    return terms


async def card_paused_unpaid(world: World) -> SubscriptionTerms:
    """Months later another card pays: Conekta gets another subscription for it."""
    terms, handle = await missed(world, kept(OnUnpaid.PAUSE), wallet=MEXICO_CITY)
    await world.sleep(40 * DAY)
    better = await world.store_card(terms.organization_id, MEXICO_CITY.good, ProviderName.CONEKTA)
    paid = RetryPayment(actor="record", payment_method_id=better)
    await handle.execute_update(SubscriptionWorkflow.retry_payment, paid)
    await world.sleep(HOUR)
    return terms


async def voucher_plan_changed(world: World) -> SubscriptionTerms:
    """One change is paid by a slip of its own, the other comes with the next period."""
    terms, handle = await paid_by_voucher(world)
    world.payer.after = HOUR
    await change(world, handle, offer(terms, 39900))
    await world.sleep(4 * DAY)
    await change(world, handle, offer(terms, 29900), Proration.NEXT_PERIOD)
    await world.sleep(26 * DAY)
    return terms


async def voucher_plan_change_lapsed(world: World) -> SubscriptionTerms:
    terms, handle = await paid_by_voucher(world)
    await change(world, handle, offer(terms, 39900))
    await world.sleep(5 * DAY)
    await change(world, handle, offer(terms, 9900), Proration.PRORATE)  # Becomes credit.
    await world.sleep(22 * DAY)
    await change(
        world, handle, offer(terms, 14900), Proration.NONE
    )  # A slip is out at the old price.
    await world.sleep(HOUR)
    return terms


async def card_plan_changed(world: World) -> SubscriptionTerms:
    """Dearer seats at once, then for a year, and a cheaper plan with the next period."""
    terms = await holder(world, AUSTIN.good)
    handle, _ = await world.open(terms)
    await world.sleep(5 * DAY)
    await change(world, handle, offer(terms, 1900, quantity=3))
    await change(world, handle, offer(terms, 2900), Proration.NEXT_PERIOD)
    yearly = offer(terms, 19000, interval=BillingInterval.YEARLY)
    await sell(world, terms, yearly)
    await change(world, handle, yearly)
    await world.sleep(DAY)
    return terms


async def card_trial_begun_without_a_card(world: World) -> SubscriptionTerms:
    terms = await world.terms(Instrument.CARD, trial_days=14, **AUSTIN.customer)
    handle, _ = await world.open(terms)
    await world.sleep(5 * DAY)
    card = await world.store_card(terms.organization_id, AUSTIN.good, AUSTIN.provider)
    command = SetPaymentMethod(actor="record", payment_method_id=card)
    await handle.execute_update(SubscriptionWorkflow.set_payment_method, command)
    await world.sleep(11 * DAY)
    return terms


async def card_refused_to_be_read(world: World) -> SubscriptionTerms:
    """Its provider says for some days that there is no such subscription; it was billed all the same."""
    terms = await holder(world, AUSTIN.good)
    await world.open(terms)
    world.core.faults.add(Fault(provider="stripe", mode=FaultMode.GONE))
    await world.sleep(32 * DAY)
    world.core.faults.clear()
    await world.sleep(DAY)
    return terms


async def card_kept_changed_and_forgotten(world: World) -> Played:
    terms = await holder(world, AUSTIN.good)
    handle, _ = await world.open(terms)
    other = await world.store_card(terms.organization_id, "pm_card_mastercard")
    command = SetPaymentMethod(actor="record", payment_method_id=other)
    await handle.execute_update(SubscriptionWorkflow.set_payment_method, command)
    assert terms.payment_method_id is not None
    forget = DetachPaymentMethodInput(
        payment_method_id=terms.payment_method_id,
        application_id=terms.application_id,
        organization_id=terms.organization_id,
        provider=ProviderName.STRIPE,
    )
    with world.env.auto_time_skipping_disabled():
        await world.client.execute_workflow(
            DetachPaymentMethodWorkflow.run, forget, id="detach/recorded", task_queue=TASK_QUEUE
        )
    kept = payment_method_workflow_id(other)
    return Played({**_subscription(terms), "card": kept, "detach": "detach/recorded"})


async def voucher_paid_twice(world: World) -> Played:
    """The second time for the slip that had run out, after a new one was paid."""
    terms = await world.terms(Instrument.OXXO)
    handle, _ = await world.open(terms)
    [old] = live_references(world)
    await world.sleep(3 * DAY + HOUR)
    [new] = live_references(world)
    for reference in (old, new):
        await world.sandbox.state.conekta.pay(reference, None)
    late = told(world, "conekta", "order.paid", subscription_id=terms.subscription_id)
    await handle.signal(SubscriptionWorkflow.provider_events, late)
    await world.sleep(4 * DAY)
    return Played({**_subscription(terms), **await _payments(world, terms)})


async def transfer_of_too_little(world: World) -> Played:
    terms = await world.terms(Instrument.SPEI, force_provider=ProviderName.STRIPE)
    await world.open(terms)
    [clabe] = live_references(world)
    await world.sandbox.state.stripe.pay(clabe, 5000)
    await world.sleep(3 * DAY + HOUR)
    return Played({**_subscription(terms), **await _payments(world, terms)})


async def transfer_paid_after_the_end(world: World) -> Played:
    terms = await world.terms(Instrument.SPEI)
    handle, _ = await world.open(terms)
    [clabe] = live_references(world)
    cancel = Cancel(actor="record", immediately=True)
    await handle.execute_update(SubscriptionWorkflow.cancel, cancel)
    await handle.result()
    await world.sandbox.state.conekta.pay(clabe, None)
    news = told(world, "conekta", "charge.paid", subscription_id=terms.subscription_id)
    late = late_workflow_id(new_id())
    with world.env.auto_time_skipping_disabled():
        await world.client.execute_workflow(
            LatePaymentWorkflow.run, news, id=late, task_queue=TASK_QUEUE
        )
    return Played({**_subscription(terms), "late": late})


async def card_refunded(world: World) -> Played:
    terms = await holder(world, AUSTIN.good)
    await world.open(terms)
    return await _refunded(world, terms)


async def card_refund_not_paid_out_at_once(world: World) -> Played:
    terms = await holder(world, "pm_card_pendingRefund")
    await world.open(terms)
    return await _refunded(world, terms)


async def card_disputed(world: World) -> Played:
    """Opened, lost; the subscription is canceled with its period."""
    terms = await holder(world, AUSTIN.good)
    await world.open(terms)
    [charge] = [one for one in world.core.charges if one["kind"] == "charge"]
    await world.sandbox.state.stripe.dispute(charge["id"], None)
    opened = await hear_disputes(world)
    await world.sandbox.state.stripe.close_dispute(charge["id"], "lost")
    closed = await hear_disputes(world)
    heard = enumerate([*opened, *closed], start=1)
    disputes = {f"dispute-{number}": dispute_workflow_id(id_) for number, id_ in heard}
    return Played({**_subscription(terms), **disputes})


async def books_compared(world: World) -> Played:
    """A dry run, and one that finds a payment whose webhook was lost and asks whether it is repaired."""
    terms = await world.terms(Instrument.OXXO)
    await world.open(terms)
    [slip] = live_references(world)
    await world.sandbox.state.conekta.pay(slip, None)
    now = await world.env.get_current_time()
    found = {}
    for name, dry_run in (("dry", True), ("repairing", False)):
        request = ReconcileInput(
            provider=ProviderName.CONEKTA, since=now - 40 * DAY, dry_run=dry_run
        )
        with world.env.auto_time_skipping_disabled():
            await world.client.execute_workflow(
                ReconcileWorkflow.run, request, id=f"reconcile/{name}", task_queue=TASK_QUEUE
            )
        found[name] = f"reconcile/{name}"
    return Played(found)


LIFE_SCENARIOS = (
    voucher_paused_and_resumed,
    card_paused_and_resumed,
    card_paused_with_its_period,
    card_paused_unpaid,
    voucher_plan_changed,
    voucher_plan_change_lapsed,
    card_plan_changed,
    card_trial_begun_without_a_card,
    card_refused_to_be_read,
    card_kept_changed_and_forgotten,
    voucher_paid_twice,
    transfer_of_too_little,
    transfer_paid_after_the_end,
    card_refunded,
    card_refund_not_paid_out_at_once,
    card_disputed,
    books_compared,
)


async def _refunded(world: World, terms: SubscriptionTerms) -> Played:
    [capture] = await captures_of(world, terms.subscription_id)
    order = await reserve(world, capture, 700)
    workflow_id = refund_workflow_id(order.refund_id)
    await world.client.start_workflow(
        RefundWorkflow.run, order, id=workflow_id, task_queue=TASK_QUEUE
    )
    await world.sleep(DAY)
    return Played({"refund": workflow_id})


def _subscription(terms: SubscriptionTerms) -> dict[str, str]:
    return {"subscription": f"subscription/{terms.subscription_id}"}


async def _payments(world: World, terms: SubscriptionTerms) -> dict[str, str]:
    attempts = enumerate(await attempts_of(world, terms), start=1)
    return {f"payment-{number}": payment_workflow_id(one.id) for number, one in attempts}
