"""Billing periods over decades: no drift, no gap, the same local day and time.

Two independent oracles: `calendar.monthrange` says which local day it has to be, and dateutil says
which instant, both for the sum of months and for local times that a clock change skips.
"""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from dateutil import tz  # type: ignore[import-untyped]
from dateutil.relativedelta import relativedelta  # type: ignore[import-untyped]
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from models.calendar import BillingInterval, boundary, check_time_zone, period

MONTHLY, YEARLY = BillingInterval.MONTHLY, BillingInterval.YEARLY
# With and without summer time, north and south, half-hour shifts, shifts at midnight, and Ramadan.
ZONES = [
    "America/Mexico_City",
    "America/Chicago",
    "America/Sao_Paulo",
    "Pacific/Auckland",
    "Asia/Kolkata",
    "UTC",
    "Africa/Casablanca",
    "Australia/Lord_Howe",
]
LEAP_YEAR = 2004
DAY = timedelta(days=1)
YEARS = 40
NUMBERS = {MONTHLY: range(12 * YEARS), YEARLY: range(YEARS)}
ANCHOR_DAYS = [date(LEAP_YEAR, 1, 1) + timedelta(days=n) for n in range(366)]

intervals = st.sampled_from(BillingInterval)
zones = st.sampled_from(ZONES)
# Whole hours and half hours are where clocks change; the rest is anywhere in the day.
times = st.one_of(
    st.builds(time, st.integers(0, 3), st.sampled_from([0, 15, 30, 59])),
    st.times(timezones=st.none()),
)
local_anchors = st.builds(datetime.combine, st.dates(date(1995, 1, 1), date(2031, 12, 31)), times)
numbers = st.integers(0, 12 * YEARS)


def local_time(year: int, month: int, day: int, hour: int, minute: int = 0) -> datetime:
    """What the clock on the wall shows, without a zone."""
    return datetime.combine(date(year, month, day), time(hour, minute))


def at(local: datetime, zone: str) -> datetime:
    """The UTC instant of a local wall-clock time (the first one, should it come twice)."""
    return local.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)


def wall_clock(instant: datetime, zone: str) -> datetime:
    return instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)


def expected_day(anchor: date, interval: BillingInterval, number: int) -> date:
    """The anchor's day in the month that is `number` intervals on, or that month's last."""
    months = number if interval is MONTHLY else 12 * number
    year, month = anchor.year + (anchor.month - 1 + months) // 12, (anchor.month - 1 + months) % 12
    return date(year, month + 1, min(anchor.day, calendar.monthrange(year, month + 1)[1]))


def oracle(anchor: datetime, zone: str, interval: BillingInterval, number: int) -> datetime:
    """dateutil's answer, for numbers from 1 on."""
    step = relativedelta(months=number) if interval is MONTHLY else relativedelta(years=number)
    local = wall_clock(anchor, zone) + step
    shifted: datetime = tz.resolve_imaginary(local.replace(tzinfo=ZoneInfo(zone)))
    return shifted.astimezone(UTC)


def is_skipped(local: datetime, zone: str) -> bool:
    return wall_clock(at(local, zone), zone) != local


def is_repeated(local: datetime, zone: str) -> bool:
    aware = local.replace(tzinfo=ZoneInfo(zone))
    return aware.utcoffset() > aware.replace(fold=1).utcoffset()  # type: ignore[operator]


def clock_changes() -> list[tuple[str, datetime]]:
    """Half hours around midnight that a zone skipped or had twice, over thirty years."""
    nights = [datetime.combine(date(LEAP_YEAR, 1, 1), time()) + n * DAY for n in range(30 * 365)]
    half_hours = [n * timedelta(minutes=30) for n in range(-4, 8)]
    found = []
    for zone in ZONES:
        offsets = [night.replace(tzinfo=ZoneInfo(zone)).utcoffset() for night in nights]
        changing = [n for n, (a, b) in enumerate(pairwise(offsets)) if a != b]
        for local in (
            nights[n + d] + half for n in changing for d in (0, 1) for half in half_hours
        ):
            if is_skipped(local, zone) or is_repeated(local, zone):
                found.append((zone, local))
    return found


