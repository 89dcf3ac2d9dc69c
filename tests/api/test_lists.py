"""Filters of the lists, alone and together, page by page; and what `expand` sends along."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import UniqueConstraint

from models.storage.base import first_id_at
from models.storage.tables import (
    Invoice,
    OutboundEvent,
    Payment,
    PaymentMethod,
    Product,
    Purchase,
    Subscription,
    new_id,
)
from tests.api.support import (
    Api,
    Tenant,
    card,
    invoice,
    organization,
    plan,
    price,
    subscription,
)

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


def at(moment: datetime) -> dict[str, Any]:
    """As rows are that were made then: their ids say so too."""
    made = UUID(int=first_id_at(moment).int | (new_id().int & (2**80 - 1)))
    return {"id": made, "created_at": moment}


def iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


async def ids(tenant: Tenant, path: str, **filters: Any) -> list[str]:
    """Over all pages of one row each, which a cursor that is not stable would mix up."""
    found: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        body = (await tenant.get(path, limit=1, **filters, **cursor)).json()
        found += [row["id"] for row in body["data"]]
        if not body["has_more"]:
            return found
        cursor = {"cursor": body["next_cursor"]}


def named(*rows: Any) -> list[str]:
    return [str(row.id) for row in rows]


async def test_subscriptions_by_every_filter(api: Api) -> None:
    who, other = organization(api.ours), organization(api.ours)
    pro, basic = plan(api.ours), plan(api.ours)
    old = subscription(who, pro, status="past_due", **at(NOW - 40 * DAY))
    young = subscription(who, basic, provider="conekta", **at(NOW - 2 * DAY))
    newest = subscription(other, pro, **at(NOW - DAY))
    foreign = subscription(organization(api.theirs), plan(api.theirs))
    await api.add(who, other, pro, basic, old, young, newest)

    path = "/subscriptions"
    assert await ids(api.ours, path) == named(newest, young, old)
    assert await ids(api.ours, path, plan_id=str(pro.id)) == named(newest, old)
    assert await ids(api.ours, path, status="past_due") == named(old)
    assert await ids(api.ours, path, provider="conekta") == named(young)
    assert await ids(api.ours, path, organization_id=str(who.id)) == named(young, old)
    assert await ids(api.ours, path, organization_id=str(who.id), plan_id=str(pro.id)) == named(old)
    since, before = iso(NOW - 2 * DAY), iso(NOW - DAY)
    assert await ids(api.ours, path, created_since=since) == named(newest, young)
    assert await ids(api.ours, path, created_before=before) == named(young, old)
    assert await ids(api.ours, path, created_since=since, created_before=before) == named(young)
    assert await ids(api.ours, path, plan_id=str(foreign.plan_id)) == []


async def test_a_span_reaches_from_the_beginning_to_the_end_of_time(api: Api) -> None:
    who, pro = organization(api.ours), plan(api.ours)
    row = subscription(who, pro)
    await api.add(who, pro, row)
    spans = {"created_since": "0001-01-01T00:00:00Z", "created_before": "9999-12-31T23:59:59Z"}
    assert await ids(api.ours, "/subscriptions", **spans) == named(row)
    assert await ids(api.ours, "/subscriptions", created_before="0001-01-01T00:00:00Z") == []
    answer = await api.ours.get("/subscriptions", created_since="yesterday")
    assert answer.json()["errors"][0]["field"] == "created_since"


async def test_invoices_by_every_filter(api: Api) -> None:
    who, other, pro = organization(api.ours), organization(api.ours), plan(api.ours)
    row, second = subscription(who, pro), subscription(other, pro, provider="conekta")
    late = invoice(row, invoice_date=NOW - 9 * DAY, due_date=NOW - 5 * DAY)
    paid = invoice(row, status="paid", invoice_date=NOW - 3 * DAY, due_date=NOW)
    coming = invoice(second, invoice_date=NOW, due_date=NOW + 3 * DAY)
    await api.add(who, other, pro, row, second, late, paid, coming)

    path = "/invoices"
    assert await ids(api.ours, path, due_before=iso(NOW), status="pending") == named(late)
    assert await ids(api.ours, path, due_since=iso(NOW)) == named(coming, paid)
    assert await ids(api.ours, path, organization_id=str(who.id)) == named(paid, late)
    assert await ids(api.ours, path, provider="conekta") == named(coming)
    assert await ids(api.ours, path, created_since=iso(NOW - 3 * DAY)) == named(coming, paid)
    assert await ids(api.ours, path, subscription_id=str(row.id), status="paid") == named(paid)


async def test_payment_methods_by_every_filter(api: Api) -> None:
    who = organization(api.ours)
    gone = card(who, status="detached")
    usual = card(who, is_default=True, provider="conekta")
    await api.add(who, gone, usual)
    path = "/payment-methods"
    assert await ids(api.ours, path, status="active") == named(usual)
    assert await ids(api.ours, path, is_default=False) == named(gone)
    assert await ids(api.ours, path, provider="conekta", created_since=iso(NOW - DAY)) == named(
        usual
    )
    assert await ids(api.ours, path, created_before=iso(NOW - DAY)) == []


def _payment(of: Any, **changes: Any) -> Payment:
    values: dict[str, Any] = {
        "id": new_id(), "application_id": of.application_id, "subscription_id": of.subscription_id,
        "invoice_id": of.id, "provider": "stripe", "account": "default",
        "provider_charge_id": f"ch_{new_id()}", "kind": "capture", "amount_minor": 19900,
        "applied_minor": 0, "currency": "MXN", "occurred_at": NOW, "recorded_at": NOW,
    }  # fmt: skip
    return Payment(**values | changes)


async def test_payments_by_every_filter(api: Api) -> None:
    who, other, pro = organization(api.ours), organization(api.ours), plan(api.ours)
    row, second = subscription(who, pro), subscription(other, pro)
    bill, another = invoice(row), invoice(second)
    came = _payment(bill, occurred_at=NOW - 2 * DAY)
    back = _payment(bill, kind="refund")
    hers = _payment(another, provider="conekta")
    await api.add(who, other, pro, row, second, bill, another, came, back, hers)

    path = "/payments"
    assert await ids(api.ours, path) == named(hers, back, came)
    assert await ids(api.ours, path, kind="refund") == named(back)
    assert await ids(api.ours, path, organization_id=str(other.id)) == named(hers)
    assert await ids(api.ours, path, invoice_id=str(bill.id)) == named(back, came)
    assert await ids(api.ours, path, provider="conekta") == named(hers)
    assert await ids(api.ours, path, occurred_before=iso(NOW)) == named(came)
    shown = (await api.ours.get(f"{path}/{back.id}")).json()
    assert (shown["invoice_id"], shown["subscription_id"]) == (str(bill.id), str(row.id))
    assert (await api.theirs.get(f"{path}/{back.id}")).status_code == 404


def _event(of: Any, sequence: int, type_: str, **changes: Any) -> OutboundEvent:
    values: dict[str, Any] = {
        "id": new_id(), "application_id": of.application_id, "subscription_id": of.id,
        "sequence": sequence, "type": type_, "data": {}, "created_at": NOW,
    }  # fmt: skip
    return OutboundEvent(**values | changes)


async def test_events_by_every_filter(api: Api) -> None:
    who, other, pro = organization(api.ours), organization(api.ours), plan(api.ours)
    row, second = subscription(who, pro), subscription(other, pro)
    first = _event(row, 1, "subscription.created", **at(NOW - 5 * DAY))
    paid = _event(row, 2, "invoice.paid")
    hers = _event(second, 1, "invoice.paid")
    await api.add(who, other, pro, row, second, first, paid, hers)
    path = "/events"
    assert await ids(api.ours, path, type="invoice.paid") == named(paid, hers)
    assert await ids(api.ours, path, organization_id=str(who.id)) == named(first, paid)
    assert await ids(api.ours, path, created_since=iso(NOW - DAY)) == named(paid, hers)
    assert await ids(api.ours, path, created_before=iso(NOW - DAY)) == named(first)
    assert await ids(api.ours, path, subscription_id=str(row.id), type="invoice.paid") == named(
        paid
    )


@pytest.fixture
async def bought(api: Api) -> Purchase:
    who = organization(api.ours)
    book = Product(
        id=new_id(), application_id=who.application_id, name="Handbook", amount_minor=4900,
        currency="USD", is_active=True, provider_product_ids={}, created_at=NOW,
    )  # fmt: skip
    row = Purchase(
        id=new_id(), application_id=who.application_id, organization_id=who.id,
        product_id=book.id, version=1, opening={}, workflow_id=f"purchase/{new_id()}",
        status="paid", provider="polar", amount_minor=4900, currency="USD", metadata_={},
        created_at=NOW, updated_at=NOW,
    )  # fmt: skip
    await api.add(who, book, row)
    return row


async def test_purchases_by_every_filter(api: Api, bought: Purchase) -> None:
    path = "/purchases"
    yes = {"product_id": str(bought.product_id), "provider": "polar", "created_since": iso(NOW)}
    no = {"product_id": str(new_id()), "provider": "stripe", "created_since": iso(NOW + DAY)}
    for name in yes:
        assert await ids(api.ours, path, **{name: yes[name]}) == named(bought)
        assert await ids(api.ours, path, **{name: no[name]}) == []


# Expansion.


async def test_a_subscription_with_what_it_names(api: Api) -> None:
    who, pro = organization(api.ours), plan(api.ours)
    method = card(who)
    row = subscription(who, pro, payment_method_id=method.id)
    bill = invoice(row)
    await api.add(who, pro, price(pro), method, row, bill)
    everything = "plan,latest_invoice,organization,payment_method"

    shown = (await api.ours.get(f"/subscriptions/{row.id}", expand=everything)).json()
    [listed] = (await api.ours.get("/subscriptions", expand="plan,latest_invoice")).json()["data"]
    plain = (await api.ours.get(f"/subscriptions/{row.id}")).json()

    assert "expanded" not in plain
    expanded = shown.pop("expanded")
    assert shown == plain
    alone = (await api.ours.get(f"/plans/{pro.id}")).json()
    assert expanded["plan"] == alone
    assert expanded["latest_invoice"]["id"] == plain["latest_invoice_id"] == str(bill.id)
    assert expanded["organization"]["id"] == str(who.id)
    assert expanded["payment_method"]["id"] == str(method.id)
    assert set(listed["expanded"]) == {"plan", "latest_invoice"}


async def test_an_invoice_with_its_subscription(api: Api) -> None:
    who, pro = organization(api.ours), plan(api.ours)
    row = subscription(who, pro)
    bill = invoice(row)
    await api.add(who, pro, row, bill)
    for path in (f"/invoices/{bill.id}", "/invoices"):
        body = (await api.ours.get(path, expand="subscription,organization")).json()
        shown = body["data"][0] if "data" in body else body
        assert shown["expanded"]["subscription"]["id"] == str(row.id)
        assert shown["expanded"]["organization"]["id"] == str(who.id)


async def test_a_purchase_with_its_product(api: Api, bought: Purchase) -> None:
    body = (await api.ours.get(f"/purchases/{bought.id}", expand="product")).json()
    assert body["expanded"]["product"]["id"] == str(bought.product_id)


@pytest.mark.parametrize("asked", ["plans", "plan,", "plan,invoice", "", "Plan", "id"])
async def test_what_cannot_be_expanded_is_a_problem_of_its_own(api: Api, asked: str) -> None:
    answer = await api.ours.get("/subscriptions", expand=asked)
    assert (answer.status_code, answer.json()["code"]) == (422, "expand_not_supported")
    assert answer.json()["errors"][0]["field"] == "expand"


# Indexes.


@pytest.mark.parametrize(
    "column",
    [
        Subscription.organization_id,
        Subscription.plan_id,
        Subscription.status,
        Subscription.id,
        Invoice.organization_id,
        Invoice.subscription_id,
        Invoice.purchase_id,
        Invoice.status,
        Invoice.invoice_date,
        Invoice.due_date,
        Purchase.organization_id,
        Purchase.product_id,
        Purchase.status,
        PaymentMethod.organization_id,
        PaymentMethod.id,
        Payment.invoice_id,
        Payment.subscription_id,
        Payment.occurred_at,
        OutboundEvent.subscription_id,
        OutboundEvent.purchase_id,
        OutboundEvent.type,
        OutboundEvent.id,
    ],
    ids=str,
)
def test_a_filter_has_an_index_to_go_by(column: Any) -> None:
    """By its column, alone or within the application. A provider is one of three: the page's order serves."""
    table = column.class_.__table__
    uniques = [c for c in table.constraints if isinstance(c, UniqueConstraint)]
    leading = [tuple(each.columns.keys())[:2] for each in (*table.indexes, *uniques)]
    name = column.key
    assert any(keys[0] == name or keys == ("application_id", name) for keys in leading), leading
