"""The delivery log, sending events again, and trying an endpoint out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import select
from standardwebhooks import Webhook

from api.clock import now
from api.outbound.sender import Sender
from models.storage.tables import OutboundEvent
from tests.api.receiving import (
    ENDPOINTS,
    Receiver,
    bring_all,
    change,
    read,
    receiving,
    register,
    subscriptions,
    tell,
    wait_is_over,
)
from tests.api.support import Api


@pytest.fixture
async def receiver(api: Api) -> AsyncIterator[Receiver]:
    api.context.sender = Sender(allow_private=True)
    async with receiving() as made:
        yield made
    await api.context.sender.aclose()


async def test_one_delivery_is_sent_again_with_the_same_id(api: Api, receiver: Receiver) -> None:
    endpoint = await register(api, receiver.url)
    [row] = await subscriptions(api, 1)
    await tell(api, row)
    await bring_all(api)
    [event_id] = receiver.ids
    path = f"{ENDPOINTS}/{endpoint['id']}/deliveries/{event_id}/replay"

    again = await api.ours.post(path, key="again")
    assert (await api.ours.post(path, key="again")).json() == again.json()
    await bring_all(api)

    assert (again.status_code, again.json()["status"]) == (202, "pending")
    assert receiver.ids == [event_id, event_id]
    delivery = await read(api, endpoint, f"/deliveries/{event_id}")
    assert (delivery["status"], delivery["attempts"]) == ("delivered", 2)


async def test_a_replay_ends_a_long_wait(api: Api, receiver: Receiver) -> None:
    endpoint = await register(api, receiver.url)
    [row] = await subscriptions(api, 1)
    await tell(api, row, "invoice.failed", "invoice.paid")
    receiver.answer = lambda _: 500
    await bring_all(api)
    receiver.answer = lambda _: 200
    assert await bring_all(api) == 0
    path = f"{ENDPOINTS}/{endpoint['id']}/deliveries/{receiver.ids[0]}/replay"
    assert (await api.ours.post(path)).status_code == 202
    await bring_all(api)
    assert receiver.of(row) == [1, 1, 2]


async def test_a_new_endpoint_can_be_sent_what_was_before_it(api: Api, receiver: Receiver) -> None:
    rows = await subscriptions(api, 2)
    begin = now()
    for row in rows:
        await tell(api, row, "invoice.paid", "subscription.active", "invoice.failed")
    endpoint = await register(api, receiver.url, event_types=["invoice.*"])
    assert await bring_all(api) == 0

    replay = await api.ours.post(
        f"{ENDPOINTS}/{endpoint['id']}/replay", {"since": begin.isoformat()}
    )
    await bring_all(api)

    assert replay.status_code == 202
    assert replay.json()["queued"] == 4
    assert not replay.json()["has_more"]
    for row in rows:
        assert receiver.of(row) == [1, 3], "in order, and only what it chose"
    one = (await api.all(select(OutboundEvent.id).where(OutboundEvent.sequence == 2)))[0]
    chosen = f"{ENDPOINTS}/{endpoint['id']}/deliveries/{one}/replay"
    assert (await api.ours.post(chosen)).status_code == 202, "by its id, whatever it chose"
    await bring_all(api)
    assert receiver.ids[-1] == str(one)


async def test_a_replay_of_a_time_takes_that_time_or_only_what_never_arrived(
    api: Api, receiver: Receiver
) -> None:
    endpoint = await register(api, receiver.url)
    [row] = await subscriptions(api, 1)
    await tell(api, row)
    await bring_all(api)
    await change(api, endpoint, enabled=False)
    await tell(api, row)
    middle = now()
    await tell(api, row)
    await change(api, endpoint, enabled=True)
    path = f"{ENDPOINTS}/{endpoint['id']}/replay"
    long_ago = (now() - timedelta(days=1)).isoformat()

    async def queued(**body: object) -> int:
        answer = await api.ours.post(path, body)
        assert answer.status_code == 202, answer.text
        await bring_all(api)
        found: int = answer.json()["queued"]
        return found

    assert await queued(since=(now() + timedelta(days=1)).isoformat()) == 0
    assert await queued(since=middle.isoformat()) == 1
    assert receiver.of(row) == [1, 3]
    assert await queued(since=long_ago, undelivered_only=True) == 1
    assert receiver.of(row) == [1, 3, 2]
    assert await queued(since=long_ago, until=middle.isoformat()) == 2
    assert receiver.of(row) == [1, 3, 2, 1, 2]
    first = (await api.all(select(OutboundEvent.id).order_by(OutboundEvent.id)))[0]
    assert await queued(since=long_ago, after=str(first)) == 2
    assert receiver.of(row) == [1, 3, 2, 1, 2, 2, 3]


async def test_a_disabled_endpoint_is_sent_nothing_again(api: Api, receiver: Receiver) -> None:
    endpoint = await register(api, receiver.url, enabled=False)
    [row] = await subscriptions(api, 1)
    await tell(api, row)
    [event] = await api.all(select(OutboundEvent.id))
    for action, body in (
        ("replay", {"since": now().isoformat()}),
        (f"deliveries/{event}/replay", None),
    ):
        answer = await api.ours.post(f"{ENDPOINTS}/{endpoint['id']}/{action}", body)
        assert (answer.status_code, answer.json()["code"]) == (409, "webhook_endpoint_disabled")


async def test_an_endpoint_is_tried_out_whatever_its_state(api: Api, receiver: Receiver) -> None:
    endpoint = await register(api, receiver.url, enabled=False)
    path = f"{ENDPOINTS}/{endpoint['id']}/test"
    receiver.text = b"thanks"

    good = (await api.ours.post(path)).json()
    receiver.answer = lambda _: 404
    bad = (await api.ours.post(path)).json()

    assert good == {
        "delivered": True,
        "response_status": 204,
        "response_excerpt": good["response_excerpt"],
        "error": None,
    }
    assert (bad["delivered"], bad["response_status"], bad["error"]) == (False, 404, "refused")
    assert bad["response_excerpt"] == "thanks"
    for got in receiver.taken:
        event = Webhook(endpoint["secret"]).verify(got.body, got.headers)
        assert event["type"] == "webhook.test"
        assert event["data"] == {"webhook_endpoint_id": endpoint["id"]}
    assert (await api.ours.get("/events")).json()["data"] == []
    assert (await read(api, endpoint))["consecutive_failures"] == 0


async def test_the_log_is_read_in_pages_and_by_status(api: Api, receiver: Receiver) -> None:
    endpoint = await register(api, receiver.url)
    rows = await subscriptions(api, 3)
    for row in rows:
        await tell(api, row)
    receiver.answer = lambda got: 500 if got.event["subscription_id"] == str(rows[1].id) else 200
    await bring_all(api)
    page = await read(api, endpoint, "/deliveries", limit=2)
    assert page["has_more"]
    rest = await read(api, endpoint, "/deliveries", limit=2, cursor=page["next_cursor"])
    ids = [one["event_id"] for one in page["data"] + rest["data"]]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 3
    [failing] = (await read(api, endpoint, "/deliveries", status="pending"))["data"]
    assert failing["subscription_id"] == str(rows[1].id)
    await wait_is_over(api)
    receiver.answer = lambda _: 200
    await bring_all(api)
    assert (await read(api, endpoint, "/deliveries", status="pending"))["data"] == []
