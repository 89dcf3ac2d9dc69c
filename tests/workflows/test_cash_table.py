"""Every row of the table of cash and transfer rules is played: several subscriptions share a world."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import select

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from models.billing_policy import BillingPolicy
from models.cash_rules import CASH_RULES, MoneyCase
from models.commands import Cancel, InboxEvent, Pause, ProviderEvents, payment_workflow_id
from models.events import EventKind, ProviderEvent
from models.operations import MarkPaid
from models.outcomes import Instrument, ProviderName
from models.snapshots import Capture, PaymentSnapshot, PaymentStatus
from models.storage.tables import OutboundEvent, ReconciliationFinding, new_id
from models.subscription import SubscriptionTerms
from providers.stripe.cash_balance import SWEEPS
from tests.support.books import attempts_of, invoices_of
from tests.support.cash import PLAYED, plays
from tests.support.changing import change, offer
from tests.support.refunds import captures_of, follow, refund, refund_elsewhere, told
from tests.workflows import test_cash_rules
from tests.workflows.test_reconcile import reconcile
from workflows.subscription import SubscriptionWorkflow

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FULL = 19900


async def opened(
    world: World, instrument: Instrument = Instrument.OXXO, **changes: Any
) -> tuple[SubscriptionTerms, Any]:
    terms = await world.terms(instrument, **changes)
    handle, _ = await world.open(terms)
    return terms, handle


def slip_of(world: World, terms: SubscriptionTerms) -> str:
    """What this customer could pay at this moment."""
    mine = str(terms.subscription_id)
    [reference] = [
        str(one["reference"])
        for one in world.core.charges
        if one["subscription_id"] == mine and one["status"] == "pending"
    ]
    return reference


async def pay(world: World, reference: str, amount_minor: int | None = None) -> None:
    await world.sandbox.state.conekta.pay(reference, amount_minor)


async def transfer(world: World, clabe: str, amount_minor: int | None = None) -> None:
    await world.sandbox.state.stripe.pay(clabe, amount_minor)


async def said_of(world: World, terms: SubscriptionTerms, type_: str) -> list[dict[str, Any]]:
    mine = OutboundEvent.subscription_id == terms.subscription_id
    statement = select(OutboundEvent.data).where(mine, OutboundEvent.type == type_)
    return await world.all(statement.order_by(OutboundEvent.sequence))


async def unapplied_of(world: World, terms: SubscriptionTerms) -> list[tuple[str, str, int]]:
    said = await said_of(world, terms, "payment.unapplied")
    return [(one["case"], one["action"], one["amount_minor"]) for one in said]


async def tell_subscription(world: World, terms: SubscriptionTerms, type_: str) -> None:
    """The newest webhook of this type, whose payment's own workflow has ended."""
    events = told(world, "conekta", type_, subscription_id=terms.subscription_id).events[-1:]
    handle = world.client.get_workflow_handle(f"subscription/{terms.subscription_id}")
    await handle.signal("provider_events", ProviderEvents(events=events))
    await world.sleep(HOUR)


async def signal(world: World, workflow_id: str, payment_id: str | None, **more: Any) -> None:
    look: dict[str, Any] = {
        "provider": ProviderName.CONEKTA,
        "account": "default",
        "provider_event_id": str(new_id()),
        "event_type": "charge.paid",
        "occurred_at": await world.env.get_current_time(),
        "kind": EventKind.LOOK,
        "provider_payment_id": payment_id,
    }
    event = ProviderEvent.model_validate({**look, **more})
    batch = ProviderEvents(events=[InboxEvent(id=new_id(), event=event)])
    await world.client.get_workflow_handle(workflow_id).signal("provider_events", batch)


async def snapshot_of(
    world: World, terms: SubscriptionTerms, status: PaymentStatus, *captures: Capture
) -> tuple[str, PaymentSnapshot]:
    """What a provider may say of the one slip, whatever is true; and whose workflow hears it."""
    [attempt] = await attempts_of(world, terms)
    handle = world.client.get_workflow_handle(payment_workflow_id(attempt.id))
    snapshot = PaymentSnapshot(
        provider=ProviderName.CONEKTA,
        provider_payment_id=await object_of(world, terms),
        status=status,
        amount_minor=FULL,
        currency="MXN",
        captures=list(captures),
    )
    return handle.id, snapshot


async def object_of(world: World, terms: SubscriptionTerms) -> str:
    mine = str(terms.subscription_id)
    orders = world.sandbox.state.conekta.payments.orders.values()
    [found] = [one["id"] for one in orders if one["metadata"].get("subscription_id") == mine]
    return str(found)


