"""The simulated services answer in the words of the real ones."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from sandbox.core import Core, SandboxConfig
from sandbox.geo.app import ASKED_MAX, GeoSimulators


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    geo = GeoSimulators(Core(SandboxConfig()))
    mounts = [
        Mount("/ipapi", routes=geo.ipapi_routes()),
        Mount("/ip-api", routes=geo.ip_api_routes()),
    ]
    app = Starlette(routes=mounts)
    app.state.geo = geo
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://geo.test") as client:
        yield client


@pytest.mark.parametrize(
    ("ip", "part"),
    [
        ("187.141.0.1", {"country_code": "MX", "currency": "MXN", "version": "IPv4"}),
        ("10.0.0.1", {"error": True, "reason": "Reserved IP Address", "reserved": True}),
        ("nonsense", {"error": True, "reason": "Invalid IP Address"}),
        ("9.9.9.9", {"country_code": None}),
    ],
)
async def test_ipapi(http: httpx.AsyncClient, ip: str, part: dict[str, object]) -> None:
    answer = (await http.get(f"/ipapi/{ip}/json/")).json()
    assert answer.items() >= {"ip": ip, **part}.items()


@pytest.mark.parametrize(("ip", "text"), [("2806:2f0::1", "MX"), ("127.0.0.1", "Undefined")])
async def test_ipapi_country_alone_is_plain_text(
    http: httpx.AsyncClient, ip: str, text: str
) -> None:
    answer = await http.get(f"/ipapi/{ip}/country/")
    assert (answer.text, answer.headers["content-type"].split(";")[0]) == (text, "text/plain")


@pytest.mark.parametrize(
    ("ip", "answer"),
    [
        ("8.8.8.8", {"status": "success", "countryCode": "US", "query": "8.8.8.8"}),
        ("10.0.0.1", {"status": "fail", "message": "private range", "query": "10.0.0.1"}),
        ("127.0.0.1", {"status": "fail", "message": "reserved range", "query": "127.0.0.1"}),
        ("nonsense", {"status": "fail", "message": "invalid query", "query": "nonsense"}),
    ],
)
async def test_ip_api_shows_the_fields_that_were_asked_for(
    http: httpx.AsyncClient, ip: str, answer: dict[str, object]
) -> None:
    fields = "status,message,countryCode,query"
    got = await http.get(f"/ip-api/json/{ip}", params={"fields": fields})
    assert (got.status_code, got.json()) == (200, answer)
    whole = (await http.get(f"/ip-api/json/{ip}")).json()
    assert ("country" in whole) == (answer["status"] == "success")


async def test_what_was_asked_is_kept_within_bounds() -> None:
    geo = GeoSimulators(Core(SandboxConfig()))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(Starlette(routes=list(geo.ip_api_routes()))),
        base_url="http://geo.test",
    ) as client:
        for _ in range(ASKED_MAX + 5):
            await client.get("/json/8.8.8.8")
    assert len(geo.asked("geo-ip-api")) == ASKED_MAX
