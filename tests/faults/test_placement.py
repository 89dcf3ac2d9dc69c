"""Faults at every place in the life of a charge: never two live charges, never a lost payment, and
the subscription comes to rest.

Every single fault is placed here, and a seeded handful of pairs; `make faults` places all pairs.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.faults.placement import ROUTES, Place, Watch, live_one_life
from tests.support.database import TestDatabases
from tests.support.world import open_world

ALL_PAIRS = os.environ.get("ABONO_TEST_ALL_FAULT_PAIRS") == "1"
PAIRS_SAMPLED = 6
SEED = int(os.environ.get("ABONO_TEST_SEED", "20261122"))
WORLD_LIVES_MAX = 60  # A world keeps every life's rows; a fresh one keeps the checks quick.

Placement = tuple[Place, ...]


def placements(route_name: str) -> list[Placement]:
    route = ROUTES[route_name]
    singles: list[Placement] = [(place,) for place in route.places()]
    pairs: list[Placement] = list(route.pairs())
    if not ALL_PAIRS:
        pairs = random.Random(SEED).sample(pairs, PAIRS_SAMPLED)  # noqa: S311 - seeded on purpose
    return [*singles, *pairs]


@pytest.mark.timeout(7200 if ALL_PAIRS else 170)
@pytest.mark.parametrize("route_name", sorted(ROUTES))
async def test_no_placement_charges_twice_or_loses_money(
    databases: TestDatabases, route_name: str
) -> None:
    route, failures = ROUTES[route_name], []
    waiting = placements(route_name)
    while waiting:
        batch, waiting = waiting[:WORLD_LIVES_MAX], waiting[WORLD_LIVES_MAX:]
        async with open_world(databases) as world:
            watch = Watch(world.core)
            world.core.on_time.append(watch.tick)
            for placement in batch:
                try:
                    await live_one_life(world, watch, route, placement)
                except AssertionError as error:
                    story = " then ".join(str(place) for place in placement)
                    failures.append(f"{route_name}: {story}: {error}")
                    watch.violations.clear()
    assert not failures, "\n".join(failures)
