"""The money of an order: slips, CLABEs, cards, and everything that happens out of order."""

from __future__ import annotations

import pytest

from tests.sandbox.conekta.bodies import (
    AMOUNT,
    charge_body,
    charge_statuses,
    make_order,
    order_body,
    read_order,
    references,
)
from tests.sandbox.conekta.world import World

INT64_MAX = 2**63 - 1


def control_digit(first_seventeen: str) -> int:
    """The bank association's rule, written another way than the simulator has it."""
    weights = [3, 7, 1] * 5 + [3, 7]
    products = [
        (int(digit) * weight) % 10 for digit, weight in zip(first_seventeen, weights, strict=True)
    ]
    return (10 - sum(products) % 10) % 10


async def test_cash_has_two_alternatives_for_the_full_amount(
    world: World, customer_id: str
) -> None:
    order = await make_order(world, customer_id)
    assert order["charges"] is None
    assert order["payment_status"] is None
    body = charge_body(world, "cash")
    answered = await world.http.post(f"/orders/{order['id']}/charges", json=body)
    order = await read_order(world, order["id"])
    oxxo, bank = order["charges"]["data"]
    assert answered.json()["id"] == oxxo["id"]
    assert [charge["amount"] for charge in (oxxo, bank)] == [AMOUNT, AMOUNT]
    assert oxxo["payment_method"]["product_type"] == "oxxo"
    assert oxxo["payment_method"]["barcode_url"].endswith(".png")
    assert bank["payment_method"]["product_type"] == "bbva_cash_in"
    assert bank["payment_method"]["agreement"]
    reference = bank["payment_method"]["reference"]
    assert isinstance(reference, str)
    assert len(reference) == 20
    assert int(reference) > INT64_MAX
    expires_at = body["payment_method"]["expires_at"]
    assert {charge["payment_method"]["expires_at"] for charge in (oxxo, bank)} == {expires_at}


async def test_a_transfer_has_a_clabe_with_a_right_control_digit(
    world: World, customer_id: str
) -> None:
    assert control_digit("03218000011835971") == 9  # A CLABE known to be right: 032180000118359719.
    for _ in range(5):
        order = await make_order(world, customer_id, "spei")
        method = order["charges"]["data"][0]["payment_method"]
        assert len(method["clabe"]) == 18
        assert int(method["clabe"][-1]) == control_digit(method["clabe"][:17])
        assert method["bank"] == "STP"


@pytest.mark.parametrize("kind", ["cash", "spei"])
async def test_paid_in_time(world: World, customer_id: str, kind: str) -> None:
    order = await make_order(world, customer_id, kind)
    paid = await world.pay(references(order)[0])
    assert paid["status"] == "paid"
    order = await read_order(world, order["id"])
    assert order["payment_status"] == "paid"
    assert order["is_refundable"] is True
    assert order["charges"]["data"][0]["paid_at"] is not None
    assert {"order.paid", "charge.paid"} <= set(world.event_types())


async def test_either_alternative_can_be_paid(world: World, customer_id: str) -> None:
    order = await make_order(world, customer_id, "cash")
    await world.pay(references(order)[1])
    order = await read_order(world, order["id"])
    assert order["payment_status"] == "paid"
    assert charge_statuses(order) == ["pending_payment", "paid"]
    book = await world.book()
    assert [(entry["id"], entry["status"]) for entry in book] == [
        (order["charges"]["data"][1]["id"], "paid")
    ]


async def test_the_alternative_left_over_runs_out_alone(world: World, customer_id: str) -> None:
    order = await make_order(world, customer_id, "cash")
    await world.pay(references(order)[0])
    await world.advance(3601)
    order = await read_order(world, order["id"])
    assert order["payment_status"] == "paid"
    assert charge_statuses(order) == ["paid", "expired"]
    assert "order.expired" not in world.event_types()


async def test_both_alternatives_paid_is_money_twice(world: World, customer_id: str) -> None:
    order = await make_order(world, customer_id, "cash")
    first, second = references(order)
    await world.pay(first)
    await world.pay(second)
    order = await read_order(world, order["id"])
    assert charge_statuses(order) == ["paid", "paid"]
    assert [entry["status"] for entry in await world.book()] == ["paid", "paid"]
    assert world.event_types().count("order.paid") == 1
    assert world.event_types().count("charge.paid") == 2


