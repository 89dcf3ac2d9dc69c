"""Benefits without a sale: given by a free subscription, taken away by ending it."""

from __future__ import annotations

import pytest

from providers.failures import FailureKind
from providers.polar import PolarProvider
from tests.providers.polar.drafts import (
    Buyer,
    ProviderFactory,
    benefit_draft,
    failure_of,
    grant_draft,
    paid_page,
    product_draft,
)
from tests.sandbox.polar.world import World


@pytest.fixture
async def benefit_id(provider: PolarProvider) -> str:
    return await provider.ensure_benefit(benefit_draft())


async def test_a_benefit_is_given(
    world: World, provider: PolarProvider, buyer: Buyer, benefit_id: str
) -> None:
    grant = await provider.grant_benefit(grant_draft(buyer.customer_id, benefit_id))
    assert (grant.is_granted, grant.is_revoked) == (True, False)
    assert grant.granted_at is not None
    assert grant.organization_id == "org_1"
    assert grant.provider_benefit_id == benefit_id
    assert grant.provider_customer_id == buyer.customer_id
    assert await provider.list_grants(buyer.customer_id) == [grant]
    assert world.all("orders") == []
    [subscription] = world.all("subscriptions")
    assert subscription["metadata"] == {"grant_id": "grant_1", "organization_id": "org_1"}


async def test_a_benefit_is_given_once(
    world: World, provider: PolarProvider, buyer: Buyer, benefit_id: str
) -> None:
    draft = grant_draft(buyer.customer_id, benefit_id)
    first = await provider.grant_benefit(draft)
    assert await provider.grant_benefit(draft, retry=True) == first
    assert len(world.all("subscriptions")) == 1
    assert len(world.all("products")) == 2  # The buyer's, and the one that carries the benefit.


@pytest.mark.parametrize(
    "operation", ["products.create", "products.update_benefits", "subscriptions.create"]
)
async def test_lost_answers_on_the_way_are_found_again(
    world: World,
    provider: PolarProvider,
    hasty_provider: PolarProvider,
    buyer: Buyer,
    benefit_id: str,
    operation: str,
) -> None:
    draft = grant_draft(buyer.customer_id, benefit_id)
    await world.fault(operation, "applied_then_timeout")
    failure = await failure_of(hasty_provider.grant_benefit(draft))
    assert failure.kind is FailureKind.UNKNOWN
    assert (await provider.grant_benefit(draft, retry=True)).is_granted
    assert len(world.all("subscriptions")) == 1
    assert len(world.all("products")) == 2


async def test_a_benefit_is_taken_away(
    world: World, provider: PolarProvider, buyer: Buyer, benefit_id: str
) -> None:
    draft = grant_draft(buyer.customer_id, benefit_id)
    granted = await provider.grant_benefit(draft)
    revoked = await provider.revoke_benefit(draft)
    assert revoked.provider_grant_id == granted.provider_grant_id
    assert (revoked.is_granted, revoked.is_revoked) == (False, True)
    assert revoked.revoked_at is not None
    assert await provider.revoke_benefit(draft) == revoked
    assert world.all("subscriptions")[0]["status"] == "canceled"


async def test_a_benefit_can_be_given_again(
    world: World, provider: PolarProvider, buyer: Buyer, benefit_id: str
) -> None:
    draft = grant_draft(buyer.customer_id, benefit_id)
    first = await provider.grant_benefit(draft)
    await provider.revoke_benefit(draft)
    second = await provider.grant_benefit(draft)
    assert second.is_granted
    assert second.provider_grant_id != first.provider_grant_id
    assert len(await provider.list_grants(buyer.customer_id)) == 2


async def test_a_grant_can_wait_for_the_customer(
    world: World, provider: PolarProvider, buyer: Buyer
) -> None:
    discord = await provider.ensure_benefit(benefit_draft("discord"))
    draft = grant_draft(buyer.customer_id, discord)
    waiting = await provider.grant_benefit(draft)
    assert (waiting.is_granted, waiting.is_revoked) == (False, False)
    assert waiting.error_code == "BenefitActionRequiredError"
    await world.pay(waiting.provider_grant_id)
    granted = await provider.grant_benefit(draft)
    assert (granted.is_granted, granted.error_code) == (True, None)


