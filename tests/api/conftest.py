"""One Temporal development server for the run; a fresh database and application for each test."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_urlsafe

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import delete
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from abono.search_attributes import TYPES, kind
from api.app import create_app
from api.auth import hash_key
from api.context import ApiContext
from models.commands import TASK_QUEUE
from models.outcomes import ProviderName
from models.storage.engine import Sessions, make_engine, make_sessions
from models.storage.tables import ApiKey, Application, Base, new_id
from providers.conekta import ConektaProvider
from providers.registry import ProviderRegistry
from providers.stripe import StripeProvider
from tests.api.described import check_described
from tests.api.standins import STANDINS
from tests.api.support import CONEKTA_SECRET, PEPPER, STRIPE_SECRET, Api, Tenant, running
from tests.support.database import TestDatabases, sqlalchemy_url


@pytest.fixture(scope="session")
def temporal_address() -> Iterator[str]:
    env = asyncio.run(_start_temporal())
    yield env.client.service_client.config.target_host
    asyncio.run(env.shutdown())


async def _start_temporal() -> WorkflowEnvironment:
    attributes = [f"--search-attribute={name}={kind(name)}" for name in TYPES]
    return await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(Path(sys.executable).with_name("temporal")),
        dev_server_extra_args=[
            *attributes,
            # Six times lower latency than the development server's defaults.
            "--dynamic-config-value",
            "history.transferProcessorMaxPollRPS=1000",
            "--dynamic-config-value",
            "history.timerProcessorMaxPollRPS=1000",
        ],
    )


@pytest.fixture
def providers() -> ProviderRegistry:
    """The real adapters. Nothing here calls a provider: they read webhooks and say what they can."""
    return ProviderRegistry(
        {
            ProviderName.STRIPE: StripeProvider(
                api_key="sk_test_api",
                api_base="http://127.0.0.1:9",
                webhook_secrets=[STRIPE_SECRET],
                timeout_seconds=1,
            ),
            ProviderName.CONEKTA: ConektaProvider(
                api_key="key_api",
                api_base="http://127.0.0.1:9",
                webhook_public_keys=None,
                webhook_secrets=[CONEKTA_SECRET],
                timeout_seconds=1,
            ),
        }
    )


@pytest.fixture(scope="session")
def one_database(databases: TestDatabases) -> str:
    return asyncio.run(databases.create())


@pytest.fixture
async def database_url(one_database: str) -> str:
    """An empty database. Emptying one takes 2 ms, making one 300 ms."""
    connection = await asyncpg.connect(one_database)
    # The ledgers refuse to be emptied; a replica's session does not fire their triggers.
    tables = [str(delete(table)) for table in Base.metadata.sorted_tables]
    await connection.execute(";".join(["SET session_replication_role = replica", *tables]))
    await connection.close()
    return one_database


@pytest.fixture
async def sessions(database_url: str) -> AsyncIterator[Sessions]:
    engine = make_engine(sqlalchemy_url(database_url), pool_size=5)
    yield make_sessions(engine)
    await engine.dispose()


@pytest.fixture
async def temporal(temporal_address: str) -> Client:
    return await Client.connect(temporal_address, data_converter=pydantic_data_converter)


@pytest.fixture(scope="session")
def made_apps() -> list[FastAPI]:
    return []


def _app_with(context: ApiContext, made_apps: list[FastAPI]) -> FastAPI:
    """One application serves all tests, each with its own context: making one takes 60 ms."""
    if not made_apps:
        made_apps.append(create_app(context))
    app = made_apps[0]
    vars(app.state.context).update(vars(context))
    app.state.context.__post_init__()
    return app


@pytest.fixture
async def api(
    sessions: Sessions,
    temporal: Client,
    providers: ProviderRegistry,
    made_apps: list[FastAPI],
) -> AsyncIterator[Api]:
    """Without a dispatcher: tests that want one start it."""
    context = ApiContext(
        sessions=sessions,
        temporal=temporal,
        providers=providers,
        pepper=PEPPER,
        body_max_bytes=50_000,
        response_wait_seconds=5.0,
        dispatch=False,
    )
    app = _app_with(context, made_apps)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(app))
        tenants = [
            await stack.enter_async_context(_tenant(app, sessions, name))
            for name in ("Ours", "Theirs")
        ]
        anyone = await stack.enter_async_context(_client(app))
        ours, theirs = tenants
        yield Api(app, app.state.context, temporal, anyone, ours, theirs)
        await providers.aclose()


@asynccontextmanager
async def _tenant(app: object, sessions: Sessions, name: str) -> AsyncIterator[Tenant]:
    key, moment = f"abk_{name}_{token_urlsafe(16)}", datetime.now(UTC)
    application = Application(id=new_id(), name=name, created_at=moment)
    async with sessions.begin() as session:
        session.add(application)
        await session.flush()
        session.add(
            ApiKey(
                id=new_id(),
                application_id=application.id,
                prefix=key[:12],
                key_hash=hash_key(key, PEPPER),
                scopes=["*"],
                created_at=moment,
            )
        )
    async with _client(app, key) as http:
        yield Tenant(application.id, key, http)


def _client(app: object, key: str | None = None) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    return httpx.AsyncClient(
        transport=transport,
        base_url="http://abono.test",
        headers=headers,
        event_hooks={"response": [check_described]},
    )


@pytest.fixture
async def worker(temporal: Client) -> AsyncIterator[Worker]:
    """Runs the stand-in workflows."""
    made = Worker(
        temporal,
        task_queue=TASK_QUEUE,
        workflows=STANDINS,
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with made:
        yield made
