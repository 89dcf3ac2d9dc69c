"""Fixtures that every layer shares."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.database import TestDatabases, test_databases


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestDatabases]:
    """One PostgreSQL server for the whole run."""
    with test_databases(tmp_path_factory.mktemp("database home")) as found:
        yield found


@pytest.fixture
async def database_url(databases: TestDatabases) -> AsyncIterator[str]:
    """A fresh, migrated database: postgresql://…"""
    url = await databases.create()
    yield url
    await databases.drop(url)
