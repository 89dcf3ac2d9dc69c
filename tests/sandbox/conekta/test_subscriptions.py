"""Plans, stored cards and subscriptions: what the simulator refuses, bills, and tells."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sandbox.core import SandboxConfig
from tests.sandbox.conekta.bodies import make_customer, read_order
from tests.sandbox.conekta.world import Json, World, private_pem, running_world

DAY = 86_400
GOOD_TOKEN = "tok_test_visa_4242"
PLAN: Json = {
    "id": "abono_ours_attempt",
    "name": "Plan Pro",
    "amount": 20000,
    "currency": "MXN",
    "interval": "month",
    "frequency": 1,
    "max_retries": 3,
    "retry_delay_hours": 48,
}


async def store_card(world: World, customer_id: str, token: str = GOOD_TOKEN) -> str:
    body = {"type": "card", "token_id": token}
    answer = await world.http.post(f"/customers/{customer_id}/payment_sources", json=body)
    assert answer.status_code == 200, answer.text
    source_id: str = answer.json()["id"]
    return source_id


async def subscribe(world: World, customer_id: str, token: str = GOOD_TOKEN, **more: Any) -> Json:
    await world.http.post("/plans", json=PLAN)
    body = {"plan_id": PLAN["id"], "card_id": await store_card(world, customer_id, token), **more}
    answer = await world.http.post(f"/customers/{customer_id}/subscriptions", json=body)
    assert answer.status_code == 200, answer.text
    made: Json = answer.json()
    return made


async def act(world: World, subscription: Json, what: str = "", **options: Any) -> Json:
    """GET it, or POST one of its actions. Gives the body, or the status of a refusal."""
    path = f"/customers/{subscription['customer_id']}/subscriptions/{subscription['id']}"
    call = world.http.post(f"{path}/{what}", **options) if what else world.http.get(path)
    answer = await call
    return answer.json() if answer.status_code == 200 else {"refused": answer.status_code}


async def statuses(world: World) -> list[str]:
    return [entry["status"] for entry in await world.book()]


async def renew(world: World, subscription: Json, outcome: str) -> Json:
    path = f"subscriptions/conekta/{subscription['id']}/renew"
    return await world.control(path, {"outcome": outcome})


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 0},
        {"amount": 1.5},
        {"frequency": 0},
        {"interval": "day"},
        {"interval": "half_month"},
        {"max_retries": 2},
        {"retry_delay_hours": 47},
        {"currency": "USD"},
        {"expiry_count": 12},
        {"metadata": {}},
        {"name": ""},
    ],
)
async def test_unusable_plans_are_refused(world: World, change: Json) -> None:
    assert (await world.http.post("/plans", json={**PLAN, **change})).status_code == 422
    assert (await world.http.get("/plans")).json()["data"] == []


async def test_a_plan_s_id_is_good_for_one(world: World) -> None:
    assert (await world.http.post("/plans", json=PLAN)).status_code == 200
    assert (await world.http.post("/plans", json=PLAN)).status_code == 409
    nameless = {key: value for key, value in PLAN.items() if key != "id"}
    made = (await world.http.post("/plans", json=nameless)).json()
    assert made["id"].startswith("plan_")
    assert (await world.http.get(f"/plans/{made['id']}")).json() == made
    assert (await world.http.delete(f"/plans/{made['id']}")).json() == made
    assert (await world.http.get(f"/plans/{made['id']}")).status_code == 404


async def test_cards_are_the_customer_s_own(world: World, customer_id: str) -> None:
    first, second = [await store_card(world, customer_id) for _ in range(2)]
    customer = (await world.http.get(f"/customers/{customer_id}")).json()
    assert [s["id"] for s in customer["payment_sources"]["data"]] == [first, second]
    assert customer["default_payment_source_id"] == first
    other = await make_customer(world)
    path = f"/customers/{other}/payment_sources"
    assert (await world.http.get(path)).json()["data"] == []
    assert (await world.http.delete(f"{path}/{first}")).status_code == 404
    for body in ({"type": "cash_recurrent"}, {"type": "card", "colour": "red"}):
        assert (await world.http.post(path, json=body)).status_code == 422


async def test_a_token_of_the_browser_is_good_for_one_card(world: World, customer_id: str) -> None:
    await store_card(world, customer_id, "tok_test_visa_4242_x1")
    body = {"type": "card", "token_id": "tok_test_visa_4242_x1"}
    again = await world.http.post(f"/customers/{customer_id}/payment_sources", json=body)
    assert again.status_code == 402
    assert again.json()["details"][0]["code"] == "conekta.errors.processing.tokenization.used"


async def test_a_stored_card_pays_an_order(world: World, customer_id: str) -> None:
    source_id = await store_card(world, customer_id)
    charge = {"payment_method": {"type": "card", "payment_source_id": source_id}}
    item = {"name": "Mensualidad", "unit_price": 100, "quantity": 1}
    body = {
        "currency": "MXN",
        "customer_info": {"customer_id": customer_id},
        "line_items": [item],
        "charges": [charge],
    }
    assert (await world.http.post("/orders", json=body)).json()["payment_status"] == "paid"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"plan_id": "gold"}, 404),
        ({"card_id": "src_other"}, 404),
        ({"trial_end": 5}, 422),
        ({"metadata": {"our": "id"}}, 422),
    ],
)
async def test_unusable_subscriptions_are_refused(
    world: World, customer_id: str, change: Json, status: int
) -> None:
    await world.http.post("/plans", json=PLAN)
    body = {"plan_id": PLAN["id"], "card_id": await store_card(world, customer_id), **change}
    answer = await world.http.post(f"/customers/{customer_id}/subscriptions", json=body)
    assert answer.status_code == status
    assert await world.book() == []


async def test_a_subscription_without_any_card(world: World, customer_id: str) -> None:
    await world.http.post("/plans", json=PLAN)
    path = f"/customers/{customer_id}/subscriptions"
    assert (await world.http.post(path, json={"plan_id": PLAN["id"]})).status_code == 422
    default = await store_card(world, customer_id)
    made = (await world.http.post(path, json={"plan_id": PLAN["id"]})).json()
    assert made["card_id"] == default


async def test_the_same_body_posted_twice_bills_twice(world: World, customer_id: str) -> None:
    for _ in range(2):
        await subscribe(world, customer_id)
    assert await statuses(world) == ["paid", "paid"]
    listed = await world.http.get(f"/customers/{customer_id}/subscriptions")
    assert len(listed.json()["data"]) == 2


async def test_the_first_charge_and_what_the_wire_says_of_it(
    world: World, customer_id: str
) -> None:
    made = await subscribe(world, customer_id)
    assert made["status"] == "active"
    assert made["trial_start"] == made["trial_end"] == made["subscription_start"]
    order = await read_order(world, made["last_billing_cycle_order_id"])
    assert order["payment_status"] == "paid"
    assert order["metadata"] == {}, "neither our ids nor the subscription's are in it"
    assert order["customer_info"]["customer_id"] == customer_id
    assert order["charges"]["data"][0]["id"] == made["charge_id"]
    [entry] = await world.book()
    assert (entry["subscription_id"], entry["invoice_id"]) == ("ours", None)
    assert world.event_types() == [
        "plan.created",
        "subscription.created",
        "order.created",
        *world.event_types()[3:-1],
        "subscription.paid",
    ]
    born = world.core.webhooks.events[1]["body"]["data"]["object"]
    assert born["status"] == "in_trial", "as it was captured at Conekta"


async def test_a_refused_first_charge_does_not_fail_the_request(
    world: World, customer_id: str
) -> None:
    made = await subscribe(world, customer_id, "tok_test_card_declined")
    assert made["status"] == "past_due"
    order = await read_order(world, made["last_billing_cycle_order_id"])
    assert order["charges"]["data"][0]["failure_code"] == "card_declined"
    assert world.event_types()[-1] == "subscription.payment_failed"


async def test_conekta_s_own_retries_end_it(world: World, customer_id: str) -> None:
    made = await subscribe(world, customer_id, "tok_test_insufficient_funds")
    for hours, charges in ((47, 1), (2, 2), (48, 3), (48, 4), (1000, 4)):
        await world.advance(hours * 3600)
        assert await statuses(world) == ["declined"] * charges
    ended = await act(world, made)
    assert (ended["status"], ended["canceled_reason"]) == ("canceled", "max_retries_reached")


async def test_the_clock_bills_each_period_once_also_in_a_leap(
    world: World, customer_id: str
) -> None:
    made = await subscribe(world, customer_id)
    await world.advance(10 * 365 * DAY)
    months = await statuses(world)
    assert months == ["paid"] * len(months)
    assert len(months) in {120, 121}
    billed = [order["created_at"] for order in world.orders()]
    assert all(28 * DAY <= b - a <= 31 * DAY for a, b in pairwise(billed))
    found = await act(world, made)
    assert found["billing_cycle_start"] == billed[-1]
    assert found["billing_cycle_start"] <= world.core.clock.now() < found["billing_cycle_end"]


async def test_one_order_per_cycle_and_one_charge_per_try(world: World, customer_id: str) -> None:
    made = await subscribe(world, customer_id)
    assert (await renew(world, made, "failed"))["status"] == "past_due"
    assert (await renew(world, made, "failed"))["status"] == "past_due"
    assert (await act(world, made, "retry"))["status"] == "active"
    order = await read_order(world, (await act(world, made))["last_billing_cycle_order_id"])
    assert [c["status"] for c in order["charges"]["data"]] == ["declined", "declined", "paid"]
    assert order["payment_status"] == "paid"
    assert await statuses(world) == ["paid", "declined", "declined", "paid"]
    assert (await renew(world, made, "paid"))["invoice"] != order["id"]


async def test_a_trial_is_billed_at_its_end(world: World, customer_id: str) -> None:
    made = await subscribe(world, customer_id, trial_end=world.core.clock.now() + 7 * DAY)
    assert (made["status"], made["last_billing_cycle_order_id"]) == ("in_trial", None)
    await world.advance(7 * DAY)
    assert (await act(world, made))["status"] == "active"
    assert await statuses(world) == ["paid"]


async def test_a_pause_stops_billing_and_its_end_bills_what_is_due(
    world: World, customer_id: str
) -> None:
    made = await subscribe(world, customer_id)
    assert (await act(world, made, "pause"))["status"] == "paused"
    await world.advance(100 * DAY)
    assert await statuses(world) == ["paid"]
    assert (await renew(world, made, "paid"))["status"] == "paused"
    resumed = await act(world, made, "resume")
    assert resumed["status"] == "active"
    assert resumed["billing_cycle_start"] == world.core.clock.now()
    assert await statuses(world) == ["paid", "paid"]


async def test_a_pause_within_a_trial_and_while_past_due(world: World, customer_id: str) -> None:
    trial = await subscribe(world, customer_id, trial_end=world.core.clock.now() + 7 * DAY)
    unpaid = await subscribe(world, customer_id, "tok_test_card_declined")
    for made, status in ((trial, "in_trial"), (unpaid, "past_due")):
        await act(world, made, "pause")
        assert (await act(world, made, "resume"))["status"] == status


async def test_what_does_not_fit_the_state_is_refused(world: World, customer_id: str) -> None:
    made = await subscribe(world, customer_id)
    for what in ("resume", "retry"):
        assert await act(world, made, what) == {"refused": 428}
    await act(world, made, "cancel")
    for what in ("cancel", "pause", "resume", "retry"):
        assert await act(world, made, what) == {"refused": 428}
    assert (await renew(world, made, "paid"))["status"] == "canceled"
    await world.advance(100 * DAY)
    assert await statuses(world) == ["paid"]
    assert await act(world, {**made, "id": "sub_unknown"}) == {"refused": 404}
    other = await make_customer(world)
    assert await act(world, {**made, "customer_id": other}) == {"refused": 404}


async def test_another_card_can_be_set(world: World, customer_id: str) -> None:
    made = await subscribe(world, customer_id)
    path = f"/customers/{customer_id}/subscriptions/{made['id']}"
    card_id = await store_card(world, customer_id, "tok_test_card_declined")
    changed = await world.http.put(path, json={"card_id": card_id})
    assert changed.json()["card_id"] == card_id
    assert (await world.http.put(path, json={"plan_id": PLAN["id"]})).status_code == 422
    await world.http.delete(f"/customers/{customer_id}/payment_sources/{card_id}")
    await world.advance(31 * DAY)
    assert (await act(world, made))["status"] == "past_due", "a removed card is refused"


async def test_a_plan_stays_while_it_bills_somebody(world: World, customer_id: str) -> None:
    made = await subscribe(world, customer_id)
    path = f"/plans/{PLAN['id']}"
    assert (await world.http.delete(path)).status_code == 428
    await act(world, made, "cancel")
    assert (await world.http.delete(path)).status_code == 200


async def test_subscriptions_survive_a_restart(tmp_path: Path) -> None:
    def config() -> SandboxConfig:
        return SandboxConfig(
            conekta_private_key_pem=private_pem("conekta"), state_file=tmp_path / "state.json"
        )

    async with running_world(config()) as before:
        made = await subscribe(before, await make_customer(before))
    async with running_world(config()) as after:
        await after.advance(31 * DAY)
        assert (await act(after, made))["status"] == "active"
        assert await statuses(after) == ["paid", "paid"]
