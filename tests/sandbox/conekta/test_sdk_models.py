"""Every answer of the simulator has to be one that Conekta's own SDK can read.

The typed methods of the SDK parse strictly: a missing key, a wrong type or an unknown shape raises.
"""

from __future__ import annotations

from typing import Any

import conekta
import pytest

from tests.sandbox.conekta.bodies import (
    AMOUNT,
    charge_body,
    make_order,
    order_body,
    read_order,
    references,
)
from tests.sandbox.conekta.sdk import run
from tests.sandbox.conekta.world import World


async def test_customers(world: World, sdk: conekta.ApiClient) -> None:
    customers = conekta.CustomersApi(sdk)
    draft = conekta.Customer(
        name="Ana", email="ana@example.com", phone="+5215555555555", custom_reference="org_1"
    )
    made = await run(customers.create_customer, draft)
    change = conekta.UpdateCustomer(name="Ana María")
    changed = await run(customers.update_customer, made.id, change)
    assert changed.name == "Ana María"
    read = await run(customers.get_customer_by_id, made.id)
    assert read.custom_reference == "org_1"
    found = await run(customers.get_customers, search="org_1")
    assert [customer.id for customer in found.data or []] == [made.id]


async def test_orders_and_charges(world: World, sdk: conekta.ApiClient, customer_id: str) -> None:
    orders, charges = conekta.OrdersApi(sdk), conekta.ChargesApi(sdk)
    customer = conekta.CustomerInfoCustomerId(customer_id=customer_id)
    request = conekta.OrderRequest(
        currency="MXN",
        customer_info=conekta.OrderRequestCustomerInfo(customer),
        line_items=[conekta.Product(name="Mensualidad", unit_price=AMOUNT, quantity=1)],
        metadata={"attempt_id": "att_1"},
    )
    made = await run(orders.create_order, request)
    assert made.id is not None
    assert made.charges is None
    assert made.payment_status is None
    changed = await run(orders.update_order, made.id, conekta.OrderUpdate(metadata={"a": "b"}))
    assert changed.metadata == {"a": "b"}
    expires_at = world.core.clock.now() + 3600
    method = conekta.PaymentMethodGeneralRequest(type="cash", expires_at=expires_at)
    charge = conekta.ChargeRequest(
        payment_method=conekta.ChargeRequestPaymentMethod(method), reference_id="att_1"
    )
    charged = await run(charges.orders_create_charge, made.id, charge)
    assert charged.status == "pending_payment"
    read = await run(orders.get_order_by_id, made.id)
    assert read.payment_status == "pending_payment"
    assert read.charges is not None
    kinds = [type(c.payment_method.actual_instance) for c in read.charges.data or []]  # type: ignore[union-attr]
    assert kinds == [conekta.PaymentMethodCash, conekta.PaymentMethodCash]
    canceled = await run(orders.cancel_order, made.id)
    assert canceled.payment_status == "canceled"


@pytest.mark.parametrize("kind", ["cash", "spei", "card"])
async def test_an_order_in_every_state(
    world: World, sdk: conekta.ApiClient, customer_id: str, kind: str
) -> None:
    """Paid, refunded in part and whole, and listed: with each instrument."""
    orders = conekta.OrdersApi(sdk)
    order = await make_order(world, customer_id, kind)
    if kind != "card":
        await world.pay(references(order)[0])
        await world.pay(references(order)[0])
    for amount, status in ((500, "partially_refunded"), (AMOUNT - 500, None)):
        request = conekta.OrderRefundRequest(amount=amount, reason="requested_by_client")
        refunded = await run(orders.order_refund, order["id"], request)
        assert refunded.payment_status == status or status is None
    found = await run(orders.get_orders, limit=5, created_at_gte=order["created_at"])
    assert [item.id for item in found.data] == [order["id"]]
    assert found.data[0].amount_refunded == AMOUNT


@pytest.mark.parametrize("kind", ["cash", "spei"])
async def test_an_expired_order(
    world: World, sdk: conekta.ApiClient, customer_id: str, kind: str
) -> None:
    order = await make_order(world, customer_id, kind)
    await world.advance(3601)
    read = await run(conekta.OrdersApi(sdk).get_order_by_id, order["id"])
    assert read.payment_status == "expired"


async def test_an_order_with_charges_in_the_same_request(
    world: World, sdk: conekta.ApiClient, customer_id: str
) -> None:
    method = conekta.PaymentMethodGeneralRequest(type="spei")
    request = conekta.OrderRequest(
        currency="MXN",
        customer_info=conekta.OrderRequestCustomerInfo(
            conekta.CustomerInfo(name="Ana", email="ana@example.com", phone="+5215555555555")
        ),
        line_items=[conekta.Product(name="Mensualidad", unit_price=AMOUNT, quantity=1)],
        charges=[conekta.ChargeRequest(payment_method=conekta.ChargeRequestPaymentMethod(method))],
    )
    made = await run(conekta.OrdersApi(sdk).create_order, request)
    assert made.payment_status == "pending_payment"


