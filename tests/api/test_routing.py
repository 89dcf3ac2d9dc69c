"""Asking who would collect: the same decision as when it counts, and nothing happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from abono.simulate.serving import serving
from api.storefront import Storefront
from models.outcomes import ProviderName
from models.storage.tables import Base, FallbackEvent, Subscription, new_id
from providers.geolocation import Geolocator, IpApi, IpapiCo
from providers.registry import ProviderRegistry
from sandbox.app import create_app
from sandbox.core import SandboxConfig
from sandbox.geo.app import GeoSimulators
from tests.api.support import Api, Tenant, card, organization, plan, price

V1 = "/api/v1"
MEXICAN, AMERICAN = "187.141.0.1", "8.8.8.8"
ADDRESS = {"line1": "Calle Mayor 1", "country": "ES"}


@pytest.fixture
async def geo(api: Api) -> AsyncIterator[GeoSimulators]:
    """The API asks the simulated services, and trusts the proxy that every request comes from."""
    sandbox = create_app(SandboxConfig())
    async with serving(sandbox) as url:
        services = [IpapiCo(f"{url}/geo/ipapi"), IpApi(f"{url}/geo/ip-api")]
        geolocator = Geolocator(None, services)
        api.context.storefront = Storefront(
            geolocator, [ip_network("127.0.0.0/8")], {ProviderName.STRIPE: "pk_test_1"}
        )
        simulators: GeoSimulators = sandbox.state.geo
        yield simulators
        await geolocator.aclose()


def fallback(tenant: Tenant, **changes: Any) -> FallbackEvent:
    values: dict[str, Any] = {
        "id": new_id(),
        "application_id": tenant.application_id,
        "attempted_provider": "conekta",
        "fallback_provider": "stripe",
        "reason": "timeout",
        "timestamp": datetime.now(UTC),
    }
    return FallbackEvent(**values | changes)


async def preview(api: Api, **body: Any) -> httpx.Response:
    headers = body.pop("headers", {})
    return await api.ours.http.post(f"{V1}/routing/preview", json=body, headers=headers)


async def decision(api: Api, **body: Any) -> dict[str, Any]:
    answer = await preview(api, **body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def rows(api: Api) -> dict[str, int]:
    return {
        table.name: len(await api.all(select(table.primary_key.columns.values()[0])))
        for table in Base.metadata.sorted_tables
    }


# Where the customer is.


@pytest.mark.parametrize(
    ("customer", "asked", "country", "source"),
    [
        (
            {"country": "DE", "billing_address": {"country": "BR"}},
            {"billing_address": ADDRESS, "ip_address": MEXICAN},
            "ES",
            "billing_address",
        ),
        (
            {"country": "DE", "billing_address": {"country": "BR"}},
            {"ip_address": MEXICAN},
            "BR",
            "billing_address",
        ),
        ({"country": "DE"}, {"ip_address": MEXICAN}, "DE", "organization"),
        ({"country": None}, {"ip_address": MEXICAN}, "MX", "ipapi.co"),
        ({"country": None}, {"ip_address": "10.0.0.1"}, None, None),
        ({"country": None}, {}, None, None),
    ],
)
async def test_what_the_customer_said_comes_before_where_they_seem_to_be(
    api: Api,
    geo: GeoSimulators,
    customer: dict[str, Any],
    asked: dict[str, Any],
    country: str | None,
    source: str | None,
) -> None:
    who = organization(api.ours, **customer)
    await api.add(who)
    found = await decision(api, organization_id=str(who.id), **asked)
    assert (found["country"], found["country_source"]) == (country, source)
    assert len(geo.asked("geo-ipapi")) == (source == "ipapi.co")


async def test_a_trusted_proxy_names_the_customer_and_the_body_wins(
    api: Api, geo: GeoSimulators
) -> None:
    forwarded = {"X-Forwarded-For": f"1.1.1.1, {MEXICAN}"}
    assert (await decision(api, headers=forwarded))["country"] == "MX"
    assert (await decision(api, headers=forwarded, ip_address=AMERICAN))["country"] == "US"
    api.context.storefront = replace(api.context.storefront, trusted_proxies=())
    assert (await decision(api, headers=forwarded))["country"] is None


# Who collects.


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (
            {"billing_address": {"line1": "x", "country": "MX"}, "payment_method_type": "oxxo"},
            {"provider": "conekta", "currency": "MXN", "rule": "mexico", "fallback": "stripe"},
        ),
        (
            {"ip_address": MEXICAN, "payment_method_type": "spei"},
            {"provider": "conekta", "candidates": ["conekta", "stripe"], "refused": []},
        ),
        (
            {"ip_address": AMERICAN},
            {
                "provider": "stripe",
                "currency": "USD",
                "rule": "everyone_else",
                "payment_method_types": ["card"],
                "fallback": None,
            },
        ),
        (
            {"ip_address": MEXICAN, "force_provider": "stripe"},
            {"provider": "stripe", "rule": "forced_provider", "fallback": None},
        ),
        (
            {"transaction_type": "purchase", "currency": "USD"},
            {
                "provider": "stripe",
                "rule": "product_purchase",
                "payment_method_types": ["checkout"],
            },
        ),
        (
            {"force_provider": "conekta", "ip_address": AMERICAN, "payment_method_type": "oxxo"},
            {"provider": "conekta", "currency": "MXN"},
        ),
    ],
)
async def test_the_decision_is_explained(
    api: Api, geo: GeoSimulators, asked: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert (await decision(api, **asked)).items() >= expected.items()


@pytest.mark.parametrize(
    ("asked", "refused"),
    [
        ({"transaction_type": "purchase"}, [("polar", "provider_not_configured")]),
        ({"force_provider": "conekta", "currency": "USD"}, [("conekta", "currency")]),
        ({"force_provider": "polar"}, [("polar", "provider_not_configured")]),
        (
            {"transaction_type": "purchase", "payment_method_type": "oxxo"},
            [("polar", "provider_not_configured"), ("stripe", "instrument")],
        ),
    ],
)
async def test_who_is_refused_is_told_with_the_reason(
    api: Api, asked: dict[str, Any], refused: list[tuple[str, str]]
) -> None:
    found = await decision(api, **asked)
    assert [(each["provider"], each["code"]) for each in found["refused"]] == refused
    assert all(each["detail"] for each in found["refused"])
    assert (found["provider"] is None) == (found["candidates"] == [])


async def test_a_missing_provider_is_routed_around(api: Api) -> None:
    stripe = api.context.providers.get(ProviderName.STRIPE)
    assert stripe is not None
    api.context.providers = ProviderRegistry({ProviderName.STRIPE: stripe})
    address = {"line1": "x", "country": "MX"}
    found = await decision(api, billing_address=address, payment_method_type="oxxo")
    assert (found["provider"], found["rule"], found["fallback"]) == ("stripe", "mexico", None)
    assert found["payment_method_types"] == ["card", "oxxo", "spei"]


@pytest.mark.parametrize(
    ("keeper", "country", "fallback"), [("stripe", "MX", None), ("conekta", "US", "stripe")]
)
async def test_a_stored_card_is_charged_where_it_is_kept(
    api: Api, keeper: str, country: str, fallback: str | None
) -> None:
    """Should its keeper fail, Stripe has a page on which it is typed again."""
    who = organization(api.ours, country=country)
    stored = card(who, provider=keeper)
    await api.add(who, stored)
    ids = {"organization_id": str(who.id), "payment_method_id": str(stored.id)}
    found = await decision(api, **ids)
    expected = (keeper, "MXN", "stored_payment_method", fallback)
    assert tuple(found[name] for name in ("provider", "currency", "rule", "fallback")) == expected


async def test_nothing_happens(api: Api, geo: GeoSimulators) -> None:
    who = organization(api.ours, country=None)
    await api.add(who)
    before = await rows(api)
    await decision(api, organization_id=str(who.id), ip_address=MEXICAN)
    assert await rows(api) == before


async def test_a_key_gives_the_same_answer_again(api: Api, geo: GeoSimulators) -> None:
    headers = {"Idempotency-Key": "k"}
    first = await preview(api, headers=headers, ip_address=MEXICAN)
    again = await preview(api, headers=headers, ip_address=MEXICAN)
    other = await preview(api, headers=headers, ip_address=AMERICAN)
    assert again.json() == first.json()
    assert other.status_code == 422


@pytest.mark.parametrize(
    "asked",
    [
        {"ip_address": "MEXICO"},
        {"billing_address": {"line1": "x", "country": "MEXICO"}},
        {"transaction_type": "gift"},
        {"payment_method_type": "cheque"},
        {"surprise": 1},
        {"billing_address": {"line1": "4242 4242 4242 4242", "country": "MX"}},
    ],
)
async def test_what_makes_no_sense_is_refused(api: Api, asked: dict[str, Any]) -> None:
    assert (await preview(api, **asked)).status_code == 422


async def test_strangers_and_other_tenants_learn_nothing(api: Api) -> None:
    theirs = organization(api.theirs)
    await api.add(theirs)
    assert (await preview(api, organization_id=str(theirs.id))).status_code == 404
    for path in ("/routing/geolocation", "/routing/fallbacks"):
        assert (await api.anyone.get(f"{V1}{path}")).status_code == 401
    assert (await api.anyone.post(f"{V1}/routing/preview", json={})).status_code == 401


# The same, when it counts.


@pytest.mark.parametrize(
    ("customer", "country", "currency", "asked"),
    [({"country": None}, "MX", "MXN", 1), ({"country": "US"}, "US", "USD", 0)],
)
async def test_opening_uses_the_address_of_whoever_never_said_their_country(
    api: Api,
    geo: GeoSimulators,
    customer: dict[str, Any],
    country: str,
    currency: str,
    asked: int,
) -> None:
    who, what = organization(api.ours, **customer), plan(api.ours)
    await api.add(who, what, price(what), price(what, currency="USD"))
    api.context.response_wait_seconds = 0.01
    body = {
        "organization_id": str(who.id),
        "plan_id": str(what.id),
        "billing_interval": "monthly",
        "ip_address": MEXICAN,
        "trial_days": 14,
    }
    answer = await api.ours.post("/subscriptions", body)
    assert answer.status_code == 202, answer.text
    (row,) = await api.all(select(Subscription))
    assert (row.opening["country"], row.currency) == (country, currency)
    assert len(geo.asked("geo-ipapi")) == asked


async def test_opening_does_not_fail_because_nobody_knows_the_country(
    api: Api, geo: GeoSimulators
) -> None:
    who, what = organization(api.ours, country=None), plan(api.ours)
    await api.add(who, what, price(what, currency="USD"))
    api.context.response_wait_seconds = 0.01
    body = {
        "organization_id": str(who.id),
        "plan_id": str(what.id),
        "billing_interval": "monthly",
        "ip_address": "9.9.9.9",
    }
    assert (await api.ours.post("/subscriptions", body)).status_code == 202


# Geolocation.


@pytest.mark.parametrize(
    ("ip", "country", "source"),
    [
        (MEXICAN, "MX", "ipapi.co"),
        ("2806:2f0::1", "MX", "ipapi.co"),
        ("192.168.1.1", None, None),
        ("9.9.9.9", None, None),
    ],
)
async def test_an_address_is_located(
    api: Api, geo: GeoSimulators, ip: str, country: str | None, source: str | None
) -> None:
    answer = await api.ours.http.get(f"{V1}/routing/geolocation", params={"ip_address": ip})
    assert answer.json() == {"ip_address": ip, "country": country, "country_source": source}


async def test_the_customers_own_address_is_located(api: Api, geo: GeoSimulators) -> None:
    path = f"{V1}/routing/geolocation"
    answer = await api.ours.http.get(path, headers={"X-Forwarded-For": MEXICAN})
    assert (answer.json()["ip_address"], answer.json()["country"]) == (MEXICAN, "MX")
    assert (await api.ours.http.get(path)).json()["ip_address"] is None
    nonsense = await api.ours.http.get(path, params={"ip_address": "MEXICO"})
    assert nonsense.status_code == 422


# Who stood in for whom.


async def test_fallbacks_are_listed_newest_first_a_page_at_a_time(api: Api) -> None:
    added = [fallback(api.ours) for _ in range(3)]
    await api.add(*added, fallback(api.theirs))
    path = f"{V1}/routing/fallbacks"
    first = (await api.ours.http.get(path, params={"limit": 2})).json()
    rest = (await api.ours.http.get(path, params={"cursor": first["next_cursor"]})).json()
    ids = [each["id"] for each in [*first["data"], *rest["data"]]]
    assert ids == [str(each.id) for each in reversed(added)], "ours, and nobody else's"
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert first["data"][0] == {
        "id": str(added[2].id),
        "attempted_provider": "conekta",
        "fallback_provider": "stripe",
        "reason": "timeout",
        "timestamp": added[2].timestamp.isoformat().replace("+00:00", "Z"),
        "subscription_id": None,
        "purchase_id": None,
        "invoice_id": None,
    }


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"reason": "api_error"}, ["polar"]),
        ({"attempted_provider": "conekta"}, ["conekta"]),
        ({"fallback_provider": "stripe"}, ["polar", "conekta"]),
        ({"fallback_provider": "polar"}, []),
        ({"since": "2026-11-02T00:00:00Z"}, ["polar"]),
    ],
)
async def test_fallbacks_are_filtered(api: Api, asked: dict[str, str], expected: list[str]) -> None:
    early, late = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC)
    await api.add(
        fallback(api.ours, timestamp=early),
        fallback(api.ours, attempted_provider="polar", reason="api_error", timestamp=late),
    )
    answer = await api.ours.http.get(f"{V1}/routing/fallbacks", params=asked)
    assert [each["attempted_provider"] for each in answer.json()["data"]] == expected


@pytest.mark.parametrize("asked", [{"reason": "mood"}, {"since": "yesterday"}, {"cursor": "x"}])
async def test_filters_that_make_no_sense_are_refused(api: Api, asked: dict[str, str]) -> None:
    answer = await api.ours.http.get(f"{V1}/routing/fallbacks", params=asked)
    assert answer.status_code == 422
