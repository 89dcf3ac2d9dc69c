"""Refunds and unapplied money over HTTP: reserved once, never more than there is, never another's."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, update
from temporalio.worker import Worker

from models.storage.tables import (
    AuditEntry,
    ChargeAttempt,
    CreditEntry,
    Invoice,
    Payment,
    Refund,
    Subscription,
    new_id,
)
from tests.api.support import Api, attempt, invoice, organization, plan, subscription

AMOUNT = 19900


def capture(of: ChargeAttempt, **changes: Any) -> Payment:
    moment = datetime.now(UTC)
    values: dict[str, Any] = {
        "id": new_id(),
        "application_id": of.application_id,
        "subscription_id": of.subscription_id,
        "invoice_id": of.invoice_id,
        "attempt_id": of.id,
        "provider": of.provider,
        "account": "default",
        "provider_charge_id": f"ch_{uuid4().hex}",
        "kind": "capture",
        "amount_minor": AMOUNT,
        "applied_minor": AMOUNT,
        "currency": "MXN",
        "occurred_at": moment,
        "recorded_at": moment,
    }
    return Payment(**values | changes)


async def paid(
    api: Api, instrument: str = "card", provider: str = "stripe", status: str = "active"
) -> tuple[Subscription, Invoice, ChargeAttempt, Payment]:
    who, what = organization(api.ours), plan(api.ours)
    row = subscription(who, what, provider=provider, status=status)
    bill = invoice(row, status="paid", amount_paid_minor=AMOUNT)
    slip = attempt(bill, instrument=instrument, provider=provider, outcome="succeeded")
    money = capture(slip)
    await api.add(who, what, row, bill, slip, money)
    return row, bill, slip, money


async def test_a_refund_is_reserved_and_answered_once(api: Api, worker: Worker) -> None:
    _, bill, _, money = await paid(api)
    path = f"/invoices/{bill.id}/refund"
    body = {"amount_minor": 900, "reason": "requested_by_customer"}
    first = await api.ours.post(path, body, key="r")
    again = await api.ours.post(path, body, key="r")
    assert (first.status_code, again.status_code, again.json()) == (202, 202, first.json())
    [row] = await api.all(select(Refund))
    assert (row.amount_minor, row.status, row.payment_id) == (900, "pending", money.id)
    answer = first.json()
    assert (answer["amount_minor"], answer["status"]) == (900, "pending")
    seen = (await api.ours.get(f"/refunds/{row.id}")).json()
    assert answer["refunds"] == [seen]
    for query in ({"invoice_id": str(bill.id)}, {"subscription_id": str(bill.subscription_id)}):
        assert (await api.ours.get("/refunds", **query)).json()["data"] == [seen]
    assert (await api.ours.get("/refunds", invoice_id=str(uuid4()))).json()["data"] == []
    assert [e.action for e in await api.all(select(AuditEntry))] == ["refund.ordered"]


async def test_no_more_than_there_is_whoever_asks_at_once(api: Api, worker: Worker) -> None:
    _, bill, _, _ = await paid(api)
    path = f"/invoices/{bill.id}/refund"
    answers = await asyncio.gather(*(api.ours.post(path, {"amount_minor": 8000}) for _ in range(4)))
    assert sorted(one.status_code for one in answers) == [202, 202, 422, 422]
    assert {one.json().get("code") for one in answers} == {None, "refund_too_large"}
    rest = await api.ours.post(path, {})
    assert rest.json()["amount_minor"] == AMOUNT - 16000
    assert (await api.ours.post(path, {})).json()["code"] == "nothing_to_refund"


async def test_two_payments_go_back_in_two_refunds_the_newest_first(
    api: Api, worker: Worker
) -> None:
    _, bill, slip, old = await paid(api)
    new = capture(slip, applied_minor=0)
    await api.add(new)
    answer = await api.ours.post(f"/invoices/{bill.id}/refund", {"amount_minor": 20000}, key="k")
    parts = {one["payment_id"]: one["amount_minor"] for one in answer.json()["refunds"]}
    assert parts == {str(new.id): AMOUNT, str(old.id): 100}
    again = await api.ours.post(f"/invoices/{bill.id}/refund", {"amount_minor": 20000}, key="k")
    assert again.json() == answer.json()


async def test_cash_at_stripe_is_refused_with_what_to_do(api: Api) -> None:
    _, bill, _, _ = await paid(api, "oxxo")
    answer = await api.ours.post(f"/invoices/{bill.id}/refund", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "cash_refund_not_possible")
    assert "credit" in answer.json()["detail"]
    assert await api.all(select(Refund)) == []


async def test_what_is_still_collected_is_not_refunded(api: Api) -> None:
    _, bill, _, _ = await paid(api)
    await api.run(update(Invoice).values(status="pending"))
    answer = await api.ours.post(f"/invoices/{bill.id}/refund", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "invoice_is_open")


@pytest.mark.parametrize(
    "body", [{"amount_minor": 0}, {"amount_minor": "x"}, {"amount": 5}, {"reason": "x" * 201}]
)
async def test_a_refund_that_makes_no_sense(api: Api, body: dict[str, Any]) -> None:
    _, bill, _, _ = await paid(api)
    assert (await api.ours.post(f"/invoices/{bill.id}/refund", body)).status_code == 422


async def test_another_tenant_sees_and_moves_nothing(api: Api, worker: Worker) -> None:
    _, bill, slip, _ = await paid(api)
    spare = capture(slip, applied_minor=0)
    await api.add(spare)
    await api.ours.post(f"/invoices/{bill.id}/refund", {"amount_minor": 5})
    [row] = await api.all(select(Refund))
    for path in (
        f"/invoices/{bill.id}/refund",
        f"/unapplied-payments/{spare.id}/refund",
        f"/unapplied-payments/{spare.id}/credit",
    ):
        assert (await api.theirs.post(path, {})).status_code == 404
    assert (await api.theirs.get(f"/refunds/{row.id}")).status_code == 404
    for path in ("/refunds", "/unapplied-payments"):
        assert (await api.theirs.get(path)).json()["data"] == []


async def test_unapplied_money_is_listed_with_its_case_and_what_is_left(
    api: Api, worker: Worker
) -> None:
    row, _, slip, _ = await paid(api)
    spare = capture(slip, applied_minor=0)
    await api.add(spare)
    [seen] = (await api.ours.get("/unapplied-payments")).json()["data"]
    assert (seen["payment_id"], seen["case"], seen["rule"]) == (str(spare.id), "paid_twice", "hold")
    assert seen["unapplied_minor"] == AMOUNT
    for query, found in (
        ({"organization_id": str(row.organization_id)}, [seen]),
        ({"subscription_id": str(row.id)}, [seen]),
        ({"organization_id": str(uuid4())}, []),
    ):
        assert (await api.ours.get("/unapplied-payments", **query)).json()["data"] == found

    back = await api.ours.post(f"/unapplied-payments/{spare.id}/refund", {"amount_minor": 900})
    assert back.json()["refunds"][0]["payment_id"] == str(spare.id)
    [left] = (await api.ours.get("/unapplied-payments")).json()["data"]
    assert (left["unapplied_minor"], left["refunded_minor"]) == (AMOUNT - 900, 900)
    too_much = await api.ours.post(
        f"/unapplied-payments/{spare.id}/refund", {"amount_minor": AMOUNT}
    )
    assert too_much.json()["code"] == "refund_too_large"
    await api.ours.post(f"/unapplied-payments/{spare.id}/refund", {})
    assert (await api.ours.get("/unapplied-payments")).json()["data"] == []
    assert sum(one.amount_minor for one in await api.all(select(Refund))) == AMOUNT


async def test_the_list_goes_on_from_its_cursor(api: Api) -> None:
    _, _, slip, _ = await paid(api)
    spares = [capture(slip, applied_minor=0) for _ in range(3)]
    await api.add(*spares)
    first = (await api.ours.get("/unapplied-payments", limit=2)).json()
    rest = (await api.ours.get("/unapplied-payments", limit=2, cursor=first["next_cursor"])).json()
    ids = [one["payment_id"] for one in first["data"] + rest["data"]]
    assert ids == [str(one.id) for one in reversed(spares)]
    assert (first["has_more"], rest["has_more"]) == (True, False)


async def test_credit_needs_coming_invoices_and_money_that_is_left(
    api: Api, worker: Worker
) -> None:
    row, _, slip, money = await paid(api)
    spare = capture(slip, applied_minor=0)
    foreign = capture(slip, applied_minor=0, currency="USD")
    await api.add(spare, foreign)
    path = f"/unapplied-payments/{spare.id}/credit"
    assert (await api.ours.post(path, {"amount_minor": AMOUNT + 1})).json()["code"] == (
        "credit_too_large"
    )
    none_left = await api.ours.post(f"/unapplied-payments/{money.id}/credit", {})
    assert none_left.json()["code"] == "credit_too_large"
    other = await api.ours.post(f"/unapplied-payments/{foreign.id}/credit", {})
    assert other.json()["code"] == "credit_currency_differs"
    assert await api.all(select(CreditEntry)) == []
    await api.run(update(Subscription).values(status="canceled"))
    assert (await api.ours.post(path, {})).json()["code"] == "no_coming_invoices"
    assert row.workflow_id.startswith("subscription/")
