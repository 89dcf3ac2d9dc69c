"""A change of the interval that Stripe makes by itself, in detail."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest

from models.calendar import BillingInterval
from models.snapshots import ProviderSubscriptionStatus as Status
from models.snapshots import SubscriptionSnapshot
from providers.drafts import PlanDraft, SubscriptionChange
from providers.failures import FailureKind, ProviderFailure
from tests.providers.stripe.conftest import API_KEY, Stage

MONTHLY_MINOR, YEARLY_MINOR = 19_900, 190_000
# Of a call whose answer never comes.
SHORT_SECONDS = 0.5
LOST = ["applied_then_timeout", "applied_then_error"]


async def yearly_price(stage: Stage, amount_minor: int = YEARLY_MINOR) -> str:
    draft = PlanDraft(
        plan_id=stage.next_id("plan"),
        name="Pro",
        billing_interval=BillingInterval.YEARLY,
        amount_minor=amount_minor,
        currency="MXN",
    )
    return await stage.provider.ensure_plan(draft)


async def monthly(stage: Stage) -> tuple[SubscriptionSnapshot, SubscriptionChange]:
    """A subscription that is paid monthly, and the wish to pay yearly from its next period on."""
    draft, prepared = await stage.subscribed()
    found = await stage.provider.get_subscription("", prepared.provider_subscription_id)
    change = SubscriptionChange(
        change_id=stage.next_id("change"),
        provider_customer_id=draft.provider_customer_id,
        provider_subscription_id=found.provider_subscription_id,
        provider_plan_id=await yearly_price(stage),
        billing_interval=BillingInterval.YEARLY,
        amount_minor=YEARLY_MINOR,
        quantity=1,
        currency="MXN",
        begins_at=found.current_period_end,
    )
    return found, change


async def back(stage: Stage, change: SubscriptionChange) -> SubscriptionSnapshot:
    """Monthly, now and from now on."""
    price = await stage.price(MONTHLY_MINOR)
    [item] = stage.core.collection("stripe", "subscriptions")[change.provider_subscription_id][
        "items"
    ]["data"]
    return await stage.provider.change_subscription(
        change.model_copy(
            update={
                "change_id": stage.next_id("change"),
                "provider_plan_id": item["price"]["id"] or price,
                "billing_interval": BillingInterval.MONTHLY,
                "amount_minor": MONTHLY_MINOR,
                "begins_at": None,
            }
        )
    )


async def paid(stage: Stage) -> list[int]:
    return [one["amount_minor"] for one in await stage.charges() if one["status"] == "paid"]


def schedules(stage: Stage) -> list[dict[str, Any]]:
    return list(stage.core.collection("stripe", "subscription_schedules").values())


async def post(stage: Stage, path: str, form: dict[str, str]) -> dict[str, Any]:
    """What somebody else does with the account."""
    answer = await stage.http.post(
        f"{stage.url}/stripe/v1/{path}", data=form, headers={"Authorization": f"Bearer {API_KEY}"}
    )
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


async def test_the_next_period_is_a_year_at_the_yearly_price(stage: Stage) -> None:
    before, change = await monthly(stage)
    held = await stage.provider.change_subscription(change)
    assert (held.holds_change, held.billing_interval) == (True, BillingInterval.MONTHLY)
    assert held.current_period_end == before.current_period_end
    assert await paid(stage) == [MONTHLY_MINOR], "nothing is billed before"

    await stage.advance(days=32)
    found = await stage.provider.get_subscription("", before.provider_subscription_id)
    assert await paid(stage) == [MONTHLY_MINOR, YEARLY_MINOR], "a whole year, nothing prorated"
    assert found.billing_interval is BillingInterval.YEARLY
    assert found.current_period_start == before.current_period_end
    assert timedelta(days=365) <= found.current_period_end - found.current_period_start
    assert found.latest_invoice is not None
    assert found.latest_invoice.period_end == found.current_period_end

    await stage.advance(days=370)
    found = await stage.provider.get_subscription("", before.provider_subscription_id)
    assert await paid(stage) == [MONTHLY_MINOR, YEARLY_MINOR, YEARLY_MINOR]
    assert not found.holds_change
    assert [one["status"] for one in schedules(stage)] == ["completed"]


async def test_credit_pays_for_the_new_price(stage: Stage) -> None:
    _, change = await monthly(stage)
    await stage.provider.change_subscription(
        change.model_copy(update={"credit_minor": MONTHLY_MINOR + 500})
    )
    await stage.advance(days=32)
    assert (await paid(stage))[1:] == [YEARLY_MINOR - MONTHLY_MINOR - 500]


@pytest.mark.parametrize("mode", LOST)
@pytest.mark.parametrize(
    "operation", ["subscription_schedules.create", "subscription_schedules.update"]
)
async def test_a_lost_answer_makes_one_schedule(stage: Stage, operation: str, mode: str) -> None:
    _, change = await monthly(stage)
    stage.provider = stage.new_provider(timeout_seconds=SHORT_SECONDS)
    await stage.fault(operation, mode)
    with pytest.raises(ProviderFailure) as caught:
        await stage.provider.change_subscription(change)
    assert caught.value.kind is FailureKind.UNKNOWN
    held = await stage.provider.change_subscription(change)
    assert held.holds_change
    assert [len(one["phases"]) for one in schedules(stage)] == [2]
    await stage.advance(days=32)
    assert await paid(stage) == [MONTHLY_MINOR, YEARLY_MINOR]


async def test_a_half_made_schedule_is_harmless(stage: Stage) -> None:
    before, change = await monthly(stage)
    await stage.fault("subscription_schedules.update", "error")
    with pytest.raises(ProviderFailure):
        await stage.provider.change_subscription(change)
    assert [len(one["phases"]) for one in schedules(stage)] == [1]
    await stage.advance(days=32)
    found = await stage.provider.get_subscription("", before.provider_subscription_id)
    assert (await paid(stage), found.holds_change) == ([MONTHLY_MINOR] * 2, False)


async def test_what_is_repeated_is_not_made_again(stage: Stage) -> None:
    _, change = await monthly(stage)
    for number in range(2):
        await stage.provider.change_subscription(change)
        again = change.model_copy(update={"change_id": f"another-{number}"})
        await stage.provider.change_subscription(again)
    assert len(stage.events("subscription_schedule.created")) == 1
    assert len(stage.events("subscription_schedule.updated")) == 1


async def test_a_second_wish_replaces_the_first(stage: Stage) -> None:
    _, change = await monthly(stage)
    await stage.provider.change_subscription(change)
    other = {"change_id": "other", "provider_plan_id": await yearly_price(stage, 250_000)}
    await stage.provider.change_subscription(change.model_copy(update=other))
    assert len(schedules(stage)) == 1
    await stage.advance(days=32)
    assert await paid(stage) == [MONTHLY_MINOR, 250_000]


async def test_it_is_taken_back(stage: Stage) -> None:
    _, change = await monthly(stage)
    await stage.provider.change_subscription(change)
    assert not (await back(stage, change)).holds_change
    assert [one["status"] for one in schedules(stage)] == ["released"]
    await stage.advance(days=32)
    assert await paid(stage) == [MONTHLY_MINOR] * 2


async def test_what_stripe_is_about_to_make_is_left_to_it(stage: Stage) -> None:
    """Our clock is a moment ahead: asked to make it so now, Stripe would bill a year at once."""
    _, change = await monthly(stage)
    await stage.provider.change_subscription(change)
    now = change.model_copy(update={"change_id": "now", "begins_at": None})
    assert (await stage.provider.change_subscription(now)).holds_change
    assert await paid(stage) == [MONTHLY_MINOR]


async def test_a_change_at_once_comes_first(stage: Stage) -> None:
    _, change = await monthly(stage)
    await stage.provider.change_subscription(change)
    now = change.model_copy(update={"change_id": "now", "begins_at": None, "restart": True})
    found = await stage.provider.change_subscription(now)
    assert (found.holds_change, found.billing_interval) == (False, BillingInterval.YEARLY)
    await stage.advance(days=32)
    assert await paid(stage) == [MONTHLY_MINOR], "the year was prepaid by an invoice of ours"


@pytest.mark.parametrize("after_the_change", [False, True])
@pytest.mark.parametrize("act", ["cancel", "end", "pause", "pause_unpaid"])
async def test_what_a_schedule_forbids_releases_it(
    stage: Stage, act: str, after_the_change: bool
) -> None:
    """Before the change is made, and while the schedule is still there after it."""
    before, change = await monthly(stage)
    await stage.provider.change_subscription(change)
    if after_the_change:
        await stage.advance(days=32)
    id_ = before.provider_subscription_id
    if act in {"cancel", "end"}:
        found = await stage.provider.cancel_subscription("", id_, at_period_end=act == "cancel")
        assert found.cancel_at_period_end is (act == "cancel")
        assert (found.status is Status.CANCELED) is (act == "end")
    else:
        found = await stage.provider.pause_subscription("", id_, unpaid=act == "pause_unpaid")
        assert found.is_paused
    assert not found.holds_change
    charged = await paid(stage)
    await stage.advance(days=400)
    assert await paid(stage) == charged


async def test_a_cancellation_that_is_taken_back_may_be_followed_by_the_change(
    stage: Stage,
) -> None:
    before, change = await monthly(stage)
    await stage.provider.change_subscription(change)
    id_ = before.provider_subscription_id
    await stage.provider.cancel_subscription("", id_, at_period_end=True)
    await stage.provider.keep_subscription("", id_)
    again = change.model_copy(update={"change_id": "again"})
    assert (await stage.provider.change_subscription(again)).holds_change
    await stage.advance(days=32)
    assert await paid(stage) == [MONTHLY_MINOR, YEARLY_MINOR]


async def test_another_card_pays_for_the_new_price(stage: Stage) -> None:
    before, change = await monthly(stage)
    await stage.provider.change_subscription(change)
    card = await stage.card(change.provider_customer_id, "pm_card_mastercard")
    id_ = before.provider_subscription_id
    await stage.provider.change_payment_method(change.provider_customer_id, id_, card)
    await stage.advance(days=32)
    assert (await paid(stage))[1:] == [YEARLY_MINOR]
    [*_, intent] = stage.core.collection("stripe", "payment_intents").values()
    assert intent["payment_method"] == card


async def test_another_ones_schedule_is_left_alone(stage: Stage) -> None:
    before, change = await monthly(stage)
    id_ = before.provider_subscription_id
    made = await post(stage, "subscription_schedules", {"from_subscription": id_})
    [phase] = made["phases"]
    phases = {
        "proration_behavior": "none",
        "phases[0][items][0][price]": phase["items"][0]["price"],
        "phases[0][start_date]": str(phase["start_date"]),
        "phases[0][end_date]": str(phase["end_date"]),
        "phases[0][proration_behavior]": "none",
        "phases[1][items][0][price]": change.provider_plan_id,
        "phases[1][duration][interval]": "year",
        "phases[1][proration_behavior]": "none",
    }
    await post(stage, f"subscription_schedules/{made['id']}", phases)

    for act in (
        stage.provider.change_subscription(change),
        stage.provider.pause_subscription("", id_),
    ):
        with pytest.raises(ProviderFailure) as caught:
            await act
        assert caught.value.kind is FailureKind.REJECTED
    assert [one["status"] for one in schedules(stage)] == ["active"]
    found = await stage.provider.cancel_subscription("", id_, at_period_end=True)
    assert (found.cancel_at_period_end, found.holds_change) == (True, False)


async def test_a_period_that_ends_otherwise_is_refused(stage: Stage) -> None:
    _, change = await monthly(stage)
    assert change.begins_at is not None
    late = change.model_copy(update={"begins_at": change.begins_at + timedelta(days=1)})
    with pytest.raises(ProviderFailure) as caught:
        await stage.provider.change_subscription(late)
    assert caught.value.kind is FailureKind.REJECTED
    assert schedules(stage) == []


async def test_an_archived_price_leaves_no_schedule(stage: Stage) -> None:
    _, change = await monthly(stage)
    await post(stage, f"prices/{change.provider_plan_id}", {"active": "false"})
    with pytest.raises(ProviderFailure) as caught:
        await stage.provider.change_subscription(change)
    assert type(caught.value).__name__ == "NotOnSale"
    assert [one["status"] for one in schedules(stage)] == ["released"]
    other = {"provider_plan_id": await yearly_price(stage)}
    await stage.provider.change_subscription(change.model_copy(update=other))
    await stage.advance(days=32)
    assert await paid(stage) == [MONTHLY_MINOR, YEARLY_MINOR]


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("subscription_schedules", {"from_subscription": "{id}"}),
        ("subscription_schedules", {"from_subscription": "{id}", "end_behavior": "release"}),
        ("subscriptions/{id}", {"cancel_at_period_end": "true"}),
        ("subscriptions/{id}/pause", {"bill_for[unused_time_from][type]": "none"}),
    ],
)
async def test_the_sandbox_refuses_what_stripe_refuses(
    stage: Stage, path: str, form: dict[str, str]
) -> None:
    before, change = await monthly(stage)
    await stage.provider.change_subscription(change)
    id_ = before.provider_subscription_id
    with pytest.raises(httpx.HTTPStatusError) as caught:
        await post(
            stage, path.format(id=id_), {name: one.format(id=id_) for name, one in form.items()}
        )
    assert caught.value.response.status_code == 400
