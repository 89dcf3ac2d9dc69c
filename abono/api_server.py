"""Runs the HTTP API: settings in, a served application out."""

from __future__ import annotations

import asyncio

import uvicorn
import uvloop

from abono.settings import Settings
from abono.wiring import build_providers, connect_temporal
from api.app import create_app
from api.context import ApiContext
from models.storage.engine import make_engine, make_sessions

# Longer than the longest POST (10 s): what was begun is answered before the process goes.
SHUTDOWN_SECONDS = 12


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight are answered first."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings))
    except KeyboardInterrupt:
        return


async def _serve(settings: Settings) -> None:
    config = uvicorn.Config(
        create_app(await make_context(settings)),
        host=settings.api_host,
        port=settings.api_port,
        log_config=None,  # Logging is set up by whoever runs this.
        access_log=False,  # The API writes its own, without anything that a caller sent.
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    await uvicorn.Server(config).serve()


async def make_context(settings: Settings) -> ApiContext:
    """The context that these settings describe; neither PostgreSQL nor Temporal has to be there."""
    engine = make_engine(settings.sqlalchemy_url, pool_size=settings.database_pool_size)
    providers = build_providers(settings)
    return ApiContext(
        sessions=make_sessions(engine),
        temporal=await connect_temporal(settings, lazy=True),
        providers=providers,
        pepper=settings.api_key_pepper.get_secret_value(),
        body_max_bytes=settings.body_max_bytes,
        closers=[providers.aclose, engine.dispose],
    )
