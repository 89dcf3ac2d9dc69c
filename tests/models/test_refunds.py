"""Every minor unit of a capture is in one place, whatever happens to it and in whatever order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from models.refunds import CaptureBalance, divide_refund

START = datetime(2026, 1, 1, tzinfo=UTC)
amounts = st.integers(1, 10**9)


def balance(
    amount: int, applied: int = 0, refunded: int = 0, credited: int = 0, at: int = 0
) -> CaptureBalance:
    when = START + timedelta(minutes=at)
    return CaptureBalance(UUID(int=at), amount, applied, refunded, credited, when)


@st.composite
def captures(draw: st.DrawFn) -> CaptureBalance:
    amount = draw(amounts)
    applied = draw(st.integers(0, amount))
    credited = draw(st.integers(0, amount - applied))
    refunded = draw(st.integers(0, amount - credited))
    return balance(amount, applied, refunded, credited, draw(st.integers(0, 10**6)))


@given(captures())
def test_the_parts_of_a_capture_are_the_capture(one: CaptureBalance) -> None:
    returned = one.applied_part(0, one.refunded_minor)
    assert 0 <= returned <= one.applied_minor
    placed = (one.applied_minor - returned) + one.unapplied_minor
    assert placed + one.credited_minor + one.refunded_minor == one.amount_minor


@given(captures(), st.lists(st.tuples(st.booleans(), amounts), max_size=8))
def test_nothing_is_promised_twice_in_any_order(
    one: CaptureBalance, wishes: list[tuple[bool, int]]
) -> None:
    """Refunds and credits are asked for in turn; each takes what is left, and the sums stay whole."""
    returned = one.applied_part(0, one.refunded_minor)
    for credit, wish in wishes:
        if credit:
            part = min(wish, one.unapplied_minor)
            one = one._replace(credited_minor=one.credited_minor + part)
        else:
            part = min(wish, one.refundable_minor)
            returned += one.applied_part(one.refunded_minor, part)
            one = one._replace(refunded_minor=one.refunded_minor + part)
        placed = (one.applied_minor - returned) + one.unapplied_minor
        assert placed + one.credited_minor + one.refunded_minor == one.amount_minor
        assert 0 <= returned <= one.applied_minor


@given(st.lists(captures(), max_size=6, unique_by=lambda one: one.payment_id), amounts)
def test_a_refund_takes_what_it_asks_for_or_all_there_is(
    several: list[CaptureBalance], amount: int
) -> None:
    parts = divide_refund(amount, several)
    left = sum(one.refundable_minor for one in several)
    assert sum(part for _, part in parts) == min(amount, left)
    assert all(0 < part <= one.refundable_minor for one, part in parts)
    assert divide_refund(amount, several[::-1]) == parts


def test_the_newest_goes_back_first_and_of_equal_ones_the_largest() -> None:
    old, new = balance(100, at=1), balance(50, at=2)
    assert divide_refund(70, [old, new]) == [(new, 50), (old, 20)]
    small = balance(10, at=3)
    large = small._replace(amount_minor=90, payment_id=UUID(int=9))
    assert [one for one, _ in divide_refund(95, [small, large])] == [large, small]


def test_spare_money_goes_back_before_what_paid_the_invoice() -> None:
    one = balance(250, applied=199)
    assert one.applied_part(0, 51) == 0
    assert one.applied_part(0, 60) == 9
    assert one.applied_part(51, 199) == 199
