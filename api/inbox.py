"""Puts a verified webhook where it cannot be lost: one row per event, however often it comes."""

from __future__ import annotations

import json
from datetime import timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from models.events import EventKind, ProviderEvent
from models.storage.tables import WebhookEvent, new_id
from providers.protocol import WebhookMalformed

# The telling event (an invoice that was paid) comes with these and usually makes them nothing new.
SECOND_LOOK = timedelta(seconds=1)
_SECOND_LOOK_KINDS = frozenset({EventKind.SUBSCRIPTION, EventKind.LOOK})
# A repetition that comes this soon finds the first delivery still under way, not stuck.
_UNDER_WAY = timedelta(seconds=2)


class Reception(StrEnum):
    ACCEPTED = "accepted"
    ALREADY_PROCESSED = "already_processed"


async def receive(engine: AsyncEngine, event: ProviderEvent, raw: bytes) -> Reception:
    """Store it, committed when this returns. Raises WebhookMalformed for a body that is no JSON
    object, and whatever the database raises when it is away."""
    values = _values(event, _payload(raw))
    statement = insert(WebhookEvent).values(values).on_conflict_do_nothing()
    # A single statement is its own transaction: one round trip instead of three.
    async with engine.connect() as plain:
        connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
        stored = await connection.scalar(statement.returning(WebhookEvent.id))
        if stored is not None:
            return Reception.ACCEPTED
        await connection.execute(_make_due(event))
    return Reception.ALREADY_PROCESSED


def _payload(raw: bytes) -> dict[str, Any]:
    try:
        # PostgreSQL cannot hold NUL in a JSON string, and no identifier or amount needs one.
        payload = json.loads(raw.replace(b"\\u0000", b""))
    except ValueError as error:
        raise WebhookMalformed("the body is not JSON") from error
    if not isinstance(payload, dict):
        raise WebhookMalformed("the body is not a JSON object")
    return payload


def _values(event: ProviderEvent, payload: dict[str, Any]) -> dict[str, Any]:
    ignored = event.kind is EventKind.IGNORED
    later = SECOND_LOOK if event.kind in _SECOND_LOOK_KINDS else timedelta(0)
    # The database's clock, because the dispatcher of another replica will compare with it.
    return {
        "id": new_id(),
        "provider": event.provider.value,
        "account": event.account,
        "provider_event_id": event.provider_event_id,
        "event_type": event.event_type,
        "kind": event.kind.value,
        "payload": payload,
        "event": event.model_dump(mode="json"),
        "received_at": func.now(),
        "applied_at": func.now() if ignored else None,
        "disposition": "ignored" if ignored else None,
        "attempts": 0,
        "next_dispatch_at": func.now() + later,
    }


def _make_due(event: ProviderEvent) -> Any:
    """A provider that repeats itself may know of trouble that we do not: look again now."""
    return (
        update(WebhookEvent)
        .where(
            WebhookEvent.provider == event.provider.value,
            WebhookEvent.account == event.account,
            WebhookEvent.provider_event_id == event.provider_event_id,
            WebhookEvent.applied_at.is_(None),
            WebhookEvent.received_at < func.now() - _UNDER_WAY,
        )
        .values(next_dispatch_at=func.least(WebhookEvent.next_dispatch_at, func.now()))
    )
