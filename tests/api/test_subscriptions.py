"""Opening a subscription: what is refused, what is agreed, and what the answer says."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker

from api.opening import choose_currency
from models.errors import CurrencyNotSupported
from models.outcomes import Instrument
from models.storage.tables import Organization, Subscription, SubscriptionPlan
from models.subscription import SubscriptionTerms
from providers.registry import ProviderRegistry
from tests.api.standins import SLOW_PLAN
from tests.api.support import Api, card, eventually, organization, plan, price


@dataclass
class Shop:
    """An organization in Mexico and a plan in pesos and dollars."""

    api: Api
    who: Organization
    what: SubscriptionPlan

    def order(self, **changes: Any) -> dict[str, Any]:
        body = {
            "organization_id": str(self.who.id),
            "plan_id": str(self.what.id),
            "billing_interval": "monthly",
            "payment_method_type": "oxxo",
        }
        return {name: value for name, value in (body | changes).items() if value is not None}

    async def rows(self) -> list[Subscription]:
        return await self.api.all(select(Subscription))


@pytest.fixture
async def shop(api: Api) -> Shop:
    who, what = organization(api.ours), plan(api.ours, trial_days=7)
    await api.add(who, what, price(what), price(what, "USD", amount_minor=1200))
    return Shop(api, who, what)


@pytest.mark.parametrize(
    ("country", "instrument", "offered", "currency"),
    [
        ("MX", Instrument.CARD, {"MXN", "USD"}, "MXN"),
        ("US", Instrument.CARD, {"MXN", "USD"}, "USD"),
        (None, Instrument.CARD, {"MXN", "USD"}, "USD"),
        ("DE", Instrument.CARD, {"EUR"}, "EUR"),
        ("US", Instrument.CARD, {"MXN"}, "MXN"),
        ("US", Instrument.OXXO, {"MXN", "USD"}, "MXN"),
        (None, Instrument.SPEI, {"MXN"}, "MXN"),
    ],
)
def test_the_currency_follows_from_country_and_instrument(
    country: str | None, instrument: Instrument, offered: set[str], currency: str
) -> None:
    assert choose_currency(country, instrument, offered) == currency


@pytest.mark.parametrize(
    ("country", "instrument", "offered"),
    [
        ("MX", Instrument.CARD, {"USD"}),
        ("US", Instrument.OXXO, {"USD"}),
        ("DE", Instrument.CARD, {"EUR", "MXN"}),
        ("US", Instrument.CARD, set()),
    ],
)
def test_no_currency_is_guessed(country: str, instrument: Instrument, offered: set[str]) -> None:
    with pytest.raises(CurrencyNotSupported):
        choose_currency(country, instrument, offered)


async def test_a_subscription_is_opened(
    shop: Shop, api: Api, temporal: Client, worker: Worker
) -> None:
    answer = await api.ours.post("/subscriptions", shop.order(metadata={"order": "8412"}))
    body = answer.json()
    (row,) = await shop.rows()
    terms = SubscriptionTerms.model_validate(row.opening)

    assert answer.status_code == 201
    assert body["workflow_id"] == f"subscription/{body['id']}"
    assert (body["status"], body["currency"], body["amount_minor"]) == ("incomplete", "MXN", 19900)
    assert body["metadata"] == {"order": "8412"}
    assert (body["next_action"], body["fallback"], body["latest_invoice_id"]) == (None,) * 3
    assert (row.version, row.account) == (0, "default")
    assert (terms.trial_days, terms.time_zone, terms.country) == (7, "America/Mexico_City", "MX")
    assert (await api.ours.get(f"/subscriptions/{body['id']}")).json() == body

    found = await temporal.get_workflow_handle(body["workflow_id"]).describe()
    attributes = {pair.key.name: pair.value for pair in found.typed_search_attributes}
    assert attributes["TenantId"] == str(api.ours.application_id)
    assert attributes["SubscriptionStatus"] == "incomplete"
    assert await found.static_summary() == "Pro monthly, 199.00 MXN by oxxo"


async def test_an_opening_that_takes_long_is_accepted(
    shop: Shop, api: Api, temporal: Client, worker: Worker
) -> None:
    await api.add(slow := plan(api.ours, name=SLOW_PLAN))
    await api.add(price(slow))
    api.context.response_wait_seconds = 0.3

    answer = await api.ours.post("/subscriptions", shop.order(plan_id=str(slow.id)), key="k")

    assert answer.status_code == 202
    assert answer.json()["status"] == "incomplete"
    handle = temporal.get_workflow_handle(answer.json()["workflow_id"])
    await handle.signal("release")
    assert (await handle.query("said"))[0].startswith("open by key:abk_")
    assert (
        await api.ours.post("/subscriptions", shop.order(plan_id=str(slow.id)), key="k")
    ).json() == (answer.json())


async def test_an_opening_is_accepted_while_temporal_is_away(shop: Shop, api: Api) -> None:
    api.context.temporal = await Client.connect(
        "127.0.0.1:9", lazy=True, data_converter=pydantic_data_converter
    )
    answer = await api.ours.post("/subscriptions", shop.order())

    assert answer.status_code == 202
    assert [row.version for row in await shop.rows()] == [0]


async def test_an_opening_is_accepted_while_no_worker_runs(
    shop: Shop, api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    api.context.response_wait_seconds = 0.2
    answer = await api.ours.post("/subscriptions", shop.order())
    gc.collect()
    assert answer.status_code == 202
    assert "never retrieved" not in caplog.text


async def test_a_stored_card_says_how_it_is_paid(shop: Shop, api: Api, worker: Worker) -> None:
    await api.add(method := card(shop.who))
    chosen = {"payment_method_id": str(method.id), "payment_method_type": None}

    answer = await api.ours.post("/subscriptions", shop.order(**chosen))
    contradiction = await api.ours.post(
        "/subscriptions", shop.order(**chosen | {"payment_method_type": "oxxo"})
    )

    assert answer.json()["payment_method_type"] == "card"
    assert answer.json()["payment_method_id"] == str(method.id)
    assert contradiction.status_code == 422
    assert contradiction.json()["errors"][0]["field"] == "payment_method_type"


async def test_without_a_method_the_default_card_is_used(
    shop: Shop, api: Api, worker: Worker
) -> None:
    default = card(shop.who, is_default=True)
    await api.add(card(shop.who), default, card(shop.who, is_default=True, status="failed"))

    bare = await api.ours.post("/subscriptions", shop.order(payment_method_type=None))
    voucher = await api.ours.post("/subscriptions", shop.order())

    assert bare.json()["payment_method_id"] == str(default.id)
    assert voucher.json()["payment_method_id"] is None


@pytest.mark.parametrize("status", ["pending", "failed", "detached"])
async def test_a_method_that_is_not_active_is_refused(shop: Shop, api: Api, status: str) -> None:
    await api.add(method := card(shop.who, status=status))
    order = shop.order(payment_method_id=str(method.id), payment_method_type="card")
    answer = await api.ours.post("/subscriptions", order)
    assert (answer.status_code, answer.json()["code"]) == (409, "payment_method_not_active")


async def test_another_organizations_method_is_refused(shop: Shop, api: Api) -> None:
    other = organization(api.ours)
    await api.add(other, method := card(other))
    order = shop.order(payment_method_id=str(method.id), payment_method_type="card")
    answer = await api.ours.post("/subscriptions", order)
    assert answer.status_code == 422


async def test_what_nobody_can_collect_is_refused_with_the_reasons(shop: Shop, api: Api) -> None:
    api.context.providers = ProviderRegistry({})
    answer = await api.ours.post("/subscriptions", shop.order())
    body = answer.json()

    assert answer.status_code == 422
    assert body["code"] == "payment_method_type_not_supported"
    assert [(error["provider"], error["code"]) for error in body["errors"]] == [
        ("conekta", "provider_not_configured"),
        ("stripe", "provider_not_configured"),
    ]
    assert await shop.rows() == []


async def test_a_forced_provider_has_no_substitute(shop: Shop, api: Api) -> None:
    answer = await api.ours.post("/subscriptions", shop.order(force_provider="polar"))
    assert answer.status_code == 422
    assert [error["provider"] for error in answer.json()["errors"]] == ["polar"]


async def test_a_plan_that_is_no_longer_sold_is_refused(shop: Shop, api: Api) -> None:
    await api.add(old := plan(api.ours, is_active=False))
    answer = await api.ours.post("/subscriptions", shop.order(plan_id=str(old.id)))
    assert (answer.status_code, answer.json()["code"]) == (409, "plan_not_active")


async def test_a_plan_without_a_price_is_refused(shop: Shop, api: Api) -> None:
    answer = await api.ours.post("/subscriptions", shop.order(billing_interval="yearly"))
    assert (answer.status_code, answer.json()["code"]) == (422, "currency_not_supported")


async def test_a_card_trial_needs_no_card(shop: Shop, api: Api, worker: Worker) -> None:
    answer = await api.ours.post("/subscriptions", shop.order(payment_method_type="card"))
    (row,) = await shop.rows()
    assert answer.status_code == 201, answer.text
    assert (row.payment_method_id, row.opening["trial_days"]) == (None, 7)


async def test_the_orders_own_address_decides_the_country(
    shop: Shop, api: Api, worker: Worker
) -> None:
    address = {"line1": "1 Main St", "country": "US"}
    await api.add(method := card(shop.who))
    order = shop.order(
        payment_method_type="card", payment_method_id=str(method.id), billing_address=address
    )
    answer = await api.ours.post("/subscriptions", order | {"trial_days": 0})
    (row,) = await shop.rows()

    assert (answer.status_code, answer.json()["currency"]) == (201, "USD")
    assert row.opening["country"] == "US"
    assert row.opening["trial_days"] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"trial_days": 91},
        {"trial_days": -1},
        {"trial_days": 1.5},
        {"billing_interval": "weekly"},
        {"payment_method_type": "cheque"},
        {"force_provider": "paypal"},
        {"ip_address": "999.1.1.1"},
        {"success_url": "javascript:alert(1)"},
        {"metadata": {"k": {"nested": 1}}},
        {"metadata": {"k" * 41: 1}},
        {"metadata": {str(number): 1 for number in range(51)}},
        {"organization_id": "acme"},
        {"coupon": "FREE"},
    ],
)
async def test_requests_that_make_no_sense_are_refused(
    shop: Shop, api: Api, change: dict[str, Any]
) -> None:
    answer = await api.ours.post("/subscriptions", shop.order(**change))
    assert answer.status_code == 422
    assert await shop.rows() == []


async def test_eight_at_once_with_one_key_open_one_subscription(
    shop: Shop, api: Api, worker: Worker
) -> None:
    answers = await asyncio.gather(
        *(api.ours.post("/subscriptions", shop.order(), key="once") for _ in range(8))
    )
    (row,) = await shop.rows()
    made = [answer for answer in answers if answer.status_code == 201]

    assert made
    assert {answer.json()["id"] for answer in made} == {str(row.id)}
    for answer in answers:
        if answer not in made:
            assert answer.status_code == 409
            assert answer.json()["code"] == "idempotency_key_in_use"
            assert answer.headers["retry-after"]

    async def said() -> list[str]:
        said: list[str] = await api.temporal.get_workflow_handle(row.workflow_id).query("said")
        return said

    assert len(await eventually(said)) == 1
