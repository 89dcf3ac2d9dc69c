"""Stripe counts a few currencies in other units than ISO 4217 does.

Amounts of the engine are in ISO minor units; they are converted at this edge and nowhere else.
"""

from __future__ import annotations

from models.money import exponent_of
from providers.failures import FailureKind, ProviderFailure

# ISO has no decimals for ISK and UGX, Stripe wants two (always zero); ISO has two for MGA, Stripe none.
_STRIPE_EXPONENT_BY_CURRENCY = {"ISK": 2, "UGX": 2, "MGA": 0}


def to_stripe(amount_minor: int, currency: str) -> int:
    """Raises ProviderFailure(REJECTED) for an amount that Stripe's unit cannot express."""
    shift = _STRIPE_EXPONENT_BY_CURRENCY.get(currency, exponent_of(currency)) - exponent_of(
        currency
    )
    if shift >= 0:
        return int(amount_minor * 10**shift)
    whole, rest = divmod(amount_minor, 10**-shift)
    if rest:
        raise ProviderFailure(
            FailureKind.REJECTED, f"Stripe takes only whole {currency}", code="amount_not_whole"
        )
    return int(whole)


def from_stripe(amount: int, currency: str) -> int:
    """The amount in ISO minor units of the upper-case `currency`."""
    shift = exponent_of(currency) - _STRIPE_EXPONENT_BY_CURRENCY.get(
        currency, exponent_of(currency)
    )
    return int(amount * 10**shift) if shift >= 0 else int(amount // 10**-shift)
