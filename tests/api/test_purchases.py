"""Products and purchases over HTTP, and the provider's news about them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, update
from temporalio.worker import Worker

from api.dispatcher import Dispatcher
from api.starter import Starter
from models.events import EventKind
from models.outcomes import ProviderName
from models.snapshots import GrantSnapshot
from models.storage.tables import (
    Benefit,
    BenefitGrant,
    ChargeAttempt,
    Invoice,
    Organization,
    OutboundEvent,
    Payment,
    ProviderCustomer,
    Purchase,
    new_id,
)
from tests.api.dispatching import heard, start_payment
from tests.api.support import Api, event, organization, paid

HANDBOOK = {
    "name": "Handbook",
    "amount_minor": 4900,
    "currency": "USD",
    "benefits": [{"type": "custom", "description": "Thank you", "properties": {"note": "x"}}],
}


async def order(api: Api, **changes: Any) -> tuple[Organization, dict[str, Any]]:
    who = organization(api.ours)
    await api.add(who)
    product = (await api.ours.post("/products", HANDBOOK)).json()
    body = {
        "organization_id": str(who.id),
        "product_id": product["id"],
        "success_url": "https://shop.example/thanks",
        "metadata": {"order": "1"},
    }
    return who, body | changes


async def test_a_product_is_made_once_and_read(api: Api) -> None:
    first = await api.ours.post("/products", HANDBOOK, key="k")
    again = await api.ours.post("/products", HANDBOOK, key="k")
    assert (first.status_code, again.json()) == (201, first.json())
    made = first.json()
    assert (made["amount_minor"], made["currency"], made["is_active"]) == (4900, "USD", True)
    assert [benefit["type"] for benefit in made["benefits"]] == ["custom"]
    assert (await api.ours.get(f"/products/{made['id']}")).json() == made
    assert (await api.ours.get("/products")).json()["data"] == [made]
    assert (await api.theirs.get("/products")).json()["data"] == []
    assert (await api.theirs.get(f"/products/{made['id']}")).status_code == 404


@pytest.mark.parametrize(
    "change",
    [{"amount_minor": 0}, {"currency": "usd"}, {"benefits": [{"type": "cake"}]}, {"price": 1}],
)
async def test_a_product_that_cannot_be_sold_is_refused(api: Api, change: dict[str, Any]) -> None:
    assert (await api.ours.post("/products", HANDBOOK | change)).status_code == 422


async def test_a_purchase_is_opened_once(api: Api, worker: Worker) -> None:
    _, body = await order(api, ip_address="187.141.0.1")
    first = await api.ours.post("/purchases", body, key="buy")
    again = await api.ours.post("/purchases", body, key="buy")
    assert (first.status_code, again.json()) == (201, first.json())
    made = first.json()
    assert (made["status"], made["amount_minor"], made["metadata"]) == (
        "pending",
        4900,
        {"order": "1"},
    )
    assert [benefit["status"] for benefit in made["benefits"]] == [None]
    [row] = await api.all(select(Purchase))
    assert (row.version, row.workflow_id) == (0, f"purchase/{row.id}")
    description = await api.temporal.get_workflow_handle(row.workflow_id).fetch_history()
    assert "187.141.0.1" not in description.to_json(), "personal data stays in the database"
    assert row.opening["customer_ip_address"] == "187.141.0.1"


async def test_a_purchase_shows_its_page(api: Api, worker: Worker) -> None:
    row, _ = await bought(api)
    seen = (await api.ours.get(f"/purchases/{row.id}")).json()
    assert seen["next_action"] == {
        "type": "redirect",
        "url": "https://pay.example/1",
        "expires_at": None,
    }
    assert (await api.ours.get("/purchases", status="pending")).json()["data"] == [seen]
    assert (await api.ours.get("/purchases", status="paid")).json()["data"] == []
    assert (await api.theirs.get(f"/purchases/{row.id}")).status_code == 404
    assert (await api.theirs.get("/purchases")).json()["data"] == []


async def test_what_cannot_be_bought_is_refused(api: Api) -> None:
    _, body = await order(api)
    stranger = organization(api.theirs)
    await api.add(stranger)
    for change, status in (
        ({"organization_id": str(stranger.id)}, 404),
        ({"product_id": str(uuid4())}, 404),
        ({"success_url": "nowhere"}, 422),
    ):
        assert (await api.ours.post("/purchases", body | change)).status_code == status
    assert await api.all(select(Purchase)) == []


async def test_the_starter_starts_what_was_accepted(api: Api, worker: Worker) -> None:
    row, _ = await bought(api)
    waited = datetime.now(UTC) - timedelta(hours=1)
    await api.run(update(Purchase).values(version=0, created_at=waited, updated_at=waited))
    assert await Starter(api.context).run_once() == 1
    handle = api.temporal.get_workflow_handle(row.workflow_id)
    assert (await handle.describe()).workflow_type == "PurchaseWorkflow"


async def test_news_go_to_the_page_while_it_is_open_then_to_the_purchase(
    api: Api, worker: Worker
) -> None:
    row, attempt = await bought(api, start=True)
    page = await start_payment(api, attempt)
    first = await api.take(paid(attempt))
    await Dispatcher(api.context).run_once()
    assert await heard(page) == [[first]]

    await api.run(update(ChargeAttempt).values(outcome="declined"))
    second = await api.take(paid(attempt))
    await Dispatcher(api.context).run_once()
    assert await heard(api.temporal.get_workflow_handle(row.workflow_id)) == [[second]]


async def test_money_for_a_purchase_that_is_over_is_heard_all_the_same(
    api: Api, worker: Worker
) -> None:
    _, attempt = await bought(api)
    await api.run(update(Purchase).values(status="expired"))
    await api.run(update(ChargeAttempt).values(outcome="declined"))
    taken = await api.take(paid(attempt))
    await Dispatcher(api.context).run_once()
    late = api.temporal.get_workflow_handle(f"late/{taken}")
    assert (await late.describe()).workflow_type == "LatePaymentWorkflow"


async def test_a_refund_is_news_until_it_is_in_the_ledger(api: Api, worker: Worker) -> None:
    row, attempt = await bought(api)
    await api.run(update(Purchase).values(status="paid"))
    await api.run(update(ChargeAttempt).values(outcome="succeeded"))
    told = paid(attempt, "ch_1")
    assert told.payment is not None
    refunded = told.payment.model_copy(update={"amount_refunded_minor": 900})
    for kind, amount_minor, disposition in (
        ("capture", 4900, None),
        ("refund", 900, "nothing_new"),
    ):
        await api.add(movement(attempt, kind, amount_minor))
        news = told.model_copy(
            update={"payment": refunded, "provider_event_id": f"evt_{uuid4().hex}"}
        )
        taken = await api.take(news)
        await Dispatcher(api.context).run_once()
        [inbox] = await api.inbox(taken)
        assert (inbox.disposition, inbox.workflow_id) == (
            disposition,
            None if disposition else row.workflow_id,
        )


def movement(of: ChargeAttempt, kind: str, amount_minor: int) -> Payment:
    return Payment(
        application_id=of.application_id,
        purchase_id=of.purchase_id,
        invoice_id=of.invoice_id,
        attempt_id=of.id,
        provider="stripe",
        account="default",
        provider_charge_id="ch_1",
        kind=kind,
        amount_minor=amount_minor,
        applied_minor=amount_minor,
        currency="USD",
        occurred_at=datetime.now(UTC),
        recorded_at=datetime.now(UTC),
    )


async def test_a_benefit_is_written_with_its_acknowledgement(api: Api) -> None:
    row, _ = await bought(api)
    await _at_polar(api, row)
    for granted, grant_id, status in (
        (True, "grant_1", "granted"),
        (False, "grant_0", "granted"),  # Of an earlier purchase: access goes on.
        (False, "grant_1", "revoked"),
        (True, "grant_2", "granted"),
    ):
        taken = await api.take(benefit_event(granted=granted, grant_id=grant_id))
        await Dispatcher(api.context).run_once()
        [inbox] = await api.inbox(taken)
        [grant] = await api.all(select(BenefitGrant))
        assert (inbox.disposition, grant.status) == ("applied", status)
        assert inbox.applied_at is not None
    seen = (await api.ours.get(f"/purchases/{row.id}")).json()
    assert [benefit["status"] for benefit in seen["benefits"]] == ["granted"]


async def test_a_strangers_benefit_is_not_ours(api: Api) -> None:
    taken = await api.take(benefit_event(granted=True, grant_id="grant_9"))
    await Dispatcher(api.context).run_once()
    [inbox] = await api.inbox(taken)
    assert inbox.applied_at is None
    assert await api.all(select(BenefitGrant)) == []


def benefit_event(*, granted: bool, grant_id: str) -> Any:
    grant = GrantSnapshot(
        provider=ProviderName.POLAR,
        provider_grant_id=grant_id,
        provider_benefit_id="ben_1",
        provider_customer_id="cus_1",
        is_granted=granted,
        is_revoked=not granted,
    )
    changes: dict[str, Any] = {"provider": ProviderName.POLAR, "grant": grant}
    return event(EventKind.BENEFIT, event_type="benefit_grant.updated", **changes)


async def bought(api: Api, *, start: bool = False) -> tuple[Purchase, ChargeAttempt]:
    """A purchase with an open page at Stripe, as its workflow would have left it."""
    who, body = await order(api)
    moment, purchase_id = datetime.now(UTC), new_id()
    if start:
        answer = await api.ours.post("/purchases", body)
        purchase_id = UUID(answer.json()["id"])
        await api.run(update(Purchase).values(version=1))
    else:
        terms = {
            **{key: body[key] for key in ("organization_id", "product_id", "success_url")},
            "purchase_id": str(purchase_id),
            "application_id": str(who.application_id),
            "product_name": "Handbook",
            "amount_minor": 4900,
            "currency": "USD",
        }
        await api.add(
            Purchase(
                id=purchase_id,
                application_id=who.application_id,
                organization_id=who.id,
                product_id=UUID(body["product_id"]),
                version=1,
                opening=terms,
                workflow_id=f"purchase/{purchase_id}",
                status="pending",
                amount_minor=4900,
                currency="USD",
                metadata_={},
                created_at=moment,
                updated_at=moment,
            )
        )
    bill = Invoice(
        id=new_id(),
        application_id=who.application_id,
        organization_id=who.id,
        purchase_id=purchase_id,
        account="default",
        amount_minor=4900,
        amount_paid_minor=0,
        amount_refunded_minor=0,
        currency="USD",
        status="pending",
        invoice_date=moment,
        due_date=moment,
    )
    attempt = ChargeAttempt(
        id=new_id(),
        application_id=who.application_id,
        purchase_id=purchase_id,
        invoice_id=bill.id,
        provider="stripe",
        account="default",
        instrument="checkout",
        amount_minor=4900,
        currency="USD",
        outcome="pending",
        provider_object_id=f"cs_{uuid4().hex}",
        next_action={"type": "redirect", "url": "https://pay.example/1"},
        started_at=moment,
    )
    await api.add(bill, attempt)
    [row] = await api.all(select(Purchase))
    return row, attempt


async def test_events_of_one_purchase(api: Api) -> None:
    row, _ = await bought(api)
    moment = datetime.now(UTC)
    mine = [
        OutboundEvent(
            application_id=row.application_id,
            purchase_id=row.id,
            sequence=number,
            type="purchase.paid",
            data={},
            created_at=moment,
        )
        for number in (2, 1, 3)
    ]
    ownerless = {"application_id": row.application_id, "sequence": 1, "data": {}}
    other = OutboundEvent(type="benefit.granted", created_at=moment, **ownerless)
    await api.add(*mine, other)
    first = (await api.ours.get("/events", purchase_id=str(row.id), limit=2)).json()
    assert [one["sequence"] for one in first["data"]] == [1, 2]
    assert {one["purchase_id"] for one in first["data"]} == {str(row.id)}
    rest = await api.ours.get("/events", purchase_id=str(row.id), cursor=first["next_cursor"])
    assert [one["sequence"] for one in rest.json()["data"]] == [3]
    assert len((await api.ours.get("/events")).json()["data"]) == 4
    assert (await api.theirs.get("/events", purchase_id=str(row.id))).json()["data"] == []


async def test_a_stale_benefit_event_moves_nothing_back(api: Api) -> None:
    row, _ = await bought(api)
    await _at_polar(api, row)
    moment = datetime.now(UTC)
    for granted, seconds, status in (
        (True, 5, "granted"),
        (False, 9, "revoked"),
        (True, 5, "revoked"),
    ):
        told = benefit_event(granted=granted, grant_id="grant_1")
        changed_at = moment + timedelta(seconds=seconds)
        grant = told.grant.model_copy(update={"changed_at": changed_at})
        taken = await api.take(told.model_copy(update={"grant": grant}))
        await Dispatcher(api.context).run_once()
        [inbox] = await api.inbox(taken)
        [kept] = await api.all(select(BenefitGrant))
        assert (inbox.disposition, kept.status) == ("applied", status)
    events = select(OutboundEvent.type).order_by(OutboundEvent.sequence)
    assert await api.all(events) == ["benefit.granted", "benefit.revoked"]


async def _at_polar(api: Api, row: Purchase) -> None:
    """The buyer and the benefit, as Polar knows them."""
    await api.add(
        ProviderCustomer(
            id=new_id(),
            application_id=row.application_id,
            organization_id=row.organization_id,
            provider="polar",
            account="default",
            provider_customer_id="cus_1",
            created_at=datetime.now(UTC),
        )
    )
    await api.run(update(Benefit).values(provider_benefit_ids={"polar:default": "ben_1"}))
