"""The state that a subscription carries through the years."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from models.states import SubscriptionStatus
from models.subscription import OpenInvoice, SubscriptionState

NOW = datetime(2026, 11, 22, 18, tzinfo=UTC)


def test_what_is_as_at_the_beginning_is_not_written() -> None:
    assert SubscriptionState().model_dump(mode="json") == {}
    invoice = OpenInvoice(
        invoice_id=uuid4(), amount_minor=0, currency="MXN", due_at=NOW, created_at=NOW
    )
    state = SubscriptionState(
        version=3, status=SubscriptionStatus.ACTIVE, invoice=invoice, counted_charge_ids=["ch_1"]
    )
    written = state.model_dump_json()
    assert set(state.model_dump()) == {"version", "status", "invoice", "counted_charge_ids"}
    assert SubscriptionState.model_validate_json(written) == state
