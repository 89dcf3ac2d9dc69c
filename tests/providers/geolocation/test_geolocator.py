"""Not knowing is an answer; an exception never is, and nobody waits long for either."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from abono.simulate.serving import serving
from models.routing import CountrySource, Located
from providers.geolocation import Geolocator, IpApi, IpapiCo
from providers.geolocation.cache import Cache
from providers.geolocation.reading import iso_country, public_address
from sandbox.geo.table import TEST_ADDRESSES
from tests.providers.geolocation import mmdb
from tests.providers.geolocation.conftest import Clock, Services

MEXICAN = "187.141.0.1"
IN_MEXICO_BY_IPAPI = Located(country="MX", source=CountrySource.IPAPI)
IN_MEXICO_BY_IP_API = Located(country="MX", source=CountrySource.IP_API)


@pytest.mark.parametrize("ip", TEST_ADDRESSES)
async def test_ipapi_is_asked_first(services: Services, ip: str) -> None:
    located = await services.geolocator().country_of(ip)
    assert located == Located(country=TEST_ADDRESSES[ip].country, source=CountrySource.IPAPI)
    assert services.asked() == ["geo-ipapi"]


@pytest.mark.parametrize("mode", ["down", "error", "rate_limit"])
async def test_ip_api_stands_in(services: Services, mode: str) -> None:
    services.fault("geo-ipapi", mode)
    assert await services.geolocator().country_of(MEXICAN) == IN_MEXICO_BY_IP_API


async def test_a_slow_service_is_not_waited_for_long(services: Services) -> None:
    services.fault("geo-ipapi", "slow", seconds=5)
    started = time.monotonic()
    assert await services.geolocator().country_of(MEXICAN) == IN_MEXICO_BY_IP_API
    assert time.monotonic() - started < 1.4


async def test_two_slow_services_together_are_not_waited_for_long(services: Services) -> None:
    services.fault("*", "slow", seconds=5)
    started = time.monotonic()
    assert await services.geolocator().country_of(MEXICAN) is None
    assert 1.0 < time.monotonic() - started < 1.9


async def test_a_service_that_was_away_is_left_alone_for_a_while(services: Services) -> None:
    services.fault("geo-ipapi", "down", count=1)
    geolocator = services.geolocator()
    await geolocator.country_of(MEXICAN)
    assert await geolocator.country_of("189.240.0.1") == IN_MEXICO_BY_IP_API
    services.clock.now += 31
    assert await geolocator.country_of("189.240.0.2") == IN_MEXICO_BY_IPAPI
    assert services.asked() == ["geo-ipapi"] * 2 + ["geo-ip-api"] * 2


async def test_a_rate_limit_is_kept_for_as_long_as_the_service_says(services: Services) -> None:
    services.fault("geo-ipapi", "rate_limit", count=1, seconds=300)
    geolocator = services.geolocator()
    await geolocator.country_of(MEXICAN)
    services.clock.now += 290
    assert await geolocator.country_of("189.240.0.1") == IN_MEXICO_BY_IP_API
    services.clock.now += 11
    assert await geolocator.country_of("189.240.0.2") == IN_MEXICO_BY_IPAPI


async def test_what_was_found_is_remembered_for_a_day(services: Services) -> None:
    geolocator = services.geolocator()
    for _ in range(3):
        assert await geolocator.country_of(MEXICAN) == IN_MEXICO_BY_IPAPI
    assert await geolocator.country_of(f"::ffff:{MEXICAN}") == IN_MEXICO_BY_IPAPI
    assert services.asked() == ["geo-ipapi"]
    services.clock.now += 24 * 3600 + 1
    await geolocator.country_of(MEXICAN)
    assert services.asked() == ["geo-ipapi"] * 2


async def test_that_nothing_was_found_is_remembered_for_minutes(services: Services) -> None:
    services.fault("*", "down")
    geolocator = services.geolocator()
    assert await geolocator.country_of(MEXICAN) is None
    services.core.faults.clear()
    assert await geolocator.country_of(MEXICAN) is None
    services.clock.now += 301
    assert await geolocator.country_of(MEXICAN) == IN_MEXICO_BY_IPAPI


@pytest.mark.parametrize(
    "ip",
    [
        *("10.0.0.1", "192.168.1.1", "172.16.0.1", "127.0.0.1", "169.254.169.254", "0.0.0.0"),
        *("192.0.2.1", "203.0.113.7", "224.0.0.1", "255.255.255.255", "100.64.0.1"),
        *("::1", "fe80::1", "fe80::1%eth0", "fc00::1", "2001:db8::1", "::ffff:10.0.0.1", "ff0e::1"),
        *(
            "2001:4860:4860::8888%eth0/../",
            "8.8.8.8/json",
            "8.8.8.8:443",
            "localhost",
            "",
            " ",
            "8",
        ),
    ],
)
async def test_what_nobody_outside_can_know_is_not_sent_out(services: Services, ip: str) -> None:
    assert await services.geolocator().country_of(ip) is None
    assert services.asked() == []


async def test_a_country_that_the_services_do_not_know(services: Services) -> None:
    assert await services.geolocator().country_of("9.9.9.9") is None
    assert services.asked() == ["geo-ipapi", "geo-ip-api"]


# The database.

RECORDS = {
    "187.0.0.0/8": {"country": {"iso_code": "MX", "names": {"en": "Mexico"}}},
    "9.9.0.0/16": {"country_code": "US"},
    "2.0.0.0/8": {"country": "FR"},
    "3.0.0.0/8": {"registered_country": {"iso_code": "US"}},
    "8.8.8.8/32": {"country": {"iso_code": "MEXICO"}},
    "2806:2f0::/32": {"country": {"iso_code": "MX"}},
}


@pytest.fixture(scope="module")
def database_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mmdb.write(tmp_path_factory.mktemp("geo") / "country.mmdb", RECORDS)


@pytest.mark.parametrize(
    ("ip", "country"),
    [
        (MEXICAN, "MX"),
        (f"::ffff:{MEXICAN}", "MX"),
        ("2806:2f0::1", "MX"),
        ("9.9.9.9", "US"),
        ("2.2.2.2", "FR"),
    ],
)
async def test_the_database_comes_first(
    services: Services, database_path: Path, ip: str, country: str
) -> None:
    located = await services.geolocator(database_path).country_of(ip)
    assert located == Located(country=country, source=CountrySource.DATABASE)
    assert services.asked() == []


@pytest.mark.parametrize("ip", ["8.8.8.8", "1.1.1.1"])
async def test_what_the_database_does_not_know_is_asked_outside(
    services: Services, database_path: Path, ip: str
) -> None:
    """Also when it says MEXICO: that is no code, and is not made into one."""
    located = await services.geolocator(database_path).country_of(ip)
    assert located == Located(country=TEST_ADDRESSES[ip].country, source=CountrySource.IPAPI)


@pytest.fixture(params=["missing", "empty", "text", "marker alone", "cut", "folder"])
def broken_path(request: pytest.FixtureRequest, database_path: Path, tmp_path: Path) -> Path:
    contents = {
        "empty": b"",
        "text": b"no database",
        "marker alone": b"\xab\xcd\xefMaxMind.com",
        "cut": database_path.read_bytes()[60:],
    }
    path = tmp_path / "broken.mmdb"
    if request.param == "folder":
        path.mkdir()
    elif request.param != "missing":
        path.write_bytes(contents[request.param])
    return path


async def test_a_missing_or_damaged_database_is_gone_on_without(
    services: Services, broken_path: Path
) -> None:
    located = await services.geolocator(broken_path).country_of(MEXICAN)
    assert located == IN_MEXICO_BY_IPAPI


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_damage_to_the_database_raises(database_path: Path, data: st.DataObject) -> None:
    spoiled = bytearray(database_path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        spoiled[data.draw(st.integers(0, len(spoiled) - 1))] = data.draw(st.integers(0, 255))
    path = database_path.with_name("spoiled.mmdb")
    path.write_bytes(spoiled)

    async def look() -> None:
        geolocator = Geolocator(path)
        for ip in (MEXICAN, "2806:2f0::1", "8.8.8.8", "255.1.2.3"):
            located = await geolocator.country_of(ip)
            assert located is None or iso_country(located.country)
        await geolocator.aclose()

    asyncio.run(look())


# Whatever comes in.


@settings(max_examples=300, deadline=None)
@given(st.text() | st.ip_addresses().map(str))
def test_any_text_has_an_answer(text: str) -> None:
    assert asyncio.run(Geolocator().country_of(text)) is None
    address = public_address(text)
    assert address is None or public_address(address) == address


@given(st.none() | st.text() | st.integers() | st.lists(st.text()) | st.binary())
def test_a_country_is_a_country_or_nothing(value: object) -> None:
    country = iso_country(value)
    assert country is None or (isinstance(value, str) and value.strip().upper() == country)


@pytest.mark.parametrize("word", ["MEXICO", "MEX", "M", "", "ME XICO", "XX", "EU", "484", "Ｍ"])
def test_words_are_refused_and_never_cut(word: str) -> None:
    assert iso_country(word) is None
    assert iso_country("mx") == "MX"


HOSTILE = [
    b"",
    b"null",
    b"[]",
    b"MX",
    b"[" * 16_000,
    b'{"country_code": "MEXICO", "countryCode": "MEXICO", "status": "success"}',
    b'{"country_code": ["MX"], "countryCode": {"a": 1}, "status": "success"}',
    b'{"error": "yes", "reason": 7, "status": []}',
    b"<html>busy</html>",
    b"\xff\xfe",
    b'{"x": "' + b"x" * 1_000_000 + b'"}',
]


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
async def test_any_answer_of_a_service_is_survived(body: bytes) -> None:
    async def answer(request: Request) -> Response:
        return Response(body)

    async with serving(Starlette(routes=[Route("/{path:path}", answer)])) as url:
        geolocator = Geolocator(None, [IpapiCo(url), IpApi(url)])
        assert await geolocator.country_of(MEXICAN) is None
        await geolocator.aclose()


async def test_a_redirect_is_not_followed(services: Services) -> None:
    async def answer(request: Request) -> Response:
        return RedirectResponse(f"{services.url}/geo/ipapi/{MEXICAN}/json/")

    async with serving(Starlette(routes=[Route("/{path:path}", answer)])) as url:
        geolocator = Geolocator(None, [IpapiCo(url)])
        assert await geolocator.country_of(MEXICAN) is None
        await geolocator.aclose()


@pytest.mark.parametrize("base", ["http://127.0.0.1:9", "http://[", "nonsense", "ftp://x", ""])
async def test_a_service_that_is_nowhere_is_survived(base: str) -> None:
    geolocator = Geolocator(None, [IpapiCo(base), IpApi(base)])
    assert await geolocator.country_of(MEXICAN) is None
    await geolocator.aclose()


async def test_no_address_and_no_key_is_logged(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    services.fault("geo-ipapi", "error")
    asked = [IpapiCo(f"{services.url}/geo/ipapi", SecretStr("k-1234")), IpApi("http://127.0.0.1:9")]
    geolocator = Geolocator(None, asked)
    assert await geolocator.country_of(MEXICAN) is None
    await geolocator.aclose()
    assert MEXICAN not in caplog.text
    assert "k-1234" not in caplog.text


def test_the_cache_is_bounded_and_drops_what_was_longest_unused() -> None:
    cache = Cache(Clock(), entries_max=3)
    for ip in ("a", "b", "c"):
        cache.put(ip, None)
    assert cache.get("a") == (True, None)
    cache.put("d", IN_MEXICO_BY_IPAPI)
    assert len(cache) == 3
    assert cache.get("b") == (False, None)
    assert [cache.get(ip)[0] for ip in ("a", "c", "d")] == [True] * 3
