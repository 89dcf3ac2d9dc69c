"""Customers, stored cards and plans: made once, found again, forgotten without complaint."""

from __future__ import annotations

import asyncio

from models.snapshots import ProviderSubscriptionStatus
from providers.capabilities import Capability
from tests.providers.contract.bench import Bench, unknown_id
from tests.providers.contract.needs import needs


async def test_a_customer_is_made_once(bench: Bench) -> None:
    draft = bench.customer_draft()
    first = await bench.provider.ensure_customer(draft)
    assert await bench.provider.ensure_customer(draft, retry=True) == first
    assert await bench.adapter().ensure_customer(draft, retry=True) == first
    assert bench.count("customers") == 1


async def test_two_organizations_are_two_customers(bench: Bench) -> None:
    assert await bench.customer() != await bench.customer()


@needs(Capability.CARD_PAYMENT_METHOD)
async def test_what_is_kept_of_a_card_is_no_number(bench: Bench) -> None:
    customer_id = await bench.customer()
    request = bench.card_request(customer_id)
    card = await bench.provider.attach_payment_method(request)
    assert (card.provider, card.provider_customer_id) == (bench.name, customer_id)
    assert card.type == "card"
    assert card.last4 is not None
    assert len(card.last4) == 4
    assert card.exp_year is not None
    assert card.exp_year > 2000
    assert request.token not in repr(card)


@needs(Capability.CARD_PAYMENT_METHOD)
async def test_a_card_that_is_attached_again_is_the_same(bench: Bench) -> None:
    request = bench.card_request(await bench.customer())
    first = await bench.provider.attach_payment_method(request)
    assert await bench.provider.attach_payment_method(request) == first


@needs(Capability.CARD_PAYMENT_METHOD)
async def test_a_card_is_forgotten_once_and_again(bench: Bench) -> None:
    customer_id = await bench.customer()
    card_id = await bench.card(customer_id)
    for id_ in (card_id, card_id, unknown_id("pm")):
        await bench.provider.detach_payment_method(customer_id, id_)


@needs(Capability.BROWSER_SETUP)
async def test_each_setup_is_a_secret_of_its_own(bench: Bench) -> None:
    draft = bench.setup_draft()
    made = await asyncio.gather(*(bench.provider.create_setup(draft) for _ in range(2)))
    assert all(made)
    assert len(set(made)) == 2


@needs(Capability.CHANGE_PAYMENT_METHOD)
async def test_another_card_charges_nothing_now(bench: Bench) -> None:
    running = await bench.subscribed()
    before = await bench.book()
    other_id = await bench.card(running.provider_customer_id, bench.profile.other_token)
    for _ in range(2):
        await bench.provider.change_payment_method(
            running.provider_customer_id, running.provider_subscription_id, other_id
        )
    assert await bench.book() == before


@needs(Capability.CARD_SUBSCRIPTION)
async def test_a_new_amount_is_a_new_plan(bench: Bench) -> None:
    draft = bench.plan_draft()
    first = await bench.provider.ensure_plan(draft)
    assert await bench.provider.ensure_plan(draft) == first
    dearer = bench.plan_draft().model_copy(update={"amount_minor": draft.amount_minor + 1})
    assert await bench.provider.ensure_plan(dearer) != first


@needs(Capability.CARD_SUBSCRIPTION)
async def test_what_replaces_a_plan_can_be_subscribed_to(bench: Bench) -> None:
    draft = bench.plan_draft()
    first = await bench.provider.ensure_plan(draft)
    assert await bench.provider.why_not_on_sale(draft, first) is None
    for collection in ("prices", "plans"):
        bench.core.collection(bench.name, collection).clear()
    opening = await bench.ready_to_subscribe()
    plan_id = await bench.provider.ensure_plan(draft, replaces=first)
    opening = opening.model_copy(update={"provider_plan_id": plan_id})
    prepared = await bench.provider.prepare_subscription(opening)
    running = await bench.provider.commit_subscription(opening, prepared)
    assert running.status is ProviderSubscriptionStatus.ACTIVE


@needs(Capability.PRODUCT)
async def test_a_product_is_made_once(bench: Bench) -> None:
    draft = bench.product_draft()
    first = await bench.provider.ensure_product(draft)
    renamed = draft.model_copy(update={"name": "Another name"})
    assert await bench.provider.ensure_product(renamed, retry=True) == first
    assert await bench.adapter().ensure_product(draft, retry=True) == first
