"""Revenue, churn and recovery by API, against figures that were worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from api.figures import month_starts
from models.storage.base import first_id_at
from models.storage.tables import AuditEntry, Subscription
from tests.api.support import Api, attempt, invoice, organization, plan, subscription

DAY = timedelta(days=1)
THIS, LAST, BEFORE_LAST = reversed(month_starts(datetime.now(UTC), 3))


def log(of: Subscription, version: int, at: datetime, action: str, **before: Any) -> AuditEntry:
    after = before.pop("after", {})
    number = (of.id.int ^ version) & 0xFFFF_FFFF
    return AuditEntry(
        id=type(of.id)(int=first_id_at(at).int | 0x7000_8000_0000_0000_0000 | number),
        application_id=of.application_id,
        subscription_id=of.id,
        version=version,
        actor="engine",
        action=action,
        before=before,
        after=after,
        at=at,
    )


async def figures(api: Api, months: int = 3) -> dict[str, dict[str, dict[str, Any]]]:
    """By month, then currency."""
    answer = await api.ours.get("/figures", months=months)
    assert answer.status_code == 200, answer.text
    return {
        month["month"]: {one["currency"]: one for one in month["currencies"]}
        for month in answer.json()["months"]
    }


async def test_revenue_moves_as_worked_out_by_hand(api: Api) -> None:
    """Pesos. Before last month: A pays 100.00 and B 1,200.00 a year, that is 100.00 a month.
    Last month: C is new with 300.00; A is changed to 250.00; B ends. This month: C falls past due, is
    saved, and is paused; D, past due, is lost with 40.00."""
    who, what = organization(api.ours), plan(api.ours)
    a = subscription(who, what, amount_minor=25_000)
    b = subscription(who, what, amount_minor=120_000, billing_interval="yearly", status="canceled")
    c = subscription(who, what, amount_minor=30_000, status="paused")
    d = subscription(who, what, amount_minor=4_000, status="expired")
    usd = subscription(who, what, amount_minor=999, currency="USD")
    await api.add(who, what, a, b, c, d, usd)
    first, second, now = BEFORE_LAST + DAY, LAST + DAY, THIS + timedelta(seconds=1)
    await api.add(
        *(log(one, 1, first, "payment_succeeded", status="incomplete") for one in (a, b, d, usd)),
        log(c, 1, second, "payment_succeeded", status="trialing"),
        log(a, 2, second, "change", amount_minor=10_000, billing_interval="monthly"),
        log(b, 2, second, "canceled", status="active"),
        log(d, 2, second, "payment_failed", status="active"),
        log(c, 2, now, "payment_failed", status="active"),
        log(c, 3, now, "payment_succeeded", status="past_due"),
        log(c, 4, now, "paused", status="active"),
        log(d, 3, now, "gave_up", status="past_due"),
    )
    found = await figures(api)
    oldest, last, this = (found[f"{one:%Y-%m}"]["MXN"] for one in (BEFORE_LAST, LAST, THIS))
    assert (oldest["start_mrr_minor"], oldest["end_mrr_minor"]) == (0, 24_000)
    assert (oldest["new_mrr_minor"], oldest["new_count"], oldest["churn_rate"]) == (24_000, 3, None)
    assert (last["start_mrr_minor"], last["end_mrr_minor"]) == (24_000, 59_000)
    assert (last["new_mrr_minor"], last["expansion_mrr_minor"]) == (30_000, 15_000)
    assert (last["churned_mrr_minor"], last["churned_count"]) == (10_000, 1)
    assert (last["paying_at_start"], last["churn_rate"]) == (3, 0.3333)
    assert (this["start_mrr_minor"], this["end_mrr_minor"]) == (59_000, 25_000)
    assert (this["paused_mrr_minor"], this["churned_mrr_minor"]) == (30_000, 4_000)
    assert (this["dunning_recovered_count"], this["dunning_lost_count"]) == (1, 1)
    assert this["dunning_recovery_rate"] == 0.5
    assert found[f"{THIS:%Y-%m}"]["USD"]["end_mrr_minor"] == 999
    theirs = (await api.theirs.get("/figures")).json()["months"]
    assert all(month["currencies"] == [] for month in theirs)


async def test_success_counts_tries_whose_end_is_known(api: Api) -> None:
    """Last month: two cards collected and one was declined, one slip was paid and three closed unpaid; one
    is out and one was never sent. So 3 of 7 tries, and 1 of 4 slips."""
    who, what = organization(api.ours), plan(api.ours)
    row = subscription(who, what)
    tries = [("card", "succeeded")] * 2 + [("card", "declined"), ("oxxo", "succeeded")]
    tries += [("oxxo", "declined")] * 2 + [("spei", "declined")]
    tries += [("oxxo", "pending"), ("card", "not_attempted")]
    bills = [invoice(row) for _ in tries]
    await api.add(who, what, row, *bills)
    await api.add(
        *(
            attempt(bill, instrument=instrument, outcome=outcome, started_at=LAST + DAY)
            for bill, (instrument, outcome) in zip(bills, tries, strict=True)
        )
    )
    found = await figures(api, months=2)
    last, this = found[f"{LAST:%Y-%m}"]["MXN"], found[f"{THIS:%Y-%m}"]["MXN"]
    assert (last["payment_success_rate"], last["voucher_conversion_rate"]) == (0.4286, 0.25)
    assert (this["payment_success_rate"], this["voucher_conversion_rate"]) == (None, None)


async def test_what_is_read_is_found_by_an_index(api: Api) -> None:
    queries = (
        "SELECT 1 FROM audit_log WHERE application_id = :one AND id >= :one",
        "SELECT 1 FROM charge_attempts WHERE application_id = :one AND started_at >= now()",
        "SELECT 1 FROM subscriptions WHERE application_id = :one",
    )
    async with api.context.sessions() as session:
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        for query in queries:
            plan_of = await session.execute(
                text(f"EXPLAIN {query}"), {"one": api.ours.application_id}
            )
            assert "application_id" in str(plan_of.all()), query
            assert "Seq Scan" not in str(plan_of.all()), query


def test_months_begin_in_utc_and_pass_the_year() -> None:
    at = datetime(2026, 1, 31, 23, 59, tzinfo=UTC)
    assert [f"{one:%Y-%m-%d}" for one in month_starts(at, 3)] == [
        "2025-11-01",
        "2025-12-01",
        "2026-01-01",
    ]


async def test_too_many_months_are_refused(api: Api) -> None:
    assert (await api.ours.get("/figures", months=37)).status_code == 422
