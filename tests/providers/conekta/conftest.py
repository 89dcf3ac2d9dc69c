"""The real adapter and the real SDK against the simulator, over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from providers.conekta import ConektaProvider
from tests.providers.conekta.drafts import ProviderFactory, customer_draft
from tests.providers.conekta.subscribing import Subscriber, make_subscriber
from tests.sandbox.conekta.world import API_KEY, World, public_pem, running_world


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running_world() as running:
        yield running


@pytest.fixture
async def make_provider(world: World) -> AsyncIterator[ProviderFactory]:
    """Build adapters that are closed at the end; keywords replace the usual settings."""
    async with AsyncExitStack() as stack:

        def make(**settings: object) -> ConektaProvider:
            usual: dict[str, object] = {
                "api_key": API_KEY,
                "api_base": world.api_base,
                "webhook_public_keys": public_pem("conekta"),
                "timeout_seconds": 5.0,
            }
            build: Callable[..., ConektaProvider] = ConektaProvider
            provider = build(**{**usual, **settings})
            stack.push_async_callback(provider.aclose)
            return provider

        yield make


@pytest.fixture
def provider(make_provider: ProviderFactory) -> ConektaProvider:
    return make_provider()


@pytest.fixture
def hasty_provider(make_provider: ProviderFactory) -> ConektaProvider:
    """Gives up soon, for answers that never come."""
    return make_provider(timeout_seconds=0.3)


@pytest.fixture
async def customer_id(provider: ConektaProvider) -> str:
    return await provider.ensure_customer(customer_draft())


@pytest.fixture
async def subscriber(world: World, provider: ConektaProvider) -> Subscriber:
    return await make_subscriber(world, provider)
