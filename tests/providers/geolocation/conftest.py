from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from abono.simulate.serving import serving
from providers.geolocation import Geolocator, IpApi, IpapiCo
from sandbox.core import Core, SandboxConfig
from sandbox.faults import Fault
from sandbox.geo.app import GeoSimulators


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Services:
    """Both simulated services, over HTTP, and geolocators that ask them."""

    core: Core
    geo: GeoSimulators
    url: str
    closing: AsyncExitStack
    clock: Clock = field(default_factory=Clock)

    def geolocator(self, database_path: Path | None = None) -> Geolocator:
        made = Geolocator(
            database_path,
            [IpapiCo(f"{self.url}/geo/ipapi"), IpApi(f"{self.url}/geo/ip-api/")],
            self.clock,
        )
        self.closing.push_async_callback(made.aclose)
        return made

    def fault(self, service: str, mode: str, **more: Any) -> None:
        fault = {"provider": service, "operation": "lookup", "mode": mode, **more}
        self.core.faults.add(Fault.model_validate(fault))

    def asked(self) -> list[str]:
        """Every service that was asked, by name, once for each time."""
        names = ("geo-ipapi", "geo-ip-api")
        return [name for name in names for _ in self.geo.asked(name)]


@pytest.fixture
async def services() -> AsyncIterator[Services]:
    core = Core(SandboxConfig())
    geo = GeoSimulators(core)
    app = Starlette(
        routes=[
            Mount("/geo/ipapi", routes=geo.ipapi_routes()),
            Mount("/geo/ip-api", routes=geo.ip_api_routes()),
        ]
    )
    async with serving(app) as url, AsyncExitStack() as closing:
        yield Services(core, geo, url, closing)
