"""The two servers of the first row, each a process of its own as in production.

`python -m benchmarks.accept_server ours|raw DATABASE_URL PORT`. The raw one is what a webhook endpoint
costs with FastAPI and asyncpg when it does nothing but keep the body: no signature, no event, no
middleware, one pooled connection and one commit for each.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import uvicorn
import uvloop
from fastapi import FastAPI, Request

from abono.api_server import make_context, server_config
from abono.logging import configure_logging
from abono.long_lived import keep_what_is_loaded
from abono.settings import Settings
from api.app import create_app
from models.storage.base import new_id

WEBHOOK_SECRET = "whsec_benchmark"  # noqa: S105 - signs nothing but this load
POOL_SIZE = 10
RAW_TABLE = """
CREATE TABLE IF NOT EXISTS raw_webhooks (
    id uuid PRIMARY KEY, payload jsonb NOT NULL, received_at timestamptz NOT NULL DEFAULT now()
)
"""
_RAW_INSERT = "INSERT INTO raw_webhooks (id, payload) VALUES ($1, $2)"


def raw_app(database_url: str) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with asyncpg.create_pool(
            database_url, min_size=POOL_SIZE, max_size=POOL_SIZE
        ) as pool:
            app.state.pool = pool
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/api/v1/webhooks/stripe")
    async def take(request: Request) -> dict[str, str]:
        body = await request.body()
        async with request.app.state.pool.acquire() as connection:
            await connection.execute(_RAW_INSERT, new_id(), body.decode())
        return {"status": "accepted"}

    return app


async def serve(kind: str, database_url: str, port: int) -> None:
    settings = Settings(
        DATABASE_URL=database_url,
        STRIPE_API_KEY="sk_test_benchmark",
        STRIPE_WEBHOOK_SECRET=WEBHOOK_SECRET,
        DATABASE_POOL_SIZE=POOL_SIZE,
        ABONO_API_HOST="127.0.0.1",
        ABONO_API_PORT=port,
    )
    if kind == "ours":
        context = await make_context(settings)
        # Delivery is the matter of other rows, and needs a Temporal.
        context.dispatch = False
        app = create_app(context)
    else:
        app = raw_app(database_url)
    server = uvicorn.Server(server_config(settings, app))
    # As production; and a plain server would not have loaded what this one has.
    keep_what_is_loaded()
    await server.serve()


def main(kind: str, database_url: str, port: str) -> None:
    # As quiet as production is about a webhook that went well, and about starting too.
    configure_logging("WARNING", json=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(kind, database_url, int(port)))


if __name__ == "__main__":
    main(*sys.argv[1:])
