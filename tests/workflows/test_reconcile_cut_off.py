"""A run that is killed, a provider that is away, and disputes that no webhook told of."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select

from abono.reconcile import INCOMPLETE, Asked, as_json, as_table
from abono.reconcile import reconcile as command
from abono.settings import Settings
from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from models.commands import TASK_QUEUE
from models.outcomes import ProviderName
from models.reconcile import Drift, ReconcileInput, ReconcileReport, reconcile_workflow_id
from models.storage.tables import Dispute, ReconciliationRun
from sandbox.faults import Fault, FaultMode
from tests.api.support import eventually
from tests.support.outbound import told
from tests.support.shop import bills_of, buy, give_back, pay_page, purchase_terms, row_of, tries_of
from tests.workflows.test_cards import AUSTIN, MEXICO_CITY, Wallet
from tests.workflows.test_disputes import movements, paid, simulator
from tests.workflows.test_reconcile import dispatching, findings, reference_of, slip
from workflows.reconcile import ReconcileWorkflow

DAY = timedelta(days=1)


async def next_run(world: World, provider: ProviderName) -> ReconcileReport:
    """As the schedule starts one."""
    with world.env.auto_time_skipping_disabled():
        report: ReconcileReport = await world.client.execute_workflow(
            ReconcileWorkflow.run,
            ReconcileInput(provider=provider),
            id=reconcile_workflow_id(provider),
            task_queue=TASK_QUEUE,
        )
    assert report.finished
    return report


async def runs(world: World) -> list[ReconciliationRun]:
    return await world.all(select(ReconciliationRun).order_by(ReconciliationRun.started_at))


async def kill_a_run_in_part(world: World, provider: ProviderName, part: str) -> UUID:
    """Whatever stops it so that nothing of it runs any more: its row says to the end that it runs."""
    handle = await world.client.start_workflow(
        ReconcileWorkflow.run,
        ReconcileInput(provider=provider),
        id=reconcile_workflow_id(provider),
        task_queue=TASK_QUEUE,
    )

    async def has_come_there() -> bool:
        return any(run.cursor.get("part") == part for run in await runs(world))

    await eventually(has_come_there)
    await handle.terminate()
    [run] = await runs(world)
    assert run.status == "running"
    return run.id


async def test_polar_a_killed_run_is_gone_on_with_and_nothing_is_skipped(world: World) -> None:
    """Money that nobody heard of, a refund at Polar's panel, and a page that is paid between the runs, when
    the lists that would show it have been read."""
    polar = ProviderName.POLAR
    refunded = await purchase_terms(world)
    handle, _ = await buy(world, refunded)
    [attempt] = await tries_of(world, refunded)
    await pay_page(world, attempt)
    await world.sleep(4 * DAY)
    assert await handle.result() == "paid"
    await give_back(world, attempt, 4900)
    missed = await purchase_terms(world)
    await buy(world, missed)
    [waiting] = await tries_of(world, missed)
    await pay_page(world, waiting)
    late = await purchase_terms(world)
    await buy(world, late)
    [open_page] = await tries_of(world, late)

    world.core.faults.add(Fault(provider="polar", operation="refunds.list", mode=FaultMode.ERROR))
    killed = await kill_a_run_in_part(world, polar, "refunds")
    world.core.faults.clear()
    await pay_page(world, open_page)

    async with dispatching(world):
        second = await next_run(world, polar)
        assert (await row_of(world, late)).status == "pending", "its lists were read before"
        third = await next_run(world, polar)
        fourth = await next_run(world, polar)

    first_row, second_row, third_row, _ = await runs(world)
    assert (first_row.id, first_row.status) == (killed, "cut_off")
    assert second_row.since == first_row.since
    assert second.objects < first_row.objects, "it went on in the middle"
    assert third_row.since == first_row.started_at - timedelta(hours=1)
    assert [r.left for r in (second, third, fourth)] == [0, 0, 0]
    assert (fourth.repaired, fourth.reported_before) == (0, 0)
    assert await findings(world) == {
        (Drift.MONEY_NOT_BOOKED, "repaired"),
        (Drift.REFUND_NOT_BOOKED, "repaired"),
    }
    assert [(await row_of(world, one)).status for one in (refunded, missed, late)] == [
        "refunded",
        "paid",
        "paid",
    ]
    assert await movements(world) == [("capture", 4900)] * 3 + [("refund", 4900)]
    assert [bill.status for bill in await bills_of(world, refunded)] == ["refunded"]
    await check_invariants(world)


async def test_a_provider_that_is_away_keeps_nobody_from_the_others(world: World) -> None:
    terms = await slip(world)
    await world.sandbox.state.conekta.pay(await reference_of(world, terms), None)
    for name in ("stripe", "polar"):
        world.core.faults.add(Fault(provider=name, mode=FaultMode.DOWN))
    await world.client.start_workflow(
        ReconcileWorkflow.run,
        ReconcileInput(provider=ProviderName.POLAR),
        id=reconcile_workflow_id(ProviderName.POLAR),
        task_queue=TASK_QUEUE,
    )
    settings = Settings(
        DATABASE_URL=world.database_url,
        TEMPORAL_ADDRESS=world.env.client.service_client.config.target_host,
        STRIPE_API_KEY="sk_test_sandbox",
        CONEKTA_API_KEY="key_sandbox",
        POLAR_API_KEY="polar_oat_sandbox",
    )

    async def conekta_is_done() -> bool:
        return ("conekta", "finished") in [(run.provider, run.status) for run in await runs(world)]

    async with dispatching(world):
        running = asyncio.create_task(command(settings, Asked([], None, dry_run=False)))
        await eventually(conekta_is_done)
        while not (await asyncio.wait({running}, timeout=0.1))[0]:
            await world.sleep(timedelta(minutes=2))  # Stripe is asked again and again.
        outcome = await running
    reports = {report.provider: report for report in outcome.reports}
    stripe, conekta = reports[ProviderName.STRIPE], reports[ProviderName.CONEKTA]
    assert outcome.exit_code == INCOMPLETE
    assert (conekta.finished, conekta.repaired, conekta.stopped_by) == (True, 1, None)
    assert not stripe.finished
    assert stripe.stopped_by is not None
    assert stripe.stopped_by.startswith("stripe: ")
    [refusal] = outcome.refusals
    assert (refusal.provider, "under way" in refusal.reason) == (ProviderName.POLAR, True)
    table = as_table(outcome)
    assert f"NOT COMPARED TO THE END ({stripe.stopped_by})" in table
    assert "polar: NOT COMPARED, a run is under way" in table
    assert '"not_compared"' in as_json(outcome)
    rows = {run.provider: (run.status, run.stopped_by) for run in await runs(world)}
    assert rows["stripe"] == ("cut_off", stripe.stopped_by)
    assert rows["conekta"] == ("finished", None)


@pytest.mark.parametrize("who", [AUSTIN, MEXICO_CITY], ids=["stripe", "conekta"])
async def test_disputes_are_compared_both_ways(world: World, who: Wallet) -> None:
    """The second run's lists do not reach back to the dispute: our own row asks."""
    terms, _, charge_id = await paid(world, who)
    await simulator(world, who).dispute(charge_id, None)
    async with dispatching(world):
        report = await next_run(world, who.provider)
        assert (report.repaired, report.left) == (1, 0)
        assert await movements(world) == [("capture", 1900), ("dispute", 1900)]

        async def is_at_risk() -> bool:
            return (await world.subscription(terms.subscription_id)).risk == "disputed"

        # The dispute is booked; the subscription hears of it from the dispute's own workflow.
        await eventually(is_at_risk)
        await world.sleep(3 * DAY)
        await simulator(world, who).close_dispute(charge_id, "won")
        report = await next_run(world, who.provider)
        assert (report.repaired, report.left, report.reported_before) == (1, 0, 0)
        again = await next_run(world, who.provider)
    assert (again.repaired, again.left) == (0, 0)
    assert await findings(world) == {(Drift.DISPUTE_DIFFERS, "repaired")}
    [dispute] = await world.all(select(Dispute))
    assert dispute.status == "won"
    assert await movements(world) == [
        ("capture", 1900),
        ("dispute", 1900),
        ("dispute_reversal", 1900),
    ]
    assert len(await told(world, "dispute.opened")) == 1
    assert len(await told(world, "dispute.closed")) == 1
    await check_invariants(world)
