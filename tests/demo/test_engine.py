"""The client of the public API: patient with restarts, clear about everything else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from abono.demo import engine as engine_module
from abono.demo.checks import StepFailed
from abono.demo.engine import Engine, Places
from abono.demo.views import Subscription
from abono.dev.info import StackInfo
from abono.simulate.serving import serving
from abono_client.models import PlanView

PLACES = Places("http://ui.example", "default", Path("/logs"))
# What the description of the API says that these answers look like.
_PATHS = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())["paths"]


def example(method: str, path: str, code: str, **changes: Any) -> dict[str, Any]:
    answers = _PATHS[f"/api/v1{path}"][method]["responses"]
    shown: dict[str, Any] = answers[code]["content"]["application/json"]["example"]
    return shown | changes


SUBSCRIPTION = example(
    "get",
    "/billing/subscriptions/{subscription_id}",
    "200",
    status="incomplete",
    provider="conekta",
    next_action=None,
    current_period_end=None,
)


@asynccontextmanager
async def engine_against(answer: Callable[[Request], Response]) -> AsyncIterator[Engine]:
    async def handle(request: Request) -> Response:
        return answer(request)

    routes = [Route("/{path:path}", handle, methods=["GET", "POST"])]
    async with serving(Starlette(routes=routes)) as url:
        info = StackInfo(url, "key", "admin", "", "", "default", "http://ui.example", url)
        engine = Engine(info, PLACES, "run1")
        try:
            yield engine
        finally:
            await engine.aclose()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "WAIT_SECONDS_MAX", 0.3)
    monkeypatch.setattr(engine_module, "_TRIES_MAX", 3)


def problem(status: int, code: str, detail: str) -> Response:
    body = {"status": status, "code": code, "detail": detail}
    return JSONResponse(body, status, headers={"Retry-After": "0"})


async def test_a_wish_is_sent_again_under_its_key(impatient: None) -> None:
    seen: list[tuple[str, str]] = []

    def answer(request: Request) -> Response:
        seen.append((request.headers["Idempotency-Key"], request.headers["Authorization"]))
        if len(seen) == 1:
            return problem(503, "unavailable", "not now")
        if len(seen) == 2:
            return problem(409, "idempotency_key_in_use", "still running")
        return JSONResponse(example("post", "/billing/plans", "201"), 201)

    async with engine_against(answer) as engine:
        made = await engine.create_plan("Pro", [])
    assert made == PlanView.model_validate(example("post", "/billing/plans", "201"))
    assert seen == [("demo-run1-1", "Bearer admin")] * 3


async def test_a_refusal_is_told_at_once() -> None:
    async with engine_against(lambda _: problem(422, "invalid_request", "no such plan")) as engine:
        with pytest.raises(StepFailed) as failed:
            await engine.create_organization("Abby Walker", country="US")
    assert failed.value.expected == "an organization"
    assert failed.value.got == "422 invalid_request: no such plan"
    assert "/logs/api.log" in failed.value.where


async def test_waiting_ends_and_says_where_to_look(impatient: None) -> None:
    async with engine_against(lambda _: JSONResponse(SUBSCRIPTION)) as engine:
        subscription = Subscription.model_validate(SUBSCRIPTION)
        with pytest.raises(StepFailed) as failed:
            await engine.until(subscription, "it to be active", lambda now: now.status == "active")
    assert failed.value.expected == "it to be active"
    assert "still: incomplete at conekta" in failed.value.got
    link = "http://ui.example/namespaces/default/workflows/subscription%2F"
    assert failed.value.where[0] == link + SUBSCRIPTION["id"]


async def test_what_becomes_so_is_waited_for() -> None:
    statuses = ["incomplete", "incomplete", "active"]

    def answer(_: Request) -> Response:
        return JSONResponse(SUBSCRIPTION | {"status": statuses.pop(0)})

    async with engine_against(answer) as engine:
        subscription = Subscription.model_validate(SUBSCRIPTION)
        found = await engine.until(subscription, "active", lambda now: now.status == "active")
    assert found.status == "active"
    assert statuses == []


async def test_a_circuit_is_read_and_reset_as_operators_do() -> None:
    seen: list[tuple[str, str, str]] = []

    def answer(request: Request) -> Response:
        seen.append((request.method, request.url.path, request.headers["Authorization"]))
        [row] = [row for row in example("get", "/providers", "200")["data"] if row["breakers"]][:1]
        changed = {"state": "open", "failures": 5, "last_reason": "http_503"}
        breaker = row["breakers"][0] | changed
        if request.method == "POST":
            return JSONResponse(breaker | {"state": "half_open"})
        names = ("stripe", "conekta")
        rows = [row | {"name": name, "breakers": [breaker]} for name in names]
        return JSONResponse({"data": rows})

    async with engine_against(answer) as engine:
        found = await engine.breaker("conekta")
        after = (await engine.reset_breaker("conekta")).value
        with pytest.raises(StepFailed):
            await engine.breaker("polar")
    assert (found.state, found.failures, found.last_reason) == ("open", 5, "http_503")
    assert after.state == "half_open"
    assert seen[:2] == [
        ("GET", "/api/v1/providers", "Bearer key"),
        ("POST", "/api/v1/providers/conekta/breaker/reset", "Bearer admin"),
    ]


async def test_nobody_there(impatient: None) -> None:
    info = StackInfo("http://127.0.0.1:9", "key", "admin", "", "", "default", "", "")
    engine = Engine(info, PLACES, "run1")
    with pytest.raises(StepFailed) as failed:
        await engine.create_plan("Pro", [])
    await engine.aclose()
    assert "ConnectError" in failed.value.got


async def test_an_answer_that_breaks_the_contract() -> None:
    async with engine_against(lambda _: JSONResponse({"id": 7}, 201)) as engine:
        with pytest.raises(StepFailed) as failed:
            await engine.create_plan("Pro", [])
    assert failed.value.expected == "a plan"
    assert "id" in failed.value.got
    assert "name" in failed.value.got
