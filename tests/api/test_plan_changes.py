"""Changing a plan: what new subscriptions get, and what running ones keep."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from models.storage.tables import AuditEntry, PlanPrice
from tests.api.support import BASE, Api, organization, plan, price, subscription

PESOS: dict[str, Any] = {"currency": "MXN", "billing_interval": "monthly", "amount_minor": 19900}
YEARLY = PESOS | {"billing_interval": "yearly", "amount_minor": 199000}
DOLLARS = PESOS | {"currency": "USD", "amount_minor": 1200}


async def _patch(api: Api, plan_id: object, body: dict[str, Any]) -> httpx.Response:
    return await api.ours.http.patch(f"{BASE}/plans/{plan_id}", json=body)


async def test_only_what_is_sent_changes_and_each_as_a_whole(api: Api) -> None:
    first = {
        "name": "Pro",
        "description": "For teams",
        "prices": [PESOS, DOLLARS],
        "features": ["Support", "Reports"],
        "limits": {"seats": 10},
        "billing_policy": {"access_grace_days": 3},
    }
    made = (await api.ours.post("/plans", first)).json()

    body = {"features": ["Support"], "billing_policy": {"on_unpaid": "pause"}, "description": None}
    changed = (await _patch(api, made["id"], body)).json()

    assert changed == made | body | {"updated_at": changed["updated_at"]}
    assert changed["updated_at"] > made["updated_at"]
    assert (await api.ours.get(f"/plans/{made['id']}")).json() == changed


async def test_prices_are_replaced_and_forget_what_the_old_amount_was_called(api: Api) -> None:
    sold = plan(api.ours)
    kept = price(sold, "USD", amount_minor=1200, provider_plan_ids={"stripe:default": "price_usd"})
    dearer = price(sold, provider_plan_ids={"stripe:default": "price_mxn"})
    gone = price(sold, "EUR")
    await api.add(sold, kept, dearer, gone)

    wanted = [DOLLARS, PESOS | {"amount_minor": 24900}, YEARLY]
    changed = await _patch(api, sold.id, {"prices": wanted})

    rows = await api.all(select(PlanPrice).where(PlanPrice.plan_id == sold.id))
    assert {(row.currency, row.billing_interval): row.amount_minor for row in rows} == {
        ("MXN", "monthly"): 24900,
        ("MXN", "yearly"): 199000,
        ("USD", "monthly"): 1200,
    }
    by_id = {row.id: row for row in rows}
    assert by_id[kept.id].provider_plan_ids == {"stripe:default": "price_usd"}
    assert by_id[dearer.id].provider_plan_ids == {}
    assert changed.json()["prices"] == (await api.ours.get(f"/plans/{sold.id}")).json()["prices"]


async def test_a_running_subscription_keeps_the_price_that_it_agreed_to(api: Api) -> None:
    who, sold = organization(api.ours), plan(api.ours)
    row = subscription(who, sold, provider=None, payment_method_type="oxxo")
    await api.add(who, sold, price(sold), row)

    await _patch(api, sold.id, {"prices": [PESOS | {"amount_minor": 24900}]})

    shown = (await api.ours.get(f"/subscriptions/{row.id}")).json()
    order = {
        "organization_id": str(who.id),
        "plan_id": str(sold.id),
        "billing_interval": "monthly",
        "payment_method_type": "oxxo",
    }
    opened = (await api.ours.post("/subscriptions", order)).json()
    assert (shown["amount_minor"], opened["amount_minor"]) == (19900, 24900)


async def test_a_plan_is_taken_off_sale_and_put_back(api: Api) -> None:
    made = (await api.ours.post("/plans", {"name": "Pro", "prices": [PESOS]})).json()
    who = organization(api.ours)
    await api.add(who)
    order = {
        "organization_id": str(who.id),
        "plan_id": made["id"],
        "billing_interval": "monthly",
        "payment_method_type": "oxxo",
    }

    await _patch(api, made["id"], {"is_active": False})
    refused = await api.ours.post("/subscriptions", order)
    listed = (await api.ours.get("/plans", is_active=True)).json()["data"]
    back = (await _patch(api, made["id"], {"is_active": True})).json()

    assert (refused.status_code, refused.json()["code"]) == (409, "plan_not_active")
    assert listed == []
    assert back["is_active"] is True
    assert (await api.ours.post("/subscriptions", order)).status_code in {201, 202}


async def test_who_changed_what_stands_in_the_audit_log(api: Api) -> None:
    made = (await api.ours.post("/plans", {"name": "Pro", "prices": [PESOS]})).json()

    await _patch(api, made["id"], {"name": "Pro", "limits": {"seats": 3}})
    await _patch(api, made["id"], {"limits": {"seats": 3}})

    entries = await api.all(select(AuditEntry).where(AuditEntry.action == "plan.update"))
    assert [(entry.before, entry.after) for entry in entries] == [
        ({"limits": {}}, {"plan_id": made["id"], "limits": {"seats": 3}})
    ]
    assert entries[0].actor.startswith("key:")


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("prices", {"prices": []}),
        ("prices", {"prices": [PESOS, PESOS]}),
        ("prices", {"prices": None}),
        ("name", {"name": None}),
        ("limits", {"limits": None}),
        ("is_active", {"is_active": "no"}),
        ("trial_days", {"trial_days": 91}),
        ("price", {"price": 1}),
    ],
)
async def test_a_change_that_makes_no_sense_changes_nothing(
    api: Api, field: str, body: dict[str, Any]
) -> None:
    made = (await api.ours.post("/plans", {"name": "Pro", "prices": [PESOS]})).json()

    answer = await _patch(api, made["id"], {"description": "new"} | body)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].split(".")[0] == field
    assert (await api.ours.get(f"/plans/{made['id']}")).json() == made


async def test_another_tenants_plan_is_not_there(api: Api) -> None:
    foreign = plan(api.theirs)
    await api.add(foreign)
    assert (await _patch(api, foreign.id, {"name": "Mine"})).status_code == 404
    assert (await _patch(api, UUID(int=1), {"name": "Mine"})).status_code == 404
