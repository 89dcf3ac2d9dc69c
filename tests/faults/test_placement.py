"""Faults at every place in the life of a charge: never two live charges, never a lost payment, and
the subscription comes to rest.

Every single fault is placed here, and a seeded handful of pairs; `make faults` places every pair. A fault
at the provider that stands in is a pair too: the other one has to be away.
"""

from __future__ import annotations

import os
import random

import pytest

from abono.simulate.world import open_world
from tests.faults.placement import ROUTES, Place, Watch, live_one_life
from tests.support.database import TestDatabases

ALL_PAIRS = os.environ.get("ABONO_TEST_ALL_FAULT_PAIRS") == "1"
PAIRS_SAMPLED = 3
# Transfers take the same calls at Conekta as vouchers, which are placed one by one.
TRANSFERS_SAMPLED = 6
BESIDE_AN_OUTAGE_SAMPLED = 4
SEED = int(os.environ.get("ABONO_TEST_SEED", "20261122"))
LIVES_PER_TEST = 15  # A world keeps every life's rows; a fresh one keeps the checks quick.

Placement = tuple[Place, ...]


def placements(route_name: str) -> list[Placement]:
    route, chance = ROUTES[route_name], random.Random(SEED)  # noqa: S311 - seeded on purpose
    if route.outage is not None:
        beside = route.beside_the_outage()
        return beside if ALL_PAIRS else chance.sample(beside, BESIDE_AN_OUTAGE_SAMPLED)
    singles: list[Placement] = [(place,) for place in route.places()]
    pairs: list[Placement] = list(route.pairs())
    if not ALL_PAIRS:
        pairs = chance.sample(pairs, PAIRS_SAMPLED)
        if route_name == "spei":
            singles = chance.sample(singles, TRANSFERS_SAMPLED)
    return [*singles, *pairs]


def portions() -> list[tuple[str, int, list[Placement]]]:
    """Small enough to be shared among the processes that run the tests."""
    return [
        (name, start, waiting[start : start + LIVES_PER_TEST])
        for name in sorted(ROUTES)
        for waiting in [placements(name)]
        for start in range(0, len(waiting), LIVES_PER_TEST)
    ]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("route_name", "placed"),
    [(name, placed) for name, _, placed in portions()],
    ids=[f"{name}-{start}" for name, start, _ in portions()],
)
async def test_no_placement_charges_twice_or_loses_money(
    databases: TestDatabases, route_name: str, placed: list[Placement]
) -> None:
    failures = []
    async with open_world(databases) as world:
        watch = Watch(world.core)
        world.core.on_time.append(watch.tick)
        for placement in placed:
            try:
                await live_one_life(world, watch, ROUTES[route_name], placement)
            except AssertionError as error:
                story = " then ".join(str(place) for place in placement)
                failures.append(f"{story}: {error}")
                watch.violations.clear()
    assert not failures, "\n".join(failures)
