"""An application's own receiver, as a real HTTP server, and what it needs to be told something."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import update

from activities.outbox import tell_about
from api.clock import now
from api.outbound.courier import Courier
from models.storage.tables import Subscription, WebhookEndpoint, WebhookLane
from tests.api.support import Api, Tenant, organization, plan, subscription

ENDPOINTS = "/webhook-endpoints"


@dataclass
class Received:
    """One request as it came over the wire; header names in lower case."""

    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass
class Receiver:
    """Answers what `answer` says of a request; `taken` counts before the answer is sent."""

    url: str = ""
    taken: list[Received] = field(default_factory=list)
    answer: Callable[[Received], int] = lambda _: 204
    text: bytes = b""
    headers: bytes = b""
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    @property
    def ids(self) -> list[str]:
        return [one.id for one in self.taken]

    @property
    def types(self) -> list[str]:
        return [one.event["type"] for one in self.taken]

    def of(self, row: Subscription) -> list[int]:
        """The numbers of a subscription's events, as they came."""
        mine = [one.event for one in self.taken if one.event["subscription_id"] == str(row.id)]
        return [event["sequence"] for event in mine]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[1:]
            pairs = [line.split(": ", 1) for line in head if line]
            headers = {name.lower(): value for name, value in pairs}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            received = Received(headers, body)
            self.taken.append(received)
            self.arrived.set()
            status = self.answer(received)
            await self.gate.wait()
            writer.write(
                b"HTTP/1.1 %d Said\r\ncontent-length: %d\r\nconnection: close\r\n%s\r\n%s"
                % (status, len(self.text), self.headers, self.text)
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # The sender has hung up.
        finally:
            writer.close()


@asynccontextmanager
async def receiving(context: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    receiver.url = f"http{'s' if context else ''}://127.0.0.1:{port}/hooks"
    try:
        yield receiver
    finally:
        receiver.gate.set()
        server.close()


async def register(api: Api, url: str, *, of: Tenant | None = None, **more: Any) -> dict[str, Any]:
    answer = await (of or api.ours).post(ENDPOINTS, {"url": url, **more})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def change(api: Api, endpoint: dict[str, Any], **changes: Any) -> dict[str, Any]:
    answer = await api.ours.http.patch(f"/api/v1/billing{ENDPOINTS}/{endpoint['id']}", json=changes)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def read(api: Api, endpoint: dict[str, Any], path: str = "", **query: Any) -> Any:
    answer = await api.ours.get(f"{ENDPOINTS}/{endpoint['id']}{path}", **query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def subscriptions(api: Api, count: int, *, of: Tenant | None = None) -> list[Subscription]:
    who, what = organization(of or api.ours), plan(of or api.ours)
    rows = [subscription(who, what) for _ in range(count)]
    await api.add(who, what, *rows)
    return rows


async def tell(api: Api, row: Subscription, *types: str) -> None:
    """As workflows do: each event in a transaction of its own."""
    for type_ in types or ("invoice.paid",):
        async with api.context.sessions.begin() as session:
            await tell_about(session, row.id, type_, {"invoice_id": str(row.id)}, now())


async def bring_all(api: Api, courier: Courier | None = None) -> int:
    """Until nothing is due; how many tries it took."""
    courier, tries = courier or Courier(api.context), 0
    while count := await courier.run_once():
        tries += count
    return tries


async def wait_is_over(api: Api) -> None:
    """Whatever was put off, or claimed by somebody who is no more, is due."""
    past = now() - timedelta(seconds=1)
    await api.run(update(WebhookLane).values(due_at=past))
    await api.run(update(WebhookEndpoint).values(held_until=None))


async def set_health(api: Api, endpoint: dict[str, Any], **values: Any) -> None:
    await api.run(
        update(WebhookEndpoint).where(WebhookEndpoint.id == UUID(endpoint["id"])).values(**values)
    )