async def test_polar_takes_its_time(
    world: World,
    make_provider: ProviderFactory,
    buyer: Buyer,
    benefit_id: str,
) -> None:
    provider = make_provider(looks_after_seconds=(0.0, 0.01))
    draft = grant_draft(buyer.customer_id, benefit_id)
    await world.fault("benefit_grants.background", "slow", seconds=600)
    pending = await failure_of(provider.grant_benefit(draft))
    assert (pending.kind, pending.code) == (FailureKind.UNKNOWN, "grant_pending")
    assert pending.retry_after_seconds is not None
    await world.advance(601)
    assert (await provider.grant_benefit(draft, retry=True)).is_granted
    await world.fault("benefit_grants.background", "slow", seconds=600)
    pending = await failure_of(provider.revoke_benefit(draft))
    assert (pending.kind, pending.code) == (FailureKind.UNKNOWN, "grant_pending")
    await world.advance(601)
    assert (await provider.revoke_benefit(draft)).is_revoked
    assert len(world.all("subscriptions")) == 1


async def test_what_was_bought_cannot_be_taken_away_alone(
    world: World, provider: PolarProvider, buyer: Buyer, benefit_id: str
) -> None:
    await provider.ensure_product(product_draft(provider_benefit_ids=(benefit_id,)))
    paid = await paid_page(provider, world, buyer)
    draft = grant_draft(buyer.customer_id, benefit_id)
    await provider.grant_benefit(draft)
    failure = await failure_of(provider.revoke_benefit(draft))
    assert (failure.kind, failure.code) == (FailureKind.UNSUPPORTED, "granted_by_purchase")
    assert failure.provider_object_id == paid.captures[0].provider_charge_id
    granted = [grant for grant in await provider.list_grants(buyer.customer_id) if grant.is_granted]
    assert len(granted) == 1  # Ours has ended, the bought one goes on.


async def test_a_paid_subscription_says_to_cancel_it(
    world: World, provider: PolarProvider, buyer: Buyer, benefit_id: str
) -> None:
    price = {"amount_type": "fixed", "price_amount": 1900}
    body = {"name": "Club", "recurring_interval": "month", "prices": [price]}
    club = await world.post("/products/", body)
    await world.post(f"/products/{club['id']}/benefits", {"benefits": [benefit_id]}, 200)
    checkout = {"products": [club["id"]], "customer_id": buyer.customer_id}
    await world.pay((await world.post("/checkouts/", checkout))["id"])
    failure = await failure_of(provider.revoke_benefit(grant_draft(buyer.customer_id, benefit_id)))
    assert failure.code == "granted_by_purchase"
    assert "cancel" in failure.message
    assert failure.provider_object_id == world.all("subscriptions")[0]["id"]


async def test_nothing_to_take_away(provider: PolarProvider, buyer: Buyer, benefit_id: str) -> None:
    failure = await failure_of(provider.revoke_benefit(grant_draft(buyer.customer_id, benefit_id)))
    assert (failure.kind, failure.code) == (FailureKind.NOT_FOUND, "no_grant")


async def test_a_benefit_that_does_not_exist(provider: PolarProvider, buyer: Buyer) -> None:
    failure = await failure_of(provider.grant_benefit(grant_draft(buyer.customer_id, "x")))
    assert failure.kind is FailureKind.NOT_FOUND


async def test_grants_of_others_are_not_listed(
    world: World, provider: PolarProvider, buyer: Buyer, benefit_id: str
) -> None:
    other = await world.post("/customers/", {"email": "other@example.com"})
    await provider.grant_benefit(grant_draft(other["id"], benefit_id, organization_id="org_2"))
    assert await provider.list_grants(buyer.customer_id) == []
    [grant] = await provider.list_grants(other["id"])
    assert grant.organization_id is None


async def test_the_carrier_is_priced_in_the_organizations_currency(
    make_provider: ProviderFactory, buyer: Buyer, benefit_id: str
) -> None:
    """The simulated organization's is USD, so a carrier in another currency is refused."""
    provider = make_provider(default_currency="EUR")
    failure = await failure_of(provider.grant_benefit(grant_draft(buyer.customer_id, benefit_id)))
    assert failure.kind is FailureKind.REJECTED
    assert failure.code == "body.prices"
