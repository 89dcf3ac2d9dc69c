"""Disputes as operators and applications see them, and what they may do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select
from temporalio.worker import Worker

from models.storage.tables import AuditEntry, Dispute, Subscription, new_id
from tests.api.support import Api, Tenant, invoice, organization, plan, subscription

NOW = datetime.now(UTC)


async def disputed(api: Api, tenant: Tenant, **changes: Any) -> Dispute:
    who, what = organization(tenant), plan(tenant)
    row = subscription(who, what)
    bill = invoice(row)
    dispute = Dispute(
        **{
            "id": new_id(),
            "application_id": tenant.application_id,
            "organization_id": who.id,
            "subscription_id": row.id,
            "invoice_id": bill.id,
            "provider": "stripe",
            "account": "default",
            "provider_dispute_id": f"du_{new_id()}",
            "amount_minor": 1900,
            "currency": "USD",
            "reason": "fraudulent",
            "status": "open",
            "opened_at": NOW,
            **changes,
        }
    )
    await api.add(who, what, row, bill, dispute)
    return dispute


async def test_disputes_are_listed_and_read(api: Api) -> None:
    one = await disputed(api, api.ours)
    two = await disputed(api, api.ours, status="lost")
    everything = (await api.ours.get("/disputes")).json()["data"]
    lost = (await api.ours.get("/disputes", status="lost")).json()["data"]
    mine = (await api.ours.get("/disputes", subscription_id=str(one.subscription_id))).json()
    shown = (await api.ours.get(f"/disputes/{one.id}")).json()
    assert [row["id"] for row in everything] == [str(two.id), str(one.id)]
    assert [row["id"] for row in lost] == [str(two.id)]
    assert [row["id"] for row in mine["data"]] == [str(one.id)]
    assert (shown["status"], shown["amount_minor"], shown["reason"]) == ("open", 1900, "fraudulent")
    assert (await api.ours.get("/disputes", status="maybe")).status_code == 422


async def test_an_invoice_shows_its_disputes_and_stays_what_it_is(api: Api) -> None:
    dispute = await disputed(api, api.ours)
    shown = (await api.ours.get(f"/invoices/{dispute.invoice_id}")).json()
    assert [row["id"] for row in shown["disputes"]] == [str(dispute.id)]


async def test_another_tenant_sees_none_of_it(api: Api) -> None:
    dispute = await disputed(api, api.theirs)
    assert (await api.ours.get("/disputes")).json()["data"] == []
    assert (await api.ours.get(f"/disputes/{dispute.id}")).status_code == 404
    assert (await api.ours.post(f"/disputes/{dispute.id}/accept")).status_code == 404


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"status": "lost"}, 200, None),
        ({"status": "won"}, 409, "conflict"),
        ({"provider": "conekta"}, 409, "dispute_not_answerable"),
        ({"provider": "polar"}, 409, "dispute_not_answerable"),
    ],
)
async def test_what_cannot_be_accepted_says_why(
    api: Api, changes: dict[str, Any], status: int, code: str | None
) -> None:
    dispute = await disputed(api, api.ours, **changes)
    answer = await api.ours.post(f"/disputes/{dispute.id}/accept")
    assert (answer.status_code, answer.json().get("code")) == (status, code)
    assert await api.all(select(AuditEntry)) == []


async def test_acceptance_is_handed_on_and_written_down(api: Api, worker: Worker) -> None:
    """The stand-in answers as the workflow does while its provider has said nothing new."""
    dispute = await disputed(api, api.ours)
    answer = await api.ours.post(f"/disputes/{dispute.id}/accept", key="accept-1")
    again = await api.ours.post(f"/disputes/{dispute.id}/accept", key="accept-1")
    assert (answer.status_code, again.status_code) == (200, 200)
    [entry] = await api.all(select(AuditEntry))
    row: Subscription = (await api.all(select(Subscription)))[0]
    assert (entry.action, entry.subscription_id) == ("dispute.accept", row.id)
    assert entry.actor.startswith("key:")
