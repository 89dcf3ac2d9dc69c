"""The pool hands out no connection that PostgreSQL has closed, and transactions are what they say."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from models.storage.engine import Sessions, make_engine, make_sessions
from tests.api.support import eventually
from tests.support.database import TestDatabases, sqlalchemy_url

CONNECTIONS = 3
_CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = 'abono' AND datname = current_database()
"""
_WRITE = text("INSERT INTO applications (id, name, created_at) VALUES (:id, 'one', now())")


async def test_closed_connections_are_replaced(databases: TestDatabases) -> None:
    url = await databases.create()
    engine = make_engine(sqlalchemy_url(url), pool_size=CONNECTIONS)
    pooled = await _ask_all(engine)
    assert await _ask_all(engine) == pooled

    administrator = await asyncpg.connect(url)
    await administrator.execute(_CUT)

    async def all_closed() -> bool:
        return all(connection.is_closed() for connection in pooled)

    await eventually(all_closed)
    assert not set(await _ask_all(engine)) & set(pooled)
    await administrator.close()
    await engine.dispose()
    await databases.drop(url)


async def test_reading_without_a_transaction_leaves_transactions_whole(
    databases: TestDatabases,
) -> None:
    """One connection does both in turn: it must not go on committing each statement by itself."""
    url = await databases.create()
    engine = make_engine(sqlalchemy_url(url), pool_size=1)
    sessions = make_sessions(engine)
    count = text("SELECT count(*) FROM applications")
    for _ in range(2):
        async with sessions() as session:
            assert await session.scalar(count) == 0
        with pytest.raises(DBAPIError, match="division by zero"):
            await _write_and_fail(sessions)
    async with sessions() as session:
        await session.execute(_WRITE, {"id": uuid4()})
    async with sessions() as session:
        assert await session.scalar(count) == 1
    await engine.dispose()
    await databases.drop(url)


async def _write_and_fail(sessions: Sessions) -> None:
    async with sessions.begin() as session:
        await session.execute(_WRITE, {"id": uuid4()})
        await session.execute(text("SELECT 1 / 0"))


async def _ask_all(engine: AsyncEngine) -> list[Any]:
    """A question to every connection of the pool; the driver's own objects, in the pool's order."""
    connections = [await engine.connect() for _ in range(CONNECTIONS)]
    drivers = []
    for connection in connections:
        assert await connection.scalar(text("SELECT 1")) == 1
        drivers.append((await connection.get_raw_connection()).driver_connection)
    for connection in connections:
        await connection.close()
    return drivers
