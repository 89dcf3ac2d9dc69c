"""What `abono doctor` and `abono reconcile` say while workers are missing, on a real Temporal server: the one
that skips time does not tell who asks for work."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from itertools import repeat
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from abono import doctor
from abono.dev.errors import DevError
from abono.doctor import State
from abono.reconcile import INCOMPLETE, Asked, as_table, reconcile
from abono.settings import Settings
from abono.task_queues import ASKED_WITHIN, unserved
from abono.wiring import build_providers
from abono.worker import make_workers
from api.clock import now
from models.outcomes import ProviderName
from models.reconcile import reconcile_workflow_id
from models.storage.engine import make_engine, make_sessions
from tests.api.support import eventually

STRIPE, CONEKTA = ProviderName.STRIPE, ProviderName.CONEKTA
LOOK_EVERY_SECONDS = 0.2
# Of each test its own: a server remembers for minutes who asked.
NAMESPACES = ("one", "two", "three", "four")


@pytest.fixture(scope="module")
def places() -> Iterator[Iterator[tuple[str, str]]]:
    """An address and a namespace for each who asks."""

    async def start() -> WorkflowEnvironment:
        return await WorkflowEnvironment.start_local(
            dev_server_existing_path=str(Path(sys.executable).with_name("temporal")),
            dev_server_extra_args=[f"--namespace={name}" for name in NAMESPACES],
        )

    env = asyncio.run(start())
    yield zip(repeat(env.client.service_client.config.target_host), NAMESPACES, strict=False)
    asyncio.run(env.shutdown())


@pytest.fixture
def settings(places: Iterator[tuple[str, str]], database_url: str) -> Settings:
    """Two providers, of which none answers."""
    address, namespace = next(places)
    nowhere = "http://127.0.0.1:9"
    return Settings(
        DATABASE_URL=database_url,
        TEMPORAL_ADDRESS=address,
        TEMPORAL_NAMESPACE=namespace,
        STRIPE_API_KEY="sk_test_nobody",
        STRIPE_API_BASE=nowhere,
        CONEKTA_API_KEY="key_nobody",
        CONEKTA_API_BASE=nowhere,
    )


async def connect(settings: Settings) -> Client:
    return await Client.connect(
        settings.temporal_address,
        namespace=settings.temporal_namespace,
        data_converter=pydantic_data_converter,
    )


@asynccontextmanager
async def working(settings: Settings, *queues: str) -> AsyncIterator[None]:
    """As `abono worker --queues` does."""
    engine, providers = make_engine(settings.sqlalchemy_url), build_providers(settings)
    client = await connect(settings)
    workers = make_workers(client, make_sessions(engine), providers, queues=queues)
    running = [asyncio.create_task(worker.run()) for worker in workers]

    async def are_known() -> bool:
        return not await unserved(client, queues, now())

    await eventually(are_known)
    yield
    await asyncio.gather(*(worker.shutdown() for worker in workers))
    await asyncio.gather(*running)
    await providers.aclose()
    await engine.dispose()


async def test_the_doctor_says_which_queue_has_no_worker(settings: Settings) -> None:
    client = await connect(settings)
    found = await doctor.workers(client, settings)
    assert (found.state, found.next_step) == (State.OPEN, "Start `abono worker`.")

    async with working(settings, "workflows", "stripe"):
        found = await doctor.workers(client, settings)
        assert found.state is State.OPEN
        assert found.fact == "none takes work of conekta (task queue abono-conekta): it waits"
        assert "`abono worker --queues conekta`" in found.next_step
        async with working(settings, "conekta"):
            found = await doctor.workers(client, settings)
            assert (found.state, found.next_step) == (State.OK, "")
            assert found.fact == "take work of workflows, stripe, conekta"

    # Temporal still remembers them, but a worker that lives asks once a minute.
    later = now() + ASKED_WITHIN + timedelta(seconds=1)
    assert await unserved(client, ["workflows", "conekta"], later) == ["workflows", "conekta"]


async def test_reconciling_is_refused_where_nobody_would_do_it(settings: Settings) -> None:
    with pytest.raises(DevError, match=r"start `abono worker`, then ask again\.$"):
        await reconcile(settings, Asked([], None, dry_run=True))
    async with working(settings, "workflows", "stripe"):
        outcome = await reconcile(settings, Asked([CONEKTA], None, dry_run=True))
    assert outcome.exit_code == INCOMPLETE
    assert as_table(outcome) == (
        "conekta: NOT COMPARED, no worker takes its calls: start `abono worker --queues conekta`,"
        " then ask again."
    )


async def test_reconciling_does_not_wait_for_a_worker_that_is_gone(settings: Settings) -> None:
    async with working(settings, "workflows", "stripe", "conekta"):
        pass
    asked = Asked([], None, dry_run=True)
    for _ in range(2):  # What was asked for in vain is not under way.
        with pytest.raises(DevError, match="No worker takes this up"):
            await asyncio.wait_for(
                reconcile(settings, asked, look_every_seconds=LOOK_EVERY_SECONDS), 10
            )
    run = (
        await (await connect(settings))
        .get_workflow_handle(reconcile_workflow_id(STRIPE))
        .describe()
    )
    assert run.status is WorkflowExecutionStatus.TERMINATED


async def test_a_long_run_says_what_it_waits_for(settings: Settings) -> None:
    async with working(settings, "conekta"):
        pass
    said: list[str] = []
    async with working(settings, "workflows", "stripe"):
        asked = Asked([], None, dry_run=True)
        running = asyncio.create_task(reconcile(settings, asked, said.append, LOOK_EVERY_SECONDS))

        async def are_said() -> bool:
            return {line.split()[0] for line in said} == {"stripe", "conekta:"}

        await eventually(are_said)
        running.cancel()  # As Ctrl-C does; what was begun goes on.
        with suppress(asyncio.CancelledError):
            await running
        client = await connect(settings)
        for name in (STRIPE, CONEKTA):
            handle = client.get_workflow_handle(reconcile_workflow_id(name))
            assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
            await handle.terminate()
    assert any("has not answered (" in line and line.endswith("of 8.") for line in said)
    assert "conekta: waiting for a worker that calls it: is `abono worker` running?" in said
