"""The simulator over HTTP, and a customer to order for."""

from __future__ import annotations

from collections.abc import AsyncIterator

import conekta
import pytest

from tests.sandbox.conekta.bodies import make_customer
from tests.sandbox.conekta.world import API_KEY, World, running_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running_world() as running:
        yield running


@pytest.fixture
async def delivering_world() -> AsyncIterator[World]:
    async with running_world(deliver=True) as running:
        yield running


@pytest.fixture
async def customer_id(world: World) -> str:
    return await make_customer(world)


@pytest.fixture
async def sdk(world: World) -> AsyncIterator[conekta.ApiClient]:
    configuration = conekta.Configuration(
        host=world.api_base, access_token=API_KEY, retries=False, no_proxy="*"
    )
    client = conekta.ApiClient(configuration)
    yield client
    client.rest_client.pool_manager.clear()
