"""Answers that got lost: whatever was or was not done, no money is doubled by trying again."""

from __future__ import annotations

import pytest

from models.outcomes import Instrument, OutcomeClass
from models.snapshots import PaymentStatus
from providers.conekta import ConektaProvider
from providers.failures import FailureKind
from tests.providers.conekta.drafts import (
    customer_draft,
    failure_of,
    open_payment,
    paid_payment,
    payment_draft,
    refund_draft,
)
from tests.sandbox.conekta.world import World

INSTRUMENTS = [Instrument.OXXO, Instrument.SPEI]


@pytest.mark.parametrize("mode", ["applied_then_timeout", "applied_then_error"])
async def test_preparing_again_adopts_the_order_of_the_lost_answer(
    world: World, hasty_provider: ConektaProvider, customer_id: str, mode: str
) -> None:
    draft = payment_draft(customer_id)
    await world.fault("orders.create", mode)
    await failure_of(hasty_provider.prepare_payment(draft))
    payment_id = await hasty_provider.prepare_payment(draft, retry=True)
    assert [order["id"] for order in world.orders()] == [payment_id]


async def test_preparing_again_makes_one_when_there_is_none(
    world: World, provider: ConektaProvider, customer_id: str
) -> None:
    await provider.prepare_payment(payment_draft(customer_id, attempt_id="att_other"))
    payment_id = await provider.prepare_payment(payment_draft(customer_id), retry=True)
    assert len(world.orders()) == 2
    assert (await provider.get_payment(payment_id)).attempt_id == "att_1"


async def test_the_search_goes_through_all_pages(
    world: World, provider: ConektaProvider, customer_id: str
) -> None:
    """Newest first, as the simulator lists them, ours is on the second page of 250."""
    draft = payment_draft(customer_id)
    payment_id = await provider.prepare_payment(draft)
    orders = world.core.collection("conekta", "orders")
    for number in range(300):
        other = {**orders[payment_id], "id": f"ord_{number}", "metadata": {}}
        orders[other["id"]] = other
    assert await provider.prepare_payment(draft, retry=True) == payment_id


async def test_of_two_orders_the_committed_one_is_adopted(
    world: World, provider: ConektaProvider, customer_id: str
) -> None:
    draft = payment_draft(customer_id)
    await provider.prepare_payment(draft)
    opened = await open_payment(provider, draft)
    assert len(world.orders()) == 2
    assert await provider.prepare_payment(draft, retry=True) == opened.provider_payment_id


@pytest.mark.parametrize("mode", ["applied_then_timeout", "applied_then_error"])
async def test_ensuring_a_customer_again_adopts_it(
    world: World, hasty_provider: ConektaProvider, mode: str
) -> None:
    await world.fault("customers.create", mode)
    await failure_of(hasty_provider.ensure_customer(customer_draft()))
    made = await hasty_provider.ensure_customer(customer_draft(), retry=True)
    assert list(world.core.collection("conekta", "customers")) == [made]
    other = await hasty_provider.ensure_customer(
        customer_draft(organization_id="org_10"), retry=True
    )
    assert other != made
    # The search finds both by the beginning of their reference, but only an equal one is ours.
    assert await hasty_provider.ensure_customer(customer_draft(), retry=True) == made


@pytest.mark.parametrize("instrument", INSTRUMENTS)
@pytest.mark.parametrize("mode", ["applied_then_timeout", "applied_then_error"])
async def test_a_lost_commit_is_found_by_reading(
    world: World,
    hasty_provider: ConektaProvider,
    customer_id: str,
    instrument: Instrument,
    mode: str,
) -> None:
    draft = payment_draft(customer_id, instrument=instrument)
    payment_id = await hasty_provider.prepare_payment(draft)
    await world.fault("charges.create", mode)
    failure = await failure_of(hasty_provider.commit_payment(draft, payment_id))
    assert failure.outcome is OutcomeClass.UNKNOWN
    found = await hasty_provider.get_payment(payment_id)
    assert found.status is PaymentStatus.PENDING
    assert found.attempt_id == "att_1"
    # Committing again does not make a second one: 428, and what is there is adopted.
    assert await hasty_provider.commit_payment(draft, payment_id) == found
    assert [entry["status"] for entry in await world.book()] == ["pending"]


async def test_a_lost_commit_is_settled_by_canceling(
    world: World, hasty_provider: ConektaProvider, customer_id: str
) -> None:
    draft = payment_draft(customer_id)
    payment_id = await hasty_provider.prepare_payment(draft)
    await world.fault("charges.create", "applied_then_timeout")
    await failure_of(hasty_provider.commit_payment(draft, payment_id))
    settled = await hasty_provider.cancel_payment(payment_id)
    assert settled.status is PaymentStatus.CANCELED
    assert [entry["status"] for entry in await world.book()] == ["canceled"]


async def test_a_commit_that_never_arrived_is_settled_by_canceling(
    world: World, provider: ConektaProvider, customer_id: str
) -> None:
    draft = payment_draft(customer_id)
    payment_id = await provider.prepare_payment(draft)
    await world.fault("charges.create", "error")
    await failure_of(provider.commit_payment(draft, payment_id))
    assert (await provider.get_payment(payment_id)).status is PaymentStatus.PREPARED
    assert (await provider.cancel_payment(payment_id)).status is PaymentStatus.CANCELED
    assert await world.book() == []


@pytest.mark.parametrize("mode", ["down", "rate_limit", "error"])
async def test_a_read_that_fails_after_the_charge_was_made_is_unknown(
    world: World, provider: ConektaProvider, customer_id: str, mode: str
) -> None:
    """A 429 on the reading says nothing about the writing: there is a live voucher."""
    draft = payment_draft(customer_id)
    payment_id = await provider.prepare_payment(draft)
    await world.fault("orders.retrieve", mode)
    failure = await failure_of(provider.commit_payment(draft, payment_id))
    assert failure.outcome is OutcomeClass.UNKNOWN
    assert (await provider.get_payment(payment_id)).status is PaymentStatus.PENDING


@pytest.mark.parametrize("mode", ["applied_then_timeout", "applied_then_error"])
async def test_a_lost_refund_is_not_made_twice(
    world: World,
    provider: ConektaProvider,
    hasty_provider: ConektaProvider,
    customer_id: str,
    mode: str,
) -> None:
    paid = await paid_payment(provider, world, payment_draft(customer_id))
    draft = refund_draft(paid.provider_payment_id, amount_minor=10000)
    await world.fault("orders.refund", mode)
    failure = await failure_of(hasty_provider.refund(draft))
    assert failure.kind is FailureKind.UNKNOWN
    again = await hasty_provider.refund(draft)
    assert again.amount_minor == 10000
    refunds = [entry for entry in await world.book() if entry["kind"] == "refund"]
    assert [entry["id"] for entry in refunds] == [again.provider_refund_id]


async def test_a_lost_cancellation_is_canceled(
    world: World, hasty_provider: ConektaProvider, customer_id: str
) -> None:
    opened = await open_payment(hasty_provider, payment_draft(customer_id))
    await world.fault("orders.cancel", "applied_then_timeout")
    failure = await failure_of(hasty_provider.cancel_payment(opened.provider_payment_id))
    assert failure.kind is FailureKind.UNKNOWN
    canceled = await hasty_provider.cancel_payment(opened.provider_payment_id)
    assert canceled.status is PaymentStatus.CANCELED
