"""Money: exact splits, ISO exponents, and no arithmetic across currencies."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.money import CURRENCIES, Money, check_currency, exponent_of


def codes(written: str) -> set[str]:
    return set(written.split())


# ISO 4217 list one, copied by hand from the published table: everything that is not here has two
# digits. The engine's own table is derived from nothing of this.
NO_DIGITS = codes("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF")
THREE_DIGITS = codes("BHD IQD JOD KWD LYD OMR TND")
FOUR_DIGITS = codes("CLF UYW")
# Codes of the list whose minor unit is "N.A.".
WITHOUT_MINOR_UNIT = codes("XAG XAU XBA XBB XBC XBD XDR XPD XPT XSU XTS XUA XXX")
# What PostgreSQL's bigint holds is all that is ever stored.
BIGINT_MAX = 2**63 - 1

amounts = st.integers(min_value=-BIGINT_MAX, max_value=BIGINT_MAX)
currencies = st.sampled_from(sorted(CURRENCIES))
weight_lists = st.lists(st.integers(min_value=0, max_value=10**6), min_size=1, max_size=12).filter(
    any
)


def money(amount_minor: int, currency: str = "MXN") -> Money:
    return Money(amount_minor=amount_minor, currency=currency)


@given(amounts, currencies, weight_lists)
def test_the_parts_are_the_whole_and_close_to_their_shares(
    amount_minor: int, currency: str, weights: list[int]
) -> None:
    parts = money(amount_minor, currency).allocate(weights)
    assert sum(part.amount_minor for part in parts) == amount_minor
    assert {part.currency for part in parts} == {currency}
    for part, weight in zip(parts, weights, strict=True):
        share = Fraction(amount_minor * weight, sum(weights))
        assert abs(part.amount_minor - share) < 1
        assert weight or not part.amount_minor, "who has no share gets nothing"


@given(amounts, st.integers(min_value=1, max_value=12))
def test_equal_weights_differ_by_one_minor_unit_at_most(amount_minor: int, count: int) -> None:
    parts = [part.amount_minor for part in money(amount_minor).allocate([1] * count)]
    assert max(parts) - min(parts) <= 1
    assert parts == sorted(parts, reverse=True), "the first ones win a tie"


def test_the_largest_fraction_gets_the_remainder() -> None:
    parts = money(100).allocate([1, 2, 3])
    assert [part.amount_minor for part in parts] == [17, 33, 50]
    back = money(-100).allocate([1, 2, 3])
    assert [part.amount_minor for part in back] == [-17, -33, -50]


@pytest.mark.parametrize("weights", [[], [0], [0, 0], [1, -1], [3, -1]])
def test_weights_that_divide_nothing_are_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        money(100).allocate(weights)


def test_every_chargeable_currency_has_its_iso_exponent() -> None:
    expected = {
        currency: (
            0
            if currency in NO_DIGITS
            else 3
            if currency in THREE_DIGITS
            else 4
            if currency in FOUR_DIGITS
            else 2
        )
        for currency in CURRENCIES
    }
    assert {currency: exponent_of(currency) for currency in CURRENCIES} == expected
    assert len(CURRENCIES) == 165
    assert NO_DIGITS | THREE_DIGITS | FOUR_DIGITS <= CURRENCIES, "none of them was forgotten"
    assert not WITHOUT_MINOR_UNIT & CURRENCIES


@pytest.mark.parametrize("currency", ["MXN", "USD", "EUR", "BRL", "COP", "CLP", "JPY"])
def test_the_currencies_that_our_customers_use_are_there(currency: str) -> None:
    assert check_currency(currency) == currency


@pytest.mark.parametrize(
    "code", ["mxn", "Mxn", " MXN", "MXN ", "", "MX", "MXNN", "ZZZ", "HRK", "XXX", "XAU", "484"]
)
def test_a_code_is_never_guessed(code: str) -> None:
    with pytest.raises(ValueError, match="ISO 4217"):
        check_currency(code)
    with pytest.raises(ValueError, match="ISO 4217"):
        exponent_of(code)
    with pytest.raises(ValidationError, match="ISO 4217"):
        money(1, code)


@given(amounts, amounts, currencies)
def test_arithmetic_is_that_of_integers(one: int, other: int, currency: str) -> None:
    assert money(one, currency) + money(other, currency) == money(one + other, currency)
    assert money(one, currency) - money(other, currency) == money(one - other, currency)
    assert -money(one, currency) == money(-one, currency)


@given(currencies, currencies)
def test_currencies_never_mix(one: str, other: str) -> None:
    if one == other:
        return
    with pytest.raises(ValueError, match=f"{one} with {other}"):
        money(1, one) + money(1, other)
    with pytest.raises(ValueError, match=f"{one} with {other}"):
        money(1, one) - money(1, other)


@given(amounts, currencies)
def test_major_units_lead_back_to_the_same_amount(amount_minor: int, currency: str) -> None:
    whole = money(amount_minor, currency)
    decimal = whole.to_decimal()
    exponent = exponent_of(currency)
    assert decimal * 10**exponent == amount_minor
    assert decimal.as_tuple().exponent == -exponent, "100 yen are 100, 100 cents are 1.00"
    shown, code = str(whole).split(" ")
    assert (Decimal(shown.replace(",", "")), code) == (decimal, currency)


@pytest.mark.parametrize(
    ("amount_minor", "currency", "shown"),
    [
        (19900, "MXN", "199.00 MXN"),
        (123456789, "USD", "1,234,567.89 USD"),
        (-5, "USD", "-0.05 USD"),
        (0, "MXN", "0.00 MXN"),
        (1500, "JPY", "1,500 JPY"),
        (1, "KWD", "0.001 KWD"),
        (12345, "CLF", "1.2345 CLF"),
    ],
)
def test_amounts_are_shown_in_major_units(amount_minor: int, currency: str, shown: str) -> None:
    assert str(money(amount_minor, currency)) == shown


@pytest.mark.parametrize("amount", [199.5, "199.50", Decimal("0.1"), None])
def test_fractions_of_a_minor_unit_are_refused(amount: object) -> None:
    with pytest.raises(ValidationError):
        Money.model_validate({"amount_minor": amount, "currency": "MXN"})


def test_money_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        money(1).amount_minor = 2  # type: ignore[misc]