async def test_a_declined_card_is_an_error_with_the_order_inside(
    world: World, sdk: conekta.ApiClient, customer_id: str
) -> None:
    order = await make_order(world, customer_id)
    method = conekta.PaymentMethodGeneralRequest(
        type="card", token_id="tok_test_insufficient_funds"
    )
    charge = conekta.ChargeRequest(payment_method=conekta.ChargeRequestPaymentMethod(method))
    with pytest.raises(conekta.ApiException) as raised:
        await run(conekta.ChargesApi(sdk).orders_create_charge, order["id"], charge)
    assert raised.value.status == 402
    body = raised.value.body
    assert isinstance(body, str)
    error = conekta.Error.from_json(body)
    assert error is not None
    assert error.type == "processing_error"
    assert error.details is not None
    assert error.details[0].code == "conekta.errors.processing.bank.insufficient_funds"
    inside = (await read_order(world, order["id"]))["charges"]["data"]
    assert inside[0]["failure_code"] == "insufficient_funds"
    assert order["id"] in body


async def test_errors_have_the_shape_that_the_sdk_declares(
    world: World, sdk: conekta.ApiClient
) -> None:
    orders = conekta.OrdersApi(sdk)
    info = conekta.CustomerInfo(name="Ana", email="ana@example.com", phone="+5215555555555")
    request = conekta.OrderRequest(
        currency="MXN",
        customer_info=conekta.OrderRequestCustomerInfo(info),
        line_items=[conekta.Product(name="ab", unit_price=1, quantity=1)],
    )
    with pytest.raises(conekta.exceptions.UnprocessableEntityException) as invalid:
        await run(orders.create_order, request)
    with pytest.raises(conekta.exceptions.NotFoundException) as missing:
        await run(orders.get_order_by_id, "ord_1")
    sdk.configuration.access_token = "key_wrong"
    with pytest.raises(conekta.exceptions.UnauthorizedException) as unknown_key:
        await run(orders.get_order_by_id, "ord_1")
    for raised in (invalid, missing, unknown_key):
        assert isinstance(raised.value.data, conekta.Error)
        assert raised.value.data.object == "error"


async def test_events_and_webhook_keys(
    world: World, sdk: conekta.ApiClient, customer_id: str
) -> None:
    order = await make_order(world, customer_id, "cash")
    await world.pay(references(order)[0])
    events = conekta.EventsApi(sdk)
    found = await run(events.get_events, limit=50)
    assert {event.type for event in found.data or []} >= {"order.created", "order.paid"}
    for event in found.data or []:
        assert event.id is not None
        read = await run(events.get_event, event.id)
        assert read.type == event.type
    keys = conekta.WebhookKeysApi(sdk)
    listed = await run(keys.get_webhook_keys)
    assert listed.data is not None
    assert listed.data[0].id is not None
    key = await run(keys.get_webhook_key, listed.data[0].id)
    assert key.public_key == world.simulator.public_key_pem


async def test_every_webhook_body(world: World, customer_id: str) -> None:
    """What a whole life of orders sends: the event, and the object inside it."""
    for kind in ("cash", "spei"):
        paid = await make_order(world, customer_id, kind)
        await world.pay(references(paid)[0])
        await world.http.post(
            f"/orders/{paid['id']}/refunds", json={"amount": 100, "reason": "requested_by_client"}
        )
        expired = await make_order(world, customer_id, kind)
        await world.expire(references(expired)[0])
        canceled = await make_order(world, customer_id, kind)
        await world.http.post(f"/orders/{canceled['id']}/cancel")
    body = order_body(customer_id, charges=[charge_body(world, "card")])
    await world.http.post("/orders", json=body)
    model_by_family: dict[str, Any] = {
        "order": conekta.OrderResponse,
        "charge": conekta.ChargeResponse,
    }
    for record in world.core.webhooks.events:
        event = conekta.EventResponse.from_dict(record["body"])
        assert event is not None
        family = record["body"]["type"].partition(".")[0]
        subject = model_by_family[family].from_dict(record["body"]["data"]["object"])
        assert subject.id
    assert set(world.event_types()) == {
        "order.created",
        "order.updated",
        "order.pending_payment",
        "order.paid",
        "order.partially_refunded",
        "order.expired",
        "order.canceled",
        "charge.created",
        "charge.paid",
        "charge.refunded",
        "charge.expired",
        "charge.canceled",
    }
