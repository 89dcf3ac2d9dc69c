"""What of a change is refused before the workflow is asked, and what the workflow is asked then."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import update
from temporalio.worker import Worker

from models.storage.tables import Subscription, SubscriptionPlan
from tests.api.support import Api, organization, plan, price


@pytest.fixture
async def opened(api: Api, worker: Worker) -> tuple[str, SubscriptionPlan]:
    """A running subscription for three seats, and a plan beside its own."""
    who, what, other = organization(api.ours), plan(api.ours), plan(api.ours, name="Team")
    await api.add(who, what, other, price(what), price(other, amount_minor=39900))
    body = {
        "organization_id": str(who.id),
        "plan_id": str(what.id),
        "billing_interval": "monthly",
        "payment_method_type": "spei",
        "quantity": 3,
    }
    made = (await api.ours.post("/subscriptions", body)).json()
    assert (made["quantity"], made["amount_minor"], made["credit_minor"]) == (3, 59700, 0)
    return made["id"], other


async def patch(api: Api, subscription_id: str, body: dict[str, Any]) -> Any:
    return await api.ours.http.patch(f"/api/v1/billing/subscriptions/{subscription_id}", json=body)


async def said(api: Api, subscription_id: str) -> list[str]:
    handle = api.temporal.get_workflow_handle(f"subscription/{subscription_id}")
    found: list[str] = await handle.query("said")
    return found


async def test_what_is_not_named_stays(api: Api, opened: tuple[str, SubscriptionPlan]) -> None:
    subscription_id, other = opened
    rules = update(SubscriptionPlan).where(SubscriptionPlan.id == other.id)
    await api.run(rules.values(billing_policy={"spare_money": "credit"}))
    answer = await patch(api, subscription_id, {"plan_id": str(other.id)})
    assert answer.status_code == 200, answer.text
    asked = "change to 3 × Team for 119700 prorate, spare money: credit"
    assert (await said(api, subscription_id))[-1] == asked

    await patch(api, subscription_id, {"quantity": 1, "proration": "next_period"})
    assert (await said(api, subscription_id))[-1] == "change to Pro for 19900 next_period"


async def test_a_preview_names_its_instant_and_what_it_comes_to(
    api: Api, opened: tuple[str, SubscriptionPlan]
) -> None:
    subscription_id, other = opened
    answer = await api.ours.post(
        f"/subscriptions/{subscription_id}/preview", {"plan_id": str(other.id), "quantity": 1}
    )
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["plan_id"], found["amount_minor"]) == (str(other.id), 39900)
    assert (found["amount_due_minor"], found["lines"], found["currency"]) == (39900, [], "MXN")
    assert found["at"] == found["takes_effect_at"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "invalid_request"),
        ({"quantity": 0}, 422, "invalid_request"),
        ({"currency": "USD"}, 422, "invalid_request"),
        ({"payment_method_type": "card"}, 422, "invalid_request"),
        ({"proration": "perhaps", "quantity": 2}, 422, "invalid_request"),
        ({"quantity": 2, "proration_date": "2026-11-22T18:00:00"}, 422, "invalid_request"),
        ({"billing_interval": "yearly"}, 422, "currency_not_supported"),
        ({"plan_id": str(uuid4())}, 404, "not_found"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    api: Api,
    opened: tuple[str, SubscriptionPlan],
    body: dict[str, Any],
    status: int,
    code: str,
) -> None:
    subscription_id, _ = opened
    for answer in (
        await patch(api, subscription_id, body),
        await api.ours.post(f"/subscriptions/{subscription_id}/preview", body),
    ):
        assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_what_the_workflow_refuses_is_a_conflict(
    api: Api, opened: tuple[str, SubscriptionPlan]
) -> None:
    subscription_id, _ = opened
    for answer in (
        await patch(api, subscription_id, {"quantity": 13}),
        await api.ours.post(f"/subscriptions/{subscription_id}/preview", {"quantity": 13}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert "thirteen" in answer.json()["detail"]


async def test_a_plan_that_is_no_longer_sold_keeps_its_subscribers(
    api: Api, opened: tuple[str, SubscriptionPlan]
) -> None:
    subscription_id, other = opened
    retired = update(SubscriptionPlan).values(is_active=False)
    await api.run(retired)
    to_other = await patch(api, subscription_id, {"plan_id": str(other.id)})
    more = await patch(api, subscription_id, {"quantity": 4})
    assert (to_other.status_code, to_other.json()["code"]) == (409, "plan_not_active")
    assert more.status_code == 200


async def test_a_provider_that_cannot_change_says_so(
    api: Api, opened: tuple[str, SubscriptionPlan]
) -> None:
    subscription_id, _ = opened
    await api.run(update(Subscription).values(payment_method_type="card", provider="conekta"))
    answer = await patch(api, subscription_id, {"quantity": 2})
    assert (answer.status_code, answer.json()["code"]) == (422, "change_not_supported")
    assert "Conekta documents neither" in answer.json()["detail"]


async def test_another_tenants_subscription_cannot_be_changed(
    api: Api, opened: tuple[str, SubscriptionPlan]
) -> None:
    subscription_id, _ = opened
    answer = await api.theirs.post(f"/subscriptions/{subscription_id}/preview", {"quantity": 2})
    assert answer.status_code == 404
