"""The sandbox as one ASGI program: a simulator per provider and the control plane."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount

from sandbox.conekta.app import ConektaSimulator
from sandbox.control import Control
from sandbox.core import Core, SandboxConfig
from sandbox.stripe.app import StripeSimulator


def create_app(config: SandboxConfig) -> Starlette:
    """Build the program. `app.state.core` and `.stripe` / `.conekta` are there for tests and tools."""
    core = Core(config)
    stripe = StripeSimulator(core)
    conekta = ConektaSimulator(core)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        core.save()
        await core.webhooks.aclose()

    app = Starlette(
        routes=[
            Mount("/stripe", routes=stripe.routes()),
            Mount("/conekta", routes=conekta.routes()),
            Mount("/_control", routes=Control(core, {"stripe": stripe, "conekta": conekta}).routes()),
        ],
        lifespan=lifespan,
    )
    app.state.core = core
    app.state.stripe = stripe
    app.state.conekta = conekta
    return app
