"""Storing a card: the row first, the provider's verdict when it comes."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError
from temporalio.worker import Worker

from models.commands import PaymentMethodResult
from models.storage.tables import Organization, PaymentMethod
from tests.api.support import Api, card, eventually, organization


@pytest.fixture
async def who(api: Api) -> Organization:
    row = organization(api.ours)
    await api.add(row)
    return row


async def add(api: Api, who: Organization, result: PaymentMethodResult, **row: Any) -> Any:
    """POST a card; the provider's verdict is `result`, and the activity would have written `row`."""
    body = {"organization_id": str(who.id), "token": "tok_visa_4242", "set_as_default": True}
    posted = asyncio.create_task(api.ours.post("/payment-methods", body, key="k"))

    async def pending() -> list[UUID]:
        return await api.all(select(PaymentMethod.id))

    method_id = (await eventually(pending))[0]
    handle = api.temporal.get_workflow_handle(f"payment-method/{method_id}")

    async def started() -> bool:
        try:
            await handle.describe()
        except RPCError:
            return False
        return True

    await eventually(started)
    if row:
        await api.run(update(PaymentMethod).values(row))
    await handle.signal("decide", result)
    return await posted


async def test_a_card_that_the_provider_takes_is_active(
    api: Api, who: Organization, worker: Worker
) -> None:
    verdict = PaymentMethodResult(status="active")
    answer = await add(api, who, verdict, status="active", last4="4242", setup_token=None)
    body = answer.json()

    assert answer.status_code == 201
    assert (body["status"], body["provider"], body["last4"]) == ("active", "conekta", "4242")
    assert "tok_visa_4242" not in answer.text
    assert (await api.ours.get(f"/payment-methods/{body['id']}")).json() == body


async def test_a_card_that_the_provider_refuses_is_a_402(
    api: Api, who: Organization, worker: Worker
) -> None:
    verdict = PaymentMethodResult(
        status="failed", failure_code="card_declined", failure_message="Ask your bank."
    )
    answer = await add(api, who, verdict, status="failed", failure_code="card_declined")
    body = answer.json()

    assert answer.status_code == 402
    assert (body["code"], body["detail"]) == ("payment_method_declined", "Ask your bank.")
    assert body["errors"][0]["code"] == "card_declined"
    again = await api.ours.post(
        "/payment-methods",
        {"organization_id": str(who.id), "token": "tok_visa_4242", "set_as_default": True},
        key="k",
    )
    assert again.json() == body


async def test_a_verdict_that_takes_long_is_awaited_elsewhere(
    api: Api, who: Organization, worker: Worker
) -> None:
    api.context.response_wait_seconds = 0.2
    body = {"organization_id": str(who.id), "token": "tok_1", "provider": "stripe"}
    answer = await api.ours.post("/payment-methods", body)
    assert answer.status_code == 202
    assert answer.json()["status"] == "pending"
    assert answer.json()["provider"] == "stripe"


async def test_the_token_waits_in_the_row_and_in_no_history(
    api: Api, who: Organization, worker: Worker
) -> None:
    api.context.response_wait_seconds = 0.2
    body = {"organization_id": str(who.id), "token": "tok_secret"}
    made = (await api.ours.post("/payment-methods", body)).json()
    handle = api.temporal.get_workflow_handle(f"payment-method/{made['id']}")

    assert await api.all(select(PaymentMethod.setup_token)) == ["tok_secret"]
    assert "tok_secret" not in (await handle.fetch_history()).to_json()


async def test_a_card_is_accepted_while_temporal_is_away(api: Api, who: Organization) -> None:
    api.context.temporal = await Client.connect(
        "127.0.0.1:9", lazy=True, data_converter=pydantic_data_converter
    )
    body = {"organization_id": str(who.id), "token": "tok_1"}
    answer = await api.ours.post("/payment-methods", body)
    assert answer.status_code == 202


@pytest.mark.parametrize(
    "change",
    [
        {"type": "oxxo"},
        {"provider": "polar"},
        {"provider": "paypal"},
        {"token": ""},
        {"cvc": "123"},
    ],
)
async def test_what_cannot_be_stored_is_refused(
    api: Api, who: Organization, change: dict[str, Any]
) -> None:
    body = {"organization_id": str(who.id), "token": "tok_1"}
    answer = await api.ours.post("/payment-methods", body | change)
    assert answer.status_code == 422
    assert await api.all(select(PaymentMethod)) == []


async def test_methods_are_listed_by_organization_and_provider(api: Api, who: Organization) -> None:
    other = organization(api.ours)
    rows = [card(who), card(who, provider="conekta"), card(other)]
    await api.add(other, *rows)

    async def ids(**params: Any) -> list[str]:
        found = (await api.ours.get("/payment-methods", **params)).json()["data"]
        return [row["id"] for row in found]

    assert await ids(organization_id=str(who.id)) == [str(rows[1].id), str(rows[0].id)]
    assert await ids(organization_id=str(who.id), provider="conekta") == [str(rows[1].id)]
    assert len(await ids()) == 3
