"""The sandbox as one ASGI program: a simulator per provider and the control plane."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount

from sandbox.conekta.app import ConektaSimulator
from sandbox.control import Control
from sandbox.core import Core, SandboxConfig
from sandbox.geo.app import GeoSimulators
from sandbox.polar.app import PolarSimulator
from sandbox.stripe.app import StripeSimulator


def create_app(config: SandboxConfig) -> Starlette:
    """Build the program. `app.state.core` and `.stripe`, `.conekta`, `.polar` are there for tests."""
    core = Core(config)
    stripe = StripeSimulator(core)
    conekta = ConektaSimulator(core)
    polar = PolarSimulator(core)
    geo = GeoSimulators(core)
    control = Control(core, {"stripe": stripe, "conekta": conekta, "polar": polar})

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        core.save()
        await core.webhooks.aclose()

    app = Starlette(
        routes=[
            Mount("/stripe", routes=stripe.routes()),
            Mount("/conekta", routes=conekta.routes()),
            Mount("/polar", routes=polar.routes()),
            Mount("/geo/ipapi", routes=geo.ipapi_routes()),
            Mount("/geo/ip-api", routes=geo.ip_api_routes()),
            Mount("/_control", routes=control.routes()),
        ],
        lifespan=lifespan,
    )
    app.state.core = core
    app.state.stripe = stripe
    app.state.conekta = conekta
    app.state.polar = polar
    app.state.geo = geo
    return app
