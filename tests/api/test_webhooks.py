"""Taking webhooks: verified, stored, answered; nothing that was not verified leaves a trace."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import update

from api.clock import now
from models.storage.engine import make_engine, make_sessions
from models.storage.tables import WebhookEvent
from providers.registry import ProviderRegistry
from tests.api.support import (
    CONEKTA_SECRET,
    Api,
    refund_event,
    stripe_webhook,
)

URL = "/api/v1/webhooks"


async def send(api: Api, body: Any) -> Any:
    return await api.anyone.post(f"{URL}/stripe", **stripe_webhook(body))


async def test_a_webhook_is_stored_and_answered(api: Api) -> None:
    body = refund_event()
    answer = await send(api, body)
    (row,) = await api.inbox()

    assert (answer.status_code, answer.json()) == (200, {"status": "accepted"})
    assert (row.provider, row.account, row.provider_event_id) == ("stripe", "default", body["id"])
    assert (row.kind, row.event_type) == ("look", "charge.refunded")
    assert (row.applied_at, row.attempts) == (None, 0)
    assert row.payload == body
    assert row.next_dispatch_at - row.received_at == timedelta(seconds=1)


async def test_an_event_with_nothing_for_us_is_stored_as_done(api: Api) -> None:
    await send(api, refund_event(type="customer.updated"))
    (row,) = await api.inbox()
    assert (row.kind, row.disposition) == ("ignored", "ignored")
    assert row.applied_at is not None


async def test_a_repetition_is_known(api: Api) -> None:
    body = refund_event()
    answers = [await send(api, body) for _ in range(3)]
    assert [answer.json()["status"] for answer in answers] == [
        "accepted",
        "already_processed",
        "already_processed",
    ]
    assert len(await api.inbox()) == 1


async def test_eight_repetitions_at_once_are_stored_once(api: Api) -> None:
    body = refund_event()
    answers = await asyncio.gather(*(send(api, body) for _ in range(8)))
    assert sorted(answer.json()["status"] for answer in answers)[:2] == [
        "accepted",
        "already_processed",
    ]
    assert {answer.status_code for answer in answers} == {200}
    assert len(await api.inbox()) == 1


async def test_a_repetition_of_what_is_stuck_makes_it_due(api: Api) -> None:
    body = refund_event()
    await send(api, body)
    later = now() + timedelta(hours=1)
    await api.run(
        update(WebhookEvent).values(received_at=now() - timedelta(hours=1), next_dispatch_at=later)
    )
    await send(api, body)
    (row,) = await api.inbox()
    assert row.next_dispatch_at < now() + timedelta(seconds=1)


async def test_a_repetition_of_what_is_under_way_changes_nothing(api: Api) -> None:
    body = refund_event()
    await send(api, body)
    (before,) = await api.inbox()
    await send(api, body)
    (after,) = await api.inbox()
    assert after.next_dispatch_at == before.next_dispatch_at


FORGED: list[dict[str, str]] = [
    {},
    {"Stripe-Signature": "t=1,v1=00"},
    {"Stripe-Signature": "nonsense"},
    {"Stripe-Signature": "t=" + "9" * 400},
]


@pytest.mark.parametrize("headers", FORGED)
async def test_a_forged_webhook_is_refused_and_not_stored(
    api: Api, headers: dict[str, str]
) -> None:
    answer = await api.anyone.post(f"{URL}/stripe", json=refund_event(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "webhook_signature_invalid")
    assert await api.inbox() == []


async def test_a_body_changed_after_signing_is_refused(api: Api) -> None:
    signed = stripe_webhook(refund_event())
    signed["content"] = signed["content"].replace(b"charge.refunded", b"charge.captured")
    answer = await api.anyone.post(f"{URL}/stripe", **signed)
    assert answer.status_code == 401


@pytest.mark.parametrize("body", [b"[]", b"{", b"{}", b'"x"', b'{"object": "event"}'])
async def test_an_authentic_webhook_that_cannot_be_read_is_shown_to_the_provider(
    api: Api, body: bytes
) -> None:
    answer = await send(api, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "webhook_malformed")
    assert await api.inbox() == []


async def test_a_webhook_over_the_limit_is_refused(api: Api) -> None:
    answer = await send(api, refund_event(padding="x" * 60_000))
    assert answer.status_code == 413
    assert await api.inbox() == []


@pytest.mark.parametrize("provider", ["polar", "paypal", "STRIPE"])
async def test_a_provider_that_is_not_configured_has_no_address(api: Api, provider: str) -> None:
    answer = await api.anyone.post(f"{URL}/{provider}", **stripe_webhook(refund_event()))
    assert (answer.status_code, answer.json()["code"]) == (404, "provider_not_configured")


async def test_without_a_key_a_known_provider_has_no_address_either(api: Api) -> None:
    api.context.providers = ProviderRegistry({})
    assert (await send(api, refund_event())).status_code == 404


async def test_conekta_is_heard_too(api: Api) -> None:
    body = {
        "id": uuid4().hex,
        "type": "charge.paid",
        "created_at": 1757814866,
        "data": {"object": {"object": "charge", "id": "c_1", "order_id": "ord_1"}},
    }
    raw = json.dumps(body).encode()
    signature = hmac.new(CONEKTA_SECRET.encode(), raw, hashlib.sha256).hexdigest()
    answer = await api.anyone.post(
        f"{URL}/conekta", content=raw, headers={"X-Conekta-Signature": signature}
    )
    (row,) = await api.inbox()
    assert answer.json() == {"status": "accepted"}
    assert (row.provider, row.event["provider_payment_id"]) == ("conekta", "ord_1")


async def test_a_nul_in_a_payload_does_not_keep_it_out(api: Api) -> None:
    answer = await send(api, refund_event(note="a\x00b"))
    (row,) = await api.inbox()
    assert answer.json() == {"status": "accepted"}
    assert row.payload["note"] == "ab"


async def test_what_cannot_be_stored_is_sent_again(api: Api) -> None:
    nowhere = make_engine("postgresql+asyncpg://postgres@127.0.0.1:9/none")
    ours, api.context.sessions = api.context.sessions, make_sessions(nowhere)
    body = refund_event()
    refused = await send(api, body)
    api.context.sessions = ours
    accepted = await send(api, body)

    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert accepted.json() == {"status": "accepted"}
    await nowhere.dispose()


async def test_answers_are_counted(api: Api) -> None:
    body = refund_event()
    for _ in range(2):
        await send(api, body)
    await api.anyone.post(f"{URL}/stripe", json=body)
    await api.anyone.post(f"{URL}/4242424242424242", json=body)
    text = (await api.anyone.get("/metrics")).text

    for line in (
        'abono_webhooks_total{provider="stripe",result="accepted"} 1.0',
        'abono_webhooks_total{provider="stripe",result="already_processed"} 1.0',
        'abono_webhooks_total{provider="stripe",result="webhook_signature_invalid"} 1.0',
        'abono_webhooks_total{provider="unknown",result="provider_not_configured"} 1.0',
    ):
        assert line in text
