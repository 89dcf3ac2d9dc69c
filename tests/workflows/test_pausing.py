"""Pauses on both clocks, webhooks all lost: nothing is billed while one lasts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from models.commands import Cancel, InboxEvent, Pause, PauseAt, ProviderEvents, Resume
from models.events import EventKind, ProviderEvent
from models.outcomes import Instrument, ProviderName
from models.storage.tables import OutboundEvent, new_id
from models.subscription import SubscriptionTerms
from sandbox.faults import Fault, FaultMode
from tests.support.books import attempts_of, invoices_of, live_references
from tests.workflows.test_cards import MEXICO_CITY, Wallet, holder
from tests.workflows.test_cards import wallet as wallet
from workflows.subscription import SubscriptionWorkflow

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PAUSE, RESUME = Pause(actor="test"), Resume(actor="test")


async def refusal_of(call: Any) -> str:
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await call
    cause = caught.value.cause
    assert isinstance(cause, ApplicationError)
    return f"{cause.type}: {cause.message}"


async def told(world: World, terms: SubscriptionTerms) -> list[str]:
    mine = select(OutboundEvent.type).where(OutboundEvent.subscription_id == terms.subscription_id)
    return await world.all(mine.order_by(OutboundEvent.sequence))


async def opened(world: World, terms: SubscriptionTerms) -> Any:
    handle, _ = await world.open(terms)
    await world.sleep(3 * DAY + HOUR)  # A slip is looked at when its time is over.
    return handle


async def paused(world: World, handle: Any, command: Pause = PAUSE) -> str:
    return str((await handle.execute_update(SubscriptionWorkflow.pause, command)).status)


async def resumed(handle: Any) -> str:
    return str((await handle.execute_update(SubscriptionWorkflow.resume, RESUME)).status)


async def test_a_voucher_that_is_out_is_voided_and_a_new_period_begins_at_resume(
    world: World,
) -> None:
    world.payer.after = HOUR
    terms = await world.terms(Instrument.OXXO)
    handle = await opened(world, terms)
    world.payer.after = None
    await world.sleep(26 * DAY)
    assert len(live_references(world)) == 1, "the slip for the coming period"
    end = (await world.subscription(terms.subscription_id)).current_period_end

    assert await paused(world, handle) == "paused"
    assert await paused(world, handle) == "paused", "again is fine"
    await world.sleep(HOUR)
    row = await world.subscription(terms.subscription_id)
    assert (row.status, row.access_until) == ("paused", end)
    assert row.paused_at is not None
    assert live_references(world) == []
    assert [i.status for i in await invoices_of(world, terms)] == ["paid", "void"]
    await check_invariants(world)

    await world.sleep(90 * DAY)
    assert len(await invoices_of(world, terms)) == 2, "nothing is invoiced while it is paused"
    assert await resumed(handle) == "past_due", "nobody has paid the new period yet"
    assert len(live_references(world)) == 1
    world.payer.after = HOUR
    await world.sleep(3 * DAY + HOUR)
    row = await world.subscription(terms.subscription_id)
    new = (await invoices_of(world, terms))[-1]
    assert (row.status, new.status, row.paused_at) == ("active", "paid", None)
    assert (row.current_period_start, row.current_period_end) == (new.period_start, new.period_end)
    await world.sleep(31 * DAY)
    last = (await invoices_of(world, terms))[-1]
    assert last.period_start == new.period_end, "the new anchor is kept"
    events = await told(world, terms)
    assert events.index("subscription.paused") < events.index("subscription.resumed")
    await check_invariants(world)


async def test_a_pause_within_the_paid_period_changes_nothing(world: World) -> None:
    world.payer.after = HOUR
    terms = await world.terms(Instrument.SPEI)
    handle = await opened(world, terms)
    before = await world.subscription(terms.subscription_id)
    await paused(world, handle)
    await world.sleep(5 * DAY)
    assert await resumed(handle) == "active"
    await world.sleep(30 * DAY)
    periods = [(i.period_start, i.period_end) for i in await invoices_of(world, terms)]
    assert periods[0] == (before.current_period_start, before.current_period_end)
    assert periods[1][0] == before.current_period_end, "same anchor, same period's end"
    await check_invariants(world)


async def test_cards_are_not_charged_for_months_and_then_once_from_now_on(
    world: World, wallet: Wallet
) -> None:
    terms = await holder(world, wallet.good, wallet)
    handle = await opened(world, terms)
    end = (await world.subscription(terms.subscription_id)).current_period_end
    assert await paused(world, handle) == "paused"
    await world.sleep(100 * DAY)
    row = await world.subscription(terms.subscription_id)
    assert (row.status, row.access_until, len(world.core.charges)) == ("paused", end, 1)

    assert await resumed(handle) == "active"
    row = await world.subscription(terms.subscription_id)
    new = (await invoices_of(world, terms))[-1]
    assert [c["status"] for c in world.core.charges] == ["paid", "paid"]
    assert (row.current_period_start, row.current_period_end) == (new.period_start, new.period_end)
    assert row.current_period_start is not None
    assert end is not None
    assert row.current_period_start > end + 60 * DAY
    assert "subscription.past_due" not in await told(world, terms)
    await world.sleep(33 * DAY)
    assert len(await invoices_of(world, terms)) == 3, "and it renews by its new anchor"
    await check_invariants(world)


async def test_a_scheduled_pause_begins_and_ends_by_itself(world: World, wallet: Wallet) -> None:
    terms = await holder(world, wallet.good, wallet)
    handle = await opened(world, terms)
    end = (await world.subscription(terms.subscription_id)).current_period_end
    assert end is not None
    command = Pause(actor="test", at=PauseAt.PERIOD_END, resume_at=end + 40 * DAY)
    assert await paused(world, handle, command) == "active"
    row = await world.subscription(terms.subscription_id)
    assert row.pending_change == {"type": "pause", "at": end.isoformat()}
    assert (row.next_step, row.next_step_at) == ("pause", end)
    await world.sleep(35 * DAY)
    row = await world.subscription(terms.subscription_id)
    assert (row.status, row.pending_change, len(world.core.charges)) == ("paused", None, 1)
    assert (row.next_step, row.resume_at) == ("check_provider", end + 40 * DAY)
    await check_invariants(world)
    await world.sleep(40 * DAY)
    assert (await world.subscription(terms.subscription_id)).status == "active"
    assert len(world.core.charges) == 2
    await check_invariants(world)


async def test_a_scheduled_pause_is_taken_back(world: World, wallet: Wallet) -> None:
    terms = await holder(world, wallet.good, wallet)
    handle = await opened(world, terms)
    await paused(world, handle, Pause(actor="test", at=PauseAt.PERIOD_END))
    assert await resumed(handle) == "active"
    assert (await world.subscription(terms.subscription_id)).pending_change is None
    await world.sleep(31 * DAY)
    assert len(await invoices_of(world, terms)) == 2
    await check_invariants(world)


async def test_a_card_that_is_refused_at_resume_is_past_due_and_retried(
    world: World, wallet: Wallet
) -> None:
    terms = await holder(world, wallet.good, wallet)
    handle = await opened(world, terms)
    await paused(world, handle)
    await world.sleep(60 * DAY)
    spoil(world, wallet, wallet.refused)
    assert await resumed(handle) == "past_due"
    await check_invariants(world)
    spoil(world, wallet, wallet.good)
    await world.sleep(4 * DAY)
    assert (await world.subscription(terms.subscription_id)).status == "active"
    outcomes = [a.outcome for a in await attempts_of(world, terms)]
    assert outcomes == ["succeeded", "declined", "succeeded"]
    await check_invariants(world)


def spoil(world: World, wallet: Wallet, token: str) -> None:
    """The bank changes its mind about a card that is stored."""
    if wallet is MEXICO_CITY:
        failures = world.core.collection("conekta", "card_failures")
        failures.clear()
        if token == wallet.refused:
            sources = world.core.collection("conekta", "payment_sources")
            failures.update(dict.fromkeys(sources, "insufficient_funds"))
        return
    for method in world.core.collection("stripe", "payment_methods").values():
        method["_token"] = token


@pytest.mark.parametrize("mode", [FaultMode.APPLIED_THEN_TIMEOUT, FaultMode.APPLIED_THEN_ERROR])
async def test_lost_answers_pause_once_and_charge_once(
    world: World, wallet: Wallet, mode: FaultMode
) -> None:
    terms = await holder(world, wallet.good, wallet)
    handle = await opened(world, terms)
    for operation in ("pause", "resume"):
        name = f"subscriptions.{operation}"
        world.core.faults.add(Fault(provider=wallet.provider, operation=name, mode=mode, count=1))
    await paused(world, handle)
    await world.sleep(60 * DAY)
    assert await resumed(handle) == "active"
    assert [c["status"] for c in world.core.charges] == ["paid", "paid"]
    await check_invariants(world)


async def test_cancel_while_paused(world: World, wallet: Wallet) -> None:
    terms = await holder(world, wallet.good, wallet)
    handle = await opened(world, terms)
    await paused(world, handle)
    await handle.execute_update(SubscriptionWorkflow.cancel, Cancel(actor="test"))
    assert (await world.subscription(terms.subscription_id)).cancel_at_period_end
    assert await resumed(handle) == "active", "both are taken back"
    await paused(world, handle)
    await world.sleep(40 * DAY)
    result = await handle.execute_update(SubscriptionWorkflow.cancel, Cancel(actor="test"))
    assert result.status == "canceled", "what was paid for is over already"
    await world.sleep(40 * DAY)
    assert len(world.core.charges) == 1
    await check_invariants(world)


async def test_what_cannot_be_paused_says_why(world: World) -> None:
    world.payer.after = HOUR
    terms = await world.terms(Instrument.OXXO)
    handle, _ = await world.open(terms)
    pause = SubscriptionWorkflow.pause
    assert "nothing was paid yet" in await refusal_of(handle.execute_update(pause, PAUSE))
    await world.sleep(3 * DAY + HOUR)
    now = await world.env.get_current_time()
    early = PAUSE.model_copy(update={"resume_at": now - DAY})
    assert "invalid_request" in await refusal_of(handle.execute_update(pause, early))
    late = PAUSE.model_copy(update={"resume_at": now + 2000 * DAY})
    assert "invalid_request" in await refusal_of(handle.execute_update(pause, late))
    assert "conflict" in await refusal_of(
        handle.execute_update(SubscriptionWorkflow.resume, RESUME)
    )
    await handle.execute_update(SubscriptionWorkflow.cancel, Cancel(actor="test"))
    assert "take the cancellation back" in await refusal_of(handle.execute_update(pause, PAUSE))
    world.payer.after = None
    await handle.execute_update(SubscriptionWorkflow.resume, RESUME)
    await world.sleep(32 * DAY)
    assert "an invoice is unpaid" in await refusal_of(handle.execute_update(pause, PAUSE))


async def hears(world: World, handle: Any, terms: SubscriptionTerms) -> None:
    """A webhook of its provider about the subscription as it is there now."""
    row = await world.subscription(terms.subscription_id)
    provider = world.providers.get(ProviderName(str(row.provider)))
    assert provider is not None
    ids = (str(row.provider_customer_id), str(row.provider_subscription_id))
    event = ProviderEvent(
        provider=provider.name,
        account="default",
        provider_event_id=str(new_id()),
        event_type="customer.subscription.updated",
        occurred_at=await world.env.get_current_time(),
        kind=EventKind.SUBSCRIPTION,
        provider_subscription_id=ids[1],
        subscription=await provider.get_subscription(*ids),
    )
    told = ProviderEvents(events=[InboxEvent(id=new_id(), event=event)])
    await handle.signal(SubscriptionWorkflow.provider_events, told)
    await world.sleep(HOUR)


async def test_the_providers_own_dashboard_is_followed(world: World, wallet: Wallet) -> None:
    terms = await holder(world, wallet.good, wallet)
    handle = await opened(world, terms)
    row = await world.subscription(terms.subscription_id)
    provider = world.providers.get(wallet.provider)
    assert provider is not None
    ids = (str(row.provider_customer_id), str(row.provider_subscription_id))
    before = await provider.get_subscription(*ids)

    await provider.pause_subscription(*ids)
    await hears(world, handle, terms)
    row = await world.subscription(terms.subscription_id)
    assert (row.status, row.cancel_at_period_end) == ("paused", False)
    await provider.resume_subscription(*ids, new_period=False, resume_id="dashboard")
    await hears(world, handle, terms)
    assert (await world.subscription(terms.subscription_id)).status == "active"
    await paused(world, handle)
    stale = ProviderEvent(
        provider=wallet.provider,
        account="default",
        provider_event_id="late",
        event_type="customer.subscription.updated",
        occurred_at=await world.env.get_current_time(),
        kind=EventKind.SUBSCRIPTION,
        provider_subscription_id=ids[1],
        subscription=before,
    )
    late = ProviderEvents(events=[InboxEvent(id=new_id(), event=stale)])
    await handle.signal(SubscriptionWorkflow.provider_events, late)
    await world.sleep(HOUR)
    assert (await world.subscription(terms.subscription_id)).status == "paused", (
        "it was from before"
    )
    await provider.resume_subscription(*ids, new_period=False, resume_id="webhook lost")
    await world.sleep(8 * DAY)
    assert (await world.subscription(terms.subscription_id)).status == "active", "it was looked at"
    await paused(world, handle)
    await world.sleep(60 * DAY)
    assert len(world.core.charges) == 1
    await check_invariants(world)
