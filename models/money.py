"""Money is an integer count of the currency's smallest unit, never a float."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated

import pycountry
from pydantic import AfterValidator, BaseModel, ConfigDict

# ISO 4217 exponents that differ from 2. Not CLDR's: CLDR rounds for display (IQD 0, MGA 0),
# ISO counts the minor unit (IQD 3, MGA 2), and providers bill in ISO units.
_EXPONENT_BY_CURRENCY: dict[str, int] = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "UYI",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    **dict.fromkeys(["CLF", "UYW"], 4),
}
# Metals, fund codes, the testing code and "no currency" have no minor unit: nothing can be charged in them.
_NOT_CHARGEABLE = frozenset(
    ["XAG", "XAU", "XBA", "XBB", "XBC", "XBD", "XDR", "XPD", "XPT", "XSU", "XTS", "XUA", "XXX"]
)

CURRENCIES: frozenset[str] = (
    frozenset(currency.alpha_3 for currency in pycountry.currencies) - _NOT_CHARGEABLE
)


def check_currency(code: str) -> str:
    """Return `code` when it is an upper-case ISO 4217 currency that can be charged.

    Raises ValueError otherwise; nothing is guessed or upper-cased.
    """
    if code not in CURRENCIES:
        raise ValueError(f"{code!r} is not an ISO 4217 currency code in upper case")
    return code


Currency = Annotated[str, AfterValidator(check_currency)]


def exponent_of(currency: str) -> int:
    """How many decimal digits the currency's minor unit stands for (0, 2, 3 or 4)."""
    return _EXPONENT_BY_CURRENCY.get(check_currency(currency), 2)


class Money(BaseModel):
    """An amount in minor units of one currency; arithmetic across currencies raises ValueError."""

    model_config = ConfigDict(frozen=True)

    amount_minor: int
    currency: Currency

    def __add__(self, other: Money) -> Money:
        self._same_currency(other)
        return Money(amount_minor=self.amount_minor + other.amount_minor, currency=self.currency)

    def __sub__(self, other: Money) -> Money:
        self._same_currency(other)
        return Money(amount_minor=self.amount_minor - other.amount_minor, currency=self.currency)

    def __neg__(self) -> Money:
        return Money(amount_minor=-self.amount_minor, currency=self.currency)

    def allocate(self, weights: Sequence[int]) -> list[Money]:
        """Split by integer weights so that the parts sum exactly to the whole.

        The remainder goes, one minor unit each, to the largest fractional parts (first one wins a
        tie), so no part is ever more than one minor unit from its exact share.
        """
        total = sum(weights)
        if total <= 0 or any(weight < 0 for weight in weights):
            raise ValueError("weights must be non-negative and not all zero")
        shares = [divmod(self.amount_minor * weight, total) for weight in weights]
        missing = self.amount_minor - sum(quotient for quotient, _ in shares)
        by_remainder = sorted(range(len(shares)), key=lambda i: (-shares[i][1], i))
        extra = set(by_remainder[:missing])
        return [
            Money(amount_minor=quotient + (1 if i in extra else 0), currency=self.currency)
            for i, (quotient, _) in enumerate(shares)
        ]

    def to_decimal(self) -> Decimal:
        """The amount in major units, exact."""
        return Decimal(self.amount_minor).scaleb(-exponent_of(self.currency))

    def __str__(self) -> str:
        return f"{self.to_decimal():,} {self.currency}"

    def _same_currency(self, other: Money) -> None:
        if self.currency != other.currency:
            raise ValueError(f"cannot combine {self.currency} with {other.currency}")
