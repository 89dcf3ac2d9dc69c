"""Storing webhooks in batches: each is answered for itself, and none stands in another's way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import text

from api.inbox import Inbox, InboxFull, Reception
from models.events import EventKind
from providers.failures import WebhookMalformed
from tests.api.support import Api, event, eventually

BODY = b'{"id": 1}'


async def receive(inbox: Inbox, body: bytes = BODY, **changes: Any) -> Reception:
    return await inbox.receive(event(EventKind.PAYMENT, **changes), body)


async def test_a_burst_shares_statements(api: Api) -> None:
    taken: list[int] = []
    engine = api.context.engine.sync_engine
    sqlalchemy_event.listen(engine, "checkout", lambda *_: taken.append(1))

    answers = await asyncio.gather(*(receive(api.context.inbox) for _ in range(300)))

    assert set(answers) == {Reception.ACCEPTED}
    assert len(await api.inbox()) == 300
    assert len(taken) - 1 <= 3


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
