"""What the campaign does to whom is told by its seed alone, and a violation's story gets shorter."""

from __future__ import annotations

from itertools import islice, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from abono.chaos.blows import SHORT_STORY, Act, plan_rounds
from abono.chaos.crashes import Crashes, FaultyCalls
from abono.chaos.lives import Figures, Lived, Plan, smaller
from sandbox.faults import FaultMode

seeds = st.integers(0, 2**32)
few = settings(deadline=None, max_examples=20)


@few
@given(seeds)
def test_a_seed_always_tells_the_same_blows(seed: int) -> None:
    assert list(islice(plan_rounds(seed), 20)) == list(islice(plan_rounds(seed), 20))


@few
@given(seeds)
def test_no_target_is_hit_in_two_rounds_running(seed: int) -> None:
    """Otherwise the supervisor could take it for a program that cannot start."""
    hit = [{blow.target for blow in one.blows} for one in islice(plan_rounds(seed), 50)]
    assert not [one for one, following in pairwise(hit) if one & following]


@few
@given(seeds)
def test_only_what_is_away_or_frozen_takes_time(seed: int) -> None:
    for one in islice(plan_rounds(seed), 50):
        for blow in one.blows:
            assert bool(blow.seconds) == (blow.act in {Act.AWAY, Act.FREEZE})


def test_every_act_and_every_target_comes() -> None:
    blows = [blow for one in islice(plan_rounds(1), 400) for blow in one.blows]
    assert {blow.act for blow in blows} == set(Act)
    parts = {"worker", "api", "postgres", "temporal", "sandbox"}
    assert {blow.target for blow in blows} == parts
    killed = {blow.target for one in SHORT_STORY for blow in one.blows}
    assert killed == {"api", "worker"}


@few
@given(seeds)
def test_crashes_and_faults_are_placed_alike_in_every_play(seed: int) -> None:
    def placed() -> list[object]:
        crashes, calls = Crashes(seed, 0.2), FaultyCalls(seed, 0.2)
        return [(crashes.choose("record"), calls.take("stripe", "refunds")) for _ in range(40)]

    assert placed() == placed()


def test_both_kinds_of_crash_and_every_fault_come() -> None:
    crashes, calls = Crashes(1, 0.1), FaultyCalls(1, 0.5)
    chosen = {crashes.choose("record") for _ in range(200)}
    assert chosen == {"before", "after", None}
    for _ in range(200):
        calls.take("stripe", "refunds.create")
    assert set(calls.hit) == set(FaultMode)


def test_when_the_weather_is_calm_nothing_happens_any_more() -> None:
    crashes, calls = Crashes(1, 0.5), FaultyCalls(1, 1.0)
    crashes.stop()
    calls.stop()
    assert not [crashes.choose("record") for _ in range(20) if crashes.choose("record")]
    assert calls.take("stripe", "refunds.create") is None


def shortest(plan: Plan, *, life: int, outage: int) -> Plan:
    """As `live_on` does it, when a violation needs this life, this outage, and no crash."""

    def violates(tried: Plan) -> bool:
        lives = {one.number for one in tried.planned_lives()}
        outages = tried.only_outages
        return life in lives and (outages is None or outage in outages)

    found = Lived(plan, Figures(), ["broken"])
    candidates = smaller(found)
    while (tried := next(candidates, None)) is not None:
        if violates(tried):
            found = Lived(tried, Figures(), ["broken"])
            candidates = smaller(found)
    return found.plan


@few
@given(st.integers(1, 25), st.integers(0, 29))
def test_a_story_shrinks_to_the_life_and_the_outage_that_matter(life: int, outage: int) -> None:
    plan = Plan(seed=1, lives=25, years=0.5)
    assert len(plan.planned_outages()) == 30
    found = shortest(plan, life=life, outage=outage)
    assert found == Plan(1, 25, 0.5, (life,), (outage,), crashes=False)
    assert len(found.planned_lives()) == len(found.planned_outages()) == 1
    told = f"--seed 1 --lives 25 --years 0.5 --life {life} --outage {outage} --no-crashes"
    assert found.command == f"abono chaos lives --worlds 1 {told}"


def test_a_named_life_is_tried_first() -> None:
    [first, *_] = smaller(Lived(Plan(seed=1), Figures(), ["broken"], suspects=[7, 7, 3]))
    assert first.only_lives == (3, 7)
