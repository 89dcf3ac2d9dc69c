"""No tenant sees, commands or infers anything of another's."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from sqlalchemy import func, select

from api.auth import Principal
from api.tenancy import scoped
from models.storage.tables import (
    Application,
    Invoice,
    OutboundEvent,
    PaymentMethod,
    Subscription,
    new_id,
)
from tests.api.support import Api, card, invoice, organization, plan, price, subscription


@pytest.fixture
async def theirs(api: Api) -> dict[str, str]:
    """One of everything, of the other tenant."""
    who, what = organization(api.theirs, external_id="acme"), plan(api.theirs)
    method = card(who)
    row = subscription(who, what)
    bill = invoice(row)
    told = OutboundEvent(
        id=new_id(),
        application_id=row.application_id,
        subscription_id=row.id,
        sequence=1,
        type="subscription.activated",
        data={},
        created_at=datetime.now(UTC),
    )
    await api.add(who, what, price(what), method, row, bill, told)
    return {
        "organization": str(who.id),
        "plan": str(what.id),
        "method": str(method.id),
        "subscription": str(row.id),
        "invoice": str(bill.id),
    }


async def test_their_objects_look_like_none(api: Api, theirs: dict[str, str]) -> None:
    paths = {
        "organization": "/organizations/{}",
        "plan": "/plans/{}",
        "method": "/payment-methods/{}",
        "subscription": "/subscriptions/{}",
        "invoice": "/invoices/{}",
    }
    for name, path in paths.items():
        there = await api.ours.get(path.format(theirs[name]))
        nowhere = await api.ours.get(path.format(uuid4()))
        assert there.status_code == 404, path
        assert there.text == nowhere.text, path
        assert (await api.theirs.get(path.format(theirs[name]))).status_code == 200, path


async def test_their_subscription_takes_no_commands(api: Api, theirs: dict[str, str]) -> None:
    for action in ("cancel", "resume", "retry"):
        answer = await api.ours.post(f"/subscriptions/{theirs['subscription']}/{action}")
        assert answer.status_code == 404, action


async def test_their_organization_cannot_be_changed(api: Api, theirs: dict[str, str]) -> None:
    path = f"/api/v1/billing/organizations/{theirs['organization']}"
    answer = await api.ours.http.patch(path, json={"name": "Mine now"})
    assert answer.status_code == 404


@pytest.mark.parametrize("borrowed", ["organization", "plan", "method"])
async def test_their_ids_cannot_be_used_to_subscribe(
    api: Api, theirs: dict[str, str], borrowed: str
) -> None:
    who, what = organization(api.ours), plan(api.ours)
    method = card(who)
    await api.add(who, what, price(what), method)
    body = {
        "organization_id": str(who.id),
        "plan_id": str(what.id),
        "payment_method_id": str(method.id),
        "billing_interval": "monthly",
    }
    field = {"method": "payment_method_id"}.get(borrowed, f"{borrowed}_id")

    answer = await api.ours.post("/subscriptions", body | {field: theirs[borrowed]})

    assert answer.status_code == 404
    owned = Subscription.application_id == api.ours.application_id
    assert await api.all(select(Subscription).where(owned)) == []


async def test_their_organization_gets_no_payment_method(api: Api, theirs: dict[str, str]) -> None:
    body = {"organization_id": theirs["organization"], "token": "tok_1"}
    assert (await api.ours.post("/payment-methods", body)).status_code == 404
    assert await api.all(select(func.count()).select_from(PaymentMethod)) == [1]


async def test_lists_show_their_rows_to_nobody_else(api: Api, theirs: dict[str, str]) -> None:
    for path in (
        "/organizations",
        "/plans",
        "/payment-methods",
        "/subscriptions",
        "/invoices",
        "/events",
    ):
        assert (await api.ours.get(path)).json()["data"] == [], path
        assert len((await api.theirs.get(path)).json()["data"]) == 1, path
    by_id = {"subscription_id": theirs["subscription"]}
    assert (await api.ours.get("/invoices", **by_id)).json()["data"] == []
    assert (await api.ours.get("/events", **by_id)).json()["data"] == []


async def test_external_ids_and_idempotency_keys_are_each_tenants_own(
    api: Api, theirs: dict[str, str]
) -> None:
    body = {"external_id": "acme", "name": "Ours", "email": "a@acme.mx"}
    ours = await api.ours.post("/organizations", body, key="same")
    again = await api.theirs.post("/organizations", body | {"external_id": "b"}, key="same")
    assert ours.status_code == 201
    assert again.status_code == 201
    assert ours.json()["id"] != again.json()["id"]


def test_a_table_without_a_tenant_cannot_be_queried_for_one() -> None:
    principal = Principal(uuid4(), "key:x", frozenset())
    assert "application_id = " in str(scoped(select(Invoice), principal))
    with pytest.raises(AttributeError):
        scoped(select(Application), principal)
