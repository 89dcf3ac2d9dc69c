"""What is remembered of a provider's prices and products, and is not so any more: found out by the refusal
or by the reconciliation, put right, and nobody is charged twice or wrongly for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from activities.plan_changes import PlanChangeActivities
from activities.plans import ProviderPlans
from activities.reconcile import ReconcileActivities
from activities.reconcile_signatures import BeginRun, RunStep
from activities.results import SubscriptionIds
from activities.signatures.attempts import IssuePayment
from activities.signatures.plan_changes import ChangeProviderSubscription
from models.outcomes import OutcomeClass, ProviderName
from models.purchase import PurchaseTerms
from models.reconcile import ReconcileInput
from models.storage.tables import (
    PlanPrice,
    Product,
    Purchase,
    ReconciliationFinding,
    SubscriptionPlan,
    new_id,
)
from providers.failures import NotOnSale
from sandbox.faults import FaultMode
from tests.activities.running import run
from tests.activities.stage import Stage
from tests.storage.books import AMOUNT

STRIPE, POLAR = ProviderName.STRIPE, ProviderName.POLAR
SUCCEEDED = OutcomeClass.SUCCEEDED
ACCOUNT = "stripe:default"


def prices(stage: Stage) -> dict[str, dict[str, Any]]:
    return stage.core.collection("stripe", "prices")


async def remembered(stage: Stage) -> str | None:
    async with stage.books.sessions() as session:
        names = await session.scalar(select(PlanPrice.provider_plan_ids))
    return (names or {}).get(ACCOUNT)


async def remember(stage: Stage, provider_plan_id: str) -> None:
    async with stage.books.sessions.begin() as session:
        await session.execute(
            update(PlanPrice).values(provider_plan_ids={ACCOUNT: provider_plan_id})
        )


async def open_one(stage: Stage) -> SubscriptionIds:
    request = await stage.opening()
    result = await run(stage.calls.open_provider_subscription, request)
    assert result.outcome is SUCCEEDED
    await stage.check_books(result)
    return SubscriptionIds.unpack(str(result.provider_object_id))


async def test_an_archived_price_costs_nobody_the_subscription(stage: Stage) -> None:
    first = await open_one(stage)
    old = await remembered(stage)
    assert old is not None
    prices(stage)[old]["active"] = False

    second = await open_one(stage)

    new = await remembered(stage)
    assert new not in {None, old}
    billed = {
        id_: subscription["items"]["data"][0]["price"]["id"]
        for id_, subscription in stage.core.collection("stripe", "subscriptions").items()
    }
    assert billed == {
        first.provider_subscription_id: old,
        second.provider_subscription_id: new,
    }


async def test_a_wrong_price_in_our_own_rows_never_charges(stage: Stage) -> None:
    await open_one(stage)
    right = await remembered(stage)
    assert right is not None
    dear = {**prices(stage)[right], "id": "price_dear", "unit_amount": 2 * AMOUNT}
    prices(stage)["price_dear"] = {**dear, "lookup_key": None}
    await remember(stage, "price_dear")

    await open_one(stage)

    assert await remembered(stage) == right
    assert {charge["amount_minor"] for charge in stage.core.charges} == {AMOUNT}


async def test_a_repair_that_cannot_be_made_is_no_attempt(stage: Stage) -> None:
    await open_one(stage)
    old = await remembered(stage)
    assert old is not None
    prices(stage)[old]["active"] = False
    request = await stage.opening()
    stage.fault("stripe", "prices.create", FaultMode.DOWN)

    result = await run(stage.calls.open_provider_subscription, request)

    assert result.outcome is OutcomeClass.NOT_ATTEMPTED
    assert await remembered(stage) == old
    await stage.check_books(result)


async def test_a_change_to_an_archived_price_is_made_with_another(stage: Stage) -> None:
    ids = await open_one(stage)
    terms = stage.books.terms.model_copy(update={"quantity": 3, "amount_minor": 3 * 24_900})
    async with stage.books.sessions.begin() as session:
        await session.execute(update(PlanPrice).values(amount_minor=24_900, provider_plan_ids={}))
    changes = PlanChangeActivities(stage.books.sessions, stage.calls)
    provider = stage.providers.get(STRIPE)
    assert provider is not None
    await ProviderPlans(stage.books.sessions).ensure(provider, terms)
    old = await remembered(stage)
    assert old is not None
    prices(stage)[old]["active"] = False

    request = ChangeProviderSubscription(
        provider=STRIPE,
        terms=terms,
        change_id=new_id(),
        provider_customer_id=ids.provider_customer_id,
        provider_subscription_id=ids.provider_subscription_id,
    )
    for attempt in (1, 2):
        await run(changes.change_provider_subscription, request, attempt=attempt)

    kept = stage.core.collection("stripe", "subscriptions")[ids.provider_subscription_id]
    item = kept["items"]["data"][0]
    assert (item["price"]["id"], item["quantity"]) == (await remembered(stage), 3)
    assert item["price"]["active"]


async def test_another_refusal_makes_no_price_after_price(stage: Stage) -> None:
    """Stripe may dislike something else about the same parameter."""
    await open_one(stage)
    plans, provider = ProviderPlans(stage.books.sessions), stage.providers.get(STRIPE)
    assert provider is not None
    before = list(prices(stage))

    async def refused(plan_id: str) -> None:
        raise NotOnSale("something else", code=None)

    with pytest.raises(NotOnSale):
        await plans.using(provider, stage.books.terms, refused)
    assert list(prices(stage)) == before


# Reconciliation.


async def reconciled(stage: Stage, *, dry_run: bool = False) -> list[ReconciliationFinding]:
    books = ReconcileActivities(stage.books.sessions, stage.providers)
    at = datetime.now(UTC)
    asked = ReconcileInput(provider=STRIPE, since=at - timedelta(days=1), dry_run=dry_run)
    begun = BeginRun(run_id=new_id(), request=asked, at=at)
    await run(books.begin_reconcile, begun)
    step = RunStep(run_id=begun.run_id, provider=STRIPE)
    while not await run(books.reconcile_step, step):
        pass
    async with stage.books.sessions() as session:
        found = await session.scalars(
            select(ReconciliationFinding).where(
                ReconciliationFinding.run_id == begun.run_id,
                ReconciliationFinding.kind == "not_on_sale",
            )
        )
        return list(found)


async def test_reconciliation_finds_it_before_a_customer_does(stage: Stage) -> None:
    await open_one(stage)
    old = await remembered(stage)
    assert old is not None
    assert await reconciled(stage) == []
    prices(stage)[old]["active"] = False

    [seen] = await reconciled(stage, dry_run=True)
    assert (seen.status, seen.theirs, seen.ours) == ("found", "archived", "Pro monthly, 199.00 MXN")
    assert (seen.object_id, seen.application_id) == (old, stage.books.application_id)
    assert await remembered(stage) == old

    [mended] = await reconciled(stage)
    assert (mended.status, mended.object_id) == ("repaired", old)
    assert await remembered(stage) not in {None, old}
    assert await reconciled(stage) == []


async def test_a_plan_that_is_off_sale_is_left_alone(stage: Stage) -> None:
    await open_one(stage)
    old = await remembered(stage)
    assert old is not None
    prices(stage)[old]["active"] = False
    async with stage.books.sessions.begin() as session:
        await session.execute(update(SubscriptionPlan).values(is_active=False))
    assert await reconciled(stage) == []
    assert await remembered(stage) == old


# Products that are sold on a page.


async def bought(stage: Stage, product_id: object | None = None) -> tuple[PurchaseTerms, Product]:
    now, books = datetime.now(UTC), stage.books
    if product_id is None:
        product_id = new_id()
        await books.add(
            Product(
                id=product_id, application_id=books.application_id, name="Handbook",
                amount_minor=4900, currency="USD", is_active=True, provider_product_ids={},
                created_at=now,
            )
        )  # fmt: skip
    terms = PurchaseTerms(
        purchase_id=new_id(), application_id=books.application_id,
        organization_id=books.organization_id, product_id=product_id, product_name="Handbook",
        amount_minor=4900, currency="USD", success_url="https://shop.example/thanks",
    )  # fmt: skip
    await books.add(
        Purchase(
            id=terms.purchase_id, application_id=books.application_id,
            organization_id=books.organization_id, product_id=product_id, version=0,
            opening=terms.model_dump(mode="json"), workflow_id=f"purchase/{terms.purchase_id}",
            status="pending", amount_minor=4900, currency="USD", metadata_={}, created_at=now,
            updated_at=now,
        )
    )  # fmt: skip
    async with books.sessions() as session:
        return terms, await session.get_one(Product, product_id)


async def page_for(stage: Stage, provider: ProviderName, terms: PurchaseTerms) -> OutcomeClass:
    fields = stage.attempt_fields(
        provider, terms=terms, invoice=stage.invoice(amount_minor=4900, currency="USD")
    )
    expires_at = datetime.now(UTC) + timedelta(hours=20)
    request = IssuePayment(**fields, expires_at=expires_at, expiry_grace_seconds=900)
    return (await run(stage.calls.issue_payment, request)).outcome


@pytest.mark.parametrize("provider", [STRIPE, POLAR])
async def test_an_archived_product_is_sold_all_the_same(
    stage: Stage, provider: ProviderName
) -> None:
    terms, _ = await bought(stage)
    assert await page_for(stage, provider, terms) is OutcomeClass.PENDING
    if provider is STRIPE:
        stage.core.collection("stripe", "products")[str(terms.product_id)]["active"] = False
    else:
        [product] = stage.core.collection("polar", "products").values()
        product["is_archived"] = True

    again, sold = await bought(stage, terms.product_id)

    assert await page_for(stage, provider, again) is OutcomeClass.PENDING
    async with stage.books.sessions() as session:
        after = await session.get_one(Product, sold.id)
    changed = after.provider_product_ids != sold.provider_product_ids
    assert changed is (provider is POLAR), "Stripe's product has our own id, and is put back"
