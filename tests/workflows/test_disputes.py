"""A disputed payment: recorded, the plan's rule applied, and the money followed to the end."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from abono.simulate.invariants import check_invariants
from abono.simulate.world import World
from models.billing_policy import BillingPolicy, OnDispute
from models.commands import Cancel, DisputeInput, DisputeNews, dispute_workflow_id
from models.storage.tables import Dispute, Payment, WebhookEvent, new_id
from models.subscription import SubscriptionTerms
from sandbox.faults import Fault, FaultMode
from tests.support.disputes import SUBSCRIPTION_HEARS, hear_disputes, seen_of
from tests.support.outbound import told
from tests.support.shop import buy, pay_page, purchase_terms, tries_of
from tests.workflows.test_cards import AUSTIN, DAY, MEXICO_CITY, Wallet, holder, wallet
from workflows.dispute import DisputeWorkflow
from workflows.subscription import SubscriptionWorkflow

__all__ = ["wallet"]


async def paid(
    world: World, who: Wallet, rule: OnDispute = OnDispute.CANCEL_AT_PERIOD_END
) -> tuple[SubscriptionTerms, Any, str]:
    """A running subscription, and the id under which its payment can be disputed."""
    terms = await holder(world, who.good, who, policy=BillingPolicy(on_dispute=rule))
    handle, _ = await world.open(terms)
    [charge] = [c for c in world.core.charges if c["kind"] == "charge"]
    return terms, handle, charge["id"]


async def disputes(world: World) -> list[Dispute]:
    found: list[Dispute] = await world.all(select(Dispute))
    return found


async def movements(world: World) -> list[tuple[str, int]]:
    rows = await world.all(select(Payment).order_by(Payment.kind))
    return [(row.kind, row.amount_minor) for row in rows]


def simulator(world: World, who: Wallet) -> Any:
    return getattr(world.sandbox.state, who.provider)


@pytest.mark.parametrize("outcome", ["won", "lost"])
async def test_a_dispute_is_followed_to_its_end(world: World, wallet: Wallet, outcome: str) -> None:
    terms, _, charge_id = await paid(world, wallet)
    await simulator(world, wallet).dispute(charge_id, None)
    await hear_disputes(world)
    row = await world.subscription(terms.subscription_id)
    [dispute] = await disputes(world)
    assert (row.risk, row.cancel_at_period_end, row.status) == ("disputed", True, "active")
    assert (dispute.status, dispute.amount_minor) == ("open", 1900)
    assert await movements(world) == [("capture", 1900), ("dispute", 1900)]
    await check_invariants(world)

    await simulator(world, wallet).close_dispute(charge_id, outcome)
    await hear_disputes(world)
    row = await world.subscription(terms.subscription_id)
    [dispute] = await disputes(world)
    assert (row.risk, dispute.status) == (None, outcome)
    back = [("dispute_reversal", 1900)] if outcome == "won" else []
    assert await movements(world) == [("capture", 1900), ("dispute", 1900), *back]
    assert len(await told(world, "dispute.opened")) == 1
    assert [event["dispute_status"] for event in await told(world, "dispute.closed")] == [outcome]
    await check_invariants(world)


@pytest.mark.parametrize(
    ("rule", "status", "ends"),
    [(OnDispute.KEEP, "active", False), (OnDispute.CANCEL_NOW, "canceled", False)],
)
async def test_the_plan_says_what_follows(
    world: World, rule: OnDispute, status: str, ends: bool
) -> None:
    terms, _, charge_id = await paid(world, AUSTIN, rule)
    await simulator(world, AUSTIN).dispute(charge_id, None)
    await hear_disputes(world)
    row = await world.subscription(terms.subscription_id)
    assert (row.status, row.cancel_at_period_end) == (status, ends)
    await check_invariants(world)


async def test_reports_out_of_order_and_twice_change_nothing_back(world: World) -> None:
    terms, _, charge_id = await paid(world, AUSTIN, OnDispute.KEEP)
    await simulator(world, AUSTIN).dispute(charge_id, "won")
    await hear_disputes(world, backwards=True)
    await hear_disputes(world, again=True)
    row = await world.subscription(terms.subscription_id)
    [dispute] = await disputes(world)
    assert (row.risk, dispute.status) == (None, "won")
    assert [kind for kind, _ in await movements(world)] == [
        "capture",
        "dispute",
        "dispute_reversal",
    ]
    await check_invariants(world)


async def test_a_dispute_after_the_end_is_recorded(world: World, wallet: Wallet) -> None:
    terms, handle, charge_id = await paid(world, wallet)
    cancel = Cancel(actor="test", immediately=True)
    await handle.execute_update(SubscriptionWorkflow.cancel, cancel)
    await world.sleep(30 * DAY)
    await simulator(world, wallet).dispute(charge_id, "lost")
    await hear_disputes(world)
    [dispute] = await disputes(world)
    assert (dispute.status, dispute.subscription_id) == ("lost", terms.subscription_id)
    assert await movements(world) == [("capture", 1900), ("dispute", 1900)]
    await check_invariants(world)


async def test_a_dispute_of_a_purchase_is_recorded(world: World) -> None:
    down = Fault(provider="polar", operation="checkouts.create", mode=FaultMode.DOWN)
    world.core.faults.add(down)
    terms = await purchase_terms(world)
    handle, _ = await buy(world, terms)
    _, at_stripe = await tries_of(world, terms)
    await pay_page(world, at_stripe)
    await world.sleep(4 * DAY)
    await handle.result()
    [charge] = [c for c in world.core.charges if c["status"] == "paid"]
    await simulator(world, AUSTIN).dispute(charge["id"], "lost")
    await hear_disputes(world)
    [dispute] = await disputes(world)
    assert (dispute.purchase_id, dispute.subscription_id) == (terms.purchase_id, None)
    assert [kind for kind, _ in await movements(world)] == ["capture", "dispute"]
    assert len(await told(world, "dispute.closed")) == 1
    await check_invariants(world)


async def test_an_operator_accepts(world: World) -> None:
    terms, _, charge_id = await paid(world, AUSTIN, OnDispute.KEEP)
    await simulator(world, AUSTIN).dispute(charge_id, None)
    await hear_disputes(world)
    [dispute] = await disputes(world)
    news = await accept(world, dispute)
    assert (news.status, news.refusal) == ("lost", None)
    [dispute] = await disputes(world)
    assert dispute.status == "lost"
    assert (await world.subscription(terms.subscription_id)).risk is None
    await check_invariants(world)


async def test_conekta_takes_no_answer(world: World) -> None:
    _, _, charge_id = await paid(world, MEXICO_CITY)
    await simulator(world, MEXICO_CITY).dispute(charge_id, None)
    await hear_disputes(world)
    [dispute] = await disputes(world)
    news = await accept(world, dispute)
    assert news.refusal is not None
    assert "panel" in news.refusal


async def test_a_strangers_dispute_is_put_aside_in_the_end(world: World) -> None:
    await paid(world, AUSTIN)
    other = await holder(world, AUSTIN.good)
    await world.open(other)
    charge = world.core.charges[-1]
    await simulator(world, AUSTIN).dispute(charge["id"], None)
    found = (await hear_disputes(world, stranger=True))[0]
    row = await world.all(select(WebhookEvent).where(WebhookEvent.id == found))
    assert row[0].disposition == "not_ours"
    assert await disputes(world) == []


async def accept(world: World, dispute: Dispute) -> DisputeNews:
    with world.env.auto_time_skipping_disabled():
        news: DisputeNews = await world.client.execute_workflow(
            DisputeWorkflow.run,
            DisputeInput(seen=seen_of(dispute), account="default", accept=True),
            id=dispute_workflow_id(new_id()),
            task_queue="abono",
        )
    await world.sleep(SUBSCRIPTION_HEARS)
    return news
