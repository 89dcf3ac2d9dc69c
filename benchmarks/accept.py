"""Row 1. Accepting a webhook: verify the signature, read the event, keep both, answer.

Bound by one core of Python in the API's process. Two processes take turns at the same load: ours and a
plain FastAPI endpoint that inserts the body. The database's disk is left out of it (no fsync): with one,
ours shares a commit among what came together and the plain one does not, which would flatter ours.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg

from abono.dev.ports import spare_port
from benchmarks.accept_server import RAW_TABLE, WEBHOOK_SECRET
from benchmarks.load import HOST, closed_loop, open_loop
from benchmarks.measure import Figure, Stage, percentile, quotients
from benchmarks.payloads import signed_requests

ROW = "Webhook accept"
ROUNDS = 9
REQUESTS = 3000
WARM_UP = 200
OPEN_LOOP_PER_SECOND = 1000.0
OPEN_LOOP_ROUNDS = 2
_START_SECONDS_MAX = 60.0
_MILLISECONDS = 1000.0


async def measure(stage: Stage, tell: Callable[[str], None]) -> list[Figure]:
    database_url = await stage.databases.create()
    await _execute(database_url, RAW_TABLE)
    async with server("ours", database_url) as ours, server("raw", database_url) as raw:
        for port in (raw, ours):
            await _round(port, stage.size(WARM_UP, 5))
        rates = await _throughput(stage, raw, ours, tell)
        late = await _latency_at_fixed_rate(stage, raw, ours, tell)
    rounds = stage.size(ROUNDS, 1) + stage.size(OPEN_LOOP_ROUNDS, 1)
    await _all_stored(database_url, stage.size(WARM_UP, 5) + rounds * stage.size(REQUESTS, 20))
    await stage.databases.drop(database_url)
    return [
        Figure(
            ROW,
            "throughput against FastAPI + asyncpg",
            "×",
            quotients(rates["ours"], rates["raw"]),
            target=0.8,
            at_least=True,
            note="one API process, 16 connections",
        ),
        Figure(ROW, "throughput", "/s", rates["ours"], baseline=rates["raw"]),
        Figure(
            ROW,
            f"p99 at {OPEN_LOOP_PER_SECOND:.0f}/s",
            "ms",
            late["ours"],
            target=50.0,
            baseline=late["raw"],
            note="counted from when a request was due",
        ),
    ]


async def _throughput(
    stage: Stage, raw: int, ours: int, tell: Callable[[str], None]
) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {"raw": [], "ours": []}
    rounds = stage.size(ROUNDS, 1)
    for number in range(rounds):
        tell(f"round {number + 1} of {rounds}")
        for name, port in (("raw", raw), ("ours", ours)):
            rates[name].append(await _round(port, stage.size(REQUESTS, 20)))
    return rates


async def _round(port: int, count: int) -> float:
    load = await closed_loop(port, list(signed_requests(count, WEBHOOK_SECRET)))
    return load.per_second


async def _latency_at_fixed_rate(
    stage: Stage, raw: int, ours: int, tell: Callable[[str], None]
) -> dict[str, list[float]]:
    late: dict[str, list[float]] = {"raw": [], "ours": []}
    for number in range(stage.size(OPEN_LOOP_ROUNDS, 1)):
        tell(f"at {OPEN_LOOP_PER_SECOND:.0f}/s, round {number + 1}")
        for name, port in (("raw", raw), ("ours", ours)):
            requests = list(signed_requests(stage.size(REQUESTS, 20), WEBHOOK_SECRET))
            load = await open_loop(port, requests, OPEN_LOOP_PER_SECOND)
            late[name].append(percentile(load.latencies, 0.99) * _MILLISECONDS)
    return late


async def _all_stored(database_url: str, expected: int) -> None:
    """A webhook that was answered and is not there would make every other figure worthless."""
    connection = await asyncpg.connect(database_url)
    stored = await connection.fetchval("SELECT count(*) FROM webhook_events")
    await connection.close()
    if stored != expected:
        raise RuntimeError(f"{expected} webhooks were answered, {stored} are stored")


async def _execute(database_url: str, statement: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(statement)
    await connection.close()


@asynccontextmanager
async def server(kind: str, database_url: str) -> AsyncIterator[int]:
    """One of the two, as its port."""
    with spare_port() as port:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.accept_server", kind, database_url, str(port)),
        )
        try:
            await _answers(process, port)
            yield port
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _answers(process: asyncio.subprocess.Process, port: int) -> None:
    async with asyncio.timeout(_START_SECONDS_MAX):
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection(HOST, port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return
    raise RuntimeError("the server did not start")
