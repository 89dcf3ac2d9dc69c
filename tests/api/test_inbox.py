"""Storing webhooks in batches: each is answered for itself, and none stands in another's way."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import text

from api.inbox import Inbox, InboxFull, Reception
from models.events import EventKind
from models.storage.base import new_id
from providers.failures import WebhookMalformed
from tests.api.support import Api, event, eventually

BODY = b'{"id": 1}'
_SAME_EVENT = text(
    "INSERT INTO webhook_events (id, provider, account, provider_event_id, event_type, kind, payload,"
    " event, attempts, received_at, next_dispatch_at)"
    " VALUES (:id, 'stripe', 'default', :event_id, 'x', 'payment', '{}', '{}', 0, now(), now())"
)
_BLOCKED = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"
)


async def receive(inbox: Inbox, body: bytes = BODY, **changes: Any) -> Reception:
    return await inbox.receive(event(EventKind.PAYMENT, **changes), body)


async def test_a_burst_shares_statements(api: Api) -> None:
    inserts: list[str] = []

    def listen(connection: Any, _record: object) -> None:
        connection.driver_connection.add_query_logger(lambda query: inserts.append(query.query))

    await api.context.engine.dispose()  # Connections that were made before have no listener.
    sqlalchemy_event.listen(api.context.engine.sync_engine, "connect", listen)

    answers = await asyncio.gather(*(receive(api.context.inbox) for _ in range(300)))

    assert set(answers) == {Reception.ACCEPTED}
    assert sum("INSERT INTO webhook_events" in insert for insert in inserts) <= 4
    assert len(await api.inbox()) == 300


async def test_an_insert_that_waits_holds_up_no_other(api: Api) -> None:
    slow, quick = event(EventKind.PAYMENT), event(EventKind.PAYMENT)
    async with api.context.engine.begin() as other:
        await other.execute(_SAME_EVENT, {"id": new_id(), "event_id": slow.provider_event_id})
        waits = asyncio.create_task(api.context.inbox.receive(slow, BODY))
        await asyncio.sleep(0)
        assert await api.context.inbox.receive(quick, BODY) is Reception.ACCEPTED
        assert not waits.done()
    assert await waits is Reception.ALREADY_PROCESSED


async def test_two_processes_with_the_same_events_cannot_block_each_other(api: Api) -> None:
    """Each would hold what the other needs next, if they were inserted in the order of arrival."""
    first, second, here_waits, there_waits = (f"evt_{name}" for name in "abcd")
    here, there = Inbox(lambda: api.context.engine), Inbox(lambda: api.context.engine)
    async with api.context.engine.connect() as other:
        for event_id in (here_waits, there_waits):
            await other.execute(_SAME_EVENT, {"id": new_id(), "event_id": event_id})
        answers = asyncio.gather(
            _one_statement(here, first, here_waits, second),
            _one_statement(there, second, there_waits, first),
        )
        await eventually(partial(_are_blocked, api, 2))
        await other.rollback()
    told = [*(await answers)[0], *(await answers)[1]]
    assert told.count(Reception.ACCEPTED) == 4


async def _one_statement(inbox: Inbox, *event_ids: str) -> list[Reception]:
    """The rest is for the other line, which takes its half."""
    told = [receive(inbox, provider_event_id=event_id) for event_id in event_ids]
    rest = [receive(inbox) for _ in event_ids]
    return (await asyncio.gather(*told, *rest))[: len(told)]


async def _are_blocked(api: Api, count: int) -> bool:
    # A transaction sees who is there once: each look has its own.
    async with api.context.engine.connect() as connection:
        return bool(count == await connection.scalar(_BLOCKED))


async def test_repetitions_within_a_burst_are_told_apart(api: Api) -> None:
    said = event(EventKind.PAYMENT)
    answers = await asyncio.gather(*(api.context.inbox.receive(said, BODY) for _ in range(20)))
    assert sorted(answers) == [Reception.ACCEPTED] + [Reception.ALREADY_PROCESSED] * 19


async def test_one_that_cannot_be_stored_keeps_no_other_out(api: Api) -> None:
    bodies = [BODY, b'{"number": NaN}', BODY, b'{"half": "\\ud800"}', BODY]
    answers = await asyncio.gather(
        *(receive(api.context.inbox, body) for body in bodies), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [
        Reception,
        WebhookMalformed,
        Reception,
        WebhookMalformed,
        Reception,
    ]
    assert len(await api.inbox()) == 3


async def test_half_a_character_in_what_is_read_of_it_keeps_no_other_out(api: Api) -> None:
    """As Conekta's `\\ud800` in an id: JSON can say it, no text can hold it."""
    answers = await asyncio.gather(
        receive(api.context.inbox),
        receive(api.context.inbox, event_type="order.\ud800"),
        receive(api.context.inbox),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [Reception, WebhookMalformed, Reception]


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b'{"a": "\xff"}'])
async def test_what_is_no_json_object_is_refused(api: Api, body: bytes) -> None:
    with pytest.raises(WebhookMalformed):
        await receive(api.context.inbox, body)


async def test_a_burst_that_cannot_be_stored_in_time_is_turned_away(api: Api) -> None:
    answers = await asyncio.gather(
        *(receive(api.context.inbox) for _ in range(5010)), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, InboxFull)]
    assert len(refused) == 10
    assert len(await api.inbox()) == 5000


async def test_what_the_database_does_not_take_in_time_is_not_waited_for(api: Api) -> None:
    inbox = Inbox(lambda: api.context.engine, timeout_seconds=0.05)
    async with api.context.engine.begin() as other:
        await other.execute(text("LOCK TABLE webhook_events"))
        with pytest.raises(TimeoutError):
            await receive(inbox)

    async def is_stored() -> bool:
        return len(await api.inbox()) == 1

    await eventually(is_stored)  # All the same: the provider sends it again, and is told so then.


async def test_a_sender_that_goes_away_leaves_its_webhook_behind(api: Api) -> None:
    impatient = asyncio.create_task(receive(api.context.inbox))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await receive(api.context.inbox) is Reception.ACCEPTED
    assert len(await api.inbox()) == 2
