"""The simulator over HTTP, and the objects that most tests begin with."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.sandbox.polar.bodies import benefit_body, customer_body, product_body
from tests.sandbox.polar.world import Json, World, running_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running_world() as running:
        yield running


@pytest.fixture
async def customer(world: World) -> Json:
    return await world.post("/customers/", customer_body())


@pytest.fixture
async def benefit(world: World) -> Json:
    return await world.post("/benefits/", benefit_body("custom"))


@pytest.fixture
async def product(world: World, benefit: Json) -> Json:
    made = await world.post("/products/", product_body())
    body = {"benefits": [benefit["id"]]}
    return await world.post(f"/products/{made['id']}/benefits", body, 200)
