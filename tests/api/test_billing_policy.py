"""A plan's own dunning: what may be sent, what is kept, and what the terms of a subscription carry."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from api.billing_policy import BillingPolicyInput, merge_policy
from models.billing_policy import BillingPolicy, OnDispute, OnUnpaid
from models.storage.tables import Subscription
from models.subscription import SubscriptionTerms
from tests.api.support import Api, organization, plan, subscription

PRICE: dict[str, Any] = {"currency": "MXN", "billing_interval": "monthly", "amount_minor": 19900}


def test_nothing_of_its_own_is_the_engines_policy() -> None:
    assert merge_policy({}) == BillingPolicy()
    assert BillingPolicyInput().stored() == {}


def test_every_field_has_its_place() -> None:
    own = BillingPolicyInput.model_validate(
        {
            "retry_after_days": [2, 4],
            "past_due_window_days": 10,
            "access_grace_days": 1,
            "on_unpaid": "pause",
            "on_dispute": "keep",
            "lead_days": 5,
            "voucher_lifetime_days": 2,
            "transfer_lifetime_hours": 12,
            "vouchers_max": 4,
        }
    )
    assert merge_policy(own.stored()) == BillingPolicy(
        retry_after_days=(2, 4),
        past_due_window=timedelta(days=10),
        access_grace=timedelta(days=1),
        on_unpaid=OnUnpaid.PAUSE,
        on_dispute=OnDispute.KEEP,
        lead=timedelta(days=5),
        voucher_lifetime=timedelta(days=2),
        transfer_lifetime=timedelta(hours=12),
        vouchers_max=4,
    )


def test_the_window_follows_the_schedule_and_the_grace() -> None:
    longer = merge_policy({"retry_after_days": [10, 10]})
    patient = merge_policy({"retry_after_days": [1], "access_grace_days": 30})
    assert longer.past_due_window == timedelta(days=21)
    assert patient.past_due_window == timedelta(days=30)


@pytest.mark.parametrize(
    ("own", "field"),
    [
        ({"retry_after_days": [0]}, "retry_after_days"),
        ({"retry_after_days": [1] * 13}, "retry_after_days"),
        ({"retry_after_days": [31]}, "retry_after_days"),
        ({"retry_after_days": "3"}, "retry_after_days"),
        ({"past_due_window_days": 91}, "past_due_window_days"),
        ({"past_due_window_days": 3, "access_grace_days": 1}, "past_due_window_days"),
        ({"access_grace_days": 20, "past_due_window_days": 15}, "access_grace_days"),
        ({"on_unpaid": "shrug"}, "on_unpaid"),
        ({"on_dispute": "refund"}, "on_dispute"),
        ({"voucher_lifetime_days": 8}, "voucher_lifetime_days"),
        ({"vouchers_max": 0}, "vouchers_max"),
        ({"retries": 3}, "retries"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_its_name(
    api: Api, own: dict[str, Any], field: str
) -> None:
    body = {"name": "Pro", "prices": [PRICE], "billing_policy": own}
    answer = await api.ours.post("/plans", body)
    assert answer.status_code == 422
    told = str(answer.json()["errors"])
    assert field in told


async def test_the_terms_of_a_new_subscription_carry_it(api: Api) -> None:
    own = {"retry_after_days": [1], "on_unpaid": "keep_past_due"}
    made = await api.ours.post("/plans", {"name": "Pro", "prices": [PRICE], "billing_policy": own})
    who = await api.ours.post("/organizations", {"name": "A", "email": "a@b.mx", "country": "MX"})
    opened = await api.ours.post(
        "/subscriptions",
        {
            "organization_id": who.json()["id"],
            "plan_id": made.json()["id"],
            "billing_interval": "monthly",
            "payment_method_type": "oxxo",
        },
    )
    assert made.json()["billing_policy"] == own
    assert (await api.ours.get(f"/plans/{made.json()['id']}")).json()["billing_policy"] == own
    assert opened.status_code in {201, 202}
    row = await api.all(_subscription(opened.json()["id"]))
    policy = SubscriptionTerms.model_validate(row[0].opening).policy
    assert (policy.retry_after_days, policy.on_unpaid) == ((1,), OnUnpaid.KEEP_PAST_DUE)


async def test_the_collection_is_shown(api: Api) -> None:
    standing = {
        "attempts_made": 2,
        "attempts_left": 1,
        "next_attempt_at": "2026-12-01T10:00:00Z",
        "last_decline": {"class": "soft", "code": "insufficient_funds", "message": "Later."},
        "ends_at": None,
    }
    who, what = organization(api.ours), plan(api.ours)
    row = subscription(who, what, collection=standing, risk="disputed")
    await api.add(who, what, row)
    shown = (await api.ours.get(f"/subscriptions/{row.id}")).json()
    assert (shown["collection"], shown["risk"]) == (standing, "disputed")


def _subscription(id_: str) -> Any:
    return select(Subscription).where(Subscription.id == id_)
