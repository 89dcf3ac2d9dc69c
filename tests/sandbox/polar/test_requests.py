"""Who is let in, what is refused and in which words, lists and filters."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.polar.bodies import benefit_body, customer_body, price_body, product_body
from tests.sandbox.polar.world import Json, World


def fields(answer: Json) -> list[list[str]]:
    return [detail["loc"] for detail in answer["detail"]]


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer other", "Basic polar_oat_sandbox", "Bearer ñ"]
)
async def test_only_the_token_opens(world: World, authorization: str) -> None:
    headers = {b"Authorization": authorization.encode(), b"Polar-Version": b"2026-10"}
    answer = await world.http.get("/products/", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_token"


async def test_another_version_is_a_path_that_does_not_exist(world: World) -> None:
    answer = await world.http.get("/products/", headers={"Polar-Version": "2026-01"})
    assert answer.status_code == 404
    assert answer.json() == {"detail": "Not Found"}


async def test_answers_say_their_version(world: World) -> None:
    assert (await world.http.get("/products/")).headers["Polar-Version"] == "2026-10"
    assert (await world.http.get("/products/x")).headers["Polar-Version"] == "2026-10"


@pytest.mark.parametrize(
    "path", ["/customers/x", "/customers/external/x", "/products/x", "/checkouts/x", "/orders/x"]
)
async def test_what_is_not_there(world: World, path: str) -> None:
    answer = await world.http.get(path)
    assert answer.status_code == 404
    assert answer.json() == {"error": "ResourceNotFound", "detail": "Not found"}


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        ("/customers/", customer_body(email="nobody"), ["body", "email"]),
        ("/customers/", {"name": "Ana"}, ["body", "email"]),
        ("/customers/", customer_body(surprise=1), ["body", "surprise"]),
        (
            "/customers/",
            customer_body(billing_address={"country": "Mexico"}),
            ["body", "billing_address", "country"],
        ),
        ("/customers/", customer_body(metadata={"k": ""}), ["body", "metadata", "k"]),
        ("/customers/", customer_body(metadata={"k" * 41: "v"}), ["body", "metadata"]),
        ("/customers/", customer_body(metadata={"k": ["v"]}), ["body", "metadata", "k"]),
        ("/products/", product_body(name="ab"), ["body", "name"]),
        ("/products/", product_body(name="a" * 65), ["body", "name"]),
        ("/products/", product_body(prices=[]), ["body", "prices"]),
        ("/products/", product_body(prices=[price_body(currency="mxn")]), ["body", "prices"]),
        (
            "/products/",
            product_body(prices=[price_body(amount=49)]),
            ["body", "prices", "0", "price_amount"],
        ),
        (
            "/products/",
            product_body(prices=[{**price_body(), "tax_behavior": "maybe"}]),
            ["body", "prices", "0", "tax_behavior"],
        ),
        (
            "/products/",
            product_body(prices=[{"amount_type": "free"}]),
            ["body", "prices", "0", "amount_type"],
        ),
        ("/products/", product_body(recurring_interval="decade"), ["body", "recurring_interval"]),
        ("/products/", product_body(visibility="secret"), ["body", "visibility"]),
        ("/benefits/", {**benefit_body("custom"), "type": "magic"}, ["body", "type"]),
        ("/benefits/", benefit_body("custom", description="ab"), ["body", "description"]),
        ("/benefits/", benefit_body("custom", description="a" * 43), ["body", "description"]),
        ("/benefits/", benefit_body("custom", properties=None), ["body", "properties"]),
        (
            "/benefits/",
            benefit_body("discord", properties={"guild_id": "1", "role_id": "2"}),
            ["body", "properties", "kick_member"],
        ),
        ("/checkouts/", {"products": []}, ["body", "products"]),
        ("/checkouts/", {"products": ["x"]}, ["body", "products", "0"]),
        ("/subscriptions/", {"product_id": "x", "customer_id": "y"}, ["body", "product_id"]),
    ],
)
async def test_what_is_refused(world: World, path: str, body: Json, where: list[str]) -> None:
    answer = await world.http.post(path, json=body)
    assert answer.status_code == 422
    assert answer.json()["error"] in {"RequestValidationError", "PolarRequestValidationError"}
    assert fields(answer.json()) == [where]


@pytest.mark.parametrize("raw", [b"{", b"[]", b"null"])
async def test_bodies_that_are_none(world: World, raw: bytes) -> None:
    answer = await world.http.post("/customers/", content=raw)
    assert answer.status_code == 422


@pytest.mark.parametrize("field", ["email", "external_id"])
async def test_customers_are_unique(world: World, customer: Json, field: str) -> None:
    other = {"email": "other@example.com", "external_id": "org_2"}
    body = {**customer_body(), **other, field: customer[field]}
    answer = await world.http.post("/customers/", json=body)
    assert answer.status_code == 422
    assert fields(answer.json()) == [["body", field]]


async def test_an_external_id_is_set_once(world: World) -> None:
    made = await world.post("/customers/", {"email": "ana@example.com"})
    path = f"/customers/{made['id']}"
    given = await world.http.patch(path, json={"external_id": "org_1", "name": "Ana"})
    assert given.json()["external_id"] == "org_1"
    again = await world.http.patch(path, json={"external_id": "org_2"})
    assert fields(again.json()) == [["body", "external_id"]]
    found = await world.get("/customers/external/org_1")
    assert found["id"] == made["id"]


async def test_lists_have_pages(world: World) -> None:
    made = [await world.post("/products/", product_body()) for _ in range(3)]
    first = await world.get("/products/", limit=2)
    assert first["pagination"] == {"total_count": 3, "max_page": 2}
    second = await world.get("/products/", limit=2, page=2)
    listed = [product["id"] for product in [*first["items"], *second["items"]]]
    assert listed == [product["id"] for product in reversed(made)]
    assert (await world.http.get("/products/", params={"page": 0})).status_code == 422


async def test_lists_are_filtered_by_metadata_and_columns(world: World) -> None:
    await world.post("/products/", product_body())
    other = await world.post("/products/", product_body(metadata={"ref": "prod_2", "n": 5}))
    for filters in ({"metadata[ref]": "prod_2"}, {"metadata[n]": "5"}, {"id": other["id"]}):
        found = await world.get("/products/", **filters)
        assert [product["id"] for product in found["items"]] == [other["id"]]
    await world.http.patch(f"/products/{other['id']}", json={"is_archived": True})
    kept = await world.get("/products/", is_archived="false")
    assert [product["metadata"]["ref"] for product in kept["items"]] == ["prod_1"]


async def test_customers_are_found_by_email_in_any_case(world: World, customer: Json) -> None:
    found = await world.get("/customers/", email="ANA@example.com")
    assert [one["id"] for one in found["items"]] == [customer["id"]]
    assert (await world.get("/customers/", email="ana"))["items"] == []


async def test_repeating_a_post_makes_a_second_object(world: World, customer: Json) -> None:
    """There are no idempotency keys, whatever header somebody sends."""
    headers = {"Idempotency-Key": "once"}
    made: set[Any] = set()
    for _ in range(2):
        answer = await world.http.post("/products/", json=product_body(), headers=headers)
        made.add(answer.json()["id"])
    assert len(made) == 2


@pytest.mark.parametrize(
    ("mode", "status"), [("down", 503), ("error", 500), ("applied_then_error", 500)]
)
async def test_faults(world: World, mode: str, status: int) -> None:
    await world.fault("products.create", mode)
    answer = await world.http.post("/products/", json=product_body())
    assert answer.status_code == status
    assert len(world.all("products")) == (1 if mode == "applied_then_error" else 0)


async def test_a_rate_limit_says_how_long(world: World) -> None:
    await world.fault("*", "rate_limit", seconds=7)
    answer = await world.http.get("/products/")
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "7"
