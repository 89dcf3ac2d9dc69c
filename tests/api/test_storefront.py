"""Whose address a request is believed to speak for."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from abono.settings import Settings
from api.storefront import Storefront

INSIDE = "10.0.0.5"
CUSTOMER = "187.141.0.1"
STRANGER = "203.0.113.7"
TRUSTED = Settings(ABONO_TRUSTED_PROXIES="10.0.0.0/8, 192.0.2.7, 2001:db8::/32").trusted_proxies


def believed(peer: str | None, *forwarded: str, storefront: Storefront | None = None) -> str | None:
    scope = {
        "type": "http",
        "client": (peer, 4711) if peer is not None else None,
        "headers": [(b"x-forwarded-for", line.encode("latin-1")) for line in forwarded],
    }
    return (storefront or Storefront(trusted_proxies=TRUSTED)).customer_address(
        HTTPConnection(scope)
    )


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        (INSIDE, [CUSTOMER], CUSTOMER),
        (INSIDE, [f"{CUSTOMER}, 10.1.1.1"], CUSTOMER),
        (INSIDE, [CUSTOMER, "192.0.2.7"], CUSTOMER),
        (f"::ffff:{INSIDE}", [CUSTOMER], CUSTOMER),
        ("2001:db8::5", ["2806:2f0::1"], "2806:2f0::1"),
        (INSIDE, [f"{CUSTOMER}:4711"], CUSTOMER),
        (INSIDE, ["[2806:2f0::1]:4711"], "2806:2f0::1"),
        (INSIDE, [f"  {CUSTOMER}  "], CUSTOMER),
    ],
)
def test_trusted_proxies_are_believed(peer: str, forwarded: list[str], address: str) -> None:
    assert believed(peer, *forwarded) == address


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        # What a customer writes into the header stands left of what the proxy adds.
        (INSIDE, [f"8.8.8.8, {CUSTOMER}"], CUSTOMER),
        (INSIDE, ["8.8.8.8", CUSTOMER], CUSTOMER),
        (INSIDE, [f"10.9.9.9, {CUSTOMER}"], CUSTOMER),
        # Who is not trusted is not believed, whatever is in the header.
        (STRANGER, [CUSTOMER], None),
        (STRANGER, [f"{CUSTOMER}, {INSIDE}"], None),
        (STRANGER, [], None),
        # Nothing can be said past something that cannot be read.
        (INSIDE, [f"{CUSTOMER}, unknown"], None),
        (INSIDE, [f"{CUSTOMER}, "], None),
        (INSIDE, ["_hidden"], None),
        (INSIDE, [], None),
        (INSIDE, ["10.1.1.1, 10.2.2.2"], None),
        ("testclient", [CUSTOMER], None),
        (None, [CUSTOMER], None),
    ],
)
def test_a_forged_header_changes_nothing(
    peer: str | None, forwarded: list[str], address: str | None
) -> None:
    assert believed(peer, *forwarded) == address


def test_by_default_nobody_is_trusted() -> None:
    for peer in ("127.0.0.1", "::1", INSIDE):
        assert believed(peer, CUSTOMER, storefront=Storefront()) is None


LATIN_1 = st.text(st.characters(max_codepoint=255))


@given(LATIN_1, st.ip_addresses().filter(lambda ip: not any(ip in net for net in TRUSTED)))
def test_nothing_that_a_customer_writes_moves_them(text: str, customer: object) -> None:
    assert believed(INSIDE, f"{text}, {customer}") in {
        str(customer),
        str(getattr(customer, "ipv4_mapped", None)),
    }


@given(st.lists(LATIN_1))
def test_any_header_has_an_answer(forwarded: list[str]) -> None:
    address = believed(INSIDE, *forwarded)
    assert address is None or not any(ip_address(address) in network for network in TRUSTED)


def test_a_single_address_is_a_network_of_one() -> None:
    assert ip_network("192.0.2.7/32") in TRUSTED
