"""What Conekta refuses, and what it does not notice."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.conekta.bodies import AMOUNT, charge_body, make_order, order_body
from tests.sandbox.conekta.world import ACCEPT, API_KEY, Json, World


def code_of(body: Json) -> str:
    code: str = body["details"][0]["code"]
    return code


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({"Authorization": ""}, 401, "authentication_error"),
        ({"Authorization": "Bearer key_other"}, 401, "authentication_error"),
        ({"Authorization": "Basic a2V5"}, 401, "authentication_error"),
        ({"Accept": "application/json"}, 409, "conflict_error"),
        ({"Accept": "*/*"}, 409, "conflict_error"),
    ],
)
async def test_headers_are_checked(
    world: World, headers: dict[str, str], status: int, kind: str
) -> None:
    answer = await world.http.get("/orders", headers=headers)
    assert answer.status_code == status
    assert answer.json()["type"] == kind
    assert answer.json()["object"] == "error"


async def test_the_version_header_of_digital_femsa_is_welcome(world: World) -> None:
    headers = {"Accept": "application/vnd.app-v2.1.0+json", "Authorization": f"Bearer {API_KEY}"}
    answer = await world.http.get("/orders", headers=headers)
    assert answer.status_code == 200
    assert headers["Accept"] != ACCEPT


async def test_a_repeated_post_makes_a_second_object(world: World, customer_id: str) -> None:
    """There are no idempotency keys; a header that claims to be one is ignored."""
    body = order_body(customer_id)
    headers = {"Idempotency-Key": "same"}
    made = [await world.http.post("/orders", json=body, headers=headers) for _ in range(2)]
    assert len({answer.json()["id"] for answer in made}) == 2
    person = {"name": "Ana", "email": "ana@example.com", "phone": "+5215555555555"}
    people = [await world.http.post("/customers", json=person) for _ in range(2)]
    assert len({answer.json()["id"] for answer in people}) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"unknown_field": 1},
        {"customer_info": {"customer_id": "x", "nickname": "y"}},
        {"line_items": [{"name": "Mensualidad", "unit_price": 1, "quantity": 1, "colour": "red"}]},
        {"charges": [{"payment_method": {"type": "cash"}, "colour": "red"}]},
        {"charges": [{"payment_method": {"type": "cash", "colour": "red"}}]},
    ],
)
async def test_unknown_fields_are_refused(
    world: World, customer_id: str, change: dict[str, Any]
) -> None:
    answer = await world.http.post("/orders", json={**order_body(customer_id), **change})
    assert answer.status_code == 422
    assert code_of(answer.json()) == "conekta.errors.parameter_validation.whitelist"


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"nested": {"a": 1}}},
        {"metadata": {"list": [1]}},
        {"metadata": {"long": "x" * 250}},
        {"metadata": {str(number): number for number in range(101)}},
        {"line_items": []},
        {"line_items": [{"name": "ab", "unit_price": 1, "quantity": 1}]},
        {"line_items": [{"name": "x" * 250, "unit_price": 1, "quantity": 1}]},
        {"line_items": [{"name": "Mensualidad", "unit_price": 1.5, "quantity": 1}]},
        {"line_items": [{"name": "Mensualidad", "unit_price": -1, "quantity": 1}]},
        {"line_items": [{"name": "Mensualidad", "unit_price": 1, "quantity": 0}]},
        {"currency": "USD"},
        {"currency": None},
        {"customer_info": {"name": "Ana"}},
        {"charges": [{"amount": AMOUNT + 1, "payment_method": {"type": "cash"}}]},
        {"charges": [{"amount": 1, "payment_method": {"type": "cash"}}] * 2},
        {"charges": [{"payment_method": {"type": "cash"}}] * 2},
        {"charges": [{"payment_method": {"type": "gold"}}]},
        {"charges": [{"payment_method": {"type": "spei", "expires_at": 1}}]},
        {"charges": [{"payment_method": {"type": "spei", "expires_at": "soon"}}]},
        {"checkout": {"type": "HostedPayment"}},
    ],
)
async def test_unusable_orders_are_refused(
    world: World, customer_id: str, change: dict[str, Any]
) -> None:
    answer = await world.http.post("/orders", json={**order_body(customer_id), **change})
    assert answer.status_code == 422
    assert answer.json()["type"] == "parameter_validation_error"
    assert world.orders() == []


async def test_metadata_at_its_limits_is_kept(world: World, customer_id: str) -> None:
    metadata = {str(number): "x" * 249 for number in range(100)}
    answer = await world.http.post("/orders", json=order_body(customer_id, metadata=metadata))
    assert answer.json()["metadata"] == metadata


@pytest.mark.parametrize("missing", ["name", "email", "phone"])
async def test_customers_need_a_name_an_email_and_a_phone(world: World, missing: str) -> None:
    body = {"name": "Ana", "email": "ana@example.com", "phone": "+5215555555555"}
    del body[missing]
    answer = await world.http.post("/customers", json=body)
    assert answer.status_code == 422
    assert answer.json()["details"][0]["param"] == missing


async def test_bodies_that_are_no_json_objects(world: World) -> None:
    for raw in (b"{", b"[1]", b"\xff"):
        answer = await world.http.post("/orders", content=raw)
        assert answer.status_code == 400
        assert answer.json()["type"] == "malformed_request_error"


async def test_unknown_objects_are_not_found(world: World, customer_id: str) -> None:
    order = await make_order(world, customer_id)
    token = {"payment_method": {"type": "card", "token_id": "tok_unknown"}}
    source = {"payment_method": {"type": "card", "payment_source_id": "src_unknown"}}
    answers = [
        await world.http.get("/orders/ord_unknown"),
        await world.http.get("/customers/cus_unknown"),
        await world.http.get("/events/unknown"),
        await world.http.post("/orders", json=order_body("cus_unknown")),
        await world.http.post("/orders/ord_unknown/cancel"),
        await world.http.post(f"/orders/{order['id']}/charges", json=token),
        await world.http.post(f"/orders/{order['id']}/charges", json=source),
    ]
    assert [answer.status_code for answer in answers] == [404] * len(answers)


async def test_listing_orders_by_time(world: World, customer_id: str) -> None:
    """The filters are inclusive; metadata is not searched, references are."""
    first = await make_order(world, customer_id)
    await world.advance(1000)
    second = await make_order(world, customer_id, "spei")

    async def found(**query: Any) -> list[str]:
        answer = await world.http.get("/orders", params=query)
        return [order["id"] for order in answer.json()["data"]]

    assert await found() == [second["id"], first["id"]]
    assert await found(**{"created_at.gte": second["created_at"]}) == [second["id"]]
    assert await found(**{"created_at.lte": first["created_at"]}) == [first["id"]]
    assert await found(**{"updated_at.gte": second["updated_at"]}) == [second["id"]]
    assert await found(**{"updated_at.lte": first["updated_at"]}) == [first["id"]]
    assert await found(created_at=first["created_at"]) == [first["id"]]
    assert await found(payment_status="pending_payment") == [second["id"]]
    clabe = second["charges"]["data"][0]["payment_method"]["clabe"]
    assert await found(search=clabe) == [second["id"]]
    assert await found(search="att_1") == []


async def test_pages_and_the_link_that_forgets_the_filter(world: World, customer_id: str) -> None:
    for _ in range(5):
        await make_order(world, customer_id)
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2, "created_at.gte": 1}
    while True:
        body = (await world.http.get("/orders", params=query)).json()
        seen += [order["id"] for order in body["data"]]
        if not body["has_more"]:
            break
        assert f"next={seen[-1]}" in body["next_page_url"]
        assert "created_at" not in body["next_page_url"]
        query["next"] = seen[-1]
    assert len(seen) == len(set(seen)) == 5
    back = await world.http.get("/orders", params={"limit": 2, "previous": seen[4]})
    assert [order["id"] for order in back.json()["data"]] == seen[2:4]
    assert (await world.http.get("/orders", params={"limit": 251})).status_code == 422


async def test_an_order_with_a_charge_cannot_be_changed(world: World, customer_id: str) -> None:
    order = await make_order(world, customer_id, "cash")
    answer = await world.http.put(f"/orders/{order['id']}", json={"metadata": {}})
    assert answer.status_code == 428
    answer = await world.http.post(
        f"/orders/{order['id']}/charges", json=charge_body(world, "cash")
    )
    assert answer.status_code == 428
    assert code_of(answer.json()).endswith("cannot_be_updated_because_has_charge")
    await world.pay(order["charges"]["data"][0]["payment_method"]["reference"])
    answer = await world.http.post(
        f"/orders/{order['id']}/charges", json=charge_body(world, "cash")
    )
    assert answer.status_code == 428
    assert code_of(answer.json()).endswith("cannot_be_updated_because_has_charge_paid")


async def test_a_closed_order_takes_no_charge(world: World, customer_id: str) -> None:
    order = await make_order(world, customer_id)
    canceled = await world.http.post(f"/orders/{order['id']}/cancel")
    assert canceled.json()["payment_status"] == "canceled"
    answer = await world.http.post(
        f"/orders/{order['id']}/charges", json=charge_body(world, "cash")
    )
    assert answer.status_code == 428
    again = await world.http.post(f"/orders/{order['id']}/cancel")
    assert again.status_code == 428