CLOCK_CHANGES = clock_changes()


@pytest.mark.parametrize("interval", BillingInterval)
@pytest.mark.parametrize("zone_number", range(len(ZONES)))
def test_every_anchor_day_keeps_its_day_for_forty_years(
    zone_number: int, interval: BillingInterval
) -> None:
    """Each zone takes every eighth period of each anchor, so that all of them together take all."""
    zone = ZONES[zone_number]
    for index, day in enumerate(ANCHOR_DAYS):
        anchor = at(datetime.combine(day, time(index % 24, 30)), zone)
        hour = wall_clock(anchor, zone).time()
        for number in NUMBERS[interval][(index + zone_number) % len(ZONES) :: len(ZONES)]:
            found = period(anchor, zone, interval, number)
            local = wall_clock(found.start, zone)
            assert local.date() == expected_day(day, interval, number)
            assert found.start < found.end
            assert local.time() == hour or is_skipped(datetime.combine(local.date(), hour), zone)


@pytest.mark.parametrize("interval", BillingInterval)
@pytest.mark.parametrize("day", [1, 15, 28, 29, 30, 31])
def test_periods_follow_each_other_without_gap_or_overlap(
    day: int, interval: BillingInterval
) -> None:
    anchor = datetime(LEAP_YEAR, 1, day, 6, tzinfo=UTC)
    before = period(anchor, "America/Mexico_City", interval, -1)
    for number in NUMBERS[interval]:
        current = period(anchor, "America/Mexico_City", interval, number)
        assert current.number == number
        assert current.start == before.end
        assert current.start < current.end
        assert (current.start.tzinfo, current.end.tzinfo) == (UTC, UTC)
        before = current


@settings(max_examples=800)
@given(local_anchors, zones, intervals, numbers)
def test_dateutil_agrees(
    local: datetime, zone: str, interval: BillingInterval, number: int
) -> None:
    number = number if interval is MONTHLY else number // 12
    anchor = at(local, zone)
    expected = oracle(anchor, zone, interval, number) if number else anchor
    assert boundary(anchor, zone, interval, number) == expected


@settings(max_examples=500)
@given(st.sampled_from(CLOCK_CHANGES), st.integers(1, 240))
def test_dateutil_agrees_where_clocks_change(changed: tuple[str, datetime], number: int) -> None:
    """Anchors whose period `number` begins at a time that is skipped or comes twice."""
    zone, local = changed
    anchor = at(local - relativedelta(months=number), zone)
    # Else the anchor itself is moved, and its period begins elsewhere.
    assume(local.day <= 28 and wall_clock(anchor, zone) == local - relativedelta(months=number))
    found = boundary(anchor, zone, MONTHLY, number)
    assert found == oracle(anchor, zone, MONTHLY, number)
    if not is_skipped(local, zone):
        assert found == at(local, zone), "the first of the two"


def test_the_clock_changes_are_of_both_kinds() -> None:
    skipped = {zone for zone, local in CLOCK_CHANGES if is_skipped(local, zone)}
    repeated = {zone for zone, local in CLOCK_CHANGES if not is_skipped(local, zone)}
    assert skipped == repeated == set(ZONES) - {"UTC", "Asia/Kolkata"}


@settings(max_examples=500)
@given(local_anchors, zones, intervals, numbers)
def test_the_wall_clock_is_kept_but_for_times_that_a_clock_change_skips(
    local: datetime, zone: str, interval: BillingInterval, number: int
) -> None:
    anchor = at(local, zone)
    kept = wall_clock(anchor, zone)
    found = wall_clock(boundary(anchor, zone, interval, number), zone)
    wanted = datetime.combine(expected_day(kept.date(), interval, number), kept.time())
    if is_skipped(wanted, zone):
        assert timedelta() < found - wanted <= timedelta(hours=1), "moved by what was skipped"
    else:
        assert found == wanted


