"""The addresses whose country the simulated services know.

Real, public addresses: those reserved for documentation are refused by the services as well as by whoever
asks them. Anything else gets the country that the real services give when they do not know: none.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple


class Place(NamedTuple):
    country: str
    name: str
    iso3: str
    city: str
    currency: str


MEXICO = Place("MX", "Mexico", "MEX", "Mexico City", "MXN")
UNITED_STATES = Place("US", "United States", "USA", "Mountain View", "USD")
SPAIN = Place("ES", "Spain", "ESP", "Madrid", "EUR")
GERMANY = Place("DE", "Germany", "DEU", "Berlin", "EUR")
BRAZIL = Place("BR", "Brazil", "BRA", "Sao Paulo", "BRL")
AUSTRALIA = Place("AU", "Australia", "AUS", "Sydney", "AUD")

# One address each for a person, and a network for whoever needs many.
TEST_ADDRESSES: dict[str, Place] = {
    "187.141.0.1": MEXICO,
    "189.203.0.1": MEXICO,
    "2806:2f0::1": MEXICO,
    "8.8.8.8": UNITED_STATES,
    "2001:4860:4860::8888": UNITED_STATES,
    "80.58.61.250": SPAIN,
    "46.4.0.1": GERMANY,
    "200.160.2.3": BRAZIL,
    "1.1.1.1": AUSTRALIA,
}
TEST_NETWORKS: dict[str, Place] = {"189.240.0.0/16": MEXICO, "8.0.0.0/16": UNITED_STATES}

_NETWORKS = [(ipaddress.ip_network(network), place) for network, place in TEST_NETWORKS.items()]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def place_of(address: Address) -> Place | None:
    known = TEST_ADDRESSES.get(str(address))
    if known is not None:
        return known
    return next((place for network, place in _NETWORKS if address in network), None)
