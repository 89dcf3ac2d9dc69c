"""What the adapters share in telling what their provider holds."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from models.events import ProviderEvent
from models.outcomes import ProviderName
from models.reconcile import Listed, Listing


def listed(
    provider: ProviderName,
    account: str,
    listing: Listing,
    object_id: str,
    occurred_at: datetime,
    facts: dict[str, Any],
    *,
    livemode: bool = False,
    amount_refunded_minor: int | None = None,
) -> Listed:
    """`facts` are what a webhook about the object would say. The event's id only names the object:
    whoever puts it into the inbox gives it one of its own."""
    event = ProviderEvent(
        provider=provider,
        account=account,
        provider_event_id=f"{listing}:{object_id}",
        event_type=f"reconcile.{listing}",
        occurred_at=occurred_at,
        livemode=livemode,
        **facts,
    )
    return Listed(object_id=object_id, event=event, amount_refunded_minor=amount_refunded_minor)
