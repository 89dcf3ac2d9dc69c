from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.activities.stage import Stage, open_stage
from tests.storage.books import Books, open_books


@pytest.fixture
async def books(database_url: str) -> AsyncIterator[Books]:
    async with open_books(database_url) as opened:
        yield opened


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with open_stage(database_url) as opened:
        yield opened
