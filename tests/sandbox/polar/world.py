"""A simulated Polar over real HTTP, for the tests of the simulator and of the adapter alike."""

from __future__ import annotations

import asyncio
import functools
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from abono.simulate.serving import bound_socket, url_of
from sandbox.control import Control
from sandbox.core import Core, SandboxConfig
from sandbox.polar.app import PolarSimulator

TOKEN = "polar_oat_sandbox"
VERSION = "2026-10"

Json = dict[str, Any]


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Unused over plain HTTP, but httpx makes one for every client unless it is given one."""
    return ssl.create_default_context()


@dataclass
class Inbox:
    """Where the simulator's webhooks arrive; `answer_status` is what it is told."""

    received: list[tuple[bytes, dict[str, str]]] = field(default_factory=list)
    answer_status: int = 202

    async def receive(self, request: Request) -> Response:
        self.received.append((await request.body(), dict(request.headers)))
        return Response(status_code=self.answer_status)


@dataclass
class World:
    core: Core
    simulator: PolarSimulator
    inbox: Inbox
    base_url: str
    http: httpx.AsyncClient  # Speaks to the API as Polar wants it.

    @property
    def api_base(self) -> str:
        return f"{self.base_url}/polar"

    @property
    def webhook_secret(self) -> str:
        return self.core.config.polar_webhook_secret

    async def control(self, path: str, body: Json | None = None) -> Json:
        answer = await self.http.post(f"{self.base_url}/_control/{path}", json=body or {})
        assert answer.status_code == 200, answer.text
        parsed: Json = answer.json()
        return parsed

    async def pay(self, reference: str) -> Json:
        return await self.control(f"payments/{reference}/pay")

    async def expire(self, reference: str) -> Json:
        return await self.control(f"payments/{reference}/expire")

    async def renew(self, subscription_id: str, outcome: str = "paid") -> Json:
        body = {"outcome": outcome}
        return await self.control(f"subscriptions/polar/{subscription_id}/renew", body)

    async def fault(
        self, operation: str, mode: str, count: int | None = 1, seconds: float | None = None
    ) -> None:
        body = {"provider": "polar", "operation": operation, "mode": mode}
        await self.control("faults", {**body, "count": count, "seconds": seconds})

    async def advance(self, seconds: float) -> None:
        await self.control("clock", {"advance_seconds": seconds})

    async def book(self) -> list[Json]:
        answer = await self.http.get(f"{self.base_url}/_control/charges")
        booked: list[Json] = answer.json()
        return booked

    def all(self, collection: str) -> list[Json]:
        return list(self.core.collection("polar", collection).values())

    def event_types(self) -> list[str]:
        return [record["body"]["type"] for record in self.core.webhooks.events]

    def events(self) -> list[tuple[bytes, dict[str, str]]]:
        """Every event as it would be sent now, signed."""
        sent = []
        for record in self.core.webhooks.events:
            raw = json.dumps(record["body"], separators=(",", ":")).encode()
            sent.append((raw, self.core.webhooks.signers["polar"](raw)))
        return sent

    async def post(self, path: str, body: Json, status: int = 201) -> Json:
        answer = await self.http.post(path, json=body)
        assert answer.status_code == status, answer.text
        parsed: Json = answer.json()
        return parsed

    async def get(self, path: str, **params: Any) -> Json:
        answer = await self.http.get(path, params=params)
        assert answer.status_code == 200, answer.text
        parsed: Json = answer.json()
        return parsed


@asynccontextmanager
async def running_world(
    config: SandboxConfig | None = None, *, deliver: bool = False
) -> AsyncIterator[World]:
    """Serve the simulator, the control plane and an inbox on a free port, in this event loop.

    Without `deliver` webhooks are recorded but not sent, which is all that most tests need.
    """
    listener = bound_socket()
    base_url = url_of(listener)
    config = config or SandboxConfig()
    config.webhook_base_url = f"{base_url}/inbox" if deliver else None
    core = Core(config)
    simulator = PolarSimulator(core)
    inbox = Inbox()
    app = Starlette(
        routes=[
            Mount("/polar", routes=simulator.routes()),
            Mount("/_control", routes=Control(core, {"polar": simulator}).routes()),
            Route("/inbox/polar", inbox.receive, methods=["POST"]),
        ]
    )
    headers = {"Authorization": f"Bearer {TOKEN}", "Polar-Version": VERSION}
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[listener])
    try:
        async with httpx.AsyncClient(
            base_url=f"{base_url}/polar/v1", headers=headers, trust_env=False, verify=tls_context()
        ) as http:
            yield World(core, simulator, inbox, base_url, http)
    finally:
        await core.webhooks.aclose()
        await _stop(server)
        listener.close()


async def _stop(server: uvicorn.Server) -> None:
    """What uvicorn's own shutdown does, less the tenth of a second that it always waits."""
    for listening in server.servers:
        listening.close()
    for connection in list(server.server_state.connections):
        connection.shutdown()
    async with asyncio.timeout(5):
        # uvicorn tells nobody when a connection has ended, so this has to ask.
        while server.server_state.connections or server.server_state.tasks:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
