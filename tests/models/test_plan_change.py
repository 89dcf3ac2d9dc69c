"""Prorations, as properties: any price, any anchor, any time zone, any second of any period."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from models.calendar import BillingInterval, boundary, period
from models.plan_change import (
    LineKind,
    Offer,
    PaidPeriod,
    lines_anew,
    lines_within,
    remaining_of,
    settle_lines,
    share,
)

ZONES = st.sampled_from(["UTC", "America/Mexico_City", "Europe/Berlin", "Pacific/Apia"])
AMOUNTS = st.integers(0, 10**9)
FIRST_ANCHOR = datetime(2024, 1, 1, tzinfo=UTC)
# Nine years: leap days, every day of a month, both clock changes.
ANCHORS = st.integers(0, 9 * 365 * 86400).map(lambda s: FIRST_ANCHOR + timedelta(seconds=s))
PARTS = st.integers(0, 10**6)


def offer(amount_minor: int, interval: BillingInterval = BillingInterval.MONTHLY) -> Offer:
    return Offer(
        plan_id=UUID(int=1), plan_name="Pro", billing_interval=interval, amount_minor=amount_minor
    )


@st.composite
def paid_periods(draw: st.DrawFn) -> PaidPeriod:
    interval = draw(st.sampled_from(BillingInterval))
    found = period(draw(ANCHORS), draw(ZONES), interval, draw(st.integers(0, 24)))
    return PaidPeriod(start=found.start, end=found.end, amount_minor=draw(AMOUNTS))


def inside(paid: PaidPeriod, part: int) -> datetime:
    """A moment in the period, `part` millionths in."""
    return paid.start + (paid.end - paid.start) * part / 10**6


@given(AMOUNTS, st.integers(0, 10**8), st.integers(1, 10**8))
def test_a_share_is_never_more_than_the_whole_nor_half_a_unit_off(
    amount: int, part: int, whole: int
) -> None:
    part = min(part, whole)
    found = share(amount, part, whole)
    assert 0 <= found <= amount
    assert -whole < 2 * (found * whole - amount * part) <= whole


@given(paid_periods(), AMOUNTS, PARTS, AMOUNTS)
def test_the_lines_sum_to_what_is_collected_and_credit_is_kept_to_the_centavo(
    paid: PaidPeriod, new_amount: int, part: int, credit: int
) -> None:
    old, new, now = offer(paid.amount_minor), offer(new_amount), inside(paid, part)
    lines = lines_within([paid], old, new, now)
    settled = settle_lines(lines, credit)

    assert sum(line.amount_minor for line in settled.lines) == settled.amount_due_minor >= 0
    assert credit + settled.credit_change_minor >= 0
    net = sum(line.amount_minor for line in lines)
    assert settled.amount_due_minor - settled.credit_change_minor == net
    assert settled.amount_due_minor <= new_amount


@given(paid_periods(), AMOUNTS, PARTS)
def test_there_and_back_in_one_instant_is_nothing(
    paid: PaidPeriod, new_amount: int, part: int
) -> None:
    old, new, now = offer(paid.amount_minor), offer(new_amount), inside(paid, part)
    there = lines_within([paid], old, new, now)
    back = lines_within([paid.model_copy(update={"amount_minor": new_amount})], new, old, now)
    assert sum(line.amount_minor for line in [*there, *back]) == 0


@given(paid_periods(), AMOUNTS, AMOUNTS, PARTS, PARTS)
def test_twice_in_one_period_charges_each_second_at_its_price(
    paid: PaidPeriod, second: int, third: int, part: int, later: int
) -> None:
    """What is paid in all is each price for the time that it was the price, within half a unit for
    each rounding (the trap: crediting the first price again at the second change)."""
    first_at, second_at = sorted((inside(paid, part), inside(paid, later)))
    a, b, c = offer(paid.amount_minor), offer(second), offer(third)
    changed = paid.model_copy(update={"amount_minor": second})
    lines = [
        *lines_within([paid], a, b, first_at),
        *lines_within([changed], b, c, second_at),
    ]
    total = a.amount_minor + sum(line.amount_minor for line in lines)

    left_first, whole = remaining_of(paid, first_at)
    left_second, _ = remaining_of(paid, second_at)
    used = (whole - left_first, left_first - left_second, left_second)
    exact = sum(one.amount_minor * seconds for one, seconds in zip((a, b, c), used, strict=True))
    assert abs(total * whole - exact) <= 2 * whole


@given(paid_periods(), AMOUNTS)
def test_the_ends_of_a_period_are_exact(paid: PaidPeriod, new_amount: int) -> None:
    old, new = offer(paid.amount_minor), offer(new_amount)
    at_once = lines_within([paid], old, new, paid.start)
    assert sum(line.amount_minor for line in at_once) == new_amount - paid.amount_minor
    assert lines_within([paid], old, new, paid.end) == []
    assert lines_within([paid], old, new, paid.end + timedelta(days=400)) == []


@given(paid_periods(), AMOUNTS, PARTS, st.integers(0, 36))
def test_a_big_credit_is_eaten_by_renewals_to_the_last_centavo(
    paid: PaidPeriod, new_amount: int, part: int, renewals: int
) -> None:
    """Another interval: the unused time pays for what follows, and nothing is lost or made."""
    now = inside(paid, part)
    old, new = offer(paid.amount_minor), offer(new_amount)
    following = period(now, "UTC", BillingInterval.MONTHLY, 0)
    lines = lines_anew([paid], old, new, now, following)
    unused = -sum(line.amount_minor for line in lines if line.kind is LineKind.UNUSED_TIME)
    settled = settle_lines(lines, 0)
    credit, collected = settled.credit_change_minor, settled.amount_due_minor
    for _ in range(renewals):
        renewal = settle_lines([lines[-1]], credit)
        credit += renewal.credit_change_minor
        collected += renewal.amount_due_minor
    assert credit >= 0
    assert collected + unused - credit == new_amount * (renewals + 1)
    assert collected == 0 or credit == 0


@given(paid_periods(), AMOUNTS, PARTS)
def test_a_period_that_was_paid_ahead_is_settled_in_full(
    paid: PaidPeriod, new_amount: int, part: int
) -> None:
    ahead = PaidPeriod(
        start=paid.end, end=paid.end + timedelta(days=30), amount_minor=paid.amount_minor
    )
    now = inside(paid, part)
    old, new = offer(paid.amount_minor), offer(new_amount)
    alone = sum(line.amount_minor for line in lines_within([paid], old, new, now))
    both = sum(line.amount_minor for line in lines_within([paid, ahead], old, new, now))
    assert both == alone + new_amount - paid.amount_minor


def test_a_clock_change_makes_a_period_an_hour_shorter_not_the_sum_wrong() -> None:
    anchor = datetime(2026, 3, 1, 12, tzinfo=UTC)
    spring = PaidPeriod(
        start=anchor,
        end=boundary(anchor, "Europe/Berlin", BillingInterval.MONTHLY, 1),
        amount_minor=31000,
    )
    assert remaining_of(spring, spring.start)[1] == 31 * 86400 - 3600
