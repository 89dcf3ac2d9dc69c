"""What was kept long enough is dropped: answers to keys, payloads of webhooks; nothing still needed."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from pydantic import ValidationError
from sqlalchemy import select, update

from abono.api_server import make_context
from abono.settings import Settings
from api.clock import now
from api.context import Retention
from api.idempotency import LEASE
from api.retention import Cleaner
from models.storage.base import first_id_at
from models.storage.tables import IdempotencyKey, WebhookEvent
from tests.api.support import Api, refund_event, stripe_webhook

ACME = {"name": "Acme", "email": "a@acme.mx"}
MONTH = timedelta(days=30)


async def test_old_keys_are_cleaned_away_but_not_those_in_use(api: Api) -> None:
    for key in ("old", "running", "young"):
        await api.ours.post("/organizations", ACME, key=key)
    old = now() - api.context.retention.idempotency - timedelta(minutes=1)
    aged = update(IdempotencyKey).where(IdempotencyKey.key != "young").values(created_at=old)
    await api.run(aged.values(locked_until=old))
    await api.run(
        update(IdempotencyKey)
        .where(IdempotencyKey.key == "running")
        .values(locked_until=now() + LEASE)
    )

    await Cleaner(api.context).clean_idempotency()

    keys = await api.all(select(IdempotencyKey.key).order_by(IdempotencyKey.key))
    assert keys == ["running", "young"]


async def test_a_key_is_kept_for_a_day_whatever_is_set(api: Api) -> None:
    await api.ours.post("/organizations", ACME, key="k")
    api.context.retention = Retention(idempotency=timedelta(0))
    almost = now() - timedelta(hours=23)
    await api.run(update(IdempotencyKey).values(created_at=almost, locked_until=almost))
    await Cleaner(api.context).clean_idempotency()
    assert await api.all(select(IdempotencyKey.key)) == ["k"]


async def received(api: Api, at: datetime, *, applied: bool = True) -> UUID:
    """A webhook that came then."""
    body = refund_event()
    await api.anyone.post("/api/v1/webhooks/stripe", **stripe_webhook(body))
    moved = first_id_at(at)
    values = {"id": moved, "received_at": at, "applied_at": at if applied else None}
    this = WebhookEvent.provider_event_id == body["id"]
    await api.run(update(WebhookEvent).where(this).values(values))
    return moved


async def payloads(api: Api) -> dict[UUID, bool]:
    return {row.id: bool(row.payload) for row in await api.inbox()}


async def test_payloads_go_and_rows_stay(api: Api) -> None:
    api.context.retention = Retention(payloads=MONTH)
    old = await received(api, now() - MONTH - timedelta(minutes=1))
    older = await received(api, now() - 2 * MONTH)
    waiting = await received(api, now() - 3 * MONTH, applied=False)
    young = await received(api, now() - MONTH + timedelta(minutes=1))
    cleaner = Cleaner(api.context)

    assert await cleaner.clean_payloads() == 2
    assert await payloads(api) == {old: False, older: False, waiting: True, young: True}
    [row] = await api.inbox(old)
    assert row.event["provider_event_id"] == row.provider_event_id
    assert await cleaner.clean_payloads() == 0

    # What waited goes when it is applied: the sweep has not forgotten it.
    await api.run(update(WebhookEvent).where(WebhookEvent.id == waiting).values(applied_at=now()))
    assert await cleaner.clean_payloads() == 1


async def test_a_repetition_of_what_lost_its_payload_is_still_known(api: Api) -> None:
    api.context.retention = Retention(payloads=timedelta(0))
    signed = stripe_webhook(refund_event(type="customer.updated"))
    await api.anyone.post("/api/v1/webhooks/stripe", **signed)
    moved = first_id_at(now() - timedelta(days=1))
    await api.run(update(WebhookEvent).values(id=moved))
    assert await Cleaner(api.context).clean_payloads() == 1
    again = await api.anyone.post("/api/v1/webhooks/stripe", **signed)
    assert again.json() == {"status": "already_processed"}
    assert await payloads(api) == {moved: False}


async def test_without_a_limit_payloads_are_kept(api: Api) -> None:
    there = await received(api, now() - timedelta(days=4000))
    assert await Cleaner(api.context).clean_payloads() == 0
    assert await payloads(api) == {there: True}


async def test_how_long_is_a_setting() -> None:
    nowhere = "postgresql://postgres@127.0.0.1:9/none"
    usual = await make_context(Settings(DATABASE_URL=nowhere))
    quarter = timedelta(days=90)
    assert usual.retention == Retention(timedelta(days=7), payloads=quarter, deliveries=quarter)
    for_ever = await make_context(
        Settings(
            DATABASE_URL=nowhere,
            ABONO_PAYLOAD_RETENTION_DAYS=0,
            ABONO_DELIVERY_LOG_RETENTION_DAYS=0,
        )
    )
    assert for_ever.retention == Retention(timedelta(days=7), payloads=None, deliveries=None)
    with pytest.raises(ValidationError):
        Settings(ABONO_IDEMPOTENCY_RETENTION_HOURS=23)
    with pytest.raises(ValidationError, match="at least 7 days"):
        Settings(ABONO_DELIVERY_LOG_RETENTION_DAYS=6)
