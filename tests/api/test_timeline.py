"""A subscription's life as one list, why it is as it is, and who did what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from temporalio.worker import Worker

from models.commands import payment_workflow_id
from models.events import EventKind
from models.storage.tables import (
    AuditEntry,
    FallbackEvent,
    OutboundEvent,
    Payment,
    Subscription,
    WebhookEvent,
    new_id,
)
from tests.api.support import (
    Api,
    attempt,
    event,
    invoice,
    organization,
    plan,
    price,
    subscription,
)

START = datetime(2026, 11, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def opening(row: Subscription, **changes: Any) -> dict[str, Any]:
    return {
        "subscription_id": str(row.id),
        "application_id": str(row.application_id),
        "organization_id": str(row.organization_id),
        "plan_id": str(row.plan_id),
        "plan_name": "Pro",
        "billing_interval": "monthly",
        "amount_minor": 19900,
        "currency": "MXN",
        "instrument": "oxxo",
        **changes,
    }


def inbox(row: Subscription, workflow_id: str, **changes: Any) -> WebhookEvent:
    told = event(EventKind.PAYMENT)
    values: dict[str, Any] = {
        "id": new_id(),
        "provider": "stripe",
        "account": "default",
        "provider_event_id": told.provider_event_id,
        "event_type": "payment_intent.succeeded",
        "kind": "payment",
        "payload": {},
        "event": told.model_dump(mode="json"),
        "received_at": START + 6 * MINUTE,
        "applied_at": START + 7 * MINUTE,
        "disposition": "applied",
        "workflow_id": workflow_id,
        "attempts": 1,
        "next_dispatch_at": START,
    }
    return WebhookEvent(**values | changes)


async def lived(api: Api, owner: Any = None) -> Subscription:
    """A subscription to which one of everything happened, in an order that is known."""
    tenant = owner or api.ours
    who, what = organization(tenant), plan(tenant)
    row = subscription(who, what, created_at=START, current_period_start=START)
    row.opening = opening(row)
    bill = invoice(row, invoice_date=START, due_date=START, paid_at=START + 7 * MINUTE)
    slip = attempt(bill, started_at=START + MINUTE, finished_at=START + 5 * MINUTE)
    owner_columns = {"application_id": row.application_id, "subscription_id": row.id}
    await api.add(who, what, row, bill, slip)
    await api.add(
        FallbackEvent(
            id=new_id(),
            invoice_id=bill.id,
            attempted_provider="conekta",
            fallback_provider="stripe",
            reason="timeout",
            timestamp=START + MINUTE,
            **owner_columns,
        ),
        Payment(
            id=new_id(),
            invoice_id=bill.id,
            attempt_id=slip.id,
            provider="stripe",
            account="default",
            provider_charge_id=f"ch_{row.id}",
            kind="capture",
            amount_minor=19900,
            applied_minor=19900,
            currency="MXN",
            occurred_at=START + 4 * MINUTE,
            recorded_at=START + 7 * MINUTE,
            **owner_columns,
        ),
        AuditEntry(
            id=new_id(),
            version=2,
            actor="engine",
            action="payment_succeeded",
            before={"status": "incomplete"},
            after={"status": "active"},
            at=START + 7 * MINUTE,
            **owner_columns,
        ),
        OutboundEvent(
            id=new_id(),
            sequence=1,
            type="invoice.paid",
            data={},
            created_at=START + 7 * MINUTE,
            **owner_columns,
        ),
        inbox(row, payment_workflow_id(slip.id)),
    )
    return row


IN_ORDER = [
    "An invoice of 199.00 MXN was made.",
    "Stripe was asked for a voucher of 199.00 MXN.",
    "Stripe was asked instead of conekta (timeout).",
    "199.00 MXN arrived by stripe for the invoice.",
    "Stripe waits for the customer to pay 199.00 MXN.",
    "Stripe reported payment_intent.succeeded.",
    "The invoice of 199.00 MXN was paid in full.",
    "It became active: a payment came in.",
    "The app was told invoice.paid.",
    "The report payment_intent.succeeded of stripe was dealt with: it changed something.",
]


async def titles(api: Api, row: Subscription, **params: Any) -> list[str]:
    """Page by page to the end."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        asked = params | ({"cursor": cursor} if cursor else {})
        body = (await api.ours.get(f"/subscriptions/{row.id}/timeline", **asked)).json()
        found += [entry["title"] for entry in body["data"]]
        cursor = body["next_cursor"]
        assert body["has_more"] == (cursor is not None)
        if cursor is None:
            return found


