"""Brings the database's tables to this version of the code."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import as_file, files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from abono.search_attributes import register
from abono.settings import Settings
from abono.wiring import connect_temporal
from models.storage.engine import make_engine

# One migration at a time, however many processes start together ("abono" in ASCII).
_MIGRATION_LOCK = 0x61626F6E6F


def _config(connection: Connection) -> Config:
    config = Config()
    with as_file(files("models.storage") / "migrations") as folder:
        # Alembic reads % as interpolation; a path may hold one.
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


async def upgrade(sqlalchemy_url: str, revision: str = "head") -> None:
    """Apply every migration up to `revision`; safe to run again and from several processes."""

    def run(connection: Connection) -> None:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        command.upgrade(_config(connection), revision)

    await _on_database(sqlalchemy_url, run)


async def downgrade(sqlalchemy_url: str, revision: str) -> None:
    """Undo migrations down to `revision` (`base` empties the database)."""
    await _on_database(
        sqlalchemy_url, lambda connection: command.downgrade(_config(connection), revision)
    )


async def pending(sqlalchemy_url: str) -> bool:
    """Whether the database lacks a migration that this code needs."""
    behind = False

    def look(connection: Connection) -> None:
        nonlocal behind
        heads = set(ScriptDirectory.from_config(_config(connection)).get_heads())
        behind = set(MigrationContext.configure(connection).get_current_heads()) != heads

    await _on_database(sqlalchemy_url, look)
    return behind


async def register_search_attributes(settings: Settings) -> list[str]:
    """Tell Temporal what operators search by; the names of those that it did not know."""
    return await register(await connect_temporal(settings, lazy=False))


async def _on_database(sqlalchemy_url: str, work: Callable[[Connection], None]) -> None:
    engine = make_engine(sqlalchemy_url, pool_size=1)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(work)
    finally:
        await engine.dispose()