@plays(
    MoneyCase.IN_TIME,
    MoneyCase.IN_GRACE,
    MoneyCase.SAID_EXPIRED,
    MoneyCase.REFUNDED,
    MoneyCase.REVERSED,
    MoneyCase.OTHER_CURRENCY,
)
async def test_money_that_comes_as_it_should_and_goes_back(world: World) -> None:
    in_time, in_grace, said_expired, foreign = [(await opened(world))[0] for _ in range(4)]
    await world.sleep(DAY)
    first = slip_of(world, in_time)
    await pay(world, first)
    [attempt] = await attempts_of(world, in_time)
    await signal(world, payment_workflow_id(attempt.id), await object_of(world, in_time))
    await pay(world, slip_of(world, said_expired))
    workflow_id, expired = await snapshot_of(world, said_expired, PaymentStatus.EXPIRED)
    payment_id = expired.provider_payment_id
    await signal(world, workflow_id, payment_id, kind=EventKind.PAYMENT, payment=expired)
    await world.sleep(MINUTE)
    for terms in (in_time, said_expired):
        assert [i.status for i in await invoices_of(world, terms)] == ["paid"]

    await world.sleep(2 * DAY - HOUR)
    await pay(world, slip_of(world, in_grace))
    await world.sleep(2 * HOUR)
    for terms in (in_time, in_grace, said_expired):
        assert [a.outcome for a in await attempts_of(world, terms)] == ["succeeded"], "one slip"
        assert [i.amount_paid_minor for i in await invoices_of(world, terms)] == [FULL]
        assert await unapplied_of(world, terms) == []

    await refund_elsewhere(world, "conekta", await object_of(world, said_expired), 900)
    await follow(world, told(world, "conekta", "order.partially_refunded"))
    world.sandbox.state.conekta.payments.reverse(first)
    await follow(world, told(world, "conekta", "charge.reversed"))
    for terms, status, minor in ((said_expired, "paid", 900), (in_time, "refunded", FULL)):
        [invoice] = await invoices_of(world, terms)
        assert (invoice.status, invoice.amount_refunded_minor) == (status, minor)
        [said] = await said_of(world, terms, "invoice.refunded")
        assert said["amount_minor"] == minor
        assert (await world.subscription(terms.subscription_id)).status == "active"
    await check_invariants(world)
    await told_of_dollars(world, foreign)


async def told_of_dollars(world: World, terms: SubscriptionTerms) -> None:
    """Conekta takes pesos alone, so its simulator has no such money: only the engine is asked here."""
    now = await world.env.get_current_time()
    dollars = Capture(provider_charge_id="d", amount_minor=1000, currency="USD", captured_at=now)
    attempt = (await attempts_of(world, terms))[-1]
    said = PaymentSnapshot(
        provider=ProviderName.CONEKTA,
        provider_payment_id=str(attempt.provider_object_id),
        status=PaymentStatus.SUCCEEDED,
        amount_minor=FULL,
        currency="USD",
        captures=[dollars],
    )
    await signal(
        world,
        payment_workflow_id(attempt.id),
        said.provider_payment_id,
        kind=EventKind.PAYMENT,
        payment=said,
    )
    await world.sleep(MINUTE)
    [capture] = await captures_of(world, terms.subscription_id)
    assert (capture.amount_minor, capture.applied_minor, capture.currency) == (1000, 0, "USD")
    assert await unapplied_of(world, terms) == [("other_currency", "hold", 1000)]
    assert [i.status for i in await invoices_of(world, terms)] == ["pending"]


@plays(MoneyCase.WHILE_PAUSED, MoneyCase.AFTER_VOID)
async def test_money_for_an_invoice_that_is_void(world: World) -> None:
    world.payer.after = HOUR
    (paused, pausing), (changed, changing) = [await opened(world) for _ in range(2)]
    await world.sleep(3 * DAY + HOUR)
    world.payer.after = None
    await change(world, changing, offer(changed, 39900))
    for_change = slip_of(world, changed)
    await change(world, changing, changed.offer)  # Taken back: the slip is voided.
    await world.sleep(25 * DAY)
    renewal = slip_of(world, paused)
    await pausing.execute_update(SubscriptionWorkflow.pause, Pause(actor="test"))
    await world.sleep(HOUR)
    for terms, reference, case, status in (
        (paused, renewal, "while_paused", "paused"),
        (changed, for_change, "after_void", "active"),
    ):
        await pay(world, reference)
        await tell_subscription(world, terms, "order.paid")
        [(told_case, action, _)] = await unapplied_of(world, terms)
        assert (told_case, action) == (case, "hold")
        assert (await world.subscription(terms.subscription_id)).status == status
        spare = [c for c in await captures_of(world, terms.subscription_id) if not c.applied_minor]
        assert len(spare) == 1
    await check_invariants(world)


