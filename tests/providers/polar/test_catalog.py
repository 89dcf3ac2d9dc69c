"""Customers, products and benefits: made once, found again, and what Polar refuses about them."""

from __future__ import annotations

import asyncio

import pytest

from models.outcomes import FallbackReason
from providers.failures import FailureKind
from providers.polar import PolarProvider
from tests.providers.polar.drafts import (
    ProviderFactory,
    benefit_draft,
    customer_draft,
    failure_of,
    product_draft,
)
from tests.sandbox.polar.bodies import customer_body
from tests.sandbox.polar.world import World


async def test_a_customer_is_made_once(world: World, provider: PolarProvider) -> None:
    made = await provider.ensure_customer(customer_draft(country="MX"))
    assert await provider.ensure_customer(customer_draft(name="Ana L"), retry=True) == made
    [customer] = world.all("customers")
    assert customer["external_id"] == "org_1"
    assert customer["billing_address"]["country"] == "MX"


async def test_two_at_once_make_one_customer(world: World, provider: PolarProvider) -> None:
    calls = [provider.ensure_customer(customer_draft()) for _ in range(5)]
    assert len(set(await asyncio.gather(*calls))) == 1
    assert len(world.all("customers")) == 1


async def test_a_lost_answer_is_found_again(
    world: World, provider: PolarProvider, hasty_provider: PolarProvider
) -> None:
    await world.fault("customers.create", "applied_then_timeout")
    failure = await failure_of(hasty_provider.ensure_customer(customer_draft()))
    assert failure.kind is FailureKind.UNKNOWN
    await provider.ensure_customer(customer_draft(), retry=True)
    assert len(world.all("customers")) == 1


async def test_who_bought_at_polar_before_is_linked(world: World, provider: PolarProvider) -> None:
    known = await world.post("/customers/", {"email": "Ana@Example.com"})
    assert await provider.ensure_customer(customer_draft()) == known["id"]
    assert world.all("customers")[0]["external_id"] == "org_1"
    assert await provider.ensure_customer(customer_draft()) == known["id"]


async def test_an_address_of_another_organization_is_refused(
    world: World, provider: PolarProvider
) -> None:
    await world.post("/customers/", customer_body(external_id="org_2"))
    failure = await failure_of(provider.ensure_customer(customer_draft()))
    assert failure.kind is FailureKind.REJECTED
    assert failure.code == "email_taken"
    assert failure.fallback_reason is FallbackReason.UNAVAILABLE
    assert "ana@example.com" not in str(failure)


async def test_a_bad_address_is_refused(provider: PolarProvider) -> None:
    failure = await failure_of(provider.ensure_customer(customer_draft(email="nobody")))
    assert failure.kind is FailureKind.REJECTED
    assert failure.code == "body.email"
    assert "nobody" not in str(failure)


@pytest.mark.parametrize("organization_id", ["../x", "a/b", "a?b", "", "ñ", "a" * 129])
async def test_ids_that_would_lead_elsewhere_are_not_sent(
    world: World, provider: PolarProvider, organization_id: str
) -> None:
    """The SDK does not encode path values."""
    draft = customer_draft(organization_id=organization_id)
    failure = await failure_of(provider.ensure_customer(draft))
    assert failure.kind is FailureKind.REJECTED
    assert failure.code == "invalid_id"
    assert world.all("customers") == []


async def test_a_product_is_made_once(world: World, provider: PolarProvider) -> None:
    made = await provider.ensure_product(product_draft())
    again = product_draft(name="Another name", amount_minor=2500)
    assert await provider.ensure_product(again, retry=True) == made
    [product] = world.all("products")
    assert product["visibility"] == "private"
    assert product["prices"][0]["price_amount"] == 1900
    assert product["prices"][0]["tax_behavior"] == "exclusive"


