from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from abono.simulate.world import World, open_world
from tests.support.database import TestDatabases


@pytest.fixture
async def world(databases: TestDatabases) -> AsyncIterator[World]:
    """Webhooks are not delivered here: whatever a workflow learns, it learnt by looking."""
    async with open_world(databases) as made:
        yield made
