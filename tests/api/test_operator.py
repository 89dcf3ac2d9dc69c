"""What operators do and see: with a scope of its own, a reason, and never across tenants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from temporalio.worker import Worker

from abono.keys import create_key
from activities.signatures.attempts import SettleAttempt
from models.commands import TASK_QUEUE, resolve_workflow_id
from models.events import EventKind
from models.outcomes import ProviderName
from models.storage.tables import AuditEntry, ChargeAttempt, WebhookEvent, new_id
from tests.api.support import (
    PEPPER,
    Api,
    Tenant,
    attempt,
    event,
    invoice,
    open_voucher,
    organization,
    plan,
    price,
    subscription,
)

BASE = "/api/v1/operator"
WHY = {"reason": "the customer called"}
DEPOSIT = {
    **WHY,
    "amount_minor": 19900,
    "currency": "MXN",
    "reference": "BBVA 42",
    "received_at": "2026-11-22T18:00:00Z",
}


async def post(who: Tenant, path: str, body: Any, key: str | None = None) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await who.http.post(f"{BASE}{path}", json=body, headers=headers)


async def get(who: Tenant, path: str, **params: Any) -> Any:
    return (await who.http.get(f"{BASE}{path}", params=params)).json()


@pytest.fixture
async def opened(api: Api, worker: Worker) -> str:
    who, what = organization(api.ours), plan(api.ours)
    await api.add(who, what, price(what))
    body = {
        "organization_id": str(who.id),
        "plan_id": str(what.id),
        "billing_interval": "monthly",
        "payment_method_type": "spei",
    }
    made: str = (await api.ours.post("/subscriptions", body)).json()["id"]
    return made


async def test_each_action_is_carried_out_with_who_and_why(api: Api, opened: str) -> None:
    actions = [("retry", WHY), ("reissue-voucher", WHY), ("mark-paid", DEPOSIT)]
    for action, body in actions:
        answer = await post(api.ours, f"/subscriptions/{opened}/{action}", body)
        assert (answer.status_code, answer.json()["id"]) == (200, opened), action
    handle = api.temporal.get_workflow_handle(subscription_workflow_id_of(opened))
    who = f"by key:{api.ours.key[:12]}: the customer called"
    assert (await handle.query("said"))[1:] == [
        f"retry_now {who}",
        f"reissue_voucher {who}",
        f"mark_paid 19900 BBVA 42 {who}",
    ]


def subscription_workflow_id_of(opened: str) -> str:
    return f"subscription/{opened}"


async def test_an_action_happens_once_for_a_key(api: Api, opened: str) -> None:
    path = f"/subscriptions/{opened}/mark-paid"
    first = await post(api.ours, path, DEPOSIT, key="k")
    again = await post(api.ours, path, DEPOSIT, key="k")
    assert again.json() == first.json()
    handle = api.temporal.get_workflow_handle(subscription_workflow_id_of(opened))
    assert len(await handle.query("said")) == 2


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("retry", {}),
        ("retry", {"reason": " "}),
        ("mark-paid", {**DEPOSIT, "amount_minor": 0}),
        ("mark-paid", {**DEPOSIT, "received_at": "2026-11-22T18:00:00"}),
        ("resolve", {**WHY, "declared": "succeeded"}),
        ("resolve", {**WHY, "provider_object_id": "pi_1"}),
        ("resolve", {**WHY, "declared": "not_executed", "provider_object_id": "pi_1"}),
    ],
)
async def test_what_makes_no_sense_is_refused(api: Api, action: str, body: Any) -> None:
    row, _, _ = await open_voucher(api)
    answer = await post(api.ours, f"/subscriptions/{row.id}/{action}", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_it_takes_a_scope_of_its_own(api: Api, database_url: str) -> None:
    row, _, _ = await open_voucher(api)
    scopes = ["billing:read", "billing:write", "plans:write"]
    key = await create_key(database_url, application_name="Ours", scopes=scopes, pepper=PEPPER)
    headers = {"Authorization": f"Bearer {key}"}
    retry = f"{BASE}/subscriptions/{row.id}/retry"
    assert (await api.anyone.post(retry, json=WHY, headers=headers)).status_code == 403
    for path in ("/attempts", "/webhooks"):
        assert (await api.anyone.get(f"{BASE}{path}", headers=headers)).status_code == 403
        assert (await api.anyone.get(f"{BASE}{path}")).status_code == 401


async def test_another_tenants_subscription_is_not_there(api: Api) -> None:
    row, _, _ = await open_voucher(api)
    for action, body in (("retry", WHY), ("mark-paid", DEPOSIT), ("resolve", WHY)):
        answer = await post(api.theirs, f"/subscriptions/{row.id}/{action}", body)
        assert answer.status_code == 404, action


async def unknown(api: Api) -> ChargeAttempt:
    who, what = organization(api.ours), plan(api.ours)
    row = subscription(who, what)
    bill = invoice(row)
    lost = attempt(bill, outcome="unknown", started_at=datetime.now(UTC) - timedelta(hours=2))
    await api.add(who, what, row, bill, lost)
    return lost


async def test_an_unknown_outcome_is_asked_for_and_declared(api: Api, worker: Worker) -> None:
    slip = await unknown(api)
    path = f"/subscriptions/{slip.subscription_id}/resolve"
    early = await post(api.ours, path, WHY)
    assert (early.status_code, early.json()["code"]) == (409, "conflict")

    await api.temporal.start_workflow(
        "ResolveAttemptWorkflow",
        SettleAttempt(attempt_id=slip.id, provider=ProviderName.STRIPE),
        id=resolve_workflow_id(slip.id),
        task_queue=TASK_QUEUE,
    )
    asked = await post(api.ours, path, WHY)
    assert (asked.status_code, asked.json()["outcome"]) == (202, "unknown")
    declared = await post(api.ours, path, {**WHY, "declared": "not_executed"})
    assert declared.status_code == 200
    assert declared.json() == {
        "attempt_id": str(slip.id),
        "provider": "stripe",
        "outcome": "not_attempted",
        "decided_by": "operator",
        "detail": "the customer called",
    }


async def test_in_doubt_nothing_else_is_done(api: Api) -> None:
    lost = await unknown(api)
    for action, body in (("reissue-voucher", WHY), ("mark-paid", DEPOSIT)):
        answer = await post(api.ours, f"/subscriptions/{lost.subscription_id}/{action}", body)
        assert answer.status_code == 409, action
        assert "resolve it first" in answer.json()["detail"]


async def test_nothing_unknown_is_nothing_to_resolve(api: Api) -> None:
    row, _, _ = await open_voucher(api)
    answer = await post(api.ours, f"/subscriptions/{row.id}/resolve", WHY)
    assert answer.status_code == 409
    assert "unknown outcome" in answer.json()["detail"]


async def test_attempts_are_listed_by_outcome_with_their_age(api: Api) -> None:
    slip = await unknown(api)
    _, _, pending = await open_voucher(api)
    [found] = (await get(api.ours, "/attempts"))["data"]
    assert (found["id"], found["subscription_id"]) == (str(slip.id), str(slip.subscription_id))
    assert 7200 <= found["age_seconds"] < 7300
    [waiting] = (await get(api.ours, "/attempts", outcome="pending"))["data"]
    assert waiting["id"] == str(pending.id)
    assert (await get(api.theirs, "/attempts"))["data"] == []


def waiting(**changes: Any) -> WebhookEvent:
    told = event(EventKind.PAYMENT, **changes.pop("event", {}))
    moment = datetime.now(UTC)
    values: dict[str, Any] = {
        "id": new_id(),
        "provider": "stripe",
        "account": "default",
        "provider_event_id": told.provider_event_id,
        "event_type": "payment_intent.succeeded",
        "kind": "payment",
        "payload": {"name": "Ana López"},
        "event": told.model_dump(mode="json"),
        "received_at": moment,
        "attempts": 3,
        "next_dispatch_at": moment + timedelta(hours=1),
    }
    return WebhookEvent(**values | changes)


async def test_the_inbox_shows_what_leads_to_us(api: Api, database_url: str) -> None:
    row, _, slip = await open_voucher(api)
    by_workflow = waiting(workflow_id=row.workflow_id, last_error="signal failed: X")
    by_attempt = waiting(event={"attempt_id": str(slip.id)})
    nobodys = waiting(last_error="no such subscription")
    await api.add(by_workflow, by_attempt, nobodys)

    everything = await get(api.ours, "/webhooks")
    ids = [str(found.id) for found in (nobodys, by_attempt, by_workflow)]
    assert [found["id"] for found in everything["data"]] == ids
    assert "Ana" not in str(everything), "what was received is shown to nobody"
    failed = (await get(api.ours, "/webhooks", state="failed"))["data"]
    assert [(f["state"], f["last_error"], f["tries"]) for f in failed] == [
        ("failed", "no such subscription", 3),
        ("failed", "signal failed: X", 3),
    ]
    theirs = (await get(api.theirs, "/webhooks"))["data"]
    assert [found["id"] for found in theirs] == [str(nobodys.id)], "nobody's, for administrators"

    key = await create_key(
        database_url, application_name="Ours", scopes=["operator"], pepper=PEPPER
    )
    mine = await api.anyone.get(f"{BASE}/webhooks", headers={"Authorization": f"Bearer {key}"})
    assert [found["id"] for found in mine.json()["data"]] == ids[1:]


async def test_the_inbox_is_paged(api: Api) -> None:
    row, _, _ = await open_voucher(api)
    rows = [waiting(workflow_id=row.workflow_id) for _ in range(3)]
    await api.add(*rows)
    first = await get(api.ours, "/webhooks", limit=2)
    second = await get(api.ours, "/webhooks", limit=2, cursor=first["next_cursor"])
    found = [item["id"] for item in first["data"] + second["data"]]
    assert found == [str(each.id) for each in rows[::-1]]
    assert (first["has_more"], second["has_more"]) == (True, False)


async def test_a_webhook_is_delivered_again(api: Api) -> None:
    row, _, _ = await open_voucher(api)
    await api.add(stuck := waiting(workflow_id=row.workflow_id, last_error="signal failed: X"))
    other = await post(api.theirs, f"/webhooks/{stuck.id}/replay", WHY)
    assert other.status_code == 404
    answer = await post(api.ours, f"/webhooks/{stuck.id}/replay", WHY)
    assert (answer.status_code, answer.json()["state"]) == (200, "unapplied")
    [due] = await api.inbox(stuck.id)
    assert (due.attempts, due.last_error) == (0, None)
    assert due.next_dispatch_at <= datetime.now(UTC)
    [entry] = await api.all(select(AuditEntry).where(AuditEntry.action == "webhook.replayed"))
    assert (entry.subscription_id, entry.after["reason"]) == (row.id, WHY["reason"])


@pytest.mark.parametrize(("disposition", "status"), [("applied", 409), ("not_ours", 200)])
async def test_what_was_applied_is_not_applied_again(
    api: Api, disposition: str, status: int
) -> None:
    row, _, _ = await open_voucher(api)
    done = waiting(
        workflow_id=row.workflow_id, applied_at=datetime.now(UTC), disposition=disposition
    )
    await api.add(done)
    answer = await post(api.ours, f"/webhooks/{done.id}/replay", WHY)
    assert answer.status_code == status
    [after] = await api.inbox(done.id)
    assert (after.applied_at is not None) == (disposition == "applied")
