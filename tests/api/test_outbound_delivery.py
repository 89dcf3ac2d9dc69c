"""Events on their way: signed, in order, once at a time, and again after whatever goes wrong.

A real receiver listens on this machine; the couriers under test work on a real PostgreSQL.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, text, update
from standardwebhooks import Webhook

from activities.webhook_queue import hand_out
from api.clock import now
from api.outbound import queue
from api.outbound.courier import AT_ONCE_EACH_MAX, Courier
from api.outbound.health import settle
from api.outbound.sender import Result, Sender
from models.outbound import FAILING_AFTER, PAUSE_AFTER, PAUSES, RETRY_WINDOW
from models.storage.tables import (
    OutboundEvent,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookLane,
    new_id,
)
from tests.api.receiving import (
    Receiver,
    bring_all,
    change,
    read,
    receiving,
    register,
    set_health,
    subscriptions,
    tell,
    wait_is_over,
)
from tests.api.support import Api, eventually

SOMEBODY_WAITS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    " AND datname = current_database()"
)


@pytest.fixture
async def receiver(api: Api) -> AsyncIterator[Receiver]:
    api.context.sender = Sender(allow_private=True)
    async with receiving() as made:
        yield made
    await api.context.sender.aclose()


async def statuses(api: Api) -> Counter[str]:
    return Counter(await api.all(select(WebhookDelivery.status)))


async def test_an_event_arrives_signed_as_the_standard_says(api: Api, receiver: Receiver) -> None:
    endpoint = await register(api, receiver.url)
    [row] = await subscriptions(api, 1)
    await tell(api, row, "invoice.paid")

    assert await bring_all(api) == 1

    [got] = receiver.taken
    event = Webhook(endpoint["secret"]).verify(got.body, got.headers)
    [told] = (await api.ours.get("/events")).json()["data"]
    assert event == {
        "id": told["id"],
        "type": "invoice.paid",
        "version": 1,
        "timestamp": event["timestamp"],
        "sequence": 1,
        "subscription_id": str(row.id),
        "purchase_id": None,
        "data": told["data"],
    }
    assert got.id == told["id"]
    assert got.headers["content-type"] == "application/json"
    [delivery] = (await read(api, endpoint, "/deliveries"))["data"]
    assert (delivery["status"], delivery["attempts"]) == ("delivered", 1)
    assert (delivery["response_status"], delivery["next_attempt_at"]) == (204, None)
    assert await api.all(select(WebhookLane)) == [], "nothing is left to be looked at"
    health = await read(api, endpoint)
    assert health["last_success_at"] is not None
    assert health["consecutive_failures"] == 0


async def test_another_secret_does_not_verify_it(api: Api, receiver: Receiver) -> None:
    await register(api, receiver.url)
    other = await register(api, receiver.url + "/other", event_types=["trial.will_end"])
    [row] = await subscriptions(api, 1)
    await tell(api, row)
    await bring_all(api)
    [got] = receiver.taken
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(other["secret"]).verify(got.body, got.headers)


async def test_what_failed_comes_first_and_other_subscriptions_do_not_wait(
    api: Api, receiver: Receiver
) -> None:
    endpoint = await register(api, receiver.url)
    slow, quick = await subscriptions(api, 2)
    await tell(api, slow, "invoice.payment_failed", "invoice.paid", "subscription.active")
    await tell(api, quick, "invoice.paid", "subscription.active")
    receiver.answer = lambda got: 500 if got.event["type"] == "invoice.payment_failed" else 200

    await bring_all(api)

    assert receiver.of(slow) == [1], "the next one waits for the first"
    assert receiver.of(quick) == [1, 2]
    waiting = (await read(api, endpoint, "/deliveries", status="pending"))["data"]
    third, second, first = waiting
    assert first["next_attempt_at"] is not None
    assert (first["error"], first["response_status"], first["attempts"]) == ("refused", 500, 1)
    assert second["waits_for"] == third["waits_for"] == first["event_id"]
    assert second["next_attempt_at"] is None

    assert await bring_all(api) == 0, "not before its time"
    receiver.answer = lambda _: 200
    await wait_is_over(api)
    await bring_all(api)

    assert receiver.of(slow) == [1, 1, 2, 3]
    again = [one for one in receiver.taken if one.event["type"] == "invoice.payment_failed"]
    assert again[0].id == again[1].id
    assert again[0].body == again[1].body
    assert await statuses(api) == {"delivered": 5}


async def test_two_couriers_at_once_bring_each_event_once(api: Api, receiver: Receiver) -> None:
    await register(api, receiver.url)
    rows = await subscriptions(api, 10)
    for row in rows:
        await tell(api, row, *["invoice.paid"] * 3)

    tries = await asyncio.gather(*(bring_all(api, Courier(api.context)) for _ in range(2)))
    await bring_all(api)

    assert sum(tries) <= 30
    assert len(receiver.ids) == len(set(receiver.ids)) == 30
    assert all(receiver.of(row) == [1, 2, 3] for row in rows)


async def test_claims_at_the_same_moment_take_different_lanes_and_do_not_wait(
    api: Api, receiver: Receiver
) -> None:
    await register(api, receiver.url)
    for row in await subscriptions(api, 2):
        await tell(api, row)
    async with api.context.sessions.begin() as one, api.context.sessions.begin() as other:
        async with asyncio.timeout(10):
            [first] = await queue.claim(one, room=1, each=1, busy={})
            [second] = await queue.claim(other, room=2, each=2, busy={})
    assert first.delivery.lane != second.delivery.lane


async def test_a_failing_endpoint_is_claimed_by_one_at_a_time(api: Api, receiver: Receiver) -> None:
    endpoint = await register(api, receiver.url)
    await set_health(api, endpoint, consecutive_failures=FAILING_AFTER)
    for row in await subscriptions(api, 3):
        await tell(api, row)
    async with api.context.sessions.begin() as one:
        assert len(await queue.claim(one, room=9, each=9, busy={})) == 1
        async with api.context.sessions.begin() as other, asyncio.timeout(10):
            assert await queue.claim(other, room=9, each=9, busy={}) == []
    assert await bring_all(api) == 0, "held until its only try is over"


async def test_a_crash_after_the_sending_brings_the_same_event_again(
    api: Api, receiver: Receiver
) -> None:
    await register(api, receiver.url)
    [row] = await subscriptions(api, 1)
    await tell(api, row, "invoice.paid", "subscription.active")
    receiver.gate.clear()
    crashed = asyncio.create_task(Courier(api.context)._bring(await one_errand(api)))
    await receiver.arrived.wait()
    crashed.cancel()
    await asyncio.gather(crashed, return_exceptions=True)
    receiver.gate.set()

    assert await bring_all(api) == 0, "the claim of the dead one holds until it runs out"
    await wait_is_over(api)
    await bring_all(api)

    assert receiver.of(row) == [1, 1, 2]
    assert receiver.ids[0] == receiver.ids[1]
    assert await statuses(api) == {"delivered": 2}


async def one_errand(api: Api) -> queue.Errand:
    async with api.context.sessions.begin() as session:
        [errand] = await queue.claim(session, room=1, each=1, busy={})
    return errand


async def test_whoever_was_too_slow_writes_nothing_over_the_newer_claim(
    api: Api, receiver: Receiver
) -> None:
    endpoint = await register(api, receiver.url)
    [row] = await subscriptions(api, 1)
    await tell(api, row)
    slow = await one_errand(api)
    await wait_is_over(api)
    receiver.answer = lambda _: 500
    await bring_all(api)

    receiver.answer = lambda _: 200
    await Courier(api.context)._bring(slow)

    [delivery] = (await read(api, endpoint, "/deliveries"))["data"]
    assert (delivery["status"], delivery["attempts"]) == ("pending", 1)


async def test_what_is_told_while_the_last_event_is_written_down_is_not_missed(
    api: Api, receiver: Receiver
) -> None:
    """The lane is removed as empty by one who cannot see the new event yet."""
    await register(api, receiver.url)
    [row] = await subscriptions(api, 1)
    await tell(api, row)
    errand = await one_errand(api)
    async with api.context.sessions.begin() as session:
        held = await queue.lock(session, errand)
        assert held is not None
        telling = asyncio.create_task(tell(api, row))
        await eventually(lambda: somebody_waits(api))
        assert await settle(session, held, Result(), now(), now()) == "delivered"
    await telling

    await bring_all(api)

    assert receiver.of(row) == [2]


async def somebody_waits(api: Api) -> bool:
    return bool((await api.all(SOMEBODY_WAITS))[0])


async def test_an_event_is_given_up_after_three_days_and_the_next_one_goes(
    api: Api, receiver: Receiver
) -> None:
    endpoint = await register(api, receiver.url)
    [row] = await subscriptions(api, 1)
    await tell(api, row, "invoice.failed", "invoice.paid")
    receiver.answer = lambda got: 500 if got.event["type"] == "invoice.failed" else 200
    await bring_all(api)
    await api.run(update(WebhookDelivery).values(trying_since=now() - RETRY_WINDOW))
    await wait_is_over(api)

    await bring_all(api)

    assert receiver.of(row) == [1, 1, 2]
    paid, failed = (await read(api, endpoint, "/deliveries"))["data"]
    assert (failed["status"], failed["attempts"], failed["next_attempt_at"]) == ("failed", 2, None)
    assert paid["status"] == "delivered"


async def test_an_endpoint_that_fails_is_left_alone_until_it_is_well(
    api: Api, receiver: Receiver
) -> None:
    endpoint = await register(api, receiver.url)
    rows = await subscriptions(api, AT_ONCE_EACH_MAX + 4)
    for row in rows:
        await tell(api, row)
    receiver.answer = lambda _: 503
    assert await Courier(api.context).run_once() == AT_ONCE_EACH_MAX, "a first handful"
    health = await read(api, endpoint)
    assert health["consecutive_failures"] == AT_ONCE_EACH_MAX
    held = (await api.all(select(WebhookEndpoint.held_until)))[0] - now()
    assert held <= timedelta(seconds=8)

    receiver.answer = lambda _: 200
    await api.run(update(WebhookEndpoint).values(held_until=None))
    await bring_all(api)

    assert await statuses(api) == {"delivered": len(rows)}, (
        "well again: nothing waits its pause out"
    )


async def test_an_endpoint_that_failed_for_days_is_paused_and_loses_nothing(
    api: Api, receiver: Receiver
) -> None:
    endpoint = await register(api, receiver.url, event_types=["invoice.*"])
    await register(api, receiver.url + "/watch", event_types=["webhook_endpoint.*"])
    [row] = await subscriptions(api, 1)
    await tell(api, row)
    days = now() - PAUSE_AFTER
    await set_health(api, endpoint, consecutive_failures=FAILING_AFTER, failing_since=days)
    receiver.answer = lambda got: 500 if got.event["type"] == "invoice.paid" else 200

    await bring_all(api)

    health = await read(api, endpoint)
    assert (health["status"], health["status_reason"]) == ("paused", "failing")
    assert (health["enabled"], health["last_error"]) == (False, "refused")
    told = receiver.taken[-1].event
    assert told["type"] == "webhook_endpoint.paused"
    assert told["data"]["webhook_endpoint_id"] == endpoint["id"]
    audited = (await api.ours.get("/audit")).json()["data"]
    assert "webhook_endpoint.status" in [one["action"] for one in audited]

    await tell(api, row)
    await wait_is_over(api)
    assert await bring_all(api) == 0, "left alone"
    receiver.answer = lambda _: 200
    assert (await change(api, endpoint, enabled=True))["status"] == "enabled"
    await bring_all(api)
    assert receiver.of(row) == [1, 1, 2]


async def test_an_endpoint_that_says_gone_is_disabled(api: Api, receiver: Receiver) -> None:
    endpoint = await register(api, receiver.url)
    rows = await subscriptions(api, 2)
    await tell(api, rows[0], "invoice.paid", "subscription.active")
    receiver.answer = lambda _: 410

    await bring_all(api)

    health = await read(api, endpoint)
    assert (health["status"], health["status_reason"]) == ("disabled", "gone")
    assert await statuses(api) == {"failed": 1, "skipped": 1}
    await tell(api, rows[1])
    assert await statuses(api) == {"failed": 1, "skipped": 1}, "nothing is kept for it"
    assert await bring_all(api) == 0
    assert len(receiver.taken) == 1


async def test_an_endpoint_gets_what_it_chose_and_only_of_its_own_application(
    api: Api, receiver: Receiver
) -> None:
    await register(api, receiver.url, event_types=["subscription.*", "invoice.paid"])
    [ours], [theirs] = await subscriptions(api, 1), await subscriptions(api, 1, of=api.theirs)
    await tell(api, ours, "invoice.paid", "invoice.failed", "subscription.active")
    await tell(api, theirs, "invoice.paid")
    await bring_all(api)
    assert receiver.types == ["invoice.paid", "subscription.active"]
    assert receiver.of(ours) == [1, 3]
    assert await statuses(api) == {"delivered": 2}


async def test_benefits_belong_to_no_subscription_and_arrive_in_their_own_order(
    api: Api, receiver: Receiver
) -> None:
    await register(api, receiver.url)
    ids = {"organization_id": str(new_id()), "purchase_id": None}
    one, other = ({**ids, "benefit_id": str(new_id())} for _ in range(2))
    receiver.answer = lambda got: 500 if got.event["data"].get("first") else 200
    for data, sequence, type_ in (
        ({**one, "first": True}, 1, "benefit.granted"),
        (one, 2, "benefit.revoked"),
        (other, 1, "benefit.granted"),
    ):
        event = OutboundEvent(
            id=new_id(),
            application_id=api.ours.application_id,
            sequence=sequence,
            type=type_,
            data=data,
            created_at=now(),
        )
        async with api.context.sessions.begin() as session:
            session.add(event)
            await session.flush()
            await hand_out(session, [event.id])
    await bring_all(api)
    benefits = {got.event["data"]["benefit_id"] for got in receiver.taken}
    assert benefits == {one["benefit_id"], other["benefit_id"]}
    assert [got.event["sequence"] for got in receiver.taken] == [1, 1]
    receiver.answer = lambda _: 200
    await wait_is_over(api)
    await bring_all(api)
    assert [got.event["sequence"] for got in receiver.taken[2:]] == [1, 2]


async def test_the_courier_is_woken_by_what_is_told_and_ends_what_it_has_begun(
    api: Api, receiver: Receiver
) -> None:
    await register(api, receiver.url)
    rows = await subscriptions(api, 3)
    context = api.context
    helpers = [
        asyncio.create_task(context.doorbell.connect(context.engine)),
        asyncio.create_task(Courier(context).run()),
    ]
    for row in rows:
        await tell(api, row, "invoice.paid", "subscription.active")

    async def all_came() -> bool:
        return await statuses(api) == {"delivered": 6}

    await eventually(all_came)
    receiver.arrived.clear()
    receiver.gate.clear()
    await tell(api, rows[0])
    await asyncio.wait_for(receiver.arrived.wait(), 10)
    for helper in helpers:
        helper.cancel()
    asyncio.get_running_loop().call_soon(receiver.gate.set)
    await asyncio.gather(*helpers, return_exceptions=True)

    assert all(receiver.of(row)[:2] == [1, 2] for row in rows)
    assert await statuses(api) == {"delivered": 7}, "what was under way at the end is written down"
    text = context.metrics.render().decode()
    assert 'abono_outbound_deliveries_total{result="delivered"} 7.0' in text
    assert "abono_outbound_age_seconds_count 7.0" in text


async def test_a_secret_that_cannot_be_read_is_a_failure_and_not_an_unsigned_webhook(
    api: Api, receiver: Receiver
) -> None:
    endpoint = await register(api, receiver.url)
    [row] = await subscriptions(api, 1)
    await tell(api, row)
    api.context.pepper = "another pepper"
    courier = Courier(api.context)
    api.context.pepper = "test pepper"

    await courier.run_once()

    assert receiver.taken == []
    [delivery] = (await read(api, endpoint, "/deliveries"))["data"]
    assert (delivery["status"], delivery["error"]) == ("pending", "secret_unreadable")


async def test_a_receiver_that_is_not_there_is_tried_again(api: Api, receiver: Receiver) -> None:
    endpoint = await register(api, "http://127.0.0.1:9/hooks")
    [row] = await subscriptions(api, 1)
    await tell(api, row)
    await bring_all(api)
    [delivery] = (await read(api, endpoint, "/deliveries"))["data"]
    assert (delivery["status"], delivery["error"]) == ("pending", "connection_failed")
    assert delivery["response_status"] is None
    assert (
        timedelta(0)
        < datetime.fromisoformat(delivery["next_attempt_at"]) - now()
        <= PAUSES[0] * 1.2
    )
