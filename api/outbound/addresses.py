"""Where a webhook may go: public addresses only, so that nobody can make us knock at our own doors.

An address is judged when it is registered, and judged again at every connection: a name may mean another
machine by then. What was judged is what is connected to.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpx

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

URL_LENGTH_MAX = 2048
_PORT_MAX = 65_535
# Public by the registry, in part or in whole, and no place for a webhook all the same: protocol
# assignments, where Oracle's machines ask for their configuration; relays into IPv6 (RFC 7526); and the
# address at which Azure's machines ask for theirs.
_REFUSED_V4 = (
    ip_network("192.0.0.0/24"),
    ip_network("192.88.99.0/24"),
    ip_network("168.63.129.16/32"),
)
# All of IPv6 that is assigned to networks. Beyond it: loopback, link-local, private, multicast, and the
# notations that carry an IPv4 address (mapped, NAT64).
_PUBLIC_V6 = ip_network("2000::/3")
# Within it: protocol assignments with Teredo (RFC 2928), documentation, 6to4, documentation again.
_REFUSED_V6 = (
    ip_network("2001::/23"),
    ip_network("2001:db8::/32"),
    ip_network("2002::/16"),
    ip_network("3fff::/20"),
)


class AddressRefused(Exception):
    """No webhook goes there. The message is for the application's people and names no address."""


def is_public(address: Address) -> bool:
    """Whether it is a machine on the internet, and surely not one next to us."""
    if isinstance(address, IPv4Address):
        refused = any(address in network for network in _REFUSED_V4)
        return address.is_global and not address.is_multicast and not refused
    return address in _PUBLIC_V6 and not any(address in network for network in _REFUSED_V6)


def parse(url: str, *, allow_private: bool) -> httpx.URL:
    """The URL; raises AddressRefused for one that no webhook may have, wherever it points to."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise AddressRefused("is not a URL") from None
    if parsed.scheme != "https" and not (allow_private and parsed.scheme == "http"):
        raise AddressRefused("should begin with https://")
    if not parsed.host:
        raise AddressRefused("names no host")
    if parsed.port is not None and not 0 < parsed.port <= _PORT_MAX:
        raise AddressRefused("names a port that there is not")
    if parsed.userinfo:
        raise AddressRefused("should hold no user name or password")
    if parsed.fragment:
        raise AddressRefused("should have no fragment (#)")
    if len(url) > URL_LENGTH_MAX:
        raise AddressRefused(f"should have at most {URL_LENGTH_MAX} characters")
    return parsed


async def resolve_by_system(host: str, port: int) -> list[str]:
    """As the system's resolver says. It also reads what else means an address: `127.1`, `0x7f000001`."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


async def locate(url: httpx.URL, resolve: Resolve, *, allow_private: bool) -> list[Address]:
    """The addresses behind the name, to connect to and to no other. Raises AddressRefused when one of
    them is not public, and socket.gaierror when there is none."""
    host = url.raw_host.decode().strip("[]")
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        names = await resolve(host, port)
    except UnicodeError:  # Labels that no name may have.
        raise AddressRefused("names no host") from None
    # A scope (`%eth0`) belongs to link-local addresses.
    if not names or any("%" in name for name in names):
        raise AddressRefused("points to an address that is not public")
    addresses = [ip_address(name) for name in names]
    if not allow_private and not all(is_public(address) for address in addresses):
        raise AddressRefused("points to an address that is not public")
    return addresses
