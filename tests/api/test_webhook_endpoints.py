"""Webhook endpoints by HTTP: made, changed, rotated, and nobody else's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text, update
from standardwebhooks import Webhook

from api.outbound.secrets import SECRETS_MAX, Sealer, Unreadable, new_secret, rotated, valid
from api.outbound.sender import Sender
from api.routes.webhook_endpoints import ENDPOINTS_MAX
from models.storage.tables import ApiKey, AuditEntry, WebhookDelivery, WebhookEndpoint
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
)
from tests.api.support import Api

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
async def receiver(api: Api) -> AsyncIterator[Receiver]:
    api.context.sender = Sender(allow_private=True)
    async with receiving() as made:
        yield made
    await api.context.sender.aclose()


async def test_an_endpoint_is_made_with_a_secret_that_is_shown_once(
    api: Api, receiver: Receiver
) -> None:
    made = await register(api, receiver.url, description="Grants access")
    assert made["secret"].startswith("whsec_")
    assert (made["status"], made["enabled"], made["event_types"]) == ("enabled", True, ["*"])
    shown = await read(api, made)
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    [listed] = (await api.ours.get(ENDPOINTS)).json()["data"]
    assert listed == shown
    stored = await everything_stored(api)
    assert made["secret"] not in stored
    assert made["secret"].removeprefix("whsec_") not in stored


async def everything_stored(api: Api) -> str:
    tables = ("webhook_endpoints", "idempotency_keys", "audit_log")
    rows = [
        await api.all(text(f"SELECT t::text FROM {table} AS t"))  # noqa: S608
        for table in tables
    ]
    return str(rows)


async def test_the_same_key_makes_one_endpoint_and_says_the_same_secret(
    api: Api, receiver: Receiver
) -> None:
    body = {"url": receiver.url}
    first = await api.ours.post(ENDPOINTS, body, key="once")
    again = await api.ours.post(ENDPOINTS, body, key="once")
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["idempotent-replayed"] == "true"
    assert first.json()["secret"] not in await everything_stored(api)
    assert len(await api.all(select(WebhookEndpoint))) == 1
    other = await api.ours.post(ENDPOINTS, {"url": receiver.url + "/x"}, key="once")
    assert other.json()["code"] == "idempotency_key_reused"


async def test_during_a_rotation_both_secrets_verify(api: Api, receiver: Receiver) -> None:
    made = await register(api, receiver.url)
    path = f"{ENDPOINTS}/{made['id']}/rotate-secret"
    second = (await api.ours.post(path, {"overlap_hours": 1}, key="r1")).json()
    assert (await api.ours.post(path, {"overlap_hours": 1}, key="r1")).json() == second
    assert second["secret"] != made["secret"]
    assert [one["expires_at"] is None for one in second["secrets"]] == [True, False]
    [row] = await subscriptions(api, 1)
    await tell(api, row)
    await bring_all(api)
    [got] = receiver.taken
    assert len(got.headers["webhook-signature"].split()) == 2
    for secret in (made["secret"], second["secret"]):
        assert Webhook(secret).verify(got.body, got.headers)["sequence"] == 1

    third = (await api.ours.post(path, {"overlap_hours": 0})).json()
    await tell(api, row)
    await bring_all(api)
    got = receiver.taken[-1]
    assert Webhook(third["secret"]).verify(got.body, got.headers)["sequence"] == 2
    for secret in (made["secret"], second["secret"]):
        with pytest.raises(Exception, match="No matching signature"):
            Webhook(secret).verify(got.body, got.headers)


@given(st.lists(st.integers(0, 168), min_size=1, max_size=6), st.integers(0, 400))
def test_at_any_time_the_newest_secret_signs_and_no_old_one_longer_than_it_was_given(
    overlaps: list[int], later: int
) -> None:
    secrets = [{"id": "0", "expires_at": None}]
    promised: dict[str, datetime] = {}
    for number, hours in enumerate(overlaps, start=1):
        at = NOW + timedelta(hours=number * 24)
        end = at + timedelta(hours=hours)
        for one in valid(secrets, at):
            promised[one["id"]] = min(promised.get(one["id"], end), end)
        new: dict[str, Any] = {"id": str(number), "expires_at": None}
        secrets = rotated(secrets, new, at, timedelta(hours=hours))
        assert len(secrets) <= SECRETS_MAX
    at = NOW + timedelta(hours=later) + timedelta(hours=len(overlaps) * 24)
    signing = [one["id"] for one in valid(secrets, at)]
    assert signing[0] == str(len(overlaps))
    assert all(promised[one] > at for one in signing[1:])


def test_a_secret_is_sealed_under_the_pepper() -> None:
    secret = new_secret()
    sealed = Sealer("one").seal(secret, NOW)
    assert Sealer("one").open(sealed) == secret
    with pytest.raises(Unreadable):
        Sealer("two").open(sealed)


async def test_fields_change_alone_and_are_audited(api: Api, receiver: Receiver) -> None:
    made = await register(api, receiver.url, description="First")
    changed = await change(api, made, event_types=["invoice.*"], description=None)
    assert (changed["event_types"], changed["description"]) == (["invoice.*"], None)
    assert changed["url"] == made["url"]
    disabled = await change(api, made, enabled=False)
    assert (disabled["status"], disabled["status_reason"]) == ("disabled", "by_request")
    enabled = await change(api, made, enabled=True)
    assert (enabled["status"], enabled["status_reason"]) == ("enabled", None)
    entries = await api.all(select(AuditEntry).order_by(AuditEntry.id))
    assert [one.action.removeprefix("webhook_endpoint.") for one in entries] == [
        "created",
        "changed",
        "status",
        "status",
    ]
    assert entries[1].before["event_types"] == ["*"]


async def test_while_it_is_disabled_nothing_is_kept(api: Api, receiver: Receiver) -> None:
    made = await register(api, receiver.url)
    [row] = await subscriptions(api, 1)
    await tell(api, row)
    await change(api, made, enabled=False)
    await tell(api, row)
    await change(api, made, enabled=True)
    await bring_all(api)
    assert receiver.taken == []
    await tell(api, row)
    await bring_all(api)
    assert receiver.of(row) == [3]


async def test_what_waits_goes_to_the_new_url(api: Api, receiver: Receiver) -> None:
    made = await register(api, "http://127.0.0.1:9/old")
    [row] = await subscriptions(api, 1)
    await tell(api, row)
    await change(api, made, url=receiver.url)
    await bring_all(api)
    assert receiver.of(row) == [1]


async def test_deleting_takes_what_waits_with_it(api: Api, receiver: Receiver) -> None:
    made = await register(api, receiver.url)
    [row] = await subscriptions(api, 1)
    await tell(api, row)
    path = f"/api/v1/billing{ENDPOINTS}/{made['id']}"
    assert (await api.ours.http.delete(path)).status_code == 204
    assert (await api.ours.http.delete(path)).status_code == 404
    assert await bring_all(api) == 0
    assert await api.all(select(WebhookDelivery)) == []
    assert len((await api.ours.get("/events")).json()["data"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"url": "https://shop.example", "event_types": ["invoice.payd"]},
        {"url": "https://shop.example", "event_types": []},
        {"url": "https://shop.example", "event_types": ["inv*"]},
        {"url": "https://shop.example", "secret": "mine"},
        {"event_types": ["*"]},
    ],
)
async def test_what_makes_no_sense_is_refused(api: Api, body: dict[str, Any]) -> None:
    answer = await api.ours.post(ENDPOINTS, body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_an_application_has_a_bounded_number_of_them(api: Api, receiver: Receiver) -> None:
    made = await register(api, receiver.url)
    [template] = await api.all(select(WebhookEndpoint))
    columns = {c.name: getattr(template, c.name) for c in WebhookEndpoint.__table__.columns}
    await api.add(
        *(WebhookEndpoint(**{**columns, "id": uuid4()}) for _ in range(ENDPOINTS_MAX - 1))
    )
    full = await api.ours.post(ENDPOINTS, {"url": receiver.url})
    assert (full.status_code, full.json()["code"]) == (409, "too_many_webhook_endpoints")
    assert (await api.theirs.post(ENDPOINTS, {"url": receiver.url})).status_code == 201
    await api.ours.http.delete(f"/api/v1/billing{ENDPOINTS}/{made['id']}")
    assert (await api.ours.post(ENDPOINTS, {"url": receiver.url})).status_code == 201


async def test_every_change_needs_its_scope(api: Api, receiver: Receiver) -> None:
    made = await register(api, receiver.url)
    event = uuid4()
    await api.run(update(ApiKey).values(scopes=["billing:read", "billing:write"]))
    path = f"{ENDPOINTS}/{made['id']}"
    assert (await api.ours.get(path)).status_code == 200
    for action, body in (
        ("", {"url": receiver.url}),
        (f"/{made['id']}/rotate-secret", {}),
        (f"/{made['id']}/test", None),
        (f"/{made['id']}/replay", {"since": "2026-11-01T00:00:00Z"}),
        (f"/{made['id']}/deliveries/{event}/replay", None),
    ):
        answer = await api.ours.post(ENDPOINTS + action, body)
        assert (answer.status_code, action) == (403, action)
    http, url = api.ours.http, f"/api/v1/billing{path}"
    assert (await http.patch(url, json={"enabled": False})).status_code == 403
    assert (await http.delete(url)).status_code == 403


async def test_their_endpoint_looks_like_none(api: Api, receiver: Receiver) -> None:
    made = await register(api, receiver.url, of=api.theirs)
    [theirs], [mine] = await subscriptions(api, 1, of=api.theirs), await subscriptions(api, 1)
    await tell(api, theirs)
    await tell(api, mine)
    await bring_all(api)
    [event_id] = receiver.ids
    assert (await api.ours.get(ENDPOINTS)).json()["data"] == []
    own = await register(api, receiver.url, event_types=["trial.will_end"])
    for endpoint_id in (made["id"], str(uuid4())):
        path = f"{ENDPOINTS}/{endpoint_id}"
        url = f"/api/v1/billing{path}"
        answers = [
            await api.ours.get(path),
            await api.ours.get(f"{path}/deliveries"),
            await api.ours.get(f"{path}/deliveries/{event_id}"),
            await api.ours.post(f"{path}/rotate-secret", {}),
            await api.ours.post(f"{path}/test"),
            await api.ours.post(f"{path}/replay", {"since": "2026-11-01T00:00:00Z"}),
            await api.ours.post(f"{path}/deliveries/{event_id}/replay"),
            await api.ours.http.patch(url, json={"enabled": False}),
            await api.ours.http.delete(url),
        ]
        assert {one.status_code for one in answers} == {404}
    # Their event is none that could be sent to an endpoint of ours.
    stolen = await api.ours.post(f"{ENDPOINTS}/{own['id']}/deliveries/{event_id}/replay")
    assert stolen.status_code == 404
    assert UUID(event_id)
    assert len(receiver.taken) == 1
