from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.storage.books import Books, emptied, kept_database, open_books
from tests.support.database import TestDatabases


@pytest.fixture(scope="module")
def shared_database(databases: TestDatabases) -> Iterator[str]:
    with kept_database(databases) as url:
        yield url


@pytest.fixture
async def books(shared_database: str) -> AsyncIterator[Books]:
    async with open_books(await emptied(shared_database)) as opened:
        yield opened