@plays(MoneyCase.TOO_MUCH)
async def test_a_slip_for_all_of_it_is_paid_after_a_part_had_come(world: World) -> None:
    terms, handle = await opened(world)
    slip = slip_of(world, terms)
    deposit = MarkPaid(
        actor="test",
        reason="at the counter",
        amount_minor=10000,
        currency="MXN",
        reference="deposit 7",
        received_at=await world.env.get_current_time(),
    )
    await handle.execute_update(SubscriptionWorkflow.mark_paid, deposit)
    await world.sleep(HOUR)
    assert slip_of(world, terms) != slip, "the rest has a slip of its own"
    await pay(world, slip)
    await tell_subscription(world, terms, "order.paid")
    [invoice] = await invoices_of(world, terms)
    assert (invoice.status, invoice.amount_paid_minor) == ("paid", FULL)
    assert await unapplied_of(world, terms) == [("too_much", "hold", 10000)]
    await check_invariants(world)


@plays(MoneyCase.TOO_LITTLE)
async def test_a_transfer_of_too_little_at_stripe_is_never_out_of_sight(world: World) -> None:
    """The rest is paid by the next CLABE; nobody pays it; and the subscription is canceled meanwhile."""
    once = BillingPolicy(vouchers_max=1)
    wishes = (None, once, None)
    subscriptions = [
        await opened(
            world,
            Instrument.SPEI,
            force_provider=ProviderName.STRIPE,
            **({"policy": policy} if policy else {}),
        )
        for policy in wishes
    ]
    for terms, _ in subscriptions:
        await transfer(world, slip_of(world, terms), 5000)
    (goes_on, _), (given_up, _), (canceled, canceling) = subscriptions
    cancel = Cancel(actor="test", immediately=True)
    await canceling.execute_update(SubscriptionWorkflow.cancel, cancel)
    await world.sleep(3 * DAY + HOUR)

    [invoice] = await invoices_of(world, goes_on)
    assert (invoice.status, invoice.amount_paid_minor) == ("pending", 5000)
    await transfer(world, slip_of(world, goes_on))
    await world.sleep(3 * DAY + HOUR)
    [invoice] = await invoices_of(world, goes_on)
    assert (invoice.status, invoice.amount_paid_minor) == ("paid", FULL)
    assert sorted(c.amount_minor for c in await captures_of(world, goes_on.subscription_id)) == [
        5000,
        14900,
    ]

    [invoice] = await invoices_of(world, given_up)
    assert (await world.subscription(given_up.subscription_id)).status == "expired"
    assert invoice.amount_paid_minor == 5000, "what was paid of it stays on it"
    assert await unapplied_of(world, canceled) == [("after_end", "hold", 5000)]
    await check_invariants(world)
    assert await differing(world) == []
    [capture] = await captures_of(world, given_up.subscription_id)
    assert (await refund(world, capture, 5000)).status == "succeeded"
    swept = [i for i in world.core.collection("stripe", "payment_intents").values() if swept_up(i)]
    [elsewhere] = [i for i in swept if i["metadata"]["subscription_id"] == str_of(canceled)]
    await refund_elsewhere(world, "stripe", elsewhere["id"], 2000)
    await follow(world, told(world, "stripe", "charge.refunded"))
    [capture] = await captures_of(world, canceled.subscription_id)
    assert (await refund(world, capture, 3000)).status == "succeeded"
    await check_invariants(world)
    assert await differing(world) == []


def swept_up(intent: dict[str, Any]) -> bool:
    return SWEEPS in intent["metadata"]


def str_of(terms: SubscriptionTerms) -> str:
    return str(terms.subscription_id)


async def differing(world: World) -> list[tuple[str, str]]:
    """What a comparison of Stripe's books with ours finds."""
    await reconcile(world, ProviderName.STRIPE, dry_run=True)
    found = await world.all(select(ReconciliationFinding))
    return [(row.kind, row.status) for row in found]


def test_every_row_is_played() -> None:
    """Here or in the module whose marks are read with its import."""
    assert "test_two_transfers_are_told_of_in_one_breath" in vars(test_cash_rules)
    assert set(PLAYED) == set(CASH_RULES), "rows that no test plays"
