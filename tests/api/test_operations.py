"""What machines ask: is it alive, is it ready, how is it doing, and what does the API look like."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from temporalio.client import Client

from abono.api_server import make_context
from abono.settings import Settings
from api.app import create_app
from models.storage.engine import make_engine, make_sessions
from models.storage.tables import Organization
from tests.api.support import Api, running


async def test_alive_and_ready(api: Api) -> None:
    alive, ready = await api.anyone.get("/healthz"), await api.anyone.get("/readyz")
    assert (alive.status_code, alive.json()) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json()["missing"]) == (200, [])


async def test_not_ready_names_what_is_missing(api: Api) -> None:
    api.context.temporal = await Client.connect("127.0.0.1:9", lazy=True)
    without_temporal = await api.anyone.get("/readyz")
    nowhere = make_engine("postgresql+asyncpg://postgres@127.0.0.1:9/none")
    api.context.sessions = make_sessions(nowhere)
    without_both = await api.anyone.get("/readyz")

    assert (without_temporal.status_code, without_temporal.json()["missing"]) == (503, ["temporal"])
    assert without_both.json()["missing"] == ["database", "temporal"]
    assert (await api.anyone.get("/healthz")).status_code == 200
    await nowhere.dispose()


async def test_requests_are_counted_by_route_and_not_by_path(api: Api) -> None:
    for path in (
        "/plans/01890a5d-ac96-774b-bcce-b302099a8058",
        "/plans/secret-name",
        "/odd/secret",
    ):
        await api.ours.get(path)
    text = (await api.anyone.get("/metrics")).text

    route = 'method="GET",route="/api/v1/billing/plans/{plan_id}",status="404"'
    assert f"abono_http_requests_total{{{route}}} 2.0" in text
    assert 'route="unmatched"' in text
    assert "secret" not in text


@pytest.fixture
async def document(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = (await api.anyone.get("/openapi.json")).json()
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    for method, path, operation in operations(document):
        assert operation["summary"], path
        assert set(operation["tags"]) <= tags, path
        if path.startswith("/api/v1/billing"):
            [security] = operation["security"]
            assert len(security["ApiKey"]) == 1, path
            assert operation["responses"].keys() >= {"401", "403"}, path
        if method != "get" and not path.startswith("/api/v1/webhooks/"):
            names = {parameter["name"] for parameter in operation["parameters"]}
            assert "Idempotency-Key" in names, path
            assert operation["responses"].keys() >= {"409", "413", "422"}, path


def test_problems_are_documented_as_problems(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        for status, response in operation["responses"].items():
            if path.startswith("/api/") and status[0] != "2":
                assert list(response["content"]) == ["application/problem+json"], path
                assert status != "default", path


def test_requests_have_examples_that_are_valid(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    bodies = {
        name for name in schemas if name.startswith(("Create", "Add", "Update", "RetryPayment"))
    }
    assert len(bodies) >= 6
    for name in bodies:
        assert schemas[name]["examples"], name
        assert schemas[name]["additionalProperties"] is False, name


async def test_the_documentation_can_be_read_by_people(api: Api) -> None:
    page = await api.anyone.get("/docs")
    assert page.status_code == 200
    assert "swagger-ui" in page.text


async def test_the_server_is_made_from_settings_with_nothing_there() -> None:
    settings = Settings(
        DATABASE_URL="postgresql://postgres@127.0.0.1:9/none",
        TEMPORAL_ADDRESS="127.0.0.1:9",
        STRIPE_API_KEY="sk_test_x",
        STRIPE_WEBHOOK_SECRET="whsec_x",
    )
    context = await make_context(settings)
    async with running(create_app(context)):
        assert [str(name) for name in context.providers.names()] == ["stripe"]


async def test_the_dispatcher_runs_with_the_application(api: Api) -> None:
    api.context.dispatch = True
    async with running(create_app(api.context)):
        assert await api.all(select(Organization)) == []
