"""Answers about subscriptions that got lost: one subscription at most, and in the end it is known."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from models.outcomes import OutcomeClass
from models.snapshots import ProviderInvoiceStatus, ProviderSubscriptionStatus
from providers.conekta import ConektaProvider
from providers.drafts import PreparedSubscription, SubscriptionDraft
from providers.failures import FailureKind
from tests.providers.conekta.drafts import (
    BROKE_TOKEN,
    ProviderFactory,
    failure_of,
    subscription_draft,
)
from tests.providers.conekta.subscribing import Subscriber, make_subscriber
from tests.sandbox.conekta.world import World

LOST = ["applied_then_timeout", "applied_then_error"]
ACTIVE, CANCELED = ProviderSubscriptionStatus.ACTIVE, ProviderSubscriptionStatus.CANCELED


@pytest.fixture
async def hasty(world: World, hasty_provider: ConektaProvider) -> Subscriber:
    return await make_subscriber(world, hasty_provider)


async def late_request(
    world: World, draft: SubscriptionDraft, prepared: PreparedSubscription
) -> httpx.Response:
    """The request of a commit, on its way for longer than anybody waited."""
    return await world.http.post(
        f"/customers/{draft.provider_customer_id}/subscriptions",
        json={
            "plan_id": prepared.provider_subscription_id,
            "card_id": draft.provider_payment_method_id,
        },
    )


@pytest.mark.parametrize("mode", LOST)
async def test_preparing_again_finds_the_plan(world: World, hasty: Subscriber, mode: str) -> None:
    draft = subscription_draft(hasty.customer_id, await hasty.card())
    await world.fault("plans.create", mode)
    failure = await failure_of(hasty.provider.prepare_subscription(draft))
    assert failure.kind is FailureKind.UNKNOWN
    prepared = await hasty.provider.prepare_subscription(draft, retry=True)
    assert hasty.plan_ids() == [prepared.provider_subscription_id]
    opened = await hasty.provider.commit_subscription(draft, prepared)
    assert opened.status is ACTIVE


async def test_preparing_again_makes_a_plan_when_there_is_none(
    world: World, subscriber: Subscriber
) -> None:
    draft = subscription_draft(subscriber.customer_id, await subscriber.card())
    await world.fault("plans.create", "down")
    await failure_of(subscriber.provider.prepare_subscription(draft))
    prepared = await subscriber.provider.prepare_subscription(draft, retry=True)
    assert subscriber.plan_ids() == [prepared.provider_subscription_id]


@pytest.mark.parametrize("retry", [False, True])
async def test_a_plan_with_another_price_is_not_adopted(
    subscriber: Subscriber, retry: bool
) -> None:
    draft, _ = await subscriber.prepared()
    dearer = draft.model_copy(update={"amount_minor": draft.amount_minor + 1})
    failure = await failure_of(subscriber.provider.prepare_subscription(dearer, retry=retry))
    assert failure.kind is FailureKind.REJECTED
    assert failure.code == "plan_mismatch"


async def test_a_plan_that_conekta_refuses(subscriber: Subscriber) -> None:
    draft = subscription_draft(subscriber.customer_id, "src_1", plan_name=" ")
    failure = await failure_of(subscriber.provider.prepare_subscription(draft))
    assert failure.kind is FailureKind.REJECTED
    assert "plans.create" in failure.message


@pytest.mark.parametrize("mode", LOST)
async def test_a_lost_start_is_found_by_its_plan(
    world: World, hasty: Subscriber, mode: str
) -> None:
    draft, prepared = await hasty.prepared()
    await world.fault("subscriptions.create", mode)
    failure = await failure_of(hasty.provider.commit_subscription(draft, prepared))
    assert failure.outcome is OutcomeClass.UNKNOWN
    found = await hasty.get(prepared.provider_subscription_id)
    assert found.status is ACTIVE
    assert [found.provider_subscription_id] == [s["id"] for s in hasty.at_conekta()]
    assert await hasty.charges() == ["paid"]


async def test_a_lost_start_of_a_trial_is_found(world: World, subscriber: Subscriber) -> None:
    trial_end = datetime.now(UTC) + timedelta(days=14)
    draft, prepared = await subscriber.prepared(trial_end=trial_end)
    await world.fault("subscriptions.create", "applied_then_error")
    await failure_of(subscriber.provider.commit_subscription(draft, prepared))
    found = await subscriber.get(prepared.provider_subscription_id)
    assert found.status is ProviderSubscriptionStatus.TRIALING


async def test_it_is_found_among_many(world: World, subscriber: Subscriber) -> None:
    """Newest first, as the simulator lists them, it is on the second page of 250."""
    opened = await subscriber.subscribed()
    [ours] = subscriber.at_conekta()
    subscriptions = world.core.collection("conekta", "subscriptions")
    clocks = world.core.collection("conekta", "billing_clocks")
    for number in range(300):
        other = {**ours, "id": f"sub_{number}", "plan_id": "gold-plan"}
        subscriptions[other["id"]] = other
        clocks[other["id"]] = clocks[ours["id"]]
    assert await subscriber.get(ours["plan_id"]) == opened


async def test_a_start_that_never_arrived_is_settled_for_good(
    world: World, subscriber: Subscriber
) -> None:
    draft, prepared = await subscriber.prepared()
    await world.fault("subscriptions.create", "error")
    await failure_of(subscriber.provider.commit_subscription(draft, prepared))
    found = await subscriber.get(prepared.provider_subscription_id)
    assert found.status is ProviderSubscriptionStatus.INCOMPLETE
    for _ in range(2):
        settled = await subscriber.cancel(prepared.provider_subscription_id)
        assert settled.status is CANCELED
        assert settled.latest_invoice is None
    assert (await subscriber.get(prepared.provider_subscription_id)).status is CANCELED
    assert (await late_request(world, draft, prepared)).status_code == 404
    assert subscriber.at_conekta() == []


async def test_a_request_that_is_still_on_its_way_finds_no_plan(
    world: World, subscriber: Subscriber
) -> None:
    draft, prepared = await subscriber.prepared()
    await world.fault("subscriptions.create", "slow", seconds=0.3)
    late = asyncio.create_task(late_request(world, draft, prepared))
    settled = await subscriber.cancel(prepared.provider_subscription_id)
    assert (settled.status, settled.latest_invoice) == (CANCELED, None)
    assert (await late).status_code == 404
    assert subscriber.at_conekta() == []
    assert await subscriber.charges() == []


async def test_a_request_that_arrives_while_it_is_settled_is_ended_and_its_money_told(
    world: World, subscriber: Subscriber
) -> None:
    """It slips in before the plan is gone: Conekta keeps a plan that is in use, and we look again."""
    draft, prepared = await subscriber.prepared()
    await world.fault("subscriptions.create", "slow", seconds=0.2)
    await world.fault("plans.delete", "slow", seconds=0.4)
    late = asyncio.create_task(late_request(world, draft, prepared))
    settled = await subscriber.cancel(prepared.provider_subscription_id)
    assert (await late).status_code == 200
    assert settled.status is CANCELED
    assert settled.latest_invoice is not None
    assert settled.latest_invoice.status is ProviderInvoiceStatus.PAID
    assert [s["status"] for s in subscriber.at_conekta()] == ["canceled"]


@pytest.mark.parametrize("operation", ["plans.delete", "subscriptions.list"])
async def test_settling_that_fails_is_not_settled(
    world: World, subscriber: Subscriber, operation: str
) -> None:
    _, prepared = await subscriber.prepared()
    await world.fault(operation, "down")
    failure = await failure_of(subscriber.cancel(prepared.provider_subscription_id))
    assert failure.kind is FailureKind.UNKNOWN
    assert (await subscriber.cancel(prepared.provider_subscription_id)).status is CANCELED


@pytest.mark.parametrize("mode", ["down", "rate_limit"])
async def test_a_refused_start_that_could_not_be_undone_is_unknown(
    world: World, subscriber: Subscriber, mode: str
) -> None:
    """Conekta would charge the card again, so this is not over, and not a decline yet."""
    draft, prepared = await subscriber.prepared(BROKE_TOKEN)
    await world.fault("subscriptions.cancel", mode)
    failure = await failure_of(subscriber.provider.commit_subscription(draft, prepared))
    assert failure.kind is FailureKind.UNKNOWN
    settled = await subscriber.cancel(prepared.provider_subscription_id)
    assert settled.status is CANCELED
    assert settled.latest_invoice is not None
    assert settled.latest_invoice.decline is not None


@pytest.mark.parametrize("mode", ["down", "rate_limit", "error"])
async def test_a_read_that_fails_after_the_card_was_charged_is_unknown(
    world: World, subscriber: Subscriber, mode: str
) -> None:
    draft, prepared = await subscriber.prepared()
    await world.fault("orders.retrieve", mode)
    failure = await failure_of(subscriber.provider.commit_subscription(draft, prepared))
    assert failure.kind is FailureKind.UNKNOWN
    assert (await subscriber.get(prepared.provider_subscription_id)).status is ACTIVE


@pytest.mark.parametrize("mode", LOST)
async def test_a_lost_retry_is_found_by_its_order(
    world: World, hasty: Subscriber, mode: str
) -> None:
    opened = await hasty.subscribed()
    failed = await hasty.renew(opened.provider_subscription_id, "failed")
    assert failed.latest_invoice is not None
    order_id = failed.latest_invoice.provider_invoice_id
    await world.fault("subscriptions.retry", mode)
    failure = await failure_of(hasty.retry(order_id))
    assert failure.kind is FailureKind.UNKNOWN
    found = await hasty.provider.get_invoice(order_id)
    assert found.status is ProviderInvoiceStatus.PAID
    assert await hasty.retry(order_id) == found
    assert await hasty.charges() == ["paid", "declined", "paid"]


async def test_nothing_is_asked_of_a_dead_address(
    world: World, subscriber: Subscriber, make_provider: ProviderFactory
) -> None:
    """A refused connection is known not to have charged anybody."""
    draft, prepared = await subscriber.prepared()
    dead = make_provider(api_base="http://127.0.0.1:9")
    failure = await failure_of(dead.commit_subscription(draft, prepared))
    assert failure.kind is FailureKind.UNAVAILABLE
    assert failure.outcome is OutcomeClass.NOT_ATTEMPTED
