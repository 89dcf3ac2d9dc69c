"""From settings to where customers are looked for, and to whom that is believed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from pydantic import ValidationError

from abono.api_server import build_storefront, server_config
from abono.dev.environment import wire
from abono.dev.ports import DEFAULT_PORTS
from abono.doctor import State, geolocation
from abono.settings import Settings
from abono.simulate.serving import bound_socket, serving, url_of
from models.outcomes import ProviderName
from models.routing import CountrySource, Located
from sandbox.app import create_app
from sandbox.core import SandboxConfig
from tests.providers.geolocation import mmdb

MEXICAN = "187.141.0.1"
OFF = {"ABONO_GEO_IPAPI_BASE": "off", "ABONO_GEO_IP_API_BASE": "off"}


async def test_the_stack_asks_the_sandbox_and_nobody_else(tmp_path: Path) -> None:
    app = create_app(SandboxConfig())
    async with serving(app) as url:
        ports = {**DEFAULT_PORTS, "sandbox": int(url.rpartition(":")[2])}
        wiring = wire(tmp_path, ports, "postgresql://x", {})
        assert all("127.0.0.1" in v for k, v in wiring.shared.items() if k.startswith("ABONO_GEO"))
        told = {name: value for name, value in wiring.shared.items() if value}
        storefront = build_storefront(Settings.model_validate(told))
        located = await storefront.geolocator.country_of(MEXICAN)
        await storefront.geolocator.aclose()
    assert located == Located(country="MX", source=CountrySource.IPAPI)
    assert set(storefront.public_keys) == {ProviderName.STRIPE, ProviderName.CONEKTA}


def test_a_persons_own_settings_are_left_alone(tmp_path: Path) -> None:
    person = {
        "ABONO_GEO_IPAPI_BASE": "off",
        "STRIPE_API_KEY": "sk_live_mine",
        "CONEKTA_PUBLIC_KEY": "key_mine",
    }
    shared = wire(tmp_path, DEFAULT_PORTS, "postgresql://x", person).shared
    assert shared["ABONO_GEO_IPAPI_BASE"] == "off"
    assert shared["CONEKTA_PUBLIC_KEY"] == "key_mine"
    assert "STRIPE_PUBLISHABLE_KEY" not in shared, "the sandbox's would not go with a real key"


async def test_services_can_be_switched_off(tmp_path: Path) -> None:
    path = mmdb.write(tmp_path / "c.mmdb", {"187.0.0.0/8": {"country": {"iso_code": "MX"}}})
    storefront = build_storefront(Settings.model_validate(OFF | {"GEOIP_DATABASE": str(path)}))
    located = await storefront.geolocator.country_of(MEXICAN)
    assert located == Located(country="MX", source=CountrySource.DATABASE)
    assert await storefront.geolocator.country_of("8.8.8.8") is None
    await storefront.geolocator.aclose()


@pytest.mark.parametrize("networks", ["10.0.0.0/99", "proxy.internal", "10.0.0.0/8;::1"])
def test_networks_that_are_none_stop_the_start(networks: str) -> None:
    with pytest.raises(ValidationError, match="ABONO_TRUSTED_PROXIES"):
        Settings.model_validate({"ABONO_TRUSTED_PROXIES": networks})


def test_doctor_tells_of_a_database_that_cannot_be_read(tmp_path: Path) -> None:
    def look(path: Path | None) -> tuple[State, str]:
        finding = geolocation(Settings.model_validate({"GEOIP_DATABASE": path}))
        return finding.state, finding.fact

    good = mmdb.write(tmp_path / "good.mmdb", {"1.0.0.0/8": {"country_code": "AU"}})
    bad = tmp_path / "bad.mmdb"
    bad.write_bytes(b"nothing of the kind")
    assert look(None)[0] is State.OPEN
    assert look(good) == (State.OK, look(good)[1])
    assert "Test-Country, built 2026-11-18" in look(good)[1]
    assert look(bad)[0] is State.OPEN
    assert "no MaxMind-format database" in look(bad)[1]
    assert "does not exist" in look(tmp_path / "missing.mmdb")[1]


@contextlib.asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """By the API's own server settings, on a free port."""
    sock = bound_socket()
    server = uvicorn.Server(server_config(Settings(), app))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[sock])
    try:
        yield url_of(sock)
    finally:
        await server.shutdown(sockets=[sock])


async def test_the_server_believes_nobody_by_itself() -> None:
    """uvicorn would take X-Forwarded-For from this machine for the address of the connection."""
    app = FastAPI()
    storefront = build_storefront(Settings.model_validate(OFF))

    @app.get("/")
    async def who(request: Request) -> list[str | None]:
        assert request.client is not None
        return [request.client.host, storefront.customer_address(request)]

    async with served(app) as url, httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(url, headers={"X-Forwarded-For": MEXICAN})
    assert answer.json() == ["127.0.0.1", None]
