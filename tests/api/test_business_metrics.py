"""Figures of the business: windows that end, revenue to the minor unit, and dunning in and out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from models.events import EventKind
from models.storage.tables import AuditEntry, Subscription, new_id
from tests.api.support import Api, attempt, event, invoice, open_voucher, organization, plan
from tests.api.support import subscription as subscription_row
from tests.api.test_metrics import figures
from tests.api.test_routing import fallback


def moved(of: Subscription, before: str, after: str, **changes: Any) -> AuditEntry:
    values: dict[str, Any] = {
        "id": new_id(),
        "application_id": of.application_id,
        "subscription_id": of.id,
        "version": 1,
        "actor": "engine",
        "action": "payment_failed",
        "before": {"status": before},
        "after": {"status": after},
        "at": datetime.now(UTC),
    }
    return AuditEntry(**values | changes)


async def test_tries_are_counted_for_an_hour(api: Api) -> None:
    row, _, _ = await open_voucher(api)
    bills = [invoice(row) for _ in range(3)]
    ages = (timedelta(minutes=59), timedelta(minutes=61), timedelta(0))
    outcomes = ("declined", "declined", "succeeded")
    moment = datetime.now(UTC)
    tries = [
        attempt(
            bill, outcome=outcome, started_at=moment - timedelta(days=2), finished_at=moment - age
        )
        for bill, outcome, age in zip(bills, outcomes, ages, strict=True)
    ]
    old = fallback(api.ours, timestamp=moment - timedelta(hours=2))
    await api.add(*bills, *tries, fallback(api.ours), old)
    found = await figures(api)
    name = 'abono_charge_attempts_last_hour{outcome="%s",provider="%s"}'
    assert found[name % ("declined", "stripe")] == 1
    assert found[name % ("succeeded", "stripe")] == 1, "by its end, not its start"
    assert found[name % ("pending", "stripe")] == 1
    assert found[name % ("succeeded", "polar")] == 0
    assert found['abono_fallbacks_last_hour{attempted_provider="conekta"}'] == 1


async def test_revenue_is_a_months_and_counts_who_pays_or_owes(api: Api) -> None:
    who, what = organization(api.ours), plan(api.ours)
    yearly = {"billing_interval": "yearly", "amount_minor": 10_006}
    rows = [
        subscription_row(who, what, amount_minor=19_900),
        subscription_row(who, what, status="past_due", amount_minor=100),
        subscription_row(who, what, status="trialing"),
        subscription_row(who, what, status="canceled"),
        subscription_row(who, what, **yearly),
        subscription_row(who, what, currency="USD", **yearly),
    ]
    await api.add(who, what, *rows)
    found = await figures(api)
    assert found['abono_recurring_revenue_minor{currency="MXN"}'] == 20_834  # 19900 + 100 + 833.83
    assert found['abono_recurring_revenue_minor{currency="USD"}'] == 834
    assert found['abono_subscriptions{status="active"}'] == 3
    assert found['abono_subscriptions{status="past_due"}'] == 1
    assert found['abono_subscriptions{status="paused"}'] == 0


async def test_dunning_is_counted_in_and_out_for_a_day(api: Api) -> None:
    row, _, _ = await open_voucher(api)
    old = datetime.now(UTC) - timedelta(days=1, minutes=5)
    await api.add(
        moved(row, "active", "past_due"),
        moved(row, "trialing", "past_due"),
        moved(row, "past_due", "active"),
        moved(row, "past_due", "expired"),
        moved(row, "active", "canceled"),
        moved(row, "active", "past_due", at=old),
    )
    found = await figures(api)
    results = {
        one: found[f'abono_dunning_last_day{{result="{one}"}}']
        for one in ("entered", "recovered", "lost")
    }
    assert results == {"entered": 2, "recovered": 1, "lost": 1}


async def test_a_webhook_that_waits_gets_older(api: Api) -> None:
    await api.take(event(EventKind.PAYMENT))
    found = await figures(api)
    assert found['abono_inbox_unapplied{provider="stripe"}'] == 1
    assert 0 < found['abono_inbox_oldest_seconds{provider="stripe"}'] < 60
    assert found['abono_inbox_oldest_seconds{provider="polar"}'] == 0
