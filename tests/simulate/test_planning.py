"""The plan of a simulation: the same for the same seed, and within its years."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from abono.simulate.lives import YEAR, plan_lives, plan_outages
from abono.simulate.run import Options

seeds = st.integers(0, 2**32)


@given(seeds, st.integers(1, 20), st.floats(0.1, 10))
def test_a_seed_always_tells_the_same_lives(seed: int, count: int, years: float) -> None:
    lives = plan_lives(seed, count, years)
    assert lives == plan_lives(seed, count, years)
    assert [life.number for life in lives] == list(range(1, count + 1))
    for life in lives:
        moments = [at for at, _ in life.deeds]
        assert moments == sorted(moments)


@given(seeds, st.integers(2, 20), st.floats(0.1, 10))
def test_more_lives_do_not_change_the_first_ones(seed: int, count: int, years: float) -> None:
    assert plan_lives(seed, count, years)[:-1] == plan_lives(seed, count - 1, years)


@given(seeds, st.floats(0.1, 10))
def test_outages_begin_within_the_years_and_end(seed: int, years: float) -> None:
    for outage in plan_outages(seed, years):
        assert YEAR * 0 <= outage.begins <= years * YEAR
        assert outage.begins < outage.ends


def test_the_command_plays_the_same_lives() -> None:
    options = Options(years=0.5, subscriptions=3, seed=7, faults=True)
    assert options.command == "abono simulate --years 0.5 --subscriptions 3 --seed 7 --faults"
