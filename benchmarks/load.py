"""HTTP load on 127.0.0.1 that costs little itself, so that it measures the server and not the client.

It sends requests that were made before, over a fixed number of connections, and stops after the last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

HOST = "127.0.0.1"
CONNECTIONS = 16
# More than any server here answers at once: a request that is due must not wait for a connection.
OPEN_LOOP_CONNECTIONS = 64
_ROUND_SECONDS_MAX = 60.0
_HEAD_END = b"\r\n\r\n"
_GOOD = b"HTTP/1.1 200"


@dataclass
class Load:
    """What came of one round; latencies in seconds."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds


class _Line(asyncio.Protocol):
    """One connection with at most one request under way."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[None] | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    async def ask(self, request: bytes) -> None:
        if self._transport is None:
            raise ConnectionError("there is no connection")
        self._received = b""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(_HEAD_END)
        if not end or self._answer is None or self._answer.done():
            return
        if not head.startswith(_GOOD):
            self._answer.set_exception(RuntimeError(f"refused: {self._received[:300]!r}"))
        elif len(body) >= _length(head):
            self._answer.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the server hung up"))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    raise ValueError("an answer without a length")


def post(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """A whole request, as it goes over the wire."""
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {HOST}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + _HEAD_END + body


async def closed_loop(port: int, requests: Sequence[bytes], connections: int = CONNECTIONS) -> Load:
    """As fast as it answers: every connection sends its next request when it has its answer."""
    load, waiting = Load(), iter(requests)

    async def keep_asking(line: _Line) -> None:
        for request in waiting:
            began = perf_counter()
            await line.ask(request)
            load.latencies.append(perf_counter() - began)

    lines = await _connect(port, connections)
    began = perf_counter()
    async with asyncio.timeout(_ROUND_SECONDS_MAX):
        await asyncio.gather(*map(keep_asking, lines))
    load.seconds = perf_counter() - began
    _close(lines)
    return load


async def open_loop(port: int, requests: Sequence[bytes], per_second: float) -> Load:
    """At a fixed rate, whatever it answers. A latency counts from the moment when its request was due,
    so that a server that stands still is charged for everything that had to wait."""
    load = Load()
    lines = await _connect(port, OPEN_LOOP_CONNECTIONS)
    free: asyncio.LifoQueue[_Line] = asyncio.LifoQueue()
    for line in lines:
        free.put_nowait(line)
    began = perf_counter()

    async def ask(request: bytes, due: float) -> None:
        line = await free.get()
        await line.ask(request)
        load.latencies.append(perf_counter() - due)
        free.put_nowait(line)

    async with asyncio.timeout(_ROUND_SECONDS_MAX), asyncio.TaskGroup() as group:
        for number, request in enumerate(requests):
            due = began + number / per_second
            if (early := due - perf_counter()) > 0:
                await asyncio.sleep(early)
            group.create_task(ask(request, due))
    load.seconds = perf_counter() - began
    _close(lines)
    return load


async def _connect(port: int, connections: int) -> list[_Line]:
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(_Line, HOST, port))[1] for _ in range(connections)]


def _close(lines: Sequence[_Line]) -> None:
    for line in lines:
        line.close()
