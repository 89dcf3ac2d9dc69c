"""Tax, which Polar adds as merchant of record once it knows where the customer is."""

from __future__ import annotations

from sandbox.polar.wire import Json

# Per cent. Enough countries to see tax at all; everywhere else there is none here.
RATE_BY_COUNTRY = {"DE": 19, "ES": 21, "FR": 20, "GB": 20, "MX": 16}


def amounts_of(amount: int, customer: Json | None, *, known: bool) -> Json:
    """The amounts of an order; of a page as well, where the tax may not be `known` yet."""
    address = customer["billing_address"] if customer is not None else None
    rate = RATE_BY_COUNTRY.get(address["country"], 0) if address is not None else 0
    tax = amount * rate // 100
    return {
        "subtotal_amount": amount,
        "discount_amount": 0,
        "net_amount": amount,
        "tax_amount": tax if known or address is not None else None,
        "total_amount": amount + tax,
    }
