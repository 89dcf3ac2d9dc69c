"""Commands to a subscription: carried out, accepted, refused, or honestly not known."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker

from models.storage.tables import Organization, Subscription
from models.subscription import SubscriptionTerms
from tests.api.support import Api, card, organization, plan, price, subscription


@pytest.fixture
async def opened(api: Api, worker: Worker) -> str:
    """The id of a subscription whose workflow runs."""
    who, what = organization(api.ours), plan(api.ours)
    await api.add(who, what, price(what))
    body = {
        "organization_id": str(who.id),
        "plan_id": str(what.id),
        "billing_interval": "monthly",
        "payment_method_type": "spei",
    }
    made: str = (await api.ours.post("/subscriptions", body)).json()["id"]
    return made


async def said(api: Api, subscription_id: str) -> list[str]:
    handle = api.temporal.get_workflow_handle(f"subscription/{subscription_id}")
    found: list[str] = await handle.query("said")
    return found


async def test_a_command_is_carried_out_once_for_a_key(api: Api, opened: str) -> None:
    first = await api.ours.post(f"/subscriptions/{opened}/cancel", key="k")
    again = await api.ours.post(f"/subscriptions/{opened}/cancel", key="k")
    other = await api.ours.post(f"/subscriptions/{opened}/cancel")

    assert (first.status_code, again.status_code, other.status_code) == (200, 200, 200)
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    cancels = [line for line in await said(api, opened) if line.startswith("cancel by key:abk_")]
    assert len(cancels) == 2


async def test_what_the_workflow_refuses_is_a_conflict(api: Api, opened: str) -> None:
    answer = await api.ours.post(f"/subscriptions/{opened}/resume")
    assert answer.status_code == 409
    assert answer.json()["code"] == "conflict"
    assert answer.json()["detail"] == "there is nothing to take back"


async def test_what_takes_long_is_accepted(api: Api, opened: str) -> None:
    api.context.response_wait_seconds = 0.5
    answer = await api.ours.post(f"/subscriptions/{opened}/retry")
    assert answer.status_code == 202
    assert answer.json()["id"] == opened


async def test_a_retry_needs_a_usable_method(api: Api, opened: str) -> None:
    other = organization(api.ours)
    await api.add(other, method := card(other))
    body = {"payment_method_id": str(method.id)}
    answer = await api.ours.post(f"/subscriptions/{opened}/retry", body)
    assert answer.status_code == 422


async def test_a_subscription_that_has_ended_takes_no_more_commands(api: Api, opened: str) -> None:
    params = {"cancel_immediately": "true"}
    first = await api.ours.post(f"/subscriptions/{opened}/cancel", params=params)
    await api.temporal.get_workflow_handle(f"subscription/{opened}").result()
    second = await api.ours.post(f"/subscriptions/{opened}/cancel", params=params)

    assert first.status_code == 200
    assert second.status_code == 409
    assert "has ended" in second.json()["detail"]


@pytest.mark.parametrize(
    ("status", "detail"), [("canceled", "is canceled"), ("incomplete", "still being opened")]
)
async def test_a_subscription_without_a_workflow_is_a_conflict(
    api: Api, status: str, detail: str
) -> None:
    who, what = organization(api.ours), plan(api.ours)
    await api.add(who, what, row := subscription(who, what, status=status))
    answer = await api.ours.post(f"/subscriptions/{row.id}/cancel")
    assert answer.status_code == 409
    assert detail in answer.json()["detail"]


async def test_a_command_that_nobody_accepts_is_not_said_to_be(api: Api, opened: str) -> None:
    api.context.temporal = await Client.connect(
        "127.0.0.1:9", lazy=True, data_converter=pydantic_data_converter
    )
    away = await api.ours.post(f"/subscriptions/{opened}/cancel", key="k")
    api.context.temporal = api.temporal
    back = await api.ours.post(f"/subscriptions/{opened}/cancel", key="k")

    assert (away.status_code, away.json()["code"]) == (503, "unavailable")
    assert back.status_code == 200


async def test_opening_twice_opens_once(api: Api, opened: str) -> None:
    commands = api.context.commands
    (row,) = await api.all(Subscription.__table__.select().with_only_columns(Subscription.opening))
    terms = SubscriptionTerms.model_validate(row)

    again = await commands.open(terms, "test")
    await commands.ensure_open(terms, "test")

    assert again is not None
    assert len(await said(api, opened)) == 1


async def test_an_opening_never_revives_what_has_ended(api: Api, opened: str) -> None:
    params: dict[str, Any] = {"cancel_immediately": True}
    await api.ours.post(f"/subscriptions/{opened}/cancel", params=params)
    handle = api.temporal.get_workflow_handle(f"subscription/{opened}")
    await handle.result()
    (row,) = await api.all(Subscription.__table__.select().with_only_columns(Subscription.opening))

    await api.context.commands.open(SubscriptionTerms.model_validate(row), "test")

    assert (
        len([found async for found in api.temporal.list_workflows(f"WorkflowId='{handle.id}'")])
        <= 1
    )
    assert (await handle.describe()).status is not None


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (None, "pause now until None"),
        ({"at": "now"}, "pause now until None"),
        (
            {"at": "period_end", "resume_at": "2027-02-01T06:00:00+06:00"},
            "pause period_end until 2027-02-01 00:00:00+00:00",
        ),
    ],
)
async def test_a_pause_is_now_unless_the_period_is_to_end_first(
    api: Api, opened: str, body: dict[str, Any] | None, line: str
) -> None:
    answer = await api.ours.post(f"/subscriptions/{opened}/pause", body)
    assert answer.status_code == 200, answer.text
    assert {"paused_at", "resume_at"} <= set(answer.json())
    told = (await said(api, opened))[-1].replace("06:00:00+06:00", "00:00:00+00:00")
    assert told == line


@pytest.mark.parametrize(
    "body", [{"at": "tomorrow"}, {"resume_at": "2027-02-01T00:00:00"}, {"until": "2027-02-01"}]
)
async def test_a_pause_that_makes_no_sense_is_refused(
    api: Api, opened: str, body: dict[str, Any]
) -> None:
    answer = await api.ours.post(f"/subscriptions/{opened}/pause", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_another_payment_method_has_to_be_usable(api: Api, opened: str) -> None:
    row = (await api.all(select(Subscription)))[0]
    mine = await api.all(select(Organization).where(Organization.id == row.organization_id))
    other = organization(api.ours)
    await api.add(other, foreign := card(other), gone := card(mine[0], status="detached"))
    await api.add(good := card(mine[0]))
    path = f"/subscriptions/{opened}/payment-method"
    for method, status in ((foreign, 422), (gone, 409), (good, 200)):
        answer = await api.ours.post(path, {"payment_method_id": str(method.id)})
        assert answer.status_code == status, answer.text
    assert (await said(api, opened))[-1] == f"pay with {good.id}"
    assert (await api.ours.post(path, {})).status_code == 422