@pytest.mark.parametrize(("kind", "charges"), [("cash", 2), ("spei", 2)])
async def test_the_same_reference_paid_twice(
    world: World, customer_id: str, kind: str, charges: int
) -> None:
    """Cash turns to the alternative; a CLABE, which has none, gets one more paid charge."""
    order = await make_order(world, customer_id, kind)
    for _ in range(2):
        assert (await world.pay(references(order)[0]))["status"] == "paid"
    order = await read_order(world, order["id"])
    assert charge_statuses(order) == ["paid"] * charges
    book = await world.book()
    assert [entry["amount_minor"] for entry in book] == [AMOUNT, AMOUNT]
    assert len({entry["id"] for entry in book}) == 2


@pytest.mark.parametrize("kind", ["cash", "spei"])
async def test_paid_after_it_ran_out(world: World, customer_id: str, kind: str) -> None:
    order = await make_order(world, customer_id, kind)
    await world.advance(3601)
    expired = await read_order(world, order["id"])
    assert expired["payment_status"] == "expired"
    assert set(charge_statuses(expired)) == {"expired"}
    assert [entry["status"] for entry in await world.book()] == ["expired"]
    assert {"order.expired", "charge.expired"} <= set(world.event_types())
    await world.pay(references(order)[0])
    assert (await read_order(world, order["id"]))["payment_status"] == "paid"
    assert [entry["status"] for entry in await world.book()] == ["paid"]


@pytest.mark.parametrize("kind", ["cash", "spei"])
async def test_paid_after_it_was_canceled(world: World, customer_id: str, kind: str) -> None:
    order = await make_order(world, customer_id, kind)
    canceled = await world.http.post(f"/orders/{order['id']}/cancel")
    assert canceled.json()["payment_status"] == "canceled"
    assert set(charge_statuses(canceled.json())) == {"canceled"}
    assert [entry["status"] for entry in await world.book()] == ["canceled"]
    await world.pay(references(order)[0])
    assert (await read_order(world, order["id"]))["payment_status"] == "paid"


async def test_it_runs_out_on_demand_by_either_reference(world: World, customer_id: str) -> None:
    for position in (0, 1):
        order = await make_order(world, customer_id, "cash")
        result = await world.expire(references(order)[position])
        assert result["status"] == "expired"
        assert (await read_order(world, order["id"]))["payment_status"] == "expired"


async def test_a_paid_order_does_not_run_out(world: World, customer_id: str) -> None:
    order = await make_order(world, customer_id, "spei")
    await world.pay(references(order)[0])
    assert (await world.expire(references(order)[0]))["status"] == "paid"
    refused = await world.http.post(f"/orders/{order['id']}/cancel")
    assert refused.status_code == 428
    assert (await read_order(world, order["id"]))["payment_status"] == "paid"


@pytest.mark.parametrize("amount", [AMOUNT - 1, AMOUNT + 1])
async def test_a_transfer_of_another_amount_goes_back(
    world: World, customer_id: str, amount: int
) -> None:
    order = await make_order(world, customer_id, "spei")
    assert (await world.pay(references(order)[0], amount))["status"] == "returned"
    order = await read_order(world, order["id"])
    assert order["payment_status"] == "pending_payment"
    attempts = order["charges"]["data"][0]["payment_method"]["payment_attempts"]
    assert [attempt["amount"] for attempt in attempts] == [amount]
    assert [entry["status"] for entry in await world.book()] == ["pending"]


async def test_a_till_takes_no_other_amount(world: World, customer_id: str) -> None:
    order = await make_order(world, customer_id, "cash")
    assert (await world.pay(references(order)[0], AMOUNT - 1))["status"] == "refused"
    assert (await read_order(world, order["id"]))["payment_status"] == "pending_payment"
    assert (await world.pay(references(order)[0], AMOUNT))["status"] == "paid"


async def test_unknown_references_and_subscriptions(world: World) -> None:
    control = f"{world.base_url}/_control"
    for path in ("payments/123/pay", "payments/123/expire", "subscriptions/conekta/sub_1/renew"):
        assert (await world.http.post(f"{control}/{path}")).status_code == 404


async def test_the_book_carries_our_ids(world: World, customer_id: str) -> None:
    order = await make_order(world, customer_id, "cash")
    assert await world.book() == [
        {
            "provider": "conekta",
            "id": order["charges"]["data"][0]["id"],
            "kind": "charge",
            "amount_minor": AMOUNT,
            "currency": "MXN",
            "status": "pending",
            "reference": references(order)[0],
            "subscription_id": "sub_1",
            "invoice_id": "inv_1",
            "created_at": (await world.book())[0]["created_at"],
        }
    ]
    assert (await world.book())[0]["created_at"].endswith("Z")


