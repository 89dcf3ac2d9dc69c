"""No webhook comes at all: reconciliation finds what was missed, and its owners put it right, once.

One world with real webhooks switched off; only the dispatcher runs, which takes events out of the inbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from api.context import ApiContext
from api.dispatcher import Dispatcher
from models.commands import TASK_QUEUE
from models.outcomes import Instrument, ProviderName
from models.reconcile import Drift, ReconcileInput, ReconcileReport, reconcile_workflow_id
from models.storage.tables import (
    ChargeAttempt,
    Payment,
    ReconciliationFinding,
    WebhookEvent,
    new_id,
)
from models.subscription import SubscriptionTerms
from providers.drafts import CustomerDraft, PaymentDraft
from tests.support.books import invoices_of
from tests.support.refunds import refund_elsewhere
from tests.workflows.test_cards import AUSTIN, MEXICO_CITY, holder
from workflows.reconcile import ReconcileWorkflow

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@asynccontextmanager
async def dispatching(world: World) -> AsyncIterator[None]:
    context = ApiContext(
        sessions=world.sessions, temporal=world.client, providers=world.providers, pepper=""
    )
    dispatcher = Dispatcher(context)
    running = asyncio.create_task(dispatcher.run())
    try:
        yield
    finally:
        await dispatcher.stop()
        await running


async def reconcile(
    world: World, provider: ProviderName, *, dry_run: bool = False
) -> ReconcileReport:
    now = await world.env.get_current_time()
    request = ReconcileInput(provider=provider, since=now - 40 * DAY, dry_run=dry_run)
    with world.env.auto_time_skipping_disabled():
        report: ReconcileReport = await world.client.execute_workflow(
            ReconcileWorkflow.run,
            request,
            id=reconcile_workflow_id(provider),
            task_queue=TASK_QUEUE,
        )
    assert report.finished
    return report


async def findings(world: World, **of: object) -> set[tuple[str, str]]:
    statement = select(ReconciliationFinding).filter_by(**{"dry_run": False, **of})
    return {(row.kind, row.status) for row in await world.all(statement)}


async def inbox_size(world: World) -> int:
    return int((await world.all(select(func.count()).select_from(WebhookEvent)))[0])


async def slip(world: World, instrument: Instrument = Instrument.OXXO) -> SubscriptionTerms:
    """A subscription whose first slip is on the table."""
    terms = await world.terms(instrument)
    await world.open(terms)
    return terms


async def reference_of(world: World, terms: SubscriptionTerms) -> str:
    statement = select(ChargeAttempt.next_action).where(
        ChargeAttempt.subscription_id == terms.subscription_id
    )
    [action] = await world.all(statement)
    return str(action["vouchers"][0]["reference"])


async def refunds_booked(world: World) -> list[int]:
    return await world.all(select(Payment.amount_minor).where(Payment.kind == "refund"))


async def test_conekta_all_that_webhooks_would_have_told(world: World) -> None:
    conekta = world.sandbox.state.conekta
    paid_slip, expired = await slip(world), await slip(world)
    card = await holder(world, MEXICO_CITY.good, MEXICO_CITY)
    renewed = await holder(world, MEXICO_CITY.good, MEXICO_CITY)
    canceled = await holder(world, MEXICO_CITY.good, MEXICO_CITY)
    for terms in (card, renewed, canceled):
        await world.open(terms)
    await conekta.pay(await reference_of(world, paid_slip), None)
    await conekta.expire(await reference_of(world, expired))
    [invoice] = await invoices_of(world, card)
    await refund_elsewhere(world, "conekta", str(invoice.provider_invoice_id), 500)
    known_as = {
        terms.subscription_id: await world.subscription(terms.subscription_id)
        for terms in (renewed, canceled)
    }
    await conekta.renew(known_as[renewed.subscription_id].provider_subscription_id, "paid")
    await world.providers.get(ProviderName.CONEKTA).cancel_subscription(  # type: ignore[union-attr]
        str(known_as[canceled.subscription_id].provider_customer_id),
        str(known_as[canceled.subscription_id].provider_subscription_id),
        at_period_end=False,
    )
    stranger, orphan = await foreign_slips(world)
    await conekta.pay(stranger, None)

    before = await inbox_size(world)
    dry = await reconcile(world, ProviderName.CONEKTA, dry_run=True)
    assert dry.left >= 6
    assert await inbox_size(world) == before
    assert await findings(world) == set()
    assert await world.all(select(Payment).where(Payment.kind == "refund")) == []

    async with dispatching(world):
        report = await reconcile(world, ProviderName.CONEKTA)
    assert await findings(world) == {
        (Drift.MONEY_NOT_BOOKED, "repaired"),
        (Drift.REFUND_NOT_BOOKED, "repaired"),
        (Drift.ENDED_AT_PROVIDER, "repaired"),
        (Drift.SUBSCRIPTION_DIFFERS, "repaired"),
        (Drift.UNKNOWN_MONEY, "left"),
        (Drift.ORPHAN, "left"),
    }
    assert await findings(world, object_id=orphan) == {(Drift.ORPHAN, "left")}
    assert report.left == 2
    statuses = [
        (await world.subscription(terms.subscription_id)).status
        for terms in (paid_slip, card, renewed, canceled)
    ]
    assert statuses == ["active", "active", "active", "canceled"]
    assert [invoice.status for invoice in await invoices_of(world, renewed)] == ["paid", "paid"]
    assert await refunds_booked(world) == [500]

    async with dispatching(world):
        again = await reconcile(world, ProviderName.CONEKTA)
    assert (again.repaired, again.left, again.reported_before) == (0, 0, 2)
    assert await refunds_booked(world) == [500]


async def foreign_slips(world: World) -> tuple[str, str]:
    """At the provider, and with nobody here: the reference of another program's slip, and the order of
    one that carries ids of ours that no row has."""
    adapter = world.providers.get(ProviderName.CONEKTA)
    assert adapter is not None
    now = datetime.fromtimestamp(world.core.clock.now(), UTC)
    customer_id = await adapter.ensure_customer(
        CustomerDraft(
            organization_id=str(new_id()), name="Luz Ruiz", email="luz@example.mx",
            phone="+525555555555", country="MX",
        )
    )  # fmt: skip
    made = []
    for _ in range(2):
        draft = PaymentDraft(
            attempt_id=str(new_id()),
            subscription_id=str(new_id()),
            invoice_id=str(new_id()),
            organization_id=str(new_id()),
            provider_customer_id=customer_id,
            customer_name="Luz Ruiz",
            customer_email="luz@example.mx",
            instrument=Instrument.OXXO,
            amount_minor=4900,
            currency="MXN",
            description="Something else",
            created_at=now,
            expires_at=now + 3 * DAY,
        )
        order_id = await adapter.prepare_payment(draft)
        made.append(await adapter.commit_payment(draft, order_id))
    action = made[0].next_action
    assert action is not None
    assert action.type == "pay_voucher"
    return action.vouchers[0].reference, made[1].provider_payment_id


async def test_stripe_all_that_webhooks_would_have_told(world: World) -> None:
    stripe = world.sandbox.state.stripe
    renewed, refunded, ended = [await holder(world, AUSTIN.good, AUSTIN) for _ in range(3)]
    rows = {}
    for terms in (renewed, refunded, ended):
        await world.open(terms)
        rows[terms.subscription_id] = await world.subscription(terms.subscription_id)
    await stripe.renew(rows[renewed.subscription_id].provider_subscription_id, "paid")
    [invoice] = await invoices_of(world, refunded)
    await refund_elsewhere(world, "stripe", str(invoice.provider_invoice_id), 500)
    await world.providers.get(ProviderName.STRIPE).cancel_subscription(  # type: ignore[union-attr]
        "", str(rows[ended.subscription_id].provider_subscription_id), at_period_end=True
    )
    async with dispatching(world):
        report = await reconcile(world, ProviderName.STRIPE)
        assert (report.left, report.reported_before) == (0, 0)
        again = await reconcile(world, ProviderName.STRIPE)
    assert await findings(world) == {
        (Drift.MONEY_NOT_BOOKED, "repaired"),
        (Drift.REFUND_NOT_BOOKED, "repaired"),
        (Drift.SUBSCRIPTION_DIFFERS, "repaired"),
    }
    assert (again.repaired, again.left) == (0, 0)
    assert [one.status for one in await invoices_of(world, renewed)] == ["paid", "paid"]
    assert await refunds_booked(world) == [500]
    assert (await world.subscription(ended.subscription_id)).cancel_at_period_end
    await check_invariants(world)


async def test_money_of_ours_that_the_provider_does_not_know_is_reported(world: World) -> None:
    terms = await holder(world, AUSTIN.good, AUSTIN)
    await world.open(terms)
    [invoice] = await invoices_of(world, terms)
    del world.core.collection("stripe", "invoices")[str(invoice.provider_invoice_id)]
    world.core.collection("stripe", "payment_intents").clear()
    report = await reconcile(world, ProviderName.STRIPE)
    assert report.left == 1
    assert await findings(world) == {(Drift.UNKNOWN_THERE, "left")}