@settings(max_examples=300)
@given(local_anchors, zones, intervals, st.integers(-12, 12 * YEARS))
def test_boundaries_increase(
    local: datetime, zone: str, interval: BillingInterval, number: int
) -> None:
    anchor = at(local, zone)
    one, two, three = (boundary(anchor, zone, interval, number + step) for step in range(3))
    assert one < two < three
    lengths = (27, 32) if interval is MONTHLY else (364, 367)
    for length in (two - one, three - two):
        assert timedelta(days=lengths[0]) < length < timedelta(days=lengths[1])


@settings(max_examples=300)
@given(local_anchors, zones, zones, intervals, numbers)
def test_how_the_anchor_is_written_down_does_not_matter(
    local: datetime, zone: str, other: str, interval: BillingInterval, number: int
) -> None:
    """Only the instant counts: read from the database it is UTC, from an API call it is not."""
    anchor = at(local, zone)
    elsewhere = anchor.astimezone(ZoneInfo(other))
    assert boundary(elsewhere, zone, interval, number) == boundary(anchor, zone, interval, number)


@settings(max_examples=300)
@given(local_anchors, intervals, st.integers(0, 240), st.integers(0, 240))
def test_the_way_there_does_not_matter(
    local: datetime, interval: BillingInterval, first: int, second: int
) -> None:
    """In two steps, from a day that every month has, one comes to the same place."""
    anchor = at(local.replace(day=min(local.day, 28)), "UTC")
    halfway = boundary(anchor, "UTC", interval, first)
    direct = boundary(anchor, "UTC", interval, first + second)
    assert boundary(halfway, "UTC", interval, second) == direct


def test_the_last_day_of_a_month_does_not_slide() -> None:
    anchor = at(local_time(2026, 1, 31, 10), "America/Mexico_City")
    days = [
        wall_clock(boundary(anchor, "America/Mexico_City", MONTHLY, n), "America/Mexico_City").day
        for n in range(14)
    ]
    assert days == [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31, 28]


@pytest.mark.parametrize("zone", ZONES)
def test_a_leap_day_comes_back_every_four_years(zone: str) -> None:
    anchor = at(local_time(2024, 2, 29, 12), zone)
    days = [f"{wall_clock(boundary(anchor, zone, YEARLY, n), zone):%m-%d}" for n in range(9)]
    assert days == ["02-29", *["02-28"] * 3] * 2 + ["02-29"]


def test_summer_time_by_hand() -> None:
    """Chicago: 2:30 does not exist on 8 March 2026 and comes twice on 1 November."""
    spring = at(local_time(2026, 2, 8, 2, 30), "America/Chicago")
    assert boundary(spring, "America/Chicago", MONTHLY, 1) == datetime(
        2026, 3, 8, 8, 30, tzinfo=UTC
    )
    autumn = at(local_time(2026, 10, 1, 1, 30), "America/Chicago")
    assert boundary(autumn, "America/Chicago", MONTHLY, 1) == datetime(
        2026, 11, 1, 6, 30, tzinfo=UTC
    )


def test_an_anchor_in_the_repeated_hour_is_itself() -> None:
    """The second 1:30 of 1 November 2026: period 0 begins when it began, not an hour before."""
    second = datetime(2026, 11, 1, 7, 30, tzinfo=UTC)
    assert boundary(second, "America/Chicago", MONTHLY, 0) == second
    assert boundary(second, "America/Chicago", MONTHLY, 1) == datetime(
        2026, 12, 1, 7, 30, tzinfo=UTC
    )


def test_a_trial_is_the_period_before_the_first() -> None:
    anchor = at(local_time(2026, 3, 31, 9), "America/Mexico_City")
    trial = period(anchor, "America/Mexico_City", MONTHLY, -1)
    assert trial.end == anchor
    assert wall_clock(trial.start, "America/Mexico_City") == local_time(2026, 2, 28, 9)


def test_an_anchor_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        boundary(datetime(2026, 1, 1), "UTC", MONTHLY, 1)  # noqa: DTZ001


@pytest.mark.parametrize("zone", ZONES)
def test_real_time_zones_are_taken(zone: str) -> None:
    assert check_time_zone(zone) == zone


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "America", "../../etc/passwd", "/etc/localtime", "GMT+25:00"]
)
def test_anything_else_is_no_time_zone(name: str) -> None:
    with pytest.raises(ValueError, match="IANA"):
        check_time_zone(name)
