"""Money that comes when the subscription is over: booked once, and kept in sight."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from activities.money_calls import MoneyActivities
from activities.signatures.money import MoneyNews
from models.commands import InboxEvent
from models.events import EventKind, ProviderEvent
from models.outcomes import OutcomeClass, ProviderName
from models.snapshots import Capture, PaymentSnapshot, PaymentStatus
from models.storage.tables import (
    AuditEntry,
    Invoice,
    Payment,
    Subscription,
    SubscriptionPlan,
    WebhookEvent,
    new_id,
)
from tests.activities.inbox import received
from tests.activities.running import run
from tests.activities.stage import Stage
from tests.storage.books import AMOUNT, NOW

MINUTE = timedelta(minutes=1)


def late_event(**changes: Any) -> ProviderEvent:
    usual = {
        "provider": ProviderName.CONEKTA,
        "provider_event_id": "evt_1",
        "event_type": "order.paid",
        "kind": EventKind.PAYMENT,
        "occurred_at": NOW,
    }
    return ProviderEvent.model_validate({**usual, **changes})


def paid_snapshot(*charge_ids: str) -> PaymentSnapshot:
    captures = [
        Capture(provider_charge_id=id_, amount_minor=AMOUNT, currency="MXN", captured_at=NOW)
        for id_ in charge_ids
    ]
    return PaymentSnapshot(
        provider=ProviderName.CONEKTA,
        provider_payment_id="ord_1",
        status=PaymentStatus.SUCCEEDED,
        amount_minor=AMOUNT,
        currency="MXN",
        captures=captures,
    )


async def late(stage: Stage, event: ProviderEvent) -> WebhookEvent:
    """Hand one event to the activity; returns its inbox row afterwards."""
    id_ = await received(stage.books)
    await follow(stage, InboxEvent(id=id_, event=event))
    async with stage.books.sessions() as session:
        return await session.get_one(WebhookEvent, id_)


async def follow(stage: Stage, *events: InboxEvent) -> None:
    """For a subscription that has ended, whatever it was before."""
    books = stage.books
    async with books.sessions.begin() as session:
        await session.execute(update(Subscription).values(status="canceled"))
    subscription_id = str(books.subscription_id)
    addressed = [
        InboxEvent(
            id=one.id, event=one.event.model_copy(update={"subscription_id": subscription_id})
        )
        for one in events
    ]
    news = MoneyNews(provider=ProviderName.CONEKTA, events=addressed, at=NOW + MINUTE)
    await run(MoneyActivities(books.sessions, stage.providers).follow_money, news)


async def test_late_money_stays_in_sight(stage: Stage) -> None:
    books = stage.books
    invoice_id = await books.invoice(status="void")
    attempt_id = await books.attempt(invoice_id, OutcomeClass.DECLINED)
    await books.invoice()
    told = late_event(attempt_id=str(attempt_id), payment=paid_snapshot("ch_1"))
    event = await late(stage, told)
    assert (event.disposition, event.applied_at) == ("unapplied_money", NOW + MINUTE)
    [payment] = await books.all(Payment)
    assert (payment.invoice_id, payment.kind) == (invoice_id, "capture")
    assert (payment.amount_minor, payment.applied_minor) == (AMOUNT, 0)
    [entry] = await books.all(AuditEntry)
    assert (entry.action, entry.actor) == ("payment.unapplied", "provider:conekta")
    assert entry.after["unapplied_minor"] == AMOUNT
    invoices = {invoice.id: invoice for invoice in await books.all(Invoice)}
    assert invoices[invoice_id].amount_paid_minor == 0, "an over subscription's bill is not paid"


async def test_late_money_is_booked_once(stage: Stage) -> None:
    books = stage.books
    await books.invoice(status="void")
    told = late_event(payment=paid_snapshot("ch_1"))
    first, again = [await late(stage, told) for _ in range(2)]
    assert (first.disposition, again.disposition) == ("unapplied_money", "subscription_is_over")
    more = await late(stage, late_event(payment=paid_snapshot("ch_1", "ch_2")))
    assert more.disposition == "unapplied_money"
    assert [p.provider_charge_id for p in await books.all(Payment)] == ["ch_1", "ch_2"]
    told_minor = [entry.after["unapplied_minor"] for entry in await books.all(AuditEntry)]
    assert told_minor == [AMOUNT, AMOUNT], "only what was new is told of"


async def test_the_same_late_money_in_one_batch_is_booked_once(stage: Stage) -> None:
    books = stage.books
    await books.invoice(status="void")
    ids = [await received(books) for _ in range(2)]
    told = late_event(payment=paid_snapshot("ch_1"))
    for _ in range(2):
        await follow(stage, *(InboxEvent(id=id_, event=told) for id_ in ids))
    dispositions = [event.disposition for event in await books.all(WebhookEvent)]
    assert dispositions == ["unapplied_money", "subscription_is_over"]
    assert len(await books.all(Payment)) == 1
    assert len(await books.all(AuditEntry)) == 1


async def test_an_event_without_money_is_acknowledged(stage: Stage) -> None:
    books = stage.books
    await books.invoice(status="void")
    event = await late(stage, late_event(payment=paid_snapshot()))
    assert (event.disposition, await books.all(Payment)) == ("subscription_is_over", [])
    assert await books.all(AuditEntry) == []


async def test_late_money_finds_its_invoice_by_the_providers_id(stage: Stage) -> None:
    books = stage.books
    meant = await books.invoice(provider="conekta", provider_invoice_id="in_1")
    await books.invoice(provider="conekta", provider_invoice_id="in_2")
    told = late_event(provider_invoice_id="in_1", payment=paid_snapshot("ch_1"))
    await late(stage, told)
    assert [p.invoice_id for p in await books.all(Payment)] == [meant]


async def test_late_money_for_nothing_that_is_known_goes_to_the_latest_invoice(
    stage: Stage,
) -> None:
    books = stage.books
    await books.invoice()
    latest = await books.invoice()
    told = late_event(attempt_id=str(new_id()), payment=paid_snapshot("ch_1"))
    await late(stage, told)
    assert [p.invoice_id for p in await books.all(Payment)] == [latest]


async def test_late_money_with_a_strange_reference_is_not_lost(stage: Stage) -> None:
    books = stage.books
    """Metadata can be edited in a provider's dashboard: it may hold anything."""
    await books.invoice()
    told = late_event(attempt_id="order-4711", payment=paid_snapshot("ch_1"))
    assert (await late(stage, told)).disposition == "unapplied_money"


@pytest.mark.parametrize(
    ("opened_with", "action"), [("its own plan", "hold"), ("another plan", "refund")]
)
async def test_late_money_follows_the_plan_that_it_was_changed_to(
    stage: Stage, opened_with: str, action: str
) -> None:
    books = stage.books
    plan_id = books.plan_id if opened_with == "its own plan" else new_id()
    opening = {"plan_id": str(plan_id), "policy": {"late_money": "hold"}}
    async with books.sessions.begin() as session:
        await session.execute(update(Subscription).values(opening=opening))
        kept = {"late_money": "refund", "retry_after_days": [1]}
        await session.execute(update(SubscriptionPlan).values(billing_policy=kept))
    await books.invoice(status="void")
    await late(stage, late_event(payment=paid_snapshot("ch_1")))
    [entry] = await books.all(AuditEntry)
    assert entry.after["action"] == action
