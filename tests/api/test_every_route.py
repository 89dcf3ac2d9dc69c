"""Every route of the application is tried: none reaches another tenant, none does a thing twice."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import insert, select, update

from api.clock import now
from models.storage.tables import ApiKey, AuditEntry, Base, IdempotencyKey
from tests.api.every_route import (
    CHANGING,
    LINES,
    PUBLIC,
    Foreign,
    Ids,
    Request,
    one_of_everything,
    requests,
)
from tests.api.support import Api, Tenant

# What a request itself leaves behind, whoever's ids it holds.
_OF_THE_REQUEST = {IdempotencyKey.__tablename__, ApiKey.__tablename__}

# Ids and secrets, sealed or in hexadecimal; moments, ours and PostgreSQL's.
_CHANCE = re.compile(
    r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}|gAAAA[\w=-]+"
    r"|datetime\.datetime\([^)]*\)*|\d{4}-\d\d-\d\dT[\d:.+Z-]+"
)


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


async def test_every_change_happens_once_for_a_key(api: Api, ours: Ids) -> None:
    for request in requests(*CHANGING):
        first = await request.send_with_key(api.ours, ours)
        before = await everything(api)
        again = await request.send_with_key(api.ours, ours)
        assert first.status_code < 500, request
        assert _said(again) == _said(first), request
        assert again.headers.get("idempotent-replayed") == "true", request
        assert await everything(api) == before, request


async def test_eight_equal_changes_at_once_have_one_effect(
    api: Api, ours: Ids, theirs: Ids
) -> None:
    """What the other tenant's single request, without a key, leaves behind is what ours have to."""
    for request in requests(*CHANGING):
        alone = await request.send(api.theirs, theirs)
        answers = await asyncio.gather(*(request.send_with_key(api.ours, ours) for _ in range(8)))
        told = [one for one in answers if not _is_still_running(one)]
        assert all(_said(one) == _said(told[0]) for one in told), request
        assert told[0].status_code == alone.status_code, request
        firsts = [one for one in told if "idempotent-replayed" not in one.headers]
        assert len(firsts) == 1, request
    assert await _left_behind(api, api.ours) == await _left_behind(api, api.theirs)


def _said(answer: httpx.Response) -> tuple[int, Any]:
    """A repetition comes out of PostgreSQL, which keeps no order of fields."""
    return answer.status_code, answer.json() if answer.content else None


def _is_still_running(answer: httpx.Response) -> bool:
    return answer.status_code == 409 and answer.json()["code"] == "idempotency_key_in_use"


async def _left_behind(api: Api, tenant: Tenant) -> dict[str, list[str]]:
    """A tenant's rows without what differs between any two: ids, moments and what is made of chance."""
    found = {}
    async with api.context.sessions() as session:
        for table in Base.metadata.sorted_tables:
            if "application_id" not in table.c or table.name in _OF_THE_REQUEST:
                continue
            rows = table.select().where(table.c.application_id == tenant.application_id)
            said = [
                repr(row).replace(tenant.key[:12], "its key")
                for row in (await session.execute(rows)).all()
            ]
            found[table.name] = sorted(_CHANCE.sub("*", one) for one in said)
    return found


async def test_every_change_refuses_a_key_that_came_with_another_request(
    api: Api, ours: Ids
) -> None:
    for request in requests(*CHANGING):
        await api.run(
            insert(IdempotencyKey).values(
                application_id=api.ours.application_id,
                key=request.idempotency_key,
                fingerprint="of another request",
                object_id=uuid4(),
                locked_until=now(),
                created_at=now(),
            )
        )
    before = await everything(api)
    for request in requests(*CHANGING):
        answer = await request.send_with_key(api.ours, ours)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused"), (
            request
        )
    assert await everything(api) == before


async def test_every_change_says_that_the_first_still_runs(api: Api, ours: Ids) -> None:
    posts = list(requests(*CHANGING))
    for request in posts:
        await request.send_with_key(api.ours, ours)
    # As if each had died after its key was stored: nothing is known of how it ended.
    await api.run(
        update(IdempotencyKey).values(
            response_status=None, response_body=None, locked_until=now() + timedelta(minutes=1)
        )
    )
    before = await everything(api)
    for request in posts:
        answer = await request.send_with_key(api.ours, ours)
        assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_in_use"), (
            request
        )
        assert int(answer.headers["retry-after"]) >= 1, request
    assert await everything(api) == before


async def test_every_change_that_died_is_finished_and_not_done_again(api: Api, ours: Ids) -> None:
    first = {
        str(request): await request.send_with_key(api.ours, ours) for request in requests(*CHANGING)
    }
    # What is done in one transaction cannot die between its rows and its answer.
    posts = [it for it in requests(*CHANGING) if first[str(it)].status_code not in {200, 201, 204}]
    assert len(posts) >= 15
    before = {name: len(rows) for name, rows in (await everything(api)).items()}
    await api.run(
        update(IdempotencyKey).values(
            response_status=None, response_body=None, locked_until=now() - timedelta(seconds=1)
        )
    )
    for request in posts:
        answer = await request.send_with_key(api.ours, ours)
        assert answer.status_code < 500, (request, answer.text)
    after = {name: len(rows) for name, rows in (await everything(api)).items()}
    assert after == before, await api.all(select(AuditEntry.action))
