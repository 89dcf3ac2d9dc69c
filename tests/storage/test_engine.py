"""The pool hands out no connection that PostgreSQL has closed."""

from __future__ import annotations

from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from models.storage.engine import make_engine
from tests.api.support import eventually
from tests.support.database import TestDatabases, sqlalchemy_url

CONNECTIONS = 3
_CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = 'abono' AND datname = current_database()
"""


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
