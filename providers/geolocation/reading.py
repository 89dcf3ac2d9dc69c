"""What may be looked up, and what counts as a country. Total: any value goes in, nothing is raised."""

from __future__ import annotations

import ipaddress

import pycountry

# The longest text of an IPv6 address, with a scope; anything longer is not looked at.
_ADDRESS_LENGTH_MAX = 64
_COUNTRIES = frozenset(country.alpha_2 for country in pycountry.countries)


def public_address(text: str) -> str | None:
    """The address in its usual spelling, or None when nobody outside could know where it is: private,
    loopback, reserved, documentation, multicast, or no address at all."""
    text = text.strip()
    if len(text) > _ADDRESS_LENGTH_MAX:
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return None  # Means something on one machine's own link only.
        address = address.ipv4_mapped or address
    if not address.is_global or address.is_multicast:
        return None
    return str(address)


def iso_country(code: object) -> str | None:
    """An ISO 3166-1 alpha-2 code, or None. Longer words are refused and never cut: "MEXICO" cut to
    two letters would be Montenegro."""
    if not isinstance(code, str):
        return None
    code = code.strip().upper()
    return code if code in _COUNTRIES else None
