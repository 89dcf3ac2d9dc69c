"""A change with a key happens once and answers the same for ever."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, func, select, update
from temporalio.worker import Worker

from api.clock import now
from api.idempotency import LEASE
from models.storage.tables import IdempotencyKey, Organization, Subscription
from tests.api.support import Api, organization, plan, price

ACME: dict[str, Any] = {"name": "Acme", "email": "a@acme.mx"}


async def count(api: Api, table: Any) -> int:
    found: int = (await api.all(select(func.count()).select_from(table)))[0]
    return found


async def test_the_same_request_gets_the_same_answer(api: Api) -> None:
    first = await api.ours.post("/organizations", ACME, key="k")
    reordered = dict(reversed(ACME.items()))
    again = await api.ours.post("/organizations", reordered, key="k")

    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert await count(api, Organization) == 1


async def test_another_request_with_the_key_is_refused(api: Api) -> None:
    await api.ours.post("/organizations", ACME, key="k")
    price_list = [{"currency": "MXN", "billing_interval": "monthly", "amount_minor": 100}]
    answers = [
        await api.ours.post("/organizations", ACME | {"name": "Other"}, key="k"),
        await api.ours.post("/plans", {"name": "Pro", "prices": price_list}, key="k"),
    ]
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_change_that_arrives_late_does_not_take_back_a_newer_one(api: Api) -> None:
    """What a client sends again after a lost answer may come after somebody else's change."""
    made = (await api.ours.post("/organizations", ACME)).json()
    path, keyed = f"/api/v1/billing/organizations/{made['id']}", {"Idempotency-Key": "k"}
    first = await api.ours.http.patch(path, json={"name": "First"}, headers=keyed)
    await api.ours.http.patch(path, json={"name": "Second"})
    late = await api.ours.http.patch(path, json={"name": "First"}, headers=keyed)
    other = await api.ours.http.patch(path, json={"name": "Third"}, headers=keyed)

    assert (late.status_code, late.json()) == (200, first.json())
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert (await api.ours.http.get(path)).json()["name"] == "Second"


async def test_refusals_are_remembered_too(api: Api) -> None:
    await api.ours.post("/organizations", ACME | {"external_id": "a"})
    first = await api.ours.post("/organizations", ACME | {"external_id": "a"}, key="k")
    await api.run(delete(Organization))
    again = await api.ours.post("/organizations", ACME | {"external_id": "a"}, key="k")

    assert (first.status_code, again.status_code) == (409, 409)
    assert first.json() == again.json()
    assert again.headers["content-type"] == "application/problem+json"


async def test_without_a_key_every_request_counts(api: Api) -> None:
    for _ in range(2):
        assert (await api.ours.post("/organizations", ACME)).status_code == 201
    assert await count(api, Organization) == 2


async def test_eight_at_once_make_one(api: Api) -> None:
    answers = await asyncio.gather(
        *(api.ours.post("/organizations", ACME, key="k") for _ in range(8))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await count(api, Organization) == 1


async def test_eight_at_once_open_one_subscription(api: Api, worker: Worker) -> None:
    """Those that come while the first is under way are told to wait, or hear its answer."""
    who, what = organization(api.ours), plan(api.ours)
    await api.add(who, what, price(what))
    body = order(who.id, what.id)
    answers = await asyncio.gather(
        *(api.ours.post("/subscriptions", body, key="k") for _ in range(8))
    )
    made = [answer for answer in answers if answer.status_code == 201]
    waiting = [answer for answer in answers if answer.status_code == 409]
    assert len(made) + len(waiting) == 8
    assert len({answer.json()["id"] for answer in made}) == 1
    assert {answer.json()["code"] for answer in waiting} <= {"idempotency_key_in_use"}
    assert await count(api, Subscription) == 1


@pytest.mark.parametrize("key", ["x" * 256, "", "caf\u00e9"])
async def test_a_key_is_printable_and_has_a_length(api: Api, key: str) -> None:
    headers = [(b"Idempotency-Key", key.encode("latin-1"))]
    answer = await api.ours.http.post("/api/v1/billing/organizations", json=ACME, headers=headers)
    assert answer.status_code == 422


@pytest.fixture
async def crashed(api: Api) -> UUID:
    """A first try that died between its row and its workflow; the id of the row."""
    who, what = organization(api.ours), plan(api.ours)
    await api.add(who, what, price(what))
    api.context.response_wait_seconds = 0.05
    answer = await api.ours.post("/subscriptions", order(who.id, what.id), key="k")
    assert answer.status_code == 202
    await api.run(
        update(IdempotencyKey).values(
            response_status=None, response_body=None, locked_until=now() + LEASE
        )
    )
    api.context.response_wait_seconds = 5.0
    return UUID(answer.json()["id"])


def order(organization_id: Any, plan_id: Any) -> dict[str, str]:
    return {
        "organization_id": str(organization_id),
        "plan_id": str(plan_id),
        "billing_interval": "monthly",
        "payment_method_type": "oxxo",
    }


async def repeat(api: Api) -> Any:
    (row,) = await api.all(select(Subscription))
    return await api.ours.post("/subscriptions", order(row.organization_id, row.plan_id), key="k")


async def test_a_request_that_still_runs_is_not_repeated(api: Api, crashed: UUID) -> None:
    answer = await repeat(api)
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_in_use")
    assert answer.headers["retry-after"] == "1"


async def test_a_request_that_died_is_finished_with_the_same_id(
    api: Api, crashed: UUID, worker: Worker
) -> None:
    await api.run(update(IdempotencyKey).values(locked_until=now() - timedelta(seconds=1)))
    answer = await repeat(api)

    assert answer.status_code == 201
    assert answer.json()["id"] == str(crashed)
    assert await count(api, Subscription) == 1
    assert (await repeat(api)).headers["idempotent-replayed"] == "true"
