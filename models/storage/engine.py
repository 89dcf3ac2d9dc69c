"""The connection pool, one per process and event loop."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

Sessions = async_sessionmaker[AsyncSession]


def make_engine(sqlalchemy_url: str, *, pool_size: int = 10) -> AsyncEngine:
    """A pool that notices dead connections (PostgreSQL was restarted) before it hands one out."""
    return create_async_engine(
        sqlalchemy_url,
        pool_size=pool_size,
        max_overflow=0,
        hide_parameters=True,  # Tokens and addresses must not reach a log through an error message.
        pool_pre_ping=True,
        connect_args={
            "timeout": 5,
            "command_timeout": 20,
            # `jit` costs more than it gives on queries of a few rows.
            "server_settings": {"jit": "off", "timezone": "UTC", "application_name": "abono"},
        },
    )


def make_sessions(engine: AsyncEngine) -> Sessions:
    return async_sessionmaker(engine, expire_on_commit=False)
