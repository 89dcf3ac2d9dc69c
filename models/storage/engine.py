"""The connection pool, one per process and event loop."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)


class Sessions:
    """`sessions.begin()` is a transaction. `sessions()` is none: each statement stands alone, as is enough
    to read, or to write with one. PostgreSQL reads what is committed anew for each statement in either,
    and a transaction costs two round trips more: most of what a short read takes."""

    def __init__(self, engine: AsyncEngine) -> None:
        alone = engine.execution_options(isolation_level="AUTOCOMMIT")
        self.engine = engine
        self._transactions = async_sessionmaker(engine, expire_on_commit=False)
        self._alone = async_sessionmaker(alone, expire_on_commit=False)

    def __call__(self) -> AsyncSession:
        return self._alone()

    def begin(self) -> AbstractAsyncContextManager[AsyncSession]:
        return self._transactions.begin()


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
    return Sessions(engine)


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Raises what makes the pool open a new connection. The driver sees a socket close as soon as it does,
    so it is asked and not the server, as `pool_pre_ping` would: a round trip for each transaction."""
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError("PostgreSQL closed the connection")
