"""Webhooks as in production: the sandbox sends them, our API takes them, our dispatcher signals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from abono.simulate.serving import serving
from abono.simulate.world import World
from api.app import API_PREFIX, create_app
from api.context import ApiContext


@asynccontextmanager
async def webhooks_delivered(world: World) -> AsyncIterator[None]:
    """For as long as the block lasts, whatever happens at a provider is told to the world's workflows."""
    context = ApiContext(
        sessions=world.sessions,
        temporal=world.client,
        providers=world.providers,
        pepper="test pepper",
    )
    async with serving(create_app(context)) as url:
        world.core.webhooks.base_url = f"{url}{API_PREFIX}/webhooks"
        try:
            yield
        finally:
            world.core.webhooks.base_url = None
