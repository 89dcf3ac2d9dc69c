"""The customer's side of things: where they seem to be, and what their browser needs."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from models.outcomes import ProviderName
from providers.geolocation import Geolocator

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Storefront:
    """`public_keys` are made for browsers; a front end turns cards into tokens with them."""

    geolocator: Geolocator = field(default_factory=Geolocator)
    trusted_proxies: Sequence[Network] = ()
    public_keys: Mapping[ProviderName, str] = field(default_factory=dict)

    def customer_address(self, connection: HTTPConnection) -> str | None:
        """Whom the trusted proxies speak for: the rightmost address that is none of theirs.

        Everything to the left of it was written by strangers. A connection that came through no
        trusted proxy is the calling app's own server and says nothing about its customer: None.
        """
        peer = _parse(connection.client.host) if connection.client else None
        if peer is None or not self._is_trusted(peer):
            return None
        hops = [hop for line in connection.headers.getlist(_FORWARDED) for hop in line.split(",")]
        for hop in reversed(hops):
            address = _parse(hop)
            if address is None:
                return None  # Who is behind an address that cannot be read is anybody's guess.
            if not self._is_trusted(address):
                return str(address)
        return None

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self.trusted_proxies)


_FORWARDED = "X-Forwarded-For"


def _parse(hop: str) -> Address | None:
    """Some proxies add the port: `203.0.113.7:4711`, `[2001:db8::1]:4711`."""
    hop = hop.strip()
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        address = ipaddress.ip_address(hop)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
