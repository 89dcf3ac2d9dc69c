"""Making a card the default and deleting it: real workflows, activities, adapter and simulated Stripe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import select
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from abono.keys import create_key
from abono.settings import Settings
from abono.simulate.serving import serving
from abono.wiring import build_providers
from abono.worker import make_workers
from api.routes.payment_methods import READ_ONLY
from api.storefront import Storefront
from models.calendar import BillingInterval
from models.outcomes import ProviderName
from models.storage.tables import Organization, PaymentMethod, Subscription, SubscriptionPlan
from providers.drafts import AttachPaymentMethod, CustomerDraft, PlanDraft, SubscriptionDraft
from providers.protocol import PaymentProvider
from providers.registry import ProviderRegistry
from sandbox.app import create_app
from sandbox.core import Core, SandboxConfig
from sandbox.faults import Fault, FaultMode
from tests.api.support import (
    BASE,
    PEPPER,
    Api,
    Tenant,
    card,
    eventually,
    organization,
    plan,
    subscription,
)


@dataclass
class Shop:
    """An organization with a customer at Stripe."""

    api: Api
    core: Core
    stripe: PaymentProvider
    who: Organization
    what: SubscriptionPlan
    customer_id: str = ""

    async def card(self, **changes: Any) -> PaymentMethod:
        """Stored at Stripe and here."""
        id_ = uuid4()
        attached = await self.stripe.attach_payment_method(
            AttachPaymentMethod(
                payment_method_id=str(id_),
                provider_customer_id=self.customer_id,
                token="pm_card_visa",
            )
        )
        stored = card(
            self.who,
            provider_payment_method_id=attached.provider_payment_method_id,
            provider_customer_id=self.customer_id,
            **changes,
        )
        await self.api.add(stored)
        return stored

    async def subscription(self, method: PaymentMethod, **changes: Any) -> Subscription:
        """Billed by Stripe with that card, and paid."""
        price_id = await self.stripe.ensure_plan(PlanDraft(**self._sold(), plan_id=str(uuid4())))
        draft = SubscriptionDraft.model_validate(
            {
                **self._sold(),
                "plan_name": "Pro",
                "subscription_id": str(uuid4()),
                "organization_id": str(self.who.id),
                "invoice_id": str(uuid4()),
                "attempt_id": str(uuid4()),
                "provider_customer_id": self.customer_id,
                "provider_plan_id": price_id,
                "provider_payment_method_id": method.provider_payment_method_id,
            }
        )
        prepared = await self.stripe.prepare_subscription(draft)
        await self.stripe.commit_subscription(draft, prepared)
        values = {
            "payment_method_id": method.id,
            "provider_customer_id": self.customer_id,
            "provider_subscription_id": prepared.provider_subscription_id,
        }
        row = subscription(self.who, self.what, **values | changes)
        await self.api.add(row)
        return row

    def _sold(self) -> dict[str, Any]:
        interval = BillingInterval.MONTHLY
        return {
            "name": "Pro",
            "billing_interval": interval,
            "amount_minor": 19900,
            "currency": "MXN",
        }

    async def delete(self, method: PaymentMethod, tenant: Tenant | None = None) -> httpx.Response:
        http = (tenant or self.api.ours).http
        return await http.delete(f"/api/v1/billing/payment-methods/{method.id}")

    async def row(self, method: PaymentMethod) -> PaymentMethod:
        found = await self.api.all(select(PaymentMethod).where(PaymentMethod.id == method.id))
        row: PaymentMethod = found[0]
        return row

    def at_stripe(self, kind: str, object_id: str | None) -> dict[str, Any]:
        found: dict[str, Any] = self.core.state["stripe"][kind][str(object_id)]
        return found

    def is_kept(self, method: PaymentMethod) -> bool:
        found = self.at_stripe("payment_methods", method.provider_payment_method_id)
        return found["customer"] is not None

    def fault(self, operation: str, mode: FaultMode, **more: Any) -> None:
        fault = {"provider": "stripe", "operation": operation, "mode": mode, **more}
        self.core.faults.add(Fault.model_validate(fault))


@pytest.fixture
async def shop(api: Api) -> AsyncIterator[Shop]:
    app = create_app(SandboxConfig())
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(app))
        providers = build_providers(
            Settings(STRIPE_API_KEY="sk_test_sandbox", STRIPE_API_BASE=f"{url}/stripe")
        )
        stack.push_async_callback(providers.aclose)
        api.context.providers = providers
        stripe = providers.get(ProviderName.STRIPE)
        assert stripe is not None
        who, what = organization(api.ours), plan(api.ours)
        await api.add(who, what)
        made = Shop(api, app.state.core, stripe, who, what)
        draft = CustomerDraft(organization_id=str(who.id), name=who.name, email=who.email)
        made.customer_id = await stripe.ensure_customer(draft)
        for worker in make_workers(api.temporal, api.context.sessions, providers):
            await stack.enter_async_context(worker)
        yield made


async def test_a_card_that_nothing_needs_is_forgotten_everywhere(shop: Shop) -> None:
    unused = await shop.card(is_default=True)
    answer = await shop.delete(unused)
    body = answer.json()

    assert answer.status_code == 200, answer.text
    assert (body["id"], body["status"]) == (str(unused.id), "detached")
    assert (body["is_default"], body["replaced_by"], body["subscription_ids"]) == (False, None, [])
    assert not shop.is_kept(unused)
    again = await shop.delete(unused)
    assert (again.status_code, again.json()) == (200, body)


async def test_a_card_that_is_gone_at_its_provider_is_fine(shop: Shop) -> None:
    gone = await shop.card()
    assert gone.provider_payment_method_id is not None
    await shop.stripe.detach_payment_method(shop.customer_id, gone.provider_payment_method_id)
    never = await shop.card(is_default=False)
    del shop.core.state["stripe"]["payment_methods"][str(never.provider_payment_method_id)]
    for method in (gone, never):
        assert (await shop.delete(method)).status_code == 200
        assert (await shop.row(method)).status == "detached"


async def test_a_card_that_a_subscription_lives_on_stays(shop: Shop) -> None:
    needed = await shop.card(is_default=True)
    await shop.card()  # Not the default: nobody said that it may be charged.
    living = await shop.subscription(needed)
    await shop.subscription(needed, status="canceled")
    answer = await shop.delete(needed)

    assert (answer.status_code, answer.json()["code"]) == (409, "payment_method_in_use")
    assert [each["subscription_id"] for each in answer.json()["errors"]] == [str(living.id)]
    assert (await shop.row(needed)).status == "active"
    assert shop.is_kept(needed)


async def test_another_default_takes_over_and_is_needed_from_then_on(shop: Shop) -> None:
    old, new = await shop.card(), await shop.card(is_default=True)
    living = await shop.subscription(old)
    answer = await shop.delete(old)

    assert answer.status_code == 200, answer.text
    assert answer.json()["replaced_by"] == str(new.id)
    assert answer.json()["subscription_ids"] == [str(living.id)]
    billed = shop.at_stripe("subscriptions", living.provider_subscription_id)
    assert billed["default_payment_method"] == new.provider_payment_method_id
    assert not shop.is_kept(old)
    assert (await shop.delete(new)).status_code == 409


async def test_a_subscription_that_is_paid_and_ends_needs_no_card(shop: Shop) -> None:
    method = await shop.card()
    await shop.subscription(method, cancel_at_period_end=True)
    assert (await shop.delete(method)).status_code == 200


async def test_a_subscription_that_is_just_being_opened_keeps_its_card(shop: Shop) -> None:
    method = await shop.card()
    await shop.card(is_default=True)
    opening = subscription(
        shop.who,
        shop.what,
        status="incomplete",
        payment_method_id=method.id,
        provider_subscription_id=None,
    )
    await shop.api.add(opening)
    answer = await shop.delete(method)
    assert (answer.status_code, answer.json()["code"]) == (409, "payment_method_in_use")
    assert (await shop.row(method)).status == "active"


async def test_a_provider_that_is_away_is_told_later(shop: Shop) -> None:
    method = await shop.card()
    shop.fault("payment_methods.detach", FaultMode.DOWN)
    shop.api.context.response_wait_seconds = 2.0  # Long enough to note it, and nobody else answers.
    answer = await shop.delete(method)
    assert (answer.status_code, answer.json()["status"]) == (202, "detached")
    assert shop.is_kept(method)

    shop.core.faults.clear()

    async def forgotten() -> bool:
        return not shop.is_kept(method)

    await eventually(forgotten)


async def test_an_answer_that_got_lost_is_asked_for_again(shop: Shop) -> None:
    method = await shop.card()
    shop.fault("payment_methods.detach", FaultMode.APPLIED_THEN_ERROR, count=1)
    assert (await shop.delete(method)).status_code == 200
    assert not shop.is_kept(method)


async def test_what_was_never_stored_is_just_marked(shop: Shop) -> None:
    failed = card(shop.who, status="failed", provider_payment_method_id=None)
    pending = card(shop.who, status="pending", provider_payment_method_id=None)
    await shop.api.add(failed, pending)
    assert (await shop.delete(failed)).json()["status"] == "detached"
    answer = await shop.delete(pending)
    assert (answer.status_code, answer.json()["code"]) == (409, "payment_method_not_active")


async def test_a_provider_without_a_key_cannot_be_told(shop: Shop) -> None:
    method = card(shop.who, provider="conekta", provider_customer_id="cus_1")
    await shop.api.add(method)
    answer = await shop.delete(method)
    assert (answer.status_code, answer.json()["code"]) == (409, "provider_not_configured")
    assert (await shop.row(method)).status == "active"


async def test_nothing_is_begun_while_temporal_is_away(shop: Shop) -> None:
    method = await shop.card()
    shop.api.context.temporal = await Client.connect(
        "127.0.0.1:9", lazy=True, data_converter=pydantic_data_converter
    )
    shop.api.context.response_wait_seconds = 0.5
    assert (await shop.delete(method)).status_code == 503
    assert (await shop.row(method)).status == "active"


async def test_another_tenants_card_is_not_there(shop: Shop) -> None:
    method = await shop.card()
    theirs = shop.api.theirs
    assert (await shop.delete(method, theirs)).status_code == 404
    assert (await theirs.post(f"/payment-methods/{method.id}/default")).status_code == 404


# The default.


async def defaults(shop: Shop) -> list[UUID]:
    chosen = select(PaymentMethod.id).where(PaymentMethod.is_default)
    return await shop.api.all(chosen.order_by(PaymentMethod.id))


async def test_there_is_one_default(shop: Shop) -> None:
    first, second = card(shop.who, is_default=True), card(shop.who, provider="conekta")
    elsewhere = organization(shop.api.ours)
    other = card(elsewhere, is_default=True)
    await shop.api.add(elsewhere, first, second, other)
    for _ in range(2):
        answer = await shop.api.ours.post(f"/payment-methods/{second.id}/default")
        assert answer.status_code == 200, answer.text
        assert answer.json()["is_default"] is True
    assert await defaults(shop) == sorted([second.id, other.id])


async def test_two_defaults_at_the_same_time_end_as_one(shop: Shop) -> None:
    cards = [card(shop.who) for _ in range(4)]
    await shop.api.add(*cards)
    posts = [shop.api.ours.post(f"/payment-methods/{each.id}/default") for each in cards]
    answers = await asyncio.gather(*posts)
    assert {answer.status_code for answer in answers} == {200}
    assert len(await defaults(shop)) == 1


@pytest.mark.parametrize("status", ["pending", "failed", "detached"])
async def test_only_a_usable_card_is_made_the_default(shop: Shop, status: str) -> None:
    useless = card(shop.who, status=status)
    await shop.api.add(useless)
    answer = await shop.api.ours.post(f"/payment-methods/{useless.id}/default")
    assert (answer.status_code, answer.json()["code"]) == (409, "payment_method_not_active")


# What a front end needs.


async def setup(shop: Shop, **params: Any) -> dict[str, Any]:
    params = {"organization_id": str(shop.who.id), **params}
    answer = await shop.api.ours.get("/payment-methods/setup", **params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_front_end_is_told_where_to_tokenise(shop: Shop) -> None:
    shop.api.context.storefront = Storefront(public_keys={ProviderName.STRIPE: "pk_test_1"})
    found = await setup(shop)
    assert (found["provider"], found["public_key"], found["detail"]) == (
        "stripe",
        "pk_test_1",
        None,
    )
    assert "card" in found["payment_method_types"]
    (intent,) = shop.core.state["stripe"]["setup_intents"].values()
    assert found["client_secret"] == intent["client_secret"]
    assert (intent["usage"], intent["metadata"]) == (
        "off_session",
        {"organization_id": str(shop.who.id)},
    )


async def test_a_key_that_may_only_read_stores_no_card(shop: Shop, database_url: str) -> None:
    shop.api.context.storefront = Storefront(public_keys={ProviderName.STRIPE: "pk_test_1"})
    key = await create_key(
        database_url, application_name="Ours", scopes=["billing:read"], pepper=PEPPER
    )
    answer = await shop.api.anyone.get(
        f"{BASE}/payment-methods/setup",
        params={"organization_id": str(shop.who.id)},
        headers={"Authorization": f"Bearer {key}"},
    )
    found = answer.json()
    assert (answer.status_code, found["provider"]) == (200, "stripe")
    assert (found["client_secret"], found["detail"]) == (None, READ_ONLY)
    assert not shop.core.state["stripe"].get("setup_intents")


async def test_a_front_end_is_told_also_while_stripe_is_away(shop: Shop) -> None:
    shop.api.context.storefront = Storefront(public_keys={ProviderName.STRIPE: "pk_test_1"})
    shop.fault("setup_intents.create", FaultMode.DOWN)
    found = await setup(shop)
    assert (found["public_key"], found["client_secret"]) == ("pk_test_1", None)
    assert "did not answer" in found["detail"]


async def test_what_is_missing_is_said(shop: Shop) -> None:
    found = await setup(shop)
    assert found["public_key"] is None
    assert "no public key" in found["detail"]
    voucher = await setup(shop, payment_method_type="oxxo")
    assert (voucher["provider"], voucher["client_secret"]) == ("stripe", None)
    assert "paid anew" in voucher["detail"]


async def test_setup_is_refused_where_nobody_could_keep_the_card(shop: Shop) -> None:
    shop.api.context.providers = ProviderRegistry({})
    params = {"organization_id": str(shop.who.id)}
    assert (await shop.api.ours.get("/payment-methods/setup", **params)).status_code == 422
    params = {"organization_id": str(uuid4())}
    assert (await shop.api.ours.get("/payment-methods/setup", **params)).status_code == 404


async def test_a_deleted_card_cannot_be_subscribed_with(shop: Shop) -> None:
    method = await shop.card()
    await shop.delete(method)
    body = {
        "organization_id": str(shop.who.id),
        "plan_id": str(shop.what.id),
        "billing_interval": "monthly",
        "payment_method_id": str(method.id),
    }
    answer = await shop.api.ours.post("/subscriptions", body)
    assert (answer.status_code, answer.json()["code"]) == (409, "payment_method_not_active")
