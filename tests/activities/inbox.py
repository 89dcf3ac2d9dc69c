"""Rows of the inbox, for tests."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from models.storage.tables import WebhookEvent, new_id
from tests.storage.books import NOW, Books


async def received(books: Books, **changes: Any) -> UUID:
    """A webhook that was accepted and waits in the inbox."""
    id_ = new_id()
    usual = {
        "provider": "conekta",
        "account": "default",
        "provider_event_id": f"evt_{id_}",
        "event_type": "order.paid",
        "kind": "payment",
        "payload": {},
        "event": {},
        "received_at": NOW,
        "attempts": 1,
        "next_dispatch_at": NOW,
        "last_error": "workflow busy",
    }
    await books.add(WebhookEvent(**{"id": id_, **usual, **changes}))
    return id_