async def test_of_two_products_the_older_one_counts(world: World, provider: PolarProvider) -> None:
    """As after two tries at the same time, of which neither saw the other."""
    made = await provider.ensure_product(product_draft())
    kept = world.core.collection("polar", "products")
    kept["later"] = {**kept[made], "id": "later", "created_at": "2099-01-01T00:00:00Z"}
    assert await provider.ensure_product(product_draft()) == made


async def test_an_archived_product_is_made_anew(world: World, provider: PolarProvider) -> None:
    made = await provider.ensure_product(product_draft())
    await world.http.patch(f"/products/{made}", json={"is_archived": True})
    assert await provider.ensure_product(product_draft()) != made


@pytest.mark.parametrize(
    ("name", "expected"), [("x", "x.."), ("  Go  ", "Go."), ("n" * 80, "n" * 64)]
)
async def test_names_fit(world: World, provider: PolarProvider, name: str, expected: str) -> None:
    await provider.ensure_product(product_draft(name=name))
    assert world.all("products")[0]["name"] == expected


async def test_benefits_are_added_and_none_is_taken_away(
    world: World, provider: PolarProvider
) -> None:
    first = await provider.ensure_benefit(benefit_draft("custom"))
    second = await provider.ensure_benefit(benefit_draft("feature_flag"))
    made = await provider.ensure_product(product_draft(provider_benefit_ids=(first,)))
    await provider.ensure_product(product_draft(provider_benefit_ids=(second,)))
    await provider.ensure_product(product_draft(provider_benefit_ids=(second, first)))
    product = await world.get(f"/products/{made}")
    assert [benefit["id"] for benefit in product["benefits"]] == [first, second]
    assert world.event_types().count("product.updated") == 2


@pytest.mark.parametrize(
    "change", [{"currency": "MXN", "amount_minor": 19900}, {"amount_minor": 9}]
)
async def test_a_price_that_polar_does_not_take_may_be_sold_elsewhere(
    provider: PolarProvider, change: dict[str, object]
) -> None:
    failure = await failure_of(provider.ensure_product(product_draft(**change)))
    assert failure.kind is FailureKind.REJECTED
    assert failure.fallback_reason is FallbackReason.UNAVAILABLE


@pytest.mark.parametrize(
    "kind",
    ["custom", "feature_flag", "license_keys", "downloadables", "discord", "github_repository"],
)
async def test_a_benefit_is_made_once(world: World, provider: PolarProvider, kind: str) -> None:
    made = await provider.ensure_benefit(benefit_draft(kind))
    assert await provider.ensure_benefit(benefit_draft(kind), retry=True) == made
    [benefit] = world.all("benefits")
    assert benefit["type"] == kind
    assert benefit["metadata"] == {"ref": f"ben_{kind}"}


async def test_what_polar_requires_and_callers_leave_out(
    world: World, provider: PolarProvider
) -> None:
    discord = benefit_draft("discord", properties={"guild_id": "1", "role_id": "2"})
    await provider.ensure_benefit(discord)
    repository = {"repository_owner": "abono", "repository_name": "engine"}
    await provider.ensure_benefit(benefit_draft("github_repository", properties=repository))
    kick, permission = world.all("benefits")
    assert kick["properties"]["kick_member"] is False
    assert permission["properties"]["permission"] == "pull"


async def test_a_benefit_that_polar_does_not_know(provider: PolarProvider) -> None:
    failure = await failure_of(
        provider.ensure_benefit(benefit_draft().model_copy(update={"type": "x"}))
    )
    assert failure.kind is FailureKind.REJECTED
    assert failure.code == "body.type"


async def test_lists_longer_than_a_page_are_read_to_the_end(
    world: World, make_provider: ProviderFactory
) -> None:
    """Only pages of 100 exist, so the reference is the 101st of its kind."""
    provider = make_provider()
    made = await provider.ensure_benefit(benefit_draft())
    kept = world.core.collection("polar", "benefits")
    for number in range(100):
        other = {**kept[made], "id": f"b{number}", "created_at": "2099-01-01T00:00:00Z"}
        kept[other["id"]] = other
    assert await provider.ensure_benefit(benefit_draft()) == made
