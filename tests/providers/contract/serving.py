"""Serves the sandbox as `abono.simulate.serving` does, less what uvicorn waits for when it stops: there are
hundreds of these tests, each with a sandbox of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.types import ASGIApp

from abono.simulate.serving import bound_socket, url_of

# How long what is still being answered (a `slow` fault) may take.
STOP_SECONDS_MAX = 5.0


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    """The program's base URL, for as long as the block lasts; its lifespan is left to the caller."""
    listener = bound_socket()
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, lifespan="off", http="h11", ws="none")
    )
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[listener])
    try:
        yield url_of(listener)
    finally:
        for listening in server.servers:
            listening.close()
        for connection in list(server.server_state.connections):
            connection.shutdown()
        async with asyncio.timeout(STOP_SECONDS_MAX):
            # uvicorn tells nobody when a connection has ended, so this has to ask.
            while server.server_state.connections or server.server_state.tasks:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
        listener.close()
