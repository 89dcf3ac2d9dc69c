"""Dividing money that arrived: all of it is accounted for, and no invoice takes more than its due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from models.settlement import settle
from models.snapshots import Capture

START = datetime(2026, 1, 1, tzinfo=UTC)

amounts = st.integers(min_value=1, max_value=10**9)
captures = st.builds(
    Capture,
    provider_charge_id=st.uuids().map(str),
    amount_minor=amounts,
    currency=st.sampled_from(["MXN", "MXN", "USD"]),
    # Few instants, so that ties are common.
    captured_at=st.integers(0, 3).map(lambda minutes: START + timedelta(minutes=minutes)),
)
capture_lists = st.lists(captures, max_size=6, unique_by=lambda one: one.provider_charge_id)
# An invoice and the part of it that is paid already.
invoices = st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)).map(lambda two: sorted(two))


def capture(amount_minor: int, name: str = "ch_1", currency: str = "MXN", at: int = 0) -> Capture:
    return Capture(
        provider_charge_id=name,
        amount_minor=amount_minor,
        currency=currency,
        captured_at=START + timedelta(minutes=at),
    )


@given(invoices, capture_lists)
def test_every_minor_unit_is_either_applied_or_in_sight(
    invoice: list[int], arrived: list[Capture]
) -> None:
    already, amount = invoice
    settlement = settle(amount, already, "MXN", arrived)
    parts = [part for _, part in settlement.applied]
    assert sorted(c.provider_charge_id for c, _ in settlement.applied) == sorted(
        c.provider_charge_id for c in arrived
    )
    assert all(0 <= part <= c.amount_minor for c, part in settlement.applied)
    assert sum(parts) + settlement.unapplied_minor == sum(c.amount_minor for c in arrived)
    assert settlement.amount_paid_minor == already + sum(parts)


@given(invoices, capture_lists)
def test_an_invoice_is_paid_as_far_as_the_money_goes_and_never_over(
    invoice: list[int], arrived: list[Capture]
) -> None:
    already, amount = invoice
    ours = sum(c.amount_minor for c in arrived if c.currency == "MXN")
    settlement = settle(amount, already, "MXN", arrived)
    assert settlement.amount_paid_minor == min(amount, already + ours)


@given(invoices, capture_lists, st.randoms(use_true_random=False))
def test_the_order_of_hearing_changes_nothing(
    invoice: list[int], arrived: list[Capture], random: object
) -> None:
    already, amount = invoice
    shuffled = list(arrived)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert settle(amount, already, "MXN", shuffled) == settle(amount, already, "MXN", arrived)


@given(invoices, capture_lists, st.integers(0, 6))
def test_hearing_of_it_in_two_batches_pays_the_same_total(
    invoice: list[int], arrived: list[Capture], cut: int
) -> None:
    already, amount = invoice
    first = settle(amount, already, "MXN", arrived[:cut])
    second = settle(amount, first.amount_paid_minor, "MXN", arrived[cut:])
    at_once = settle(amount, already, "MXN", arrived)
    assert second.amount_paid_minor == at_once.amount_paid_minor
    assert first.unapplied_minor + second.unapplied_minor == at_once.unapplied_minor


@given(invoices, capture_lists)
def test_foreign_money_never_pays(invoice: list[int], arrived: list[Capture]) -> None:
    already, amount = invoice
    applied = settle(amount, already, "MXN", arrived).applied
    assert all(part == 0 for c, part in applied if c.currency != "MXN")


def test_the_oldest_money_pays_first() -> None:
    late, early = capture(70, "ch_a", at=2), capture(50, "ch_b", at=1)
    assert settle(100, 0, "MXN", [late, early]).applied == [(early, 50), (late, 50)]


def test_a_second_payment_of_a_paid_invoice_is_all_unapplied() -> None:
    again = capture(19900)
    settlement = settle(19900, 19900, "MXN", [again])
    assert settlement.applied == [(again, 0)]
    assert (settlement.amount_paid_minor, settlement.unapplied_minor) == (19900, 19900)
