"""What a request asks PostgreSQL, counted at the driver: one that grows dearer fails here.

Every statement is a round trip, the ends of a transaction too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asyncpg.connection import LoggedQuery
from sqlalchemy import event
from temporalio.worker import Worker

from tests.api.support import Api, organization, plan, price, refund_event, stripe_webhook

URL = "/api/v1/webhooks/stripe"


@pytest.fixture
async def asked(api: Api) -> AsyncIterator[list[str]]:
    """The statements of the API from now on, in their order."""
    statements: list[str] = []

    def hear(query: LoggedQuery) -> None:
        statements.append(query.query)

    def listen(connection: Any, _record: object) -> None:
        connection.driver_connection.add_query_logger(hear)

    def prepared(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    pool = api.context.engine.sync_engine
    await api.context.engine.dispose()  # Connections that were made before have no listener.
    event.listen(pool, "connect", listen)
    # The driver's logger leaves out what is prepared first, as SQLAlchemy does.
    event.listen(pool, "before_cursor_execute", prepared)
    # What the driver asks for itself on a new connection is over then: one serves them all in turn.
    await api.anyone.post(URL, **stripe_webhook(refund_event()))
    statements.clear()
    yield statements
    event.remove(pool, "connect", listen)
    event.remove(pool, "before_cursor_execute", prepared)


async def test_a_webhook_costs_one_insert(api: Api, asked: list[str]) -> None:
    await api.anyone.post(URL, **stripe_webhook(refund_event()))
    (statement,) = asked
    assert statement.lstrip().startswith("INSERT INTO webhook_events")


async def test_a_repetition_costs_one_look_more(api: Api, asked: list[str]) -> None:
    told = stripe_webhook(refund_event())
    await api.anyone.post(URL, **told)
    asked.clear()
    await api.anyone.post(URL, **told)
    assert len(asked) == 2


async def test_a_burst_shares_its_inserts(api: Api, asked: list[str]) -> None:
    told = [stripe_webhook(refund_event()) for _ in range(40)]
    await asyncio.gather(*(api.anyone.post(URL, **one) for one in told))
    assert len(await api.inbox()) == 41
    inserts = [one for one in asked if one.lstrip().startswith("INSERT INTO webhook_events")]
    assert len(inserts) <= 20


async def test_opening_a_subscription(api: Api, worker: Worker, asked: list[str]) -> None:
    """Stand-ins write nothing: these are the API's own."""
    who, what = organization(api.ours), plan(api.ours)
    await api.add(who, what, price(what))
    asked.clear()
    body = {
        "organization_id": str(who.id),
        "plan_id": str(what.id),
        "billing_interval": "monthly",
        "payment_method_type": "oxxo",
    }
    answer = await api.ours.post("/subscriptions", body)
    assert answer.status_code in {201, 202}
    # Less is welcome: lower the number then. One transaction: the key and the row.
    assert len(asked) == 13
    assert sum(one.startswith("BEGIN") for one in asked) == 1
