"""Prices that somebody archived, moved or deleted in Stripe's panel."""

from __future__ import annotations

from typing import Any

import pytest

from models.calendar import BillingInterval
from providers.drafts import PlanDraft, SubscriptionDraft
from providers.failures import NotOnSale
from tests.providers.stripe.conftest import Stage

PLAN = PlanDraft(
    plan_id="plan-a",
    name="Pro",
    billing_interval=BillingInterval.MONTHLY,
    amount_minor=19_900,
    currency="MXN",
)


def prices(stage: Stage) -> dict[str, dict[str, Any]]:
    return stage.core.collection("stripe", "prices")


async def _draft(stage: Stage, price_id: str) -> SubscriptionDraft:
    return await stage.subscription_draft(provider_plan_id=price_id)


async def test_opening_asks_nobody_about_the_price(stage: Stage) -> None:
    draft = await _draft(stage, await stage.provider.ensure_plan(PLAN))
    before = len(stage.recorder.requests)
    await stage.provider.prepare_subscription(draft)
    assert stage.recorder.requests[before:] == [("POST", "/v1/subscriptions")]


@pytest.mark.parametrize("what", ["price", "product", "gone"])
async def test_what_cannot_be_sold_is_told_and_replaced(stage: Stage, what: str) -> None:
    first = await stage.provider.ensure_plan(PLAN)
    running, _ = await stage.subscribed(provider_plan_id=first)
    assert await stage.provider.why_not_on_sale(PLAN, first) is None
    if what == "price":
        await stage.provider._v1.prices.update_async(first, {"active": False})
    elif what == "product":
        await stage.provider._v1.products.update_async("plan-a", {"active": False})
    else:
        del prices(stage)[first]

    with pytest.raises(NotOnSale):
        await stage.provider.prepare_subscription(await _draft(stage, first))
    told = {"price": "archived", "product": "archived product", "gone": "gone"}
    assert await stage.provider.why_not_on_sale(PLAN, first) == told[what]

    second = await stage.provider.ensure_plan(PLAN, replaces=first)
    await stage.subscribed(provider_plan_id=second)
    assert await stage.provider.ensure_plan(PLAN) == second
    assert (second == first) is (what == "product")
    if what == "price":
        assert not prices(stage)[first]["active"], "whoever archived it had a reason"
    subscriptions = stage.core.collection("stripe", "subscriptions").values()
    [kept] = [s for s in subscriptions if s["metadata"]["attempt_id"] == running.attempt_id]
    assert kept["items"]["data"][0]["price"]["id"] == first


async def test_a_price_is_replaced_again_within_the_day_of_its_idempotency_key(
    stage: Stage,
) -> None:
    seen = [await stage.provider.ensure_plan(PLAN)]
    for _ in range(3):
        await stage.provider._v1.prices.update_async(seen[-1], {"active": False})
        seen.append(await stage.provider.ensure_plan(PLAN, replaces=seen[-1]))
    assert len(set(seen)) == 4


async def test_a_lookup_key_on_another_amount_is_not_believed(stage: Stage) -> None:
    dear = await stage.provider.ensure_plan(PLAN.model_copy(update={"amount_minor": 29_900}))
    prices(stage)[dear]["lookup_key"] = "plan-a:month:MXN:19900"
    right = await stage.provider.ensure_plan(PLAN)
    assert prices(stage)[right]["unit_amount"] == 19_900


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"amount_minor": 29_900}, "299.00 MXN a month"),
        ({"currency": "USD"}, "199.00 USD a month"),
        ({"billing_interval": BillingInterval.YEARLY}, "199.00 MXN a year"),
    ],
)
async def test_a_price_of_another_kind_charges_nobody(
    stage: Stage, change: dict[str, Any], told: str
) -> None:
    """Also under a trial, which is the one thing that would begin to cost by itself."""
    other = await stage.provider.ensure_plan(PLAN.model_copy(update=change))
    assert await stage.provider.why_not_on_sale(PLAN, other) == told
    draft = await _draft(stage, other)

    for _ in range(2):
        with pytest.raises(NotOnSale):
            await stage.provider.prepare_subscription(draft)

    right = draft.model_copy(update={"provider_plan_id": await stage.provider.ensure_plan(PLAN)})
    prepared = await stage.provider.prepare_subscription(right)
    assert await stage.provider.prepare_subscription(right) == prepared
    await stage.provider.commit_subscription(right, prepared)
    statuses = [s["status"] for s in stage.core.collection("stripe", "subscriptions").values()]
    assert sorted(statuses) == ["active", "canceled"]
    assert [c["amount_minor"] for c in await stage.charges() if c["status"] == "paid"] == [19_900]