async def test_refunds_are_negative_and_anonymous(world: World, customer_id: str) -> None:
    order = await make_order(world, customer_id, "spei")
    path, reason = f"/orders/{order['id']}/refunds", "requested_by_client"
    early = await world.http.post(path, json={"amount": 1, "reason": reason})
    assert early.status_code == 428
    await world.pay(references(order)[0])
    for body in ({"amount": AMOUNT + 1, "reason": reason}, {"amount": 1}, {"reason": reason}):
        assert (await world.http.post(path, json=body)).status_code == 422
    part = (await world.http.post(path, json={"amount": 5000, "reason": reason})).json()
    assert part["payment_status"] == "partially_refunded"
    assert part["amount_refunded"] == 5000
    refund = part["charges"]["data"][0]["refunds"]["data"][0]
    assert refund["amount"] == -5000
    whole = (await world.http.post(path, json={"amount": 15000, "reason": reason})).json()
    assert whole["payment_status"] == "refunded"
    assert whole["is_refundable"] is False
    refunds = [entry for entry in await world.book() if entry["kind"] == "refund"]
    assert [(entry["amount_minor"], entry["status"]) for entry in refunds] == [
        (5000, "succeeded"),
        (15000, "succeeded"),
    ]
    events = world.event_types()
    assert {"order.partially_refunded", "order.refunded", "charge.refunded"} <= set(events)


async def test_a_double_payment_can_be_paid_back_once_or_twice(
    world: World, customer_id: str
) -> None:
    order = await make_order(world, customer_id, "cash")
    for reference in references(order):
        await world.pay(reference)
    path = f"/orders/{order['id']}/refunds"
    body = {"amount": AMOUNT, "reason": "requested_by_client"}
    once = (await world.http.post(path, json=body)).json()
    assert once["payment_status"] == "partially_refunded"
    assert charge_statuses(once) == ["refunded", "paid"]
    twice = (await world.http.post(path, json=body)).json()
    assert twice["payment_status"] == "refunded"


@pytest.mark.parametrize("token", ["tok_test_visa_4242", "tok_test_mastercard_4444"])
async def test_a_card_pays_at_once(world: World, customer_id: str, token: str) -> None:
    charge = charge_body(world, "card", token_id=token)
    answer = await world.http.post("/orders", json=order_body(customer_id, charges=[charge]))
    assert answer.json()["payment_status"] == "paid"
    assert [entry["status"] for entry in await world.book()] == ["paid"]


@pytest.mark.parametrize(
    ("token", "failure"),
    [
        ("tok_test_card_declined", "card_declined"),
        ("tok_test_insufficient_funds", "insufficient_funds"),
    ],
)
async def test_a_declined_card_leaves_its_order_behind(
    world: World, customer_id: str, token: str, failure: str
) -> None:
    charge = charge_body(world, "card", token_id=token)
    answer = await world.http.post("/orders", json=order_body(customer_id, charges=[charge]))
    assert answer.status_code == 402
    left = answer.json()["data"]
    assert left["payment_status"] == "declined"
    assert left["charges"]["data"][0]["failure_code"] == failure
    assert (await read_order(world, left["id"]))["payment_status"] == "declined"
    assert [entry["status"] for entry in await world.book()] == ["declined"]
    assert {"order.declined", "charge.declined"} <= set(world.event_types())
    good = charge_body(world, "card")
    again = await world.http.post(f"/orders/{left['id']}/charges", json=good)
    assert again.json()["status"] == "paid"
    assert (await read_order(world, left["id"]))["payment_status"] == "paid"


async def test_a_decline_can_be_switched_on_for_cash(world: World, customer_id: str) -> None:
    order = await make_order(world, customer_id)
    await world.fault("charges.create", "decline")
    answer = await world.http.post(
        f"/orders/{order['id']}/charges", json=charge_body(world, "cash")
    )
    assert answer.status_code == 402
    assert answer.json()["data"]["id"] == order["id"]


async def test_expiry_by_default(world: World, customer_id: str) -> None:
    for kind, days in (("cash", 30), ("spei", 3)):
        charge = {"payment_method": {"type": kind}}
        answer = await world.http.post("/orders", json=order_body(customer_id, charges=[charge]))
        order = answer.json()
        method = order["charges"]["data"][0]["payment_method"]
        assert method["expires_at"] == order["created_at"] + days * 86400
