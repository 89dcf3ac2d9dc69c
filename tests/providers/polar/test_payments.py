"""Hosted pages: opened, paid, run out, paid back; and what no call can undo."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from models.outcomes import FallbackReason, OutcomeClass, Redirect
from models.snapshots import PaymentStatus
from providers.failures import FailureKind
from providers.polar import PolarProvider
from tests.providers.polar.drafts import (
    AMOUNT_MINOR,
    Buyer,
    benefit_draft,
    checkout_draft,
    customer_draft,
    failure_of,
    paid_page,
    product_draft,
    refund_draft,
)
from tests.sandbox.polar.world import World


async def test_a_page_waits_for_the_customer(
    world: World, provider: PolarProvider, buyer: Buyer
) -> None:
    draft = checkout_draft(buyer, customer_ip_address="203.0.113.7")
    page = await provider.create_checkout(draft)
    assert page.status is PaymentStatus.PENDING
    assert (page.amount_minor, page.currency) == (AMOUNT_MINOR, "USD")
    assert page.attempt_id == "att_1"
    assert isinstance(page.next_action, Redirect)
    assert page.next_action.url.startswith(world.base_url)
    assert page.next_action.expires_at == page.expires_at
    assert await provider.get_payment(page.provider_payment_id) == page
    [checkout] = world.all("checkouts")
    assert checkout["metadata"] == {
        "attempt_id": "att_1",
        "invoice_id": "inv_1",
        "organization_id": "org_1",
        "purchase_id": "pur_1",
    }
    assert checkout["customer_ip_address"] == "203.0.113.7"
    assert checkout["allow_discount_codes"] is False


async def test_the_page_asks_for_what_the_invoice_says(
    provider: PolarProvider, buyer: Buyer
) -> None:
    page = await provider.create_checkout(checkout_draft(buyer, amount_minor=777))
    assert page.amount_minor == 777
    peso = await provider.create_checkout(checkout_draft(buyer, amount_minor=9900, currency="MXN"))
    assert (peso.amount_minor, peso.currency) == (9900, "MXN")


async def test_a_paid_page_names_its_order(
    world: World, provider: PolarProvider, buyer: Buyer
) -> None:
    paid = await paid_page(provider, world, buyer)
    [order] = world.all("orders")
    [capture] = paid.captures
    assert capture.provider_charge_id == order["id"]
    assert (capture.amount_minor, capture.currency) == (AMOUNT_MINOR, "USD")
    assert paid.next_action is None


async def test_the_tax_is_not_ours(world: World, provider: PolarProvider) -> None:
    """The customer pays 22.80, our invoice says 19.00, and that is what we received."""
    customer_id = await provider.ensure_customer(customer_draft(country="FR"))
    french = Buyer(customer_id, await provider.ensure_product(product_draft()))
    paid = await paid_page(provider, world, french)
    assert world.all("orders")[0]["total_amount"] == 2280
    assert paid.amount_minor == AMOUNT_MINOR
    assert [capture.amount_minor for capture in paid.captures] == [AMOUNT_MINOR]


async def test_a_page_runs_out(world: World, provider: PolarProvider, buyer: Buyer) -> None:
    page = await provider.create_checkout(checkout_draft(buyer))
    await world.advance(86_401)
    found = await provider.get_payment(page.provider_payment_id)
    assert found.status is PaymentStatus.EXPIRED
    assert found.next_action is None
    assert await provider.cancel_payment(page.provider_payment_id) == found


async def test_an_open_page_cannot_be_closed(
    world: World, provider: PolarProvider, buyer: Buyer
) -> None:
    """It would be a lie to say `canceled`: the customer may have the page before his eyes."""
    page = await provider.create_checkout(checkout_draft(buyer))
    failure = await failure_of(provider.cancel_payment(page.provider_payment_id))
    assert failure.kind is FailureKind.UNSUPPORTED
    assert failure.code == "checkout_open"
    assert failure.retry_after_seconds is not None
    assert 86_400 < failure.retry_after_seconds < 87_400
    await world.pay(page.provider_payment_id)
    paid = await provider.cancel_payment(page.provider_payment_id)
    assert paid.status is PaymentStatus.SUCCEEDED


async def test_a_page_needs_a_product(provider: PolarProvider, buyer: Buyer) -> None:
    draft = checkout_draft(buyer, provider_product_id=None)
    failure = await failure_of(provider.create_checkout(draft))
    assert failure.kind is FailureKind.UNSUPPORTED
    assert failure.code == "product_required"


async def test_a_declined_card_decides_nothing(
    world: World, provider: PolarProvider, buyer: Buyer
) -> None:
    page = await provider.create_checkout(checkout_draft(buyer))
    await world.fault("checkouts.confirm", "decline")
    await world.pay(page.provider_payment_id)
    assert await provider.get_payment(page.provider_payment_id) == page


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("down", FallbackReason.UNAVAILABLE),
        ("applied_then_error", FallbackReason.API_ERROR),
        ("applied_then_timeout", FallbackReason.TIMEOUT),
        ("rate_limit", FallbackReason.API_ERROR),
    ],
)
async def test_a_page_that_nobody_saw_was_not_attempted(
    world: World,
    provider: PolarProvider,
    hasty_provider: PolarProvider,
    buyer: Buyer,
    mode: str,
    reason: FallbackReason,
) -> None:
    await world.fault("checkouts.create", mode)
    failure = await failure_of(hasty_provider.create_checkout(checkout_draft(buyer)))
    assert failure.kind is FailureKind.UNAVAILABLE
    assert failure.outcome is OutcomeClass.NOT_ATTEMPTED
    assert failure.fallback_reason is reason
    again = await provider.create_checkout(checkout_draft(buyer), retry=True)
    assert again.status is PaymentStatus.PENDING


async def test_an_earlier_page_of_the_attempt_was_paid(
    world: World, provider: PolarProvider, buyer: Buyer
) -> None:
    """The order is found by the attempt, whichever page it came from."""
    first = await provider.create_checkout(checkout_draft(buyer))
    second = await provider.create_checkout(checkout_draft(buyer), retry=True)
    await world.pay(first.provider_payment_id)
    found = await provider.get_payment(second.provider_payment_id)
    assert found.status is PaymentStatus.SUCCEEDED
    assert found.provider_payment_id == second.provider_payment_id
    assert len(found.captures) == 1
    await world.pay(second.provider_payment_id)
    twice = await provider.get_payment(second.provider_payment_id)
    assert len(twice.captures) == 2


async def test_an_order_of_another_attempt_is_not_ours(
    world: World, provider: PolarProvider, buyer: Buyer
) -> None:
    await paid_page(provider, world, buyer, attempt_id="att_other")
    page = await provider.create_checkout(checkout_draft(buyer))
    found = await provider.get_payment(page.provider_payment_id)
    assert found.status is PaymentStatus.PENDING
    assert found.captures == []


async def test_a_page_without_our_ids_is_read_by_its_own(
    world: World, provider: PolarProvider, buyer: Buyer
) -> None:
    checkout = await world.post("/checkouts/", {"products": [buyer.product_id]})
    await world.pay(checkout["id"])
    found = await provider.get_payment(checkout["id"])
    assert found.status is PaymentStatus.SUCCEEDED
    assert found.attempt_id is None


async def test_a_page_that_succeeded_before_its_order_is_there(
    world: World, provider: PolarProvider, buyer: Buyer
) -> None:
    page = await provider.create_checkout(checkout_draft(buyer))
    kept = world.core.collection("polar", "checkouts")[page.provider_payment_id]
    kept["status"] = "succeeded"
    found = await provider.get_payment(page.provider_payment_id)
    assert found.status is PaymentStatus.PENDING
    assert found.next_action is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("confirmed", PaymentStatus.PENDING),
        ("failed", PaymentStatus.DECLINED),
        ("invented_yesterday", PaymentStatus.PENDING),
    ],
)
async def test_rarer_statuses_of_a_page(
    world: World, provider: PolarProvider, buyer: Buyer, status: str, expected: PaymentStatus
) -> None:
    page = await provider.create_checkout(checkout_draft(buyer))
    world.core.collection("polar", "checkouts")[page.provider_payment_id]["status"] = status
    found = await provider.get_payment(page.provider_payment_id)
    assert found.status is expected
    assert (found.decline is not None) is (expected is PaymentStatus.DECLINED)


async def test_a_free_page_succeeds_without_money(
    world: World, provider: PolarProvider, buyer: Buyer
) -> None:
    free = await paid_page(provider, world, buyer, amount_minor=0)
    assert free.captures == []


async def test_a_page_that_does_not_exist(provider: PolarProvider) -> None:
    for call in (provider.get_payment("x"), provider.cancel_payment("x")):
        assert (await failure_of(call)).kind is FailureKind.NOT_FOUND
    assert (await failure_of(provider.get_payment("../orders"))).code == "invalid_id"


async def test_when_it_really_ends(provider: PolarProvider, buyer: Buyer) -> None:
    """Polar decides how long a page lives, whatever the draft says."""
    soon = datetime.now(UTC) + timedelta(hours=1)
    page = await provider.create_checkout(checkout_draft(buyer, expires_at=soon))
    assert page.expires_at is not None
    assert page.expires_at > soon + timedelta(hours=22)


# Refunds


async def test_a_refund_is_made_once(world: World, provider: PolarProvider, buyer: Buyer) -> None:
    paid = await paid_page(provider, world, buyer)
    first = await provider.refund(refund_draft(paid.provider_payment_id))
    assert first.status == "succeeded"
    assert (first.amount_minor, first.currency) == (AMOUNT_MINOR, "USD")
    assert await provider.refund(refund_draft(paid.provider_payment_id)) == first
    after = await provider.get_payment(paid.provider_payment_id)
    assert after.amount_refunded_minor == AMOUNT_MINOR
    assert after.status is PaymentStatus.SUCCEEDED


@pytest.mark.parametrize("mode", ["applied_then_timeout", "applied_then_error"])
async def test_a_lost_refund_is_found_again(
    world: World,
    provider: PolarProvider,
    hasty_provider: PolarProvider,
    buyer: Buyer,
    mode: str,
) -> None:
    paid = await paid_page(provider, world, buyer)
    draft = refund_draft(paid.provider_payment_id, amount_minor=500)
    await world.fault("refunds.create", mode)
    failure = await failure_of(hasty_provider.refund(draft))
    assert failure.kind is FailureKind.UNKNOWN
    assert (await provider.refund(draft)).amount_minor == 500
    assert len(world.all("refunds")) == 1


async def test_an_order_is_refunded_by_its_own_id(
    world: World, provider: PolarProvider, buyer: Buyer
) -> None:
    paid = await paid_page(provider, world, buyer)
    order_id = paid.captures[0].provider_charge_id
    refund = await provider.refund(refund_draft(order_id, amount_minor=100, reason="duplicate"))
    assert refund.provider_payment_id == order_id
    assert world.all("refunds")[0]["reason"] == "duplicate"


async def test_paid_twice_and_paid_back_once(
    world: World, provider: PolarProvider, buyer: Buyer
) -> None:
    """After the later order was refunded, a repetition must not turn to the other one."""
    first = await provider.create_checkout(checkout_draft(buyer))
    second = await provider.create_checkout(checkout_draft(buyer))
    for page in (first, second):
        await world.pay(page.provider_payment_id)
    for _ in range(2):
        await provider.refund(refund_draft(second.provider_payment_id))
    assert len(world.all("refunds")) == 1
    await provider.refund(refund_draft(second.provider_payment_id, refund_id="ref_2"))
    assert {refund["order_id"] for refund in world.all("refunds")} == {
        order["id"] for order in world.all("orders")
    }


@pytest.mark.parametrize(("amount", "revoked"), [(AMOUNT_MINOR, True), (100, False)])
async def test_who_gets_everything_back_loses_the_benefits(
    world: World, provider: PolarProvider, buyer: Buyer, amount: int, revoked: bool
) -> None:
    benefit_id = await provider.ensure_benefit(benefit_draft())
    await provider.ensure_product(product_draft(provider_benefit_ids=(benefit_id,)))
    paid = await paid_page(provider, world, buyer)
    await provider.refund(refund_draft(paid.provider_payment_id, amount_minor=amount))
    [grant] = await provider.list_grants(buyer.customer_id)
    assert grant.is_revoked is revoked


async def test_refunds_that_are_refused(
    world: World, provider: PolarProvider, buyer: Buyer
) -> None:
    page = await provider.create_checkout(checkout_draft(buyer))
    unpaid = await failure_of(provider.refund(refund_draft(page.provider_payment_id)))
    assert (unpaid.kind, unpaid.code) == (FailureKind.REJECTED, "not_paid")
    unknown = await failure_of(provider.refund(refund_draft("x")))
    assert unknown.kind is FailureKind.NOT_FOUND
    await world.pay(page.provider_payment_id)
    draft = refund_draft(page.provider_payment_id, amount_minor=AMOUNT_MINOR + 1)
    too_much = await failure_of(provider.refund(draft))
    assert (too_much.kind, too_much.code) == (FailureKind.REJECTED, "body.amount")
    await provider.refund(refund_draft(page.provider_payment_id))
    other = refund_draft(page.provider_payment_id, refund_id="ref_2", amount_minor=1)
    again = await failure_of(provider.refund(other))
    assert (again.kind, again.code) == (FailureKind.REJECTED, "RefundedAlready")
