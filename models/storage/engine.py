"""The connection pool, one per process and event loop."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

Sessions = async_sessionmaker[AsyncSession]


def make_engine(sqlalchemy_url: str, *, pool_size: int = 10) -> AsyncEngine:
    """A pool that notices dead connections (PostgreSQL was restarted) before it hands one out."""
    engine = create_async_engine(
        sqlalchemy_url,
        pool_size=pool_size,
        max_overflow=0,
        hide_parameters=True,  # Tokens and addresses must not reach a log through an error message.
        connect_args={
            "timeout": 5,
            "command_timeout": 20,
            # `jit` costs more than it gives on queries of a few rows.
            "server_settings": {"jit": "off", "timezone": "UTC", "application_name": "abono"},
        },
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


def make_sessions(engine: AsyncEngine) -> Sessions:
    return async_sessionmaker(engine, expire_on_commit=False)


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Raises what makes the pool open a new connection. The driver sees a socket close as soon as it does,
    so it is asked and not the server, as `pool_pre_ping` would: a round trip for each transaction."""
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError("PostgreSQL closed the connection")