@pytest.mark.parametrize("limit", [1, 3, 20])
async def test_everything_is_in_it_once_and_in_order(api: Api, limit: int) -> None:
    row = await lived(api)
    await lived(api)
    oldest = await titles(api, row, order="oldest_first", limit=limit)
    assert oldest == IN_ORDER
    assert await titles(api, row, limit=limit) == IN_ORDER[::-1]


async def test_it_says_why_and_what_comes_next(api: Api) -> None:
    who, what = organization(api.ours), plan(api.ours)
    row = subscription(
        who,
        what,
        current_period_start=START,
        current_period_end=START + timedelta(days=30),
        next_step="open_invoice",
        next_step_at=START + timedelta(days=27),
    )
    row.opening = opening(row)
    await api.add(who, what, row)
    body = (await api.ours.get(f"/subscriptions/{row.id}/timeline")).json()
    assert body["next"] == {"what": "issue the next invoice", "at": "2026-11-28T00:00:00Z"}
    assert body["now"]["status"] == "active"
    assert body["now"]["since"] == "2026-11-01T00:00:00Z"
    assert body["now"]["told_by"] == "row"
    assert "It is paid until 2026-12-01 00:00 UTC." in body["now"]["why"]


async def test_another_tenants_timeline_is_not_there(api: Api) -> None:
    row = await lived(api, api.theirs)
    for path in ("timeline", "explain"):
        assert (await api.ours.get(f"/subscriptions/{row.id}/{path}")).status_code == 404
    log = (await api.ours.get("/audit", subscription_id=row.id)).json()
    assert log["data"] == []


async def test_a_cursor_of_nowhere_is_refused(api: Api) -> None:
    row = await lived(api)
    answer = await api.ours.get(f"/subscriptions/{row.id}/timeline", cursor="bm90aGluZw")
    assert answer.status_code == 422


async def test_the_workflow_explains_itself(api: Api, worker: Worker) -> None:
    who, what = organization(api.ours), plan(api.ours)
    await api.add(who, what, price(what))
    body = {
        "organization_id": str(who.id),
        "plan_id": str(what.id),
        "billing_interval": "monthly",
        "payment_method_type": "spei",
    }
    opened = (await api.ours.post("/subscriptions", body)).json()["id"]
    told = (await api.ours.get(f"/subscriptions/{opened}/explain")).json()
    assert (told["text"], told["told_by"]) == ("**Because the stand-in says so**", "workflow")


@pytest.mark.parametrize(
    ("changes", "outcome", "words"),
    [
        ({"status": "canceled", "canceled_at": START}, None, "It was canceled."),
        ({"status": "expired"}, None, "Nobody paid in time"),
        ({"status": "incomplete"}, "pending", "A voucher of stripe is out with the customer"),
        ({"status": "past_due"}, "unknown", "stripe did not answer an attempt to collect it"),
        ({"status": "incomplete"}, "declined", "The next voucher is about to be issued."),
    ],
)
async def test_the_row_explains_what_no_workflow_does(
    api: Api, changes: dict[str, Any], outcome: str | None, words: str
) -> None:
    who, what = organization(api.ours), plan(api.ours)
    row = subscription(who, what, **changes)
    row.opening = opening(row)
    await api.add(who, what, row)
    if outcome is not None:
        await api.add(bill := invoice(row))
        await api.add(attempt(bill, outcome=outcome))
    told = (await api.ours.get(f"/subscriptions/{row.id}/explain")).json()
    assert words in told["text"]
    assert told["told_by"] == "row"


async def test_a_row_whose_terms_cannot_be_read_says_at_least_its_status(api: Api) -> None:
    who, what = organization(api.ours), plan(api.ours)
    await api.add(who, what, row := subscription(who, what))
    told = (await api.ours.get(f"/subscriptions/{row.id}/explain")).json()
    assert told["text"] == "It is active."


async def test_the_audit_log_says_who_and_what(api: Api) -> None:
    row = await lived(api)
    other = await lived(api)
    log = (await api.ours.get("/audit", subscription_id=row.id)).json()
    [entry] = log["data"]
    assert UUID(entry["subscription_id"]) == row.id
    assert (entry["actor"], entry["action"]) == ("engine", "payment_succeeded")
    assert entry["after"] == {"status": "active"}
    everything = (await api.ours.get("/audit")).json()["data"]
    assert {entry["subscription_id"] for entry in everything} == {str(row.id), str(other.id)}
