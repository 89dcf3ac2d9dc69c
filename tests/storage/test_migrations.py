"""Migrations: all the way up, all the way down and up again, and from several processes at once."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest
from alembic import command
from sqlalchemy import Connection

from abono.migrate import _config, downgrade, pending, upgrade
from models.storage.engine import make_engine
from models.storage.tables import Base
from tests.support.database import sqlalchemy_url

# Everything that a migration can leave behind, as rows of (kind, name, definition).
CATALOG = """
SELECT 'column', c.table_name || '.' || c.column_name,
       concat_ws(' ', c.data_type, c.is_nullable, c.column_default)
  FROM information_schema.columns c WHERE c.table_schema = 'public'
UNION ALL
SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT 'constraint', conname, pg_get_constraintdef(oid) FROM pg_constraint
 WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT 'function', proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL
SELECT 'type', typname, typtype::text FROM pg_type
 WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd')
"""
GUARDS = {
    ("charge_attempts_guard", "charge_attempts", "BEFORE UPDATE"),
    ("charge_attempts_keep", "charge_attempts", "BEFORE DELETE"),
    ("payments_keep", "payments", "BEFORE DELETE OR UPDATE"),
    ("audit_log_keep", "audit_log", "BEFORE DELETE OR UPDATE"),
    ("credit_entries_keep", "credit_entries", "BEFORE DELETE OR UPDATE"),
}

Catalog = set[tuple[str, str, str]]


@pytest.fixture
async def empty_url(database_url: str) -> str:
    """A database in which nobody has migrated anything yet."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    finally:
        await connection.close()
    return database_url


async def catalog(url: str) -> Catalog:
    connection = await asyncpg.connect(url)
    try:
        return {tuple(row) for row in await connection.fetch(CATALOG)}
    finally:
        await connection.close()


def tables(found: Catalog) -> set[str]:
    return {name.partition(".")[0] for kind, name, _ in found if kind == "column"}


async def test_up_from_nothing_down_to_nothing_and_up_again(empty_url: str) -> None:
    url = sqlalchemy_url(empty_url)
    assert await catalog(empty_url) == set()
    assert await pending(url)

    await upgrade(url)
    first = await catalog(empty_url)
    assert tables(first) == {*Base.metadata.tables, "alembic_version"}
    assert not await pending(url)

    await downgrade(url, "base")
    left = await catalog(empty_url)
    assert tables(left) == {"alembic_version"}, "the version table is alembic's own"
    assert {kind for kind, _, _ in left} == {"column", "index", "constraint"}
    assert await pending(url)

    await upgrade(url)
    assert await catalog(empty_url) == first


async def test_upgrading_again_changes_nothing(database_url: str) -> None:
    before = await catalog(database_url)
    await upgrade(sqlalchemy_url(database_url))
    assert await catalog(database_url) == before


async def test_the_models_and_the_migrations_tell_the_same(database_url: str) -> None:
    """`alembic check` raises when it would write a migration: a column without one, or without a
    model."""

    def check(connection: Connection) -> None:
        command.check(_config(connection))

    engine = make_engine(sqlalchemy_url(database_url), pool_size=1)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(check)
    finally:
        await engine.dispose()


async def test_the_guards_are_in_place(database_url: str) -> None:
    """Alembic does not compare triggers, so nothing else would notice that one is gone."""
    found = await catalog(database_url)
    triggers = {name: definition for kind, name, definition in found if kind == "trigger"}
    assert set(triggers) == {name for name, _, _ in GUARDS}
    for name, table, when in GUARDS:
        assert f" {when} ON public.{table} FOR EACH ROW " in triggers[name]


@pytest.mark.parametrize("processes", [2, 4])
async def test_processes_that_start_together_migrate_once(empty_url: str, processes: int) -> None:
    url = sqlalchemy_url(empty_url)
    await asyncio.gather(*(upgrade(url) for _ in range(processes)))
    assert not await pending(url)
    assert tables(await catalog(empty_url)) == {*Base.metadata.tables, "alembic_version"}
