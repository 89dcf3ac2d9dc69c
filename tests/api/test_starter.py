"""What was accepted is started, also when Temporal was away or the process died."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError
from temporalio.worker import Worker

from api.clock import now
from api.starter import Starter
from models.storage.tables import PaymentMethod, Subscription
from tests.api.support import Api, organization, plan, price


def starter(api: Api) -> Starter:
    return Starter(api.context)


async def age(api: Api, table: Any, seconds: float) -> None:
    moment = now() - timedelta(seconds=seconds)
    await api.run(update(table).values(created_at=moment, updated_at=moment))


async def away() -> Client:
    return await Client.connect("127.0.0.1:9", lazy=True, data_converter=pydantic_data_converter)


async def exists(api: Api, workflow_id: str) -> bool:
    try:
        await api.temporal.get_workflow_handle(workflow_id).describe()
    except RPCError:
        return False
    return True


@pytest.fixture
async def accepted(api: Api) -> UUID:
    """A subscription that was accepted while Temporal was away."""
    who, what = organization(api.ours), plan(api.ours)
    await api.add(who, what, price(what))
    api.context.temporal = await away()
    body = {
        "organization_id": str(who.id),
        "plan_id": str(what.id),
        "billing_interval": "monthly",
        "payment_method_type": "oxxo",
    }
    answer = await api.ours.post("/subscriptions", body)
    assert answer.status_code == 202
    return UUID(answer.json()["id"])


async def test_an_accepted_opening_is_started_when_temporal_is_back(
    api: Api, accepted: UUID, worker: Worker
) -> None:
    await age(api, Subscription, 11)
    assert await starter(api).run_once() == 0

    api.context.temporal = api.temporal
    assert await starter(api).run_once() == 1

    handle = api.temporal.get_workflow_handle(f"subscription/{accepted}")
    assert await handle.query("said") == ["open by abono:starter"]


async def test_it_leaves_alone_what_a_request_is_just_starting(api: Api, accepted: UUID) -> None:
    api.context.temporal = api.temporal
    await age(api, Subscription, 8)
    assert await starter(api).run_once() == 0


async def test_a_try_in_vain_is_repeated_less_and_less(
    api: Api, accepted: UUID, worker: Worker
) -> None:
    api.context.temporal = api.temporal
    await age(api, Subscription, 40)
    assert await starter(api).run_once() == 1
    assert await starter(api).run_once() == 0

    tried = now() - timedelta(seconds=15)
    await api.run(update(Subscription).values(updated_at=tried))
    assert await starter(api).run_once() == 0

    tried = now() - timedelta(seconds=61)
    await api.run(update(Subscription).values(updated_at=tried))
    assert await starter(api).run_once() == 1


async def test_what_its_workflow_has_written_is_not_started_again(api: Api, accepted: UUID) -> None:
    api.context.temporal = api.temporal
    await age(api, Subscription, 100)
    await api.run(update(Subscription).values(version=1))
    assert await starter(api).run_once() == 0
    assert not await exists(api, f"subscription/{accepted}")


async def test_an_accepted_card_is_handed_on_too(api: Api, worker: Worker) -> None:
    who = organization(api.ours)
    await api.add(who)
    api.context.temporal = await away()
    body = {"organization_id": str(who.id), "token": "tok_1"}
    made = (await api.ours.post("/payment-methods", body)).json()
    await age(api, PaymentMethod, 11)

    api.context.temporal = api.temporal
    assert await starter(api).run_once() == 1
    assert await exists(api, f"payment-method/{made['id']}")
    assert await api.all(select(PaymentMethod.status)) == ["pending"]


async def test_two_starters_share_the_work(api: Api, accepted: UUID, worker: Worker) -> None:
    api.context.temporal = api.temporal
    await age(api, Subscription, 11)
    first, second = starter(api), starter(api)
    assert await first.run_once() + await second.run_once() == 1
