"""The same tests for every provider. One that a provider cannot pass is skipped by its capability
matrix alone, with the matrix's own sentence; `test_matrix` sees to it that none is skipped for all."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.providers.contract.bench import Bench, open_bench
from tests.providers.contract.needs import needed_by
from tests.providers.contract.profiles import PROFILES, Profile


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*capabilities): skipped where the matrix says no")


@pytest.fixture(params=PROFILES, ids=str)
def profile(request: pytest.FixtureRequest) -> Profile:
    found: Profile = request.param
    for capability in needed_by(request.node):
        if capability not in found.capabilities.supports:
            pytest.skip(f"{found}: {found.capabilities.refusals[capability]}")
    return found


@pytest.fixture
async def bench(profile: Profile) -> AsyncIterator[Bench]:
    async with open_bench(profile) as opened:
        yield opened
