"""The simulator's answers about cards, plans and subscriptions, read by Conekta's own SDK."""

from __future__ import annotations

from typing import Any

import conekta
import pytest

from tests.sandbox.conekta.sdk import run
from tests.sandbox.conekta.world import World


async def store(sdk: conekta.ApiClient, customer_id: str, token: str) -> str:
    request = conekta.CreateCustomerPaymentMethodsRequest(
        conekta.PaymentMethodTokenRequest(type="card", token_id=token)
    )
    methods = conekta.PaymentMethodsApi(sdk)
    made = await run(methods.create_customer_payment_methods, customer_id, request)
    card = made.actual_instance
    assert isinstance(card, conekta.PaymentMethodCardResponse)
    return str(card.id)


async def make_plan(sdk: conekta.ApiClient) -> conekta.PlanResponse:
    request = conekta.PlanRequest(
        id="abono_ours_attempt",
        name="Plan Pro",
        amount=20000,
        currency="MXN",
        interval="month",
        frequency=1,
        max_retries=3,
        retry_delay_hours=48,
    )
    return await run(conekta.PlansApi(sdk).create_plan, request)


async def test_payment_sources(sdk: conekta.ApiClient, customer_id: str) -> None:
    methods = conekta.PaymentMethodsApi(sdk)
    source_id = await store(sdk, customer_id, "tok_test_visa_4242")
    listed = await run(methods.get_customer_payment_methods, customer_id)
    [found] = listed.data or []
    assert isinstance(found.actual_instance, conekta.PaymentMethodCardResponse)
    assert found.actual_instance.last4 == "4242"
    customer = await run(conekta.CustomersApi(sdk).get_customer_by_id, customer_id)
    assert customer.default_payment_source_id == source_id
    gone = await run(methods.delete_customer_payment_methods, customer_id, source_id)
    assert gone.actual_instance is not None


async def test_plans(sdk: conekta.ApiClient) -> None:
    plans = conekta.PlansApi(sdk)
    made = await make_plan(sdk)
    assert made.retry_delay_hours == 48
    assert (await run(plans.get_plan, "abono_ours_attempt")).name == "Plan Pro"
    listed = await run(plans.get_plans)
    assert [plan.id for plan in listed.data or []] == ["abono_ours_attempt"]
    with pytest.raises(conekta.exceptions.ConflictException):
        await make_plan(sdk)
    assert (await run(plans.delete_plan, "abono_ours_attempt")).amount == 20000


async def test_a_subscription_s_life(
    world: World, sdk: conekta.ApiClient, customer_id: str
) -> None:
    subscriptions = conekta.SubscriptionsApi(sdk)
    await make_plan(sdk)
    card_id = await store(sdk, customer_id, "tok_test_visa_4242")
    request = conekta.SubscriptionRequest(plan_id="abono_ours_attempt", card_id=card_id)
    made = await run(subscriptions.subscription_create, customer_id, request)
    assert made.status == "active"
    assert made.last_billing_cycle_order_id is not None
    orders = conekta.OrdersApi(sdk)
    order = await run(orders.get_order_by_id, made.last_billing_cycle_order_id)
    assert order.payment_status == "paid"
    for call, status in (
        (subscriptions.subscription_pause, "paused"),
        (subscriptions.subscription_resume, "active"),
        (subscriptions.subscriptions_get, "active"),
        (subscriptions.subscription_cancel, "canceled"),
    ):
        changed = await run(call, customer_id, made.id)
        assert changed.status == status
    assert changed.canceled_reason == "user_cancelation"
    model_by_family: dict[str, Any] = {
        "order": conekta.OrderResponse,
        "charge": conekta.ChargeResponse,
        "plan": conekta.PlanResponse,
        "subscription": conekta.SubscriptionResponse,
    }
    for record in world.core.webhooks.events:
        body = record["body"]
        assert conekta.EventResponse.from_dict(body) is not None
        family = body["type"].partition(".")[0]
        assert model_by_family[family].from_dict(body["data"]["object"]).id


async def test_a_retry_and_another_card(
    world: World, sdk: conekta.ApiClient, customer_id: str
) -> None:
    subscriptions = conekta.SubscriptionsApi(sdk)
    await make_plan(sdk)
    card_id = await store(sdk, customer_id, "tok_test_card_declined")
    request = conekta.SubscriptionRequest(plan_id="abono_ours_attempt", card_id=card_id)
    made = await run(subscriptions.subscription_create, customer_id, request)
    assert made.status == "past_due"
    better = await store(sdk, customer_id, "tok_test_visa_4242")
    change = conekta.UpdatesASubscription(card_id=better)
    changed = await run(subscriptions.subscription_update, customer_id, made.id, change)
    assert changed.card_id == better
    paid = await run(subscriptions.subscriptions_retry, customer_id, made.id)
    assert paid.status == "active"
