"""Lives that Hypothesis invents and, should one violate an invariant, tells as short as it can."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from abono.simulate.driver import Outcome, play
from abono.simulate.lives import DAY, FAULT_MODES, HOUR, KINDS, YEAR, Deed, Habit, Life, Outage
from abono.simulate.world import open_world
from models.calendar import BillingInterval
from tests.support.database import TestDatabases

YEARS = 0.2
LIVES_PER_STORY = 4

moments = st.integers(0, int(YEARS * YEAR / HOUR)).map(lambda hours: hours * HOUR)
habits = st.sampled_from(
    [
        Habit(0, 0, 0, 0, 0),  # Always in time.
        Habit(1, 0, 0, 0, 0),
        Habit(0, 1, 0, 0, 0),
        Habit(0, 0, 1, 0, 0),
        Habit(0, 0, 0, 1, 0),
        Habit(0, 0, 0, 0, 1),
    ]
)
deeds = st.lists(st.tuples(moments, st.sampled_from(list(Deed))), max_size=6).map(sorted)
lives = st.builds(
    Life,
    number=st.just(0),
    kind=st.sampled_from(KINDS),
    interval=st.just(BillingInterval.MONTHLY),
    trial_days=st.sampled_from([0, 0, 14]),
    starts_after=st.just(timedelta()),
    habit=habits,
    deeds=deeds,
)
outages = st.lists(
    st.builds(
        lambda begins, hours, provider, mode: Outage(begins, begins + hours, provider, mode),
        moments,
        st.integers(1, 24).map(lambda hours: hours * HOUR),
        st.sampled_from(["stripe", "conekta"]),
        st.sampled_from(FAULT_MODES),
    ),
    max_size=3,
)


@pytest.mark.timeout(400)
@settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    # A shorter story is worth minutes only to whoever has to understand one.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(lives, min_size=LIVES_PER_STORY, max_size=LIVES_PER_STORY), outages)
def test_no_story_violates_an_invariant(
    databases: TestDatabases, told: list[Life], failures: list[Outage]
) -> None:
    outcome = asyncio.run(live(databases, told, failures))
    assert not outcome.violations, outcome.violations


async def live(databases: TestDatabases, told: list[Life], failures: list[Outage]) -> Outcome:
    numbered = [
        Life(number, one.kind, one.interval, one.trial_days, DAY * 0, one.habit, one.deeds)
        for number, one in enumerate(told, start=1)
    ]
    async with open_world(databases) as world:
        return await play(world, seed=1, lives=numbered, outages=failures, years=YEARS)
