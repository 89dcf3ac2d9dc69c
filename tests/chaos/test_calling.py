"""The caller of the campaign: patient with what passes, unforgiving with what may never be answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from abono.chaos import calling
from abono.chaos.calling import Caller, GaveUp, Refused, Tally
from abono.dev.info import StackInfo
from abono.simulate.serving import serving


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "_AGAIN_SECONDS", 0.01)


@asynccontextmanager
async def caller_of(
    answer: Callable[[Request], Response], tally: Tally, patience_seconds: float = 5.0
) -> AsyncIterator[Caller]:
    async def handle(request: Request) -> Response:
        return answer(request)

    routes = [Route("/{path:path}", handle, methods=["GET", "POST"])]
    async with serving(Starlette(routes=routes)) as url:
        info = StackInfo(url, "key", "admin", "", "", "default", "", url)
        caller = Caller(info, tally, run="run1", patience_seconds=patience_seconds)
        try:
            yield caller
        finally:
            await caller.aclose()


async def test_a_wish_keeps_its_key_until_it_is_answered() -> None:
    keys: list[str] = []

    def answer(request: Request) -> Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            return JSONResponse({"code": "unavailable"}, 503)
        if len(keys) == 2:
            return JSONResponse({"code": "idempotency_key_in_use"}, 409)
        return JSONResponse({"id": "1"}, 201)

    tally = Tally()
    async with caller_of(answer, tally) as caller:
        assert await caller.post("/billing/plans") == {"id": "1"}
        await caller.post("/billing/plans")
    assert keys == ["run1-1", "run1-1", "run1-1", "run1-2"]
    assert (tally.repeated, tally.faulty) == (2, [])


@pytest.mark.parametrize(("status", "is_fault"), [(500, True), (404, True), (409, False)])
async def test_an_answer_that_may_never_be_is_written_down(status: int, is_fault: bool) -> None:
    tally = Tally()
    async with caller_of(lambda _: JSONResponse({"code": "x"}, status), tally) as caller:
        with pytest.raises(Refused):
            await caller.post("/billing/subscriptions/1/cancel")
    assert bool(tally.faulty) is is_fault


async def test_patience_ends() -> None:
    async with caller_of(lambda _: JSONResponse({}, 503), Tally(), 0.05) as caller:
        with pytest.raises(GaveUp):
            await caller.get("/billing/plans")
