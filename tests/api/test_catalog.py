"""Organizations and plans: who is billed, and what is sold."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from models.storage.tables import PlanPrice
from tests.api.support import BASE, Api, organization, plan

ACME: dict[str, Any] = {"name": "Acme", "email": "Pagos@ACME.mx"}
PRICE: dict[str, Any] = {"currency": "MXN", "billing_interval": "monthly", "amount_minor": 19900}


async def test_an_organization_is_created_and_read(api: Api) -> None:
    address = {"line1": "Insurgentes 1602", "postal_code": "03940", "country": "MX"}
    made = await api.ours.post("/organizations", ACME | {"billing_address": address})
    body = made.json()

    assert made.status_code == 201
    assert body["email"] == "Pagos@acme.mx"
    assert body["country"] == "MX"
    assert body["time_zone"] == "America/Mexico_City"
    assert body["billing_address"]["city"] is None
    assert (await api.ours.get(f"/organizations/{body['id']}")).json() == body


async def test_the_billing_address_wins_over_the_country(api: Api) -> None:
    address = {"line1": "1 Main St", "country": "US"}
    body = ACME | {"country": "MX", "billing_address": address}
    made = (await api.ours.post("/organizations", body)).json()
    assert (made["country"], made["time_zone"]) == ("US", "UTC")


@pytest.mark.parametrize("country", ["MEXICO", "mx", "XX", "MX ", "", "M"])
async def test_a_country_that_is_no_iso_code_is_refused_and_never_cut(
    api: Api, country: str
) -> None:
    answer = await api.ours.post("/organizations", ACME | {"country": country})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "country"


async def test_an_external_id_is_taken_once(api: Api) -> None:
    first = await api.ours.post("/organizations", ACME | {"external_id": "a-1"})
    second = await api.ours.post("/organizations", ACME | {"external_id": "a-1"})
    found = await api.ours.get("/organizations", external_id="a-1")

    assert (first.status_code, second.status_code) == (201, 409)
    assert second.json()["code"] == "conflict"
    assert [row["id"] for row in found.json()["data"]] == [first.json()["id"]]


async def test_an_organization_is_changed_by_what_is_sent_alone(api: Api) -> None:
    made = (await api.ours.post("/organizations", ACME | {"country": "MX"})).json()
    path = f"{BASE}/organizations/{made['id']}"

    changed = (await api.ours.http.patch(path, json={"email": "new@acme.mx"})).json()
    refused = await api.ours.http.patch(path, json={"email": None})

    assert changed["email"] == "new@acme.mx"
    assert changed["country"] == "MX"
    assert changed["updated_at"] > made["updated_at"]
    assert refused.status_code == 422


async def test_a_plan_is_created_and_read(api: Api) -> None:
    body = {
        "name": "Pro",
        "prices": [PRICE, PRICE | {"currency": "USD", "amount_minor": 1200}],
        "features": ["Support"],
        "limits": {"seats": 10},
        "trial_days": 14,
    }
    made = await api.ours.post("/plans", body)

    assert made.status_code == 201
    assert made.json()["prices"][0] == PRICE | {"provider_plan_ids": {}}
    assert made.json()["is_active"] is True
    assert (await api.ours.get(f"/plans/{made.json()['id']}")).json() == made.json()


@pytest.mark.parametrize(("limit", "status"), [(2**53 - 1, 201), (2**53, 422)])
async def test_a_limit_is_a_number_that_every_reader_of_json_holds(
    api: Api, limit: int, status: int
) -> None:
    body = {"name": "Pro", "prices": [PRICE], "limits": {"seats": limit}}
    assert (await api.ours.post("/plans", body)).status_code == status


async def test_a_plan_shows_what_its_prices_are_called_at_the_providers(api: Api) -> None:
    made = (await api.ours.post("/plans", {"name": "Pro", "prices": [PRICE]})).json()
    await api.run(update(PlanPrice).values(provider_plan_ids={"stripe": "price_1"}))

    shown = (await api.ours.get("/plans")).json()["data"][0]

    assert shown["id"] == made["id"]
    assert shown["provider_plan_ids"] == {"stripe": {"MXN/monthly": "price_1"}}
    assert shown["prices"][0]["provider_plan_ids"] == {"stripe": "price_1"}


@pytest.mark.parametrize(
    "prices",
    [
        [],
        [PRICE, PRICE],
        [PRICE | {"amount_minor": 0}],
        [PRICE | {"amount_minor": -1}],
        [PRICE | {"amount_minor": 199.0}],
        [PRICE | {"amount_minor": "19900"}],
        [PRICE | {"amount_minor": True}],
        [PRICE | {"amount_minor": 10**18}],
        [PRICE | {"currency": "mxn"}],
        [PRICE | {"currency": "XXX"}],
        [PRICE | {"currency": "BTC"}],
        [PRICE | {"billing_interval": "weekly"}],
        [PRICE | {"discount": 1}],
    ],
)
async def test_prices_that_make_no_sense_are_refused(api: Api, prices: list[Any]) -> None:
    answer = await api.ours.post("/plans", {"name": "Pro", "prices": prices})
    assert answer.status_code == 422
    assert answer.json()["errors"]


async def test_lists_are_paged_newest_first(api: Api) -> None:
    rows = [organization(api.ours, name=f"No. {number}") for number in range(5)]
    await api.add(*rows)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    sizes = []
    while True:
        body = (await api.ours.get("/organizations", limit=2, **cursor)).json()
        seen += [row["id"] for row in body["data"]]
        sizes.append(len(body["data"]))
        if not body["has_more"]:
            break
        cursor = {"cursor": body["next_cursor"]}

    assert sizes == [2, 2, 1]
    assert body["next_cursor"] is None
    assert seen == [str(row.id) for row in reversed(rows)]


async def test_a_page_that_is_just_full_is_the_last(api: Api) -> None:
    await api.add(plan(api.ours), plan(api.ours))
    body = (await api.ours.get("/plans", limit=2)).json()
    assert (len(body["data"]), body["has_more"], body["next_cursor"]) == (2, False, None)


async def test_limits_and_cursors_are_checked(api: Api) -> None:
    for code, params in (
        ("invalid_request", {"limit": 0}),
        ("invalid_request", {"limit": 101}),
        ("invalid_request", {"limit": "x"}),
        ("cursor_invalid", {"cursor": "x"}),
        ("cursor_invalid", {"cursor": "¡"}),
        ("cursor_invalid", {"cursor": "MTpub3QtYS11dWlk"}),
        ("invalid_request", {"cursor": "x" * 500}),
    ):
        answer = await api.ours.get("/plans", **params)
        assert answer.status_code == 422, params
        assert answer.json()["code"] == code, params
