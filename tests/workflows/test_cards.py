"""Stored cards on the provider's billing clock, webhooks all lost: the workflow looks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import select

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from models.calendar import BillingInterval
from models.commands import Cancel, InboxEvent, ProviderEvents, Resume, RetryPayment
from models.events import EventKind, ProviderEvent
from models.outcomes import Instrument, ProviderName
from models.snapshots import ProviderSubscriptionStatus, SubscriptionSnapshot
from models.storage.tables import FallbackEvent, Subscription, new_id
from models.subscription import SubscriptionTerms
from sandbox.faults import Fault, FaultMode
from tests.support.books import attempts_of, invoices_of, told_by_the_clock
from workflows.subscription import SubscriptionWorkflow

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Wallet:
    """The same cards at one provider or the other: what follows must not depend on which."""

    provider: ProviderName
    good: str
    refused: str
    customer: dict[str, Any]


AUSTIN = Wallet(
    provider=ProviderName.STRIPE,
    good="pm_card_visa",
    refused="pm_card_visa_chargeDeclinedInsufficientFunds",
    customer={
        "country": "US",
        "currency": "USD",
        "amount_minor": 1900,
        "time_zone": "America/Chicago",
    },
)
MEXICO_CITY = Wallet(
    provider=ProviderName.CONEKTA,
    good="tok_test_visa_4242",
    refused="tok_test_insufficient_funds",
    customer={"amount_minor": 1900},
)
STRONG_CARD = "pm_card_authenticationRequired"


@pytest.fixture(params=[AUSTIN, MEXICO_CITY], ids=["stripe", "conekta"])
def wallet(request: pytest.FixtureRequest) -> Wallet:
    found: Wallet = request.param
    return found


async def holder(
    world: World, card: str, wallet: Wallet = AUSTIN, **changes: Any
) -> SubscriptionTerms:
    return await world.terms(
        Instrument.CARD, card=card, card_at=wallet.provider, **{**wallet.customer, **changes}
    )


async def renew(world: World, terms: SubscriptionTerms, outcome: str) -> None:
    row = await world.subscription(terms.subscription_id)
    assert row.provider is not None
    assert row.provider_subscription_id is not None
    simulator = getattr(world.sandbox.state, row.provider)
    await simulator.renew(row.provider_subscription_id, outcome)


async def test_a_good_card_is_active_at_once(world: World, wallet: Wallet) -> None:
    terms = await holder(world, wallet.good, wallet)
    _, result = await world.open(terms)
    assert result.status == "active"
    [invoice] = await invoices_of(world, terms)
    [attempt] = await attempts_of(world, terms)
    assert (invoice.status, invoice.amount_paid_minor, attempt.outcome) == (
        "paid",
        1900,
        "succeeded",
    )
    await check_invariants(world)


async def test_the_late_end_of_an_undone_start_is_not_the_end(world: World, wallet: Wallet) -> None:
    """A first try whose answer got lost was undone, the second one is billed. The news of the first one's
    end come late; believed, they would end a subscription that the provider goes on charging."""
    terms = await holder(world, wallet.good, wallet)
    handle, _ = await world.open(terms)
    undone, ours = "sub_undone", (await world.subscription(terms.subscription_id))
    await handle.signal(
        SubscriptionWorkflow.provider_events, ended_event(ours, provider_subscription_id=undone)
    )
    await world.sleep(HOUR)
    row = await world.subscription(terms.subscription_id)
    assert (row.status, row.canceled_at) == ("active", None)
    id_ = str(ours.provider_subscription_id)
    await handle.signal(
        SubscriptionWorkflow.provider_events, ended_event(ours, provider_subscription_id=id_)
    )
    await world.sleep(HOUR)
    assert (await world.subscription(terms.subscription_id)).status == "canceled"


def ended_event(row: Subscription, *, provider_subscription_id: str) -> ProviderEvents:
    start, end = row.current_period_start, row.current_period_end
    assert row.provider is not None
    assert start is not None
    assert end is not None
    provider = ProviderName(row.provider)
    snapshot = SubscriptionSnapshot(
        provider=provider,
        provider_subscription_id=provider_subscription_id,
        provider_customer_id="customer",
        status=ProviderSubscriptionStatus.CANCELED,
        current_period_start=start,
        current_period_end=end,
        canceled_at=start,
    )
    event = ProviderEvent(
        provider=provider,
        provider_event_id=f"event of {provider_subscription_id}",
        event_type="subscription.ended",
        kind=EventKind.SUBSCRIPTION,
        occurred_at=start,
        provider_subscription_id=provider_subscription_id,
        subscription=snapshot,
    )
    return ProviderEvents(events=[InboxEvent(id=new_id(), event=event)])


async def test_a_refused_card_stays_incomplete_and_ends_after_a_day(
    world: World, wallet: Wallet
) -> None:
    terms = await holder(world, wallet.refused, wallet)
    _, result = await world.open(terms)
    assert result.status == "incomplete"
    assert [a.outcome for a in await attempts_of(world, terms)] == ["declined"]
    await check_invariants(world)
    await world.sleep(DAY)
    assert (await world.subscription(terms.subscription_id)).status == "expired"
    await check_invariants(world)


async def test_another_card_saves_a_refused_start(world: World, wallet: Wallet) -> None:
    terms = await holder(world, wallet.refused, wallet)
    handle, _ = await world.open(terms)
    better = await world.store_card(terms.organization_id, wallet.good, wallet.provider)
    result = await handle.execute_update(
        SubscriptionWorkflow.retry_payment, RetryPayment(actor="test", payment_method_id=better)
    )
    assert result.status == "active"
    assert [a.outcome for a in await attempts_of(world, terms)] == ["declined", "succeeded"]
    await check_invariants(world)


async def test_the_card_that_recovers_it_pays_the_coming_periods(
    world: World, wallet: Wallet
) -> None:
    terms = await holder(world, wallet.refused, wallet)
    handle, _ = await world.open(terms)
    better = await world.store_card(terms.organization_id, wallet.good, wallet.provider)
    await handle.execute_update(
        SubscriptionWorkflow.retry_payment, RetryPayment(actor="test", payment_method_id=better)
    )
    await world.sleep(65 * DAY)
    assert [i.status for i in await invoices_of(world, terms)] == ["paid"] * 3
    assert [a.outcome for a in await attempts_of(world, terms)].count("declined") == 1
    await check_invariants(world)


async def test_strong_authentication_waits_for_the_customer(world: World) -> None:
    terms = await holder(world, STRONG_CARD)
    _, result = await world.open(terms)
    assert result.status == "incomplete"
    [attempt] = await attempts_of(world, terms)
    assert attempt.outcome == "pending"
    assert attempt.next_action is not None
    assert attempt.next_action["type"] == "confirm_payment"
    await world.sleep(DAY)
    assert (await world.subscription(terms.subscription_id)).status == "expired"
    assert [a.outcome for a in await attempts_of(world, terms)] == ["declined"]
    await check_invariants(world)


async def test_renewals_are_found_by_looking(world: World, wallet: Wallet) -> None:
    terms = await holder(world, wallet.good, wallet)
    await world.open(terms)
    await world.sleep(65 * DAY)
    invoices = await invoices_of(world, terms)
    assert [i.status for i in invoices] == ["paid"] * 3
    assert invoices[0].period_end == invoices[1].period_start
    await check_invariants(world)


async def test_a_failed_renewal_is_past_due_and_a_retry_recovers_it(
    world: World, wallet: Wallet
) -> None:
    terms = await holder(world, wallet.good, wallet)
    handle, _ = await world.open(terms)
    await world.sleep(25 * DAY)
    await renew(world, terms, "failed")
    await world.sleep(7 * DAY)
    assert (await world.subscription(terms.subscription_id)).status == "past_due"
    await world.sleep(4 * DAY)
    row = await world.subscription(terms.subscription_id)
    assert row.status == "active", "the first retry, three days later, found the card good again"
    outcomes = [a.outcome for a in await attempts_of(world, terms)]
    assert outcomes == ["succeeded", "declined", "succeeded"]
    await check_invariants(world)
    await handle.execute_update(SubscriptionWorkflow.cancel, Cancel(actor="test", immediately=True))
    await check_invariants(world)


async def test_dunning_gives_up_and_stops_the_provider(world: World) -> None:
    terms = await holder(world, AUSTIN.good)
    await world.open(terms)
    world.core.faults.add(
        Fault(provider="stripe", operation="invoices.pay", mode=FaultMode.DECLINE)
    )
    await world.sleep(25 * DAY)
    await renew(world, terms, "failed")
    await world.sleep(50 * DAY)
    row = await world.subscription(terms.subscription_id)
    outcomes = [a.outcome for a in await attempts_of(world, terms)]
    assert row.status == "expired"
    assert outcomes == ["succeeded", *["declined"] * 4], "one by the provider, three retries"
    await check_invariants(world)
    world.core.faults.clear()
    await world.sleep(60 * DAY)
    assert len(await attempts_of(world, terms)) == 5, "nothing is charged after the end"
    await check_invariants(world)


async def test_cancel_now_and_the_provider_charges_no_more(world: World, wallet: Wallet) -> None:
    terms = await holder(world, wallet.good, wallet)
    handle, _ = await world.open(terms)
    result = await handle.execute_update(
        SubscriptionWorkflow.cancel, Cancel(actor="test", immediately=True)
    )
    assert (result.status, result.settled) == ("canceled", True)
    await world.sleep(65 * DAY)
    assert len(world.core.charges) == 1
    await check_invariants(world)


async def test_cancel_at_period_end_taken_back_then_for_good(world: World, wallet: Wallet) -> None:
    terms = await holder(world, wallet.good, wallet)
    handle, _ = await world.open(terms)
    await handle.execute_update(SubscriptionWorkflow.cancel, Cancel(actor="test"))
    await handle.execute_update(SubscriptionWorkflow.resume, Resume(actor="test"))
    await world.sleep(35 * DAY)
    assert len(await invoices_of(world, terms)) == 2
    await handle.execute_update(SubscriptionWorkflow.cancel, Cancel(actor="test"))
    await world.sleep(35 * DAY)
    assert (await world.subscription(terms.subscription_id)).status == "canceled"
    assert len(await invoices_of(world, terms)) == 2
    await check_invariants(world)


@pytest.mark.parametrize("mode", [FaultMode.APPLIED_THEN_TIMEOUT, FaultMode.APPLIED_THEN_ERROR])
@pytest.mark.parametrize(
    "operation", ["customers.create", "prices.create", "subscriptions.create", "invoices.pay"]
)
async def test_a_lost_answer_charges_once(world: World, operation: str, mode: FaultMode) -> None:
    terms = await holder(world, AUSTIN.good)
    world.core.faults.add(Fault(provider="stripe", operation=operation, mode=mode, count=1))
    await world.open(terms)
    await world.sleep(HOUR)
    assert (await world.subscription(terms.subscription_id)).status == "active"
    assert [c["status"] for c in world.core.charges] == ["paid"]
    await check_invariants(world)


@pytest.mark.parametrize("mode", [FaultMode.DOWN, FaultMode.RATE_LIMIT])
async def test_an_outage_is_waited_for(world: World, mode: FaultMode) -> None:
    """Nobody else can charge a card that Stripe keeps: the start is tried again."""
    terms = await holder(world, AUSTIN.good)
    world.core.faults.add(Fault(provider="stripe", mode=mode))
    _, result = await world.open(terms)
    assert result.status == "incomplete"
    world.core.faults.clear()
    await world.sleep(HOUR)
    assert (await world.subscription(terms.subscription_id)).status == "active"
    await check_invariants(world)


async def test_a_trial_charges_at_its_end(world: World, wallet: Wallet) -> None:
    terms = await holder(world, wallet.good, wallet, trial_days=14)
    _, result = await world.open(terms)
    assert result.status == "trialing"
    assert world.core.charges == []
    await world.sleep(15 * DAY)
    assert (await world.subscription(terms.subscription_id)).status == "active"
    await check_invariants(world)


@pytest.mark.parametrize(
    ("interval", "periods"), [(BillingInterval.MONTHLY, 120), (BillingInterval.YEARLY, 10)]
)
async def test_ten_years(world: World, interval: BillingInterval, periods: int) -> None:
    terms = await holder(world, AUSTIN.good, interval=interval)
    handle, _ = await world.open(terms)
    await world.sleep(timedelta(days=3645))
    paid = await invoices_of(world, terms)
    assert {i.status for i in paid} == {"paid"}
    assert len(paid) == periods
    assert all(a.period_end == b.period_start for a, b in pairwise(paid))
    history = await handle.fetch_history()
    assert len(history.events) <= 8, "an idle subscription is a handful of events"
    await check_invariants(world)


async def test_the_app_hears_of_a_charge_a_week_before(world: World) -> None:
    terms = await holder(world, AUSTIN.good)
    handle, _ = await world.open(terms)
    await world.sleep(25 * DAY)
    assert await told_by_the_clock(world, terms) == ["invoice.upcoming"]
    assert await told_by_the_clock(world, terms) == ["invoice.upcoming"], "told once"
    await world.sleep(10 * DAY)
    await handle.execute_update(SubscriptionWorkflow.cancel, Cancel(actor="test"))
    await world.sleep(20 * DAY)
    assert await told_by_the_clock(world, terms) == ["invoice.upcoming"], (
        "nothing is charged any more"
    )


async def test_a_card_kept_at_a_provider_that_is_down_is_typed_again_on_the_stand_ins_page(
    world: World,
) -> None:
    terms = await holder(world, MEXICO_CITY.good, MEXICO_CITY)
    world.core.faults.add(Fault(provider="conekta", mode=FaultMode.DOWN))
    handle, result = await world.open(terms)
    assert result.status == "incomplete"
    at_conekta, on_the_page = await attempts_of(world, terms)
    assert (at_conekta.provider, at_conekta.outcome) == ("conekta", "not_attempted")
    assert (on_the_page.provider, on_the_page.outcome) == ("stripe", "pending")
    assert on_the_page.next_action is not None
    assert on_the_page.next_action["type"] == "redirect"
    [fallback] = await world.all(select(FallbackEvent))
    assert (fallback.attempted_provider, fallback.fallback_provider) == ("conekta", "stripe")

    [invoice] = await invoices_of(world, terms)
    await world.sandbox.state.stripe.pay(invoice.provider_invoice_id, None)
    world.core.faults.clear()
    await world.sleep(DAY)
    row = await world.subscription(terms.subscription_id)
    assert (row.status, row.provider) == ("active", "stripe")
    await world.sleep(65 * DAY)
    assert [i.status for i in await invoices_of(world, terms)] == ["paid"] * 3
    await check_invariants(world)
    await handle.execute_update(SubscriptionWorkflow.cancel, Cancel(actor="test", immediately=True))


async def test_a_declined_card_never_moves_to_another_provider(world: World) -> None:
    terms = await holder(world, MEXICO_CITY.refused, MEXICO_CITY)
    await world.open(terms)
    assert [a.provider for a in await attempts_of(world, terms)] == ["conekta"]
    assert await world.all(select(FallbackEvent)) == []
