"""What applications were told long ago is dropped: nothing that is owed, nothing that is numbered after."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, select, text, update

from activities.webhook_queue import Choice, queue_again
from api.clock import now
from api.context import Retention
from api.outbound.retention import ANEW_EVERY, DeliveryLog
from api.retention import Cleaner
from models.outbound import DeliveryStatus
from models.storage.base import first_id_at
from models.storage.tables import OutboundEvent, Subscription, WebhookDelivery, WebhookEndpoint
from tests.api.receiving import ENDPOINTS, change, read, register, subscriptions, tell
from tests.api.support import Api, eventually
from tests.api.test_purchases import bought

DAY = timedelta(days=1)
MONTH = 30 * DAY
ADDRESS = "https://93.184.216.34/hooks"  # Public, and never called here.
PENDING, DELIVERED, FAILED, SKIPPED = DeliveryStatus


def event(of: Subscription, sequence: int, at: datetime) -> OutboundEvent:
    return OutboundEvent(
        id=UUID(int=first_id_at(at).int + (sequence << 64) + random.getrandbits(64)),
        application_id=of.application_id,
        subscription_id=of.id,
        sequence=sequence,
        type="invoice.paid",
        data={"n": sequence},
        created_at=at,
    )


def delivery(
    of: OutboundEvent, endpoint: dict[str, Any], status: str, tried_at: datetime | None
) -> WebhookDelivery:
    return WebhookDelivery(
        endpoint_id=UUID(endpoint["id"]),
        event_id=of.id,
        application_id=of.application_id,
        lane=f"subscription/{of.subscription_id}",
        sequence=of.sequence,
        status=status,
        last_attempt_at=tried_at,
        delivered_at=tried_at if status == DELIVERED else None,
        created_at=of.created_at,
    )


async def told(api: Api, row: Subscription, *ages: timedelta) -> list[OutboundEvent]:
    made = [event(row, n, now() - age) for n, age in enumerate(ages, start=1)]
    await api.add(*made)
    return made


async def drop(api: Api) -> int:
    """What was over a month ago."""
    return await DeliveryLog(api.context.sessions).drop(now() - MONTH, now())


async def kept(api: Api) -> list[int]:
    return await api.all(select(OutboundEvent.sequence).order_by(OutboundEvent.sequence))


async def test_what_was_told_long_ago_goes_with_what_became_of_it(api: Api) -> None:
    endpoint = await register(api, ADDRESS)
    [row] = await subscriptions(api, 1)
    old, young = MONTH + timedelta(minutes=1), MONTH - timedelta(minutes=1)
    made = await told(api, row, old, old, old, old, young, young)
    await api.add(
        delivery(made[0], endpoint, DELIVERED, made[0].created_at),
        delivery(made[1], endpoint, FAILED, made[1].created_at),
        delivery(made[2], endpoint, SKIPPED, None),
        delivery(made[4], endpoint, DELIVERED, made[4].created_at),
    )
    api.context.retention = Retention(deliveries=MONTH)
    cleaner = Cleaner(api.context)

    assert await cleaner.clean_delivery_log() == 4
    assert await cleaner.clean_delivery_log() == 0

    assert await kept(api) == [5, 6]
    listed = (await read(api, endpoint, "/deliveries"))["data"]
    assert [one["event_id"] for one in listed] == [str(made[4].id)]


async def test_without_a_limit_all_of_it_is_kept(api: Api) -> None:
    [row] = await subscriptions(api, 1)
    await told(api, row, 400 * MONTH, 400 * MONTH)
    assert await Cleaner(api.context).clean_delivery_log() == 0
    assert await kept(api) == [1, 2]


async def test_what_is_owed_stays_for_its_endpoint_however_old(api: Api) -> None:
    owed, other = await register(api, ADDRESS), await register(api, ADDRESS)
    [row] = await subscriptions(api, 1)
    first, _ = await told(api, row, 10 * MONTH, 10 * MONTH)
    await api.add(
        delivery(first, owed, PENDING, first.created_at),
        delivery(first, other, DELIVERED, first.created_at),
    )
    paused = update(WebhookEndpoint).where(WebhookEndpoint.id == UUID(owed["id"]))
    await api.run(paused.values(status="paused"))
    assert await drop(api) == 0
    assert len(await api.all(select(WebhookDelivery.event_id))) == 2

    await change(api, owed, enabled=False)  # What it was owed is skipped.
    assert await drop(api) == 1
    assert await kept(api) == [2]


async def test_what_arrived_late_is_kept_as_long_from_then(api: Api) -> None:
    endpoint = await register(api, ADDRESS)
    [row] = await subscriptions(api, 1)
    first, _ = await told(api, row, 3 * MONTH, 3 * MONTH)
    await api.add(delivery(first, endpoint, DELIVERED, now() - MONTH + DAY))
    assert await drop(api) == 0


async def test_the_next_event_is_numbered_after_the_last_one(api: Api) -> None:
    one, other = await subscriptions(api, 2)
    await told(api, one, 2 * MONTH, 2 * MONTH, 2 * MONTH)
    await told(api, other, 2 * MONTH)
    log, moment = DeliveryLog(api.context.sessions), now()
    assert await log.drop(moment - MONTH, moment) == 2

    await tell(api, one)
    await tell(api, other)
    assert await kept(api) == [1, 2, 3, 4]
    # What was the newest is so no more; it is looked at again the next day.
    assert await log.drop(moment - MONTH, moment) == 0
    assert await log.drop(moment - MONTH, moment + ANEW_EVERY) == 2
    assert await kept(api) == [2, 4]


async def test_so_it_is_with_purchases_and_of_what_belongs_to_neither_all_goes(api: Api) -> None:
    row, _ = await bought(api)
    old, mine = now() - 2 * MONTH, api.ours.application_id
    ownerless: dict[str, Any] = {"application_id": mine, "data": {}, "created_at": old}
    moments = [first_id_at(old + timedelta(seconds=n)) for n in range(4)]
    await api.add(
        OutboundEvent(
            id=moments[0], purchase_id=row.id, sequence=1, type="purchase.paid", **ownerless
        ),
        OutboundEvent(
            id=moments[1], purchase_id=row.id, sequence=2, type="purchase.refunded", **ownerless
        ),
        OutboundEvent(id=moments[2], sequence=1, type="benefit.granted", **ownerless),
        OutboundEvent(id=moments[3], sequence=2, type="benefit.revoked", **ownerless),
    )
    assert await drop(api) == 3
    assert await api.all(select(OutboundEvent.type)) == ["purchase.refunded"]


@pytest.mark.parametrize("of_one", [False, True])
async def test_a_list_is_read_on_from_a_cursor_whose_event_is_gone(api: Api, of_one: bool) -> None:
    [row] = await subscriptions(api, 1)
    await told(api, row, *[2 * MONTH] * 4, DAY, DAY, DAY)
    asked: dict[str, Any] = {"subscription_id": str(row.id)} if of_one else {}

    async def page(**more: Any) -> tuple[list[int], str | None]:
        answer = (await api.ours.get("/events", limit=2, **asked, **more)).json()
        return [one["sequence"] for one in answer["data"]], answer["next_cursor"]

    first, cursor = await page()
    assert first == [1, 2]
    assert await drop(api) == 4
    second, cursor = await page(cursor=cursor)
    assert second == [5, 6]
    assert await page(cursor=cursor) == ([7], None)


async def test_what_is_being_sent_again_at_that_moment_stays(api: Api) -> None:
    """Also when the replay had not been committed before the dropping began."""
    endpoint = await register(api, ADDRESS)
    [row] = await subscriptions(api, 1)
    first, *_ = await told(api, row, 2 * MONTH, 2 * MONTH, 2 * MONTH)
    await api.add(delivery(first, endpoint, DELIVERED, first.created_at))
    async with api.context.sessions.begin() as session:
        choice = Choice(until=now() - MONTH)
        again = await queue_again(session, UUID(endpoint["id"]), choice)
        assert len(again) == 3
        assert await asyncio.wait_for(drop(api), 5) == 0
    assert await drop(api) == 0
    states = await api.all(select(WebhookDelivery.status))
    assert states == [PENDING] * 3
    assert await kept(api) == [1, 2, 3]


async def test_what_is_gone_is_not_sent_again(api: Api) -> None:
    endpoint = await register(api, ADDRESS)
    [row] = await subscriptions(api, 1)
    first, _, _ = await told(api, row, 2 * MONTH, 2 * MONTH, DAY)
    assert await drop(api) == 2
    of_it = f"{ENDPOINTS}/{endpoint['id']}"
    gone = await api.ours.post(f"{of_it}/deliveries/{first.id}/replay")
    assert gone.status_code == 404
    again = await api.ours.post(f"{of_it}/replay", {"since": (now() - 3 * MONTH).isoformat()})
    assert (again.status_code, again.json()["queued"]) == (202, 1)


async def test_a_replay_leaves_out_what_goes_at_that_moment(api: Api) -> None:
    endpoint = await register(api, ADDRESS)
    [row] = await subscriptions(api, 1)
    first, _, _ = await told(api, row, 2 * MONTH, DAY, DAY)
    since = {"since": (now() - 3 * MONTH).isoformat()}
    waiting = text("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    async with api.context.sessions.begin() as session:
        await session.execute(delete(OutboundEvent).where(OutboundEvent.id == first.id))
        replay = asyncio.create_task(api.ours.post(f"{ENDPOINTS}/{endpoint['id']}/replay", since))
        await eventually(lambda: api.all(waiting))
    again = await replay
    assert (again.status_code, again.json()["queued"]) == (202, 2)


async def test_an_endpoint_that_is_being_deleted_is_not_waited_for(api: Api) -> None:
    endpoint = await register(api, ADDRESS)
    [row] = await subscriptions(api, 1)
    first, _ = await told(api, row, 2 * MONTH, 2 * MONTH)
    await api.add(delivery(first, endpoint, DELIVERED, first.created_at))
    async with api.context.sessions.begin() as session:
        await session.delete(await session.get_one(WebhookEndpoint, UUID(endpoint["id"])))
        await session.flush()
        assert await asyncio.wait_for(drop(api), 5) == 0
    assert await drop(api) == 1


async def test_any_log_keeps_what_is_owed_young_or_last_and_nothing_else(api: Api) -> None:
    """Random logs, in batches that end anywhere; two replicas at once."""
    draw = random.Random(20261123)  # noqa: S311 - the same log each time
    endpoints = [await register(api, ADDRESS) for _ in range(2)]
    rows = await subscriptions(api, 12)
    moment, events, tries = now(), [], defaultdict(list)
    for row in rows:
        ages = sorted((draw.uniform(0, 90) for _ in range(draw.randint(1, 8))), reverse=True)
        for n, age in enumerate(ages, start=1):
            events.append(event(row, n, moment - age * DAY))
    for one in events:
        for endpoint in draw.sample(endpoints, draw.randint(0, 2)):
            at = draw.uniform(0, 1) * (moment - one.created_at) + one.created_at
            tries[one.id].append(delivery(one, endpoint, draw.choice(list(DeliveryStatus)), at))
    await api.add(*events, *(one for some in tries.values() for one in some))
    before = moment - MONTH

    logs = [DeliveryLog(api.context.sessions, batch=7) for _ in range(2)]
    dropped = sum(await asyncio.gather(*(log.drop(before, moment) for log in logs)))

    numbers: dict[UUID | None, int] = {one.subscription_id: one.sequence for one in events}
    expected = {
        one.id
        for one in events
        if one.created_at >= before
        or one.sequence == numbers[one.subscription_id]
        or any(
            it.status == PENDING or (it.last_attempt_at or moment) >= before for it in tries[one.id]
        )
    }
    assert set(await api.all(select(OutboundEvent.id))) == expected
    assert 0 < dropped == len(events) - len(expected)
    assert len(await api.all(select(WebhookDelivery.event_id))) == sum(
        len(tries[id_]) for id_ in expected
    )
