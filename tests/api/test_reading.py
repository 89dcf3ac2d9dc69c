"""What a subscription, its invoices and its events look like from outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event as sqlalchemy_event

from models.outcomes import PayVoucher, Voucher
from models.storage.tables import FallbackEvent, OutboundEvent, Payment, Subscription, new_id
from tests.api.support import Api, attempt, invoice, organization, plan, subscription

NOW = datetime.now(UTC)
VOUCHER = PayVoucher(
    vouchers=[Voucher(network="oxxo", reference="93000262276908")],
    amount_minor=19900,
    currency="MXN",
    expires_at=NOW,
).model_dump(mode="json")
FIELDS = set(
    """
    id organization_id plan_id status provider provider_subscription_id provider_customer_id
    billing_interval payment_method_type currency amount_minor current_period_start
    current_period_end trial_end cancel_at_period_end canceled_at access_until pending_change
    latest_invoice_id next_action fallback workflow_id metadata created_at updated_at
    """.split()  # noqa: SIM905 - as the contract writes it
)


def fallback(row: Subscription, **changes: Any) -> FallbackEvent:
    values: dict[str, Any] = {
        "id": new_id(),
        "application_id": row.application_id,
        "subscription_id": row.id,
        "invoice_id": None,
        "attempted_provider": "conekta",
        "fallback_provider": "stripe",
        "reason": "timeout",
        "timestamp": NOW,
    }
    return FallbackEvent(**values | changes)


@pytest.fixture
async def row(api: Api) -> Subscription:
    who, what = organization(api.ours), plan(api.ours)
    made = subscription(who, what, metadata_={"order": "1"})
    await api.add(who, what, made)
    return made


async def read(api: Api, row: Subscription) -> dict[str, Any]:
    body: dict[str, Any] = (await api.ours.get(f"/subscriptions/{row.id}")).json()
    return body


async def test_a_subscription_has_every_field_of_the_contract(api: Api, row: Subscription) -> None:
    body = await read(api, row)
    assert body.keys() >= FIELDS
    assert body["metadata"] == {"order": "1"}
    assert body["created_at"].endswith("Z")


async def test_the_open_attempt_says_what_to_do_now(api: Api, row: Subscription) -> None:
    old = invoice(row, invoice_date=NOW - timedelta(days=30))
    bill = invoice(row)
    over = attempt(old, outcome="declined", next_action={"type": "redirect", "url": "http://x"})
    await api.add(old, bill, over)
    assert (await read(api, row))["next_action"] is None

    await api.add(attempt(bill, next_action=VOUCHER))
    body = await read(api, row)

    assert body["next_action"] == VOUCHER
    assert body["latest_invoice_id"] == str(bill.id)


async def test_the_fallback_shown_is_the_latest_invoices_or_the_openings(
    api: Api, row: Subscription
) -> None:
    old, bill = invoice(row, invoice_date=NOW - timedelta(days=30)), invoice(row)
    await api.add(old, bill, fallback(row, invoice_id=old.id))
    assert (await read(api, row))["fallback"] is None

    await api.add(fallback(row, reason="api_error", timestamp=NOW - timedelta(hours=1)))
    assert (await read(api, row))["fallback"]["reason"] == "api_error"

    await api.add(fallback(row, invoice_id=bill.id, reason="unavailable"))
    shown = (await read(api, row))["fallback"]
    assert shown.keys() == {"attempted_provider", "fallback_provider", "reason", "timestamp"}
    assert shown["reason"] == "unavailable"


async def test_a_period_that_was_paid_ahead_begins_on_time(api: Api) -> None:
    who, what = organization(api.ours), plan(api.ours)
    past, future = NOW - timedelta(hours=1), NOW + timedelta(days=29)
    begun = subscription(who, what, current_period_end=past, paid_ahead_until=future)
    waiting = subscription(
        who,
        what,
        current_period_start=past,
        current_period_end=future,
        paid_ahead_until=future + timedelta(days=30),
    )
    await api.add(who, what, begun, waiting)

    shown = await read(api, begun)
    assert datetime.fromisoformat(shown["current_period_start"]) == past
    assert datetime.fromisoformat(shown["current_period_end"]) == future
    shown = await read(api, waiting)
    assert datetime.fromisoformat(shown["current_period_end"]) == future


async def test_subscriptions_are_listed_by_organization_and_status(api: Api) -> None:
    who, other, what = organization(api.ours), organization(api.ours), plan(api.ours)
    rows = [
        subscription(who, what),
        subscription(who, what, status="past_due"),
        subscription(other, what),
    ]
    await api.add(who, other, what, *rows)

    async def ids(**params: Any) -> list[str]:
        found = (await api.ours.get("/subscriptions", **params)).json()["data"]
        return [shown["id"] for shown in found]

    assert await ids(organization_id=str(who.id)) == [str(rows[1].id), str(rows[0].id)]
    assert await ids(status="past_due") == [str(rows[1].id)]
    assert (await api.ours.get("/subscriptions", status="odd")).status_code == 422


@contextmanager
def counted(api: Api) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    engine = api.context.engine.sync_engine
    sqlalchemy_event.listen(engine, "before_cursor_execute", note)
    yield statements
    sqlalchemy_event.remove(engine, "before_cursor_execute", note)


async def test_a_long_list_takes_no_more_queries_than_a_short_one(
    api: Api, row: Subscription
) -> None:
    async def queries() -> int:
        with counted(api) as statements:
            await api.ours.get("/subscriptions", limit=100)
        return len(statements)

    await queries()  # The first use of a key is noted, the next ones of the minute are not.
    short = await queries()
    for _ in range(5):
        who, what = organization(api.ours), plan(api.ours)
        more = subscription(who, what)
        bill = invoice(more)
        await api.add(who, what, more, bill, attempt(bill), fallback(more))
    assert await queries() == short <= 6


async def test_an_invoice_shows_its_attempts_and_payments(api: Api, row: Subscription) -> None:
    bill = invoice(row, status="paid", amount_paid_minor=19900, paid_at=NOW)
    tries = [
        attempt(bill, outcome="declined", reason="no_funds", started_at=NOW - timedelta(days=1)),
        attempt(bill, outcome="succeeded"),
    ]
    money = Payment(
        id=new_id(),
        application_id=row.application_id,
        subscription_id=row.id,
        invoice_id=bill.id,
        attempt_id=tries[1].id,
        provider="stripe",
        account="default",
        provider_charge_id="ch_1",
        kind="capture",
        amount_minor=20000,
        applied_minor=19900,
        currency="MXN",
        occurred_at=NOW,
        recorded_at=NOW,
    )
    await api.add(bill, *tries, money)

    body = (await api.ours.get(f"/invoices/{bill.id}")).json()
    listed = (await api.ours.get("/invoices", subscription_id=str(row.id))).json()["data"]

    assert [try_["outcome"] for try_ in body["attempts"]] == ["declined", "succeeded"]
    assert body["payments"][0]["applied_minor"] == 19900
    assert [shown["id"] for shown in listed] == [str(bill.id)]
    assert "attempts" not in listed[0]


async def test_events_are_listed_in_order_and_followed_by_cursor(
    api: Api, row: Subscription
) -> None:
    def told(sequence: int) -> OutboundEvent:
        return OutboundEvent(
            id=uuid4() if sequence > 2 else new_id(),
            application_id=row.application_id,
            subscription_id=row.id,
            sequence=sequence,
            type="invoice.paid",
            data={"n": sequence},
            created_at=NOW,
        )

    await api.add(*(told(sequence) for sequence in (2, 1, 3, 5, 4)))
    first = (await api.ours.get("/events", subscription_id=str(row.id), limit=3)).json()
    rest = (
        await api.ours.get("/events", subscription_id=str(row.id), cursor=first["next_cursor"])
    ).json()

    assert [event["sequence"] for event in first["data"]] == [1, 2, 3]
    assert [event["sequence"] for event in rest["data"]] == [4, 5]
    assert rest["has_more"] is False
    every = (await api.ours.get("/events")).json()["data"]
    assert [event["id"] for event in every] == sorted(event["id"] for event in every)
