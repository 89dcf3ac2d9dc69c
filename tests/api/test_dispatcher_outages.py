"""What is away comes back, and nothing is lost in between."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from sqlalchemy import Integer, column, func, select, text, update
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker

from api.clock import now
from api.dispatcher import Dispatcher
from models.storage.tables import WebhookEvent
from tests.api.dispatching import (
    dispatching,
    heard,
    inbox_row,
    start_payment,
)
from tests.api.proxy import SwitchedProxy
from tests.api.support import (
    Api,
    eventually,
    open_voucher,
    paid,
)


async def test_another_replicas_webhook_wakes_this_one(api: Api, worker: Worker) -> None:
    """Only the notification of PostgreSQL goes between the two."""
    _, _, slip = await open_voucher(api)
    handle = await start_payment(api, slip)
    async with dispatching(api):
        await eventually(lambda: listeners(api))
        await api.add(inbox_row(paid(slip)))
        await api.run(select(func.pg_notify("abono_inbox", "")))
        # Sooner than it would have looked by itself.
        await eventually(lambda: heard(handle), seconds=4)


async def listeners(api: Api) -> bool:
    statement = text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
    return bool((await api.all(statement))[0])


async def test_nothing_is_lost_while_temporal_is_away(
    api: Api, worker: Worker, temporal_address: str
) -> None:
    _, _, slip = await open_voucher(api)
    handle = await start_payment(api, slip)
    async with SwitchedProxy(temporal_address) as proxy:
        api.context.temporal = await Client.connect(
            proxy.address, data_converter=pydantic_data_converter
        )
        await proxy.switch_off()
        async with dispatching(api):
            ids = [await api.take(paid(slip)) for _ in range(3)]
            await eventually(lambda: counted_away(api))
            assert [inbox.applied_at for inbox in await api.inbox()] == [None] * 3
            await proxy.switch_on()
            batches = await eventually(lambda: heard(handle))
    assert [row_id for batch in batches for row_id in batch] == ids
    # Waiting for Temporal used up none of their turns.
    assert [inbox.attempts for inbox in await api.inbox()] == [1, 1, 1]


async def counted_away(api: Api) -> bool:
    text = api.context.metrics.render().decode()
    return 'abono_dispatcher_errors_total{cause="temporal"}' in text


async def test_the_dispatcher_outlives_the_database(api: Api, worker: Worker) -> None:
    _, _, slip = await open_voucher(api)
    handle = await start_payment(api, slip)
    async with dispatching(api):
        await api.add(inbox_row(paid(slip)))
        await cut_connections(api)
        api.context.doorbell.ring()
        await eventually(lambda: heard(handle))


async def cut_connections(api: Api) -> None:
    """As a restart of PostgreSQL does."""
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    cut = select(func.pg_terminate_backend(column("pid", Integer)))
    await api.all(cut.select_from(text("pg_stat_activity")).where(text(others)))


async def test_the_lag_of_what_nobody_takes_is_shown(api: Api) -> None:
    _, _, slip = await open_voucher(api)
    await api.take(paid(slip))
    await api.run(update(WebhookEvent).values(next_dispatch_at=now() - timedelta(minutes=5)))
    async with dispatching(api):
        await eventually(lambda: counted_sent(api))
    assert "abono_dispatcher_lag_seconds 0.0" in (await api.anyone.get("/metrics")).text


async def counted_sent(api: Api) -> bool:
    return b'abono_dispatched_events_total{result="addressed"} 1.0' in api.context.metrics.render()


async def test_stopping_ends_it_after_its_pass(api: Api) -> None:
    dispatcher = Dispatcher(api.context)
    running = asyncio.create_task(dispatcher.run())
    await dispatcher.stop()
    async with asyncio.timeout(5):
        await running
