"""The real adapter and the real SDK against the simulator, over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from providers.polar import PolarProvider
from tests.providers.polar.drafts import Buyer, ProviderFactory, customer_draft, product_draft
from tests.sandbox.polar.world import TOKEN, World, running_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running_world() as running:
        yield running


@pytest.fixture
async def make_provider(world: World) -> AsyncIterator[ProviderFactory]:
    """Build adapters that are closed at the end; keywords replace the usual settings."""
    async with AsyncExitStack() as stack:

        def make(**settings: object) -> PolarProvider:
            usual: dict[str, object] = {
                "api_key": TOKEN,
                "api_base": world.api_base,
                "webhook_secrets": [world.webhook_secret],
                "timeout_seconds": 5.0,
            }
            build: Callable[..., PolarProvider] = PolarProvider
            provider = build(**{**usual, **settings})
            stack.push_async_callback(provider.aclose)
            return provider

        yield make


@pytest.fixture
def provider(make_provider: ProviderFactory) -> PolarProvider:
    return make_provider()


@pytest.fixture
async def hasty_provider(make_provider: ProviderFactory) -> PolarProvider:
    """Gives up soon, for answers that never come. Its SDK is loaded beforehand."""
    return make_provider(timeout_seconds=0.3)


@pytest.fixture
async def buyer(provider: PolarProvider) -> Buyer:
    """A customer, and a product to buy."""
    customer_id = await provider.ensure_customer(customer_draft())
    return Buyer(customer_id, await provider.ensure_product(product_draft()))
