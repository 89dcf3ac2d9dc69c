"""Every route of the application is tried: none reaches another tenant, none does a thing twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import insert, select, update

from api.clock import now
from models.storage.tables import ApiKey, AuditEntry, Base, IdempotencyKey
from tests.api.every_route import (
    LINES,
    PUBLIC,
    Foreign,
    Ids,
    Request,
    one_of_everything,
    requests,
)
from tests.api.support import Api

# What a request itself leaves behind, whoever's ids it holds.
_OF_THE_REQUEST = {IdempotencyKey.__tablename__, ApiKey.__tablename__}


def named(request: Request) -> str:
    return str(request)


async def everything(api: Api) -> dict[str, list[Any]]:
    """Every row of every table that belongs to the tenants."""
    async with api.context.sessions() as session:
        return {
            table.name: sorted(map(repr, (await session.execute(table.select())).all()))
            for table in Base.metadata.sorted_tables
            if table.name not in _OF_THE_REQUEST
        }


@pytest.fixture
async def ours(api: Api) -> Ids:
    api.context.response_wait_seconds = 0.2  # No worker answers here.
    return await one_of_everything(api, api.ours)


@pytest.fixture
async def theirs(api: Api) -> Ids:
    return await one_of_everything(api, api.theirs)


def test_every_route_has_a_line(api: Api) -> None:
    offered = {
        (method.upper(), path)
        for path, methods in api.app.openapi()["paths"].items()
        for method in methods
    }
    assert offered == LINES.keys() | PUBLIC, "a route without a line in tests/api/every_route.py"


async def test_no_route_takes_another_tenants_id(api: Api, ours: Ids, theirs: Ids) -> None:
    before = await everything(api)
    tried = 0
    for request in requests():
        for name in request.id_names:
            there = await request.send(api.ours, {**ours, name: theirs[name]})
            nowhere = await request.send(api.ours, {**ours, name: str(uuid4())})
            where = f"{request} with another tenant's {name}"
            if request.line.foreign is Foreign.EMPTY_LIST:
                assert (there.status_code, there.json()["data"]) == (200, []), where
            else:
                assert there.status_code == 404, where
                assert there.json()["code"] == "not_found", where
            assert there.text == nowhere.text, where
            tried += 1
    assert tried >= 50
    assert await everything(api) == before


async def test_no_answer_to_our_own_requests_names_anything_of_theirs(
    api: Api, ours: Ids, theirs: Ids
) -> None:
    """Also the control of the test above: with our own ids none of these is a 404."""
    for request in requests():
        answer = await request.send(api.ours, ours)
        allowed = {200, 201, 202, *request.line.ours_is}
        assert answer.status_code in allowed, f"{request}: {answer.status_code} {answer.text}"
        assert not [id_ for id_ in theirs.values() if id_ in answer.text], request
        assert str(api.theirs.application_id) not in answer.text, request


def _key(request: Request) -> str:
    return f"once/{request.path}"


async def _answered(request: Request, api: Api, ids: Ids) -> httpx.Response:
    return await request.send(api.ours, ids, **{"Idempotency-Key": _key(request)})


async def test_every_post_happens_once_for_a_key(api: Api, ours: Ids) -> None:
    for request in requests("POST"):
        first = await _answered(request, api, ours)
        before = await everything(api)
        again = await _answered(request, api, ours)
        assert first.status_code < 500, request
        assert (again.status_code, again.json()) == (first.status_code, first.json()), request
        assert again.headers.get("idempotent-replayed") == "true", request
        assert await everything(api) == before, request


async def test_every_post_refuses_a_key_that_came_with_another_request(api: Api, ours: Ids) -> None:
    for request in requests("POST"):
        await api.run(
            insert(IdempotencyKey).values(
                application_id=api.ours.application_id,
                key=_key(request),
                fingerprint="of another request",
                object_id=uuid4(),
                locked_until=now(),
                created_at=now(),
            )
        )
    before = await everything(api)
    for request in requests("POST"):
        answer = await _answered(request, api, ours)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused"), (
            request
        )
    assert await everything(api) == before


async def test_every_post_says_that_the_first_still_runs(api: Api, ours: Ids) -> None:
    posts = list(requests("POST"))
    for request in posts:
        await _answered(request, api, ours)
    # As if each had died after its key was stored: nothing is known of how it ended.
    await api.run(
        update(IdempotencyKey).values(
            response_status=None, response_body=None, locked_until=now() + timedelta(minutes=1)
        )
    )
    before = await everything(api)
    for request in posts:
        answer = await _answered(request, api, ours)
        assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_in_use"), (
            request
        )
        assert int(answer.headers["retry-after"]) >= 1, request
    assert await everything(api) == before


async def test_every_post_that_died_is_finished_and_not_done_again(api: Api, ours: Ids) -> None:
    first = {request.path: await _answered(request, api, ours) for request in requests("POST")}
    # What is done in one transaction cannot die between its rows and its answer.
    posts = [it for it in requests("POST") if first[it.path].status_code not in {200, 201}]
    assert len(posts) >= 15
    before = {name: len(rows) for name, rows in (await everything(api)).items()}
    await api.run(
        update(IdempotencyKey).values(
            response_status=None, response_body=None, locked_until=now() - timedelta(seconds=1)
        )
    )
    for request in posts:
        answer = await _answered(request, api, ours)
        assert answer.status_code < 500, (request, answer.text)
    after = {name: len(rows) for name, rows in (await everything(api)).items()}
    assert after == before, await api.all(select(AuditEntry.action))
