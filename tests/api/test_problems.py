"""Errors have one shape, a stable code, and nothing of the caller's in them."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest
import sqlalchemy.exc
from fastapi import FastAPI

from api.error_catalog import error_codes, problem_type
from api.problems import is_database_away
from models.storage.tables import Organization
from tests.api.support import BASE, Api

MEMBERS = {"type", "title", "status", "detail", "code"}
SECRET = "hunter2-shall-not-be-seen"


async def test_a_known_address_that_looks_like_an_id_knows_its_methods(api: Api) -> None:
    setup = await api.ours.http.delete(f"{BASE}/payment-methods/setup")
    no_id = await api.ours.http.delete(f"{BASE}/payment-methods/set-up")
    assert (setup.status_code, setup.headers["allow"]) == (405, "GET")
    assert setup.json()["code"] == "method_not_allowed"
    assert no_id.status_code == 404
    asked = await api.ours.http.options(f"{BASE}/payment-methods/setup")
    assert (asked.status_code, asked.headers.get_list("allow")) == (405, ["GET"])


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InterfaceError("connection is closed"),
        # Seen when PostgreSQL was killed between two statements of one webhook.
        asyncpg.InternalClientError('cannot switch to state; protocol is in the "failed" state'),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        ConnectionResetError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_database_that_went_away_is_told_from_a_defect(error: Exception) -> None:
    assert is_database_away(error)
    assert not is_database_away(asyncpg.UniqueViolationError("duplicate key"))


async def test_unknown_paths_and_methods_are_problems(api: Api) -> None:
    nowhere = await api.anyone.get("/api/v1/nowhere")
    wrong = await api.anyone.put("/healthz")

    assert nowhere.status_code == 404
    assert wrong.status_code == 405
    assert wrong.headers["allow"]
    for answer, code in ((nowhere, "not_found"), (wrong, "method_not_allowed")):
        body = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert body.keys() >= MEMBERS
        assert body["status"] == answer.status_code
        assert body["code"] == code


async def test_an_id_that_is_no_uuid_is_not_found(api: Api) -> None:
    for path in ("/plans/x", "/subscriptions/1", "/invoices/%20", "/organizations/0"):
        assert (await api.ours.get(path)).status_code == 404, path


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "A", "email": SECRET}, "email"),
        ({"name": "A", "email": f"{SECRET}@"}, "email"),
        ({"name": "A", "email": "a@acme.mx", "country": SECRET}, "country"),
        ({"name": "A", "email": "a@acme.mx", "time_zone": SECRET}, "time_zone"),
        ({"name": "A", "email": "a@acme.mx", "phone": SECRET}, "phone"),
        ({"name": [SECRET], "email": "a@acme.mx"}, "name"),
        ({"email": "a@acme.mx"}, "name"),
    ],
)
async def test_validation_points_at_the_field_and_repeats_nothing(
    api: Api, body: dict[str, Any], field: str
) -> None:
    answer = await api.ours.post("/organizations", body)

    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_request"
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    "content", [b"{", b"[" * 100_000, b"\xff\xfe", b'"text"', b"null", b"", b'{"name": NaN}']
)
async def test_bodies_that_are_no_objects_are_refused(api: Api, content: bytes) -> None:
    answer = await api.ours.http.post(f"{BASE}/organizations", content=content[:49_000])
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("text", ["nul \x00", "half \ud800 a pair"])
async def test_text_that_postgresql_cannot_hold_is_refused(api: Api, text: str) -> None:
    body = {"name": text, "email": "a@acme.mx"}
    answer = await api.ours.http.post(
        f"{BASE}/organizations",
        content=json.dumps(body),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 422


@pytest.fixture
def broken(api: Api) -> FastAPI:
    @api.app.get("/broken", include_in_schema=False)
    async def break_it(how: str) -> None:
        if how == "database":
            raise sqlalchemy.exc.TimeoutError(SECRET)
        raise RuntimeError(SECRET)

    return api.app


async def test_a_bug_is_a_500_that_tells_nothing(
    api: Api, broken: FastAPI, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = await api.anyone.get("/broken", params={"how": "bug"})

    assert answer.status_code == 500
    assert answer.json()["code"] == "internal_error"
    assert answer.json().keys() == MEMBERS
    logged = capsys.readouterr().out
    assert "RuntimeError" in logged
    assert "break_it" in logged
    assert SECRET not in logged + answer.text


async def test_a_database_that_is_away_is_a_503(api: Api, broken: FastAPI) -> None:
    answer = await api.anyone.get("/broken", params={"how": "database"})
    assert answer.status_code == 503
    assert answer.json()["code"] == "unavailable"


async def test_a_body_over_the_limit_is_a_413_whatever_its_header_says(api: Api) -> None:
    async def endless() -> Any:
        while True:
            yield b"x" * 10_000

    announced = await api.anyone.post(f"{BASE}/organizations", content=b"x" * 60_000)
    streamed = await api.anyone.post(f"{BASE}/organizations", content=endless())

    for answer in (announced, streamed):
        assert answer.status_code == 413
        assert answer.json()["code"] == "payload_too_large"
    assert await api.all(Organization.__table__.select()) == []


async def test_every_answer_carries_security_headers_and_a_correlation_id(api: Api) -> None:
    given = await api.anyone.get("/healthz", headers={"X-Request-Id": "trace-0001"})
    made = await api.anyone.get("/nowhere", headers={"X-Request-Id": "<script>"})

    assert given.headers["x-request-id"] == "trace-0001"
    assert len(made.headers["x-request-id"]) == 36
    for answer in (given, made):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_the_type_of_a_problem_leads_to_its_cause_and_cure(api: Api) -> None:
    refusal = (await api.anyone.get(f"{BASE}/plans")).json()
    told = await api.anyone.get(refusal["type"])
    assert told.status_code == 200
    assert told.json()["code"] == refusal["code"] == "unauthenticated"
    assert told.json()["statuses"] == [refusal["status"]]
    assert "abk_" in told.json()["cure"]


async def test_every_code_of_the_errors_page_has_an_address(api: Api) -> None:
    for code in error_codes():
        assert (await api.anyone.get(problem_type(code))).json()["cause"]
    assert (await api.anyone.get(problem_type("no_such_code"))).status_code == 404
