"""A simulated Conekta over real HTTP, for the tests of the simulator and of the adapter alike."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from sandbox.conekta.app import ConektaSimulator
from sandbox.control import Control
from sandbox.core import Core, SandboxConfig

API_KEY = "key_sandbox"
ACCEPT = "application/vnd.conekta-v2.3.0+json"

Json = dict[str, Any]


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Unused over plain HTTP, but httpx makes one for every client unless it is given one."""
    return ssl.create_default_context()


@functools.cache
def private_key(name: str) -> rsa.RSAPrivateKey:
    """One key per name for the whole run: making them is what takes the time."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def private_pem(name: str) -> str:
    encoded = private_key(name).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return encoded.decode()


def public_pem(name: str) -> str:
    encoded = (
        private_key(name)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return encoded.decode()


@dataclass
class Inbox:
    """Where the simulator's webhooks arrive; `answer_status` is what it is told."""

    received: list[tuple[bytes, dict[str, str]]] = field(default_factory=list)
    answer_status: int = 200

    async def receive(self, request: Request) -> Response:
        self.received.append((await request.body(), dict(request.headers)))
        return Response(status_code=self.answer_status)


@dataclass
class World:
    core: Core
    simulator: ConektaSimulator
    inbox: Inbox
    base_url: str
    http: httpx.AsyncClient  # Speaks to the API as Conekta wants it.

    @property
    def api_base(self) -> str:
        return f"{self.base_url}/conekta"

    async def control(self, path: str, body: Json | None = None) -> Json:
        answer = await self.http.post(f"{self.base_url}/_control/{path}", json=body or {})
        assert answer.status_code == 200, answer.text
        parsed: Json = answer.json()
        return parsed

    async def pay(self, reference: str, amount_minor: int | None = None) -> Json:
        body = {} if amount_minor is None else {"amount_minor": amount_minor}
        return await self.control(f"payments/{reference}/pay", body)

    async def expire(self, reference: str) -> Json:
        return await self.control(f"payments/{reference}/expire")

    async def fault(
        self, operation: str, mode: str, count: int | None = 1, seconds: float | None = None
    ) -> None:
        body = {"provider": "conekta", "operation": operation, "mode": mode}
        await self.control("faults", {**body, "count": count, "seconds": seconds})

    async def advance(self, seconds: float) -> None:
        await self.control("clock", {"advance_seconds": seconds})

    async def book(self) -> list[Json]:
        answer = await self.http.get(f"{self.base_url}/_control/charges")
        booked: list[Json] = answer.json()
        return booked

    def orders(self) -> list[Json]:
        return list(self.core.collection("conekta", "orders").values())

    def event_types(self) -> list[str]:
        return [record["body"]["type"] for record in self.core.webhooks.events]


@asynccontextmanager
async def running_world(
    config: SandboxConfig | None = None, *, deliver: bool = False
) -> AsyncIterator[World]:
    """Serve the simulator, the control plane and an inbox on a free port, in this event loop.

    Without `deliver` webhooks are recorded but not sent, which is all that most tests need.
    """
    # Named as TCP, asyncio turns Nagle's algorithm off; otherwise each answer waits for 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = config or SandboxConfig(conekta_private_key_pem=private_pem("conekta"))
    config.webhook_base_url = f"{base_url}/inbox" if deliver else None
    core = Core(config)
    simulator = ConektaSimulator(core)
    inbox = Inbox()
    app = Starlette(
        routes=[
            Mount("/conekta", routes=simulator.routes()),
            Mount("/_control", routes=Control(core, {"conekta": simulator}).routes()),
            Route("/inbox/conekta", inbox.receive, methods=["POST"]),
        ]
    )
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[listener])
    headers = {"Authorization": f"Bearer {API_KEY}", "Accept": ACCEPT}
    try:
        async with httpx.AsyncClient(
            base_url=f"{base_url}/conekta", headers=headers, trust_env=False, verify=tls_context()
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
