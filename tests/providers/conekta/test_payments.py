"""A voucher's and a transfer's whole life through the adapter."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from models.outcomes import Instrument, PayTransfer, PayVoucher, ProviderName
from models.snapshots import PaymentStatus
from providers.conekta import ConektaProvider
from providers.conekta.adapter import NEUTRAL_PHONE
from providers.failures import FailureKind, ProviderFailure
from providers.protocol import PaymentProvider
from tests.providers.conekta.drafts import (
    AMOUNT_MINOR,
    ProviderFactory,
    customer_draft,
    open_payment,
    paid_payment,
    payment_draft,
    references,
    refund_draft,
)
from tests.sandbox.conekta.world import World

INSTRUMENTS = [Instrument.OXXO, Instrument.SPEI]


def test_it_is_a_payment_provider(provider: ConektaProvider) -> None:
    as_protocol: PaymentProvider = provider
    assert as_protocol.name is ProviderName.CONEKTA
    assert as_protocol.account == "default"
    assert as_protocol.capabilities.currencies == frozenset({"MXN"})


async def test_a_customer_carries_our_reference(world: World, provider: ConektaProvider) -> None:
    made = await provider.ensure_customer(customer_draft(phone="+525512345678"))
    kept = world.core.collection("conekta", "customers")[made]
    assert kept["custom_reference"] == "org_1"
    assert kept["phone"] == "+525512345678"


async def test_a_customer_without_a_phone_gets_the_neutral_one(
    world: World, provider: ConektaProvider
) -> None:
    made = await provider.ensure_customer(customer_draft())
    assert world.core.collection("conekta", "customers")[made]["phone"] == NEUTRAL_PHONE


async def test_preparing_makes_nothing_that_can_be_paid(
    world: World, provider: ConektaProvider, customer_id: str
) -> None:
    draft = payment_draft(customer_id)
    payment_id = await provider.prepare_payment(draft)
    snapshot = await provider.get_payment(payment_id)
    assert snapshot.status is PaymentStatus.PREPARED
    assert snapshot.attempt_id == "att_1"
    assert snapshot.amount_minor == AMOUNT_MINOR
    assert snapshot.next_action is None
    assert await world.book() == []
    [order] = world.orders()
    assert order["metadata"] == {
        "attempt_id": "att_1",
        "subscription_id": "sub_1",
        "invoice_id": "inv_1",
        "organization_id": "org_1",
    }
    assert order["line_items"]["data"][0]["name"] == "Plan Pro, octubre"


@pytest.mark.parametrize(
    ("description", "name"), [("", "Pago"), ("ab", "Pago ab"), ("x" * 400, "x" * 249)]
)
async def test_descriptions_are_made_to_fit(
    world: World, provider: ConektaProvider, customer_id: str, description: str, name: str
) -> None:
    await provider.prepare_payment(payment_draft(customer_id, description=description))
    assert world.orders()[0]["line_items"]["data"][0]["name"] == name


async def test_a_payment_without_a_subscription(
    world: World, provider: ConektaProvider, customer_id: str
) -> None:
    await provider.prepare_payment(payment_draft(customer_id, subscription_id=None))
    assert "subscription_id" not in world.orders()[0]["metadata"]


async def test_cash_shows_every_alternative(provider: ConektaProvider, customer_id: str) -> None:
    draft = payment_draft(customer_id)
    opened = await open_payment(provider, draft)
    assert opened.status is PaymentStatus.PENDING
    assert opened.expires_at == draft.expires_at
    action = opened.next_action
    assert isinstance(action, PayVoucher)
    assert action.amount_minor == AMOUNT_MINOR
    assert action.expires_at == draft.expires_at
    oxxo, bank = action.vouchers
    assert oxxo.network == "oxxo"
    assert oxxo.barcode_url is not None
    assert bank.network == "bbva_cash_in"
    assert bank.agreement is not None
    assert len(bank.reference) == 20


async def test_a_transfer_shows_clabe_and_bank(provider: ConektaProvider, customer_id: str) -> None:
    draft = payment_draft(customer_id, instrument=Instrument.SPEI)
    opened = await open_payment(provider, draft)
    action = opened.next_action
    assert isinstance(action, PayTransfer)
    assert len(action.clabe) == 18
    assert action.bank == "STP"
    assert action.expires_at == draft.expires_at
    # The answer to the charge alone was enough, and says what the order says.
    assert opened == await provider.get_payment(opened.provider_payment_id)


async def test_the_charge_carries_the_attempt(
    world: World, provider: ConektaProvider, customer_id: str
) -> None:
    await open_payment(provider, payment_draft(customer_id))
    charges = world.orders()[0]["charges"]["data"]
    assert {charge["reference_id"] for charge in charges} == {"att_1"}


@pytest.mark.parametrize("instrument", INSTRUMENTS)
async def test_paid_in_time(
    world: World, provider: ConektaProvider, customer_id: str, instrument: Instrument
) -> None:
    paid = await paid_payment(provider, world, payment_draft(customer_id, instrument=instrument))
    [capture] = paid.captures
    assert capture.amount_minor == AMOUNT_MINOR
    assert capture.currency == "MXN"
    assert paid.next_action is None
    assert paid.amount_refunded_minor == 0
    assert [entry["id"] for entry in await world.book()] == [capture.provider_charge_id]


async def test_the_second_alternative_pays_as_well(
    world: World, provider: ConektaProvider, customer_id: str
) -> None:
    opened = await open_payment(provider, payment_draft(customer_id))
    await world.pay(references(opened)[1])
    paid = await provider.get_payment(opened.provider_payment_id)
    assert paid.status is PaymentStatus.SUCCEEDED
    assert len(paid.captures) == 1


@pytest.mark.parametrize("instrument", INSTRUMENTS)
async def test_run_out_and_paid_late(
    world: World, provider: ConektaProvider, customer_id: str, instrument: Instrument
) -> None:
    opened = await open_payment(provider, payment_draft(customer_id, instrument=instrument))
    await world.advance(timedelta(days=3, seconds=1).total_seconds())
    expired = await provider.get_payment(opened.provider_payment_id)
    assert expired.status is PaymentStatus.EXPIRED
    assert expired.captures == []
    assert expired.next_action is None
    await world.pay(references(opened)[0])
    late = await provider.get_payment(opened.provider_payment_id)
    assert late.status is PaymentStatus.SUCCEEDED
    assert len(late.captures) == 1


@pytest.mark.parametrize("instrument", INSTRUMENTS)
async def test_paid_twice_is_two_captures(
    world: World, provider: ConektaProvider, customer_id: str, instrument: Instrument
) -> None:
    opened = await open_payment(provider, payment_draft(customer_id, instrument=instrument))
    for _ in range(2):
        await world.pay(references(opened)[0])
    paid = await provider.get_payment(opened.provider_payment_id)
    assert paid.status is PaymentStatus.SUCCEEDED
    assert [capture.amount_minor for capture in paid.captures] == [AMOUNT_MINOR, AMOUNT_MINOR]
    assert len({capture.provider_charge_id for capture in paid.captures}) == 2
    assert paid.amount_minor == AMOUNT_MINOR


@pytest.mark.parametrize("difference", [-1, 1])
async def test_a_transfer_of_another_amount_pays_nothing(
    world: World, provider: ConektaProvider, customer_id: str, difference: int
) -> None:
    opened = await open_payment(provider, payment_draft(customer_id, instrument=Instrument.SPEI))
    await world.pay(references(opened)[0], AMOUNT_MINOR + difference)
    still = await provider.get_payment(opened.provider_payment_id)
    assert still.status is PaymentStatus.PENDING
    assert still.captures == []
    assert still.next_action == opened.next_action


async def test_cancel_before_anything_can_be_paid(
    provider: ConektaProvider, customer_id: str
) -> None:
    """How an unknown commit is settled for good: afterwards no charge can be added any more."""
    draft = payment_draft(customer_id)
    payment_id = await provider.prepare_payment(draft)
    canceled = await provider.cancel_payment(payment_id)
    assert canceled.status is PaymentStatus.CANCELED
    committed = await provider.commit_payment(draft, payment_id)
    assert committed.status is PaymentStatus.CANCELED
    assert committed.next_action is None


@pytest.mark.parametrize("instrument", INSTRUMENTS)
async def test_cancel_and_cancel_again(
    world: World, provider: ConektaProvider, customer_id: str, instrument: Instrument
) -> None:
    opened = await open_payment(provider, payment_draft(customer_id, instrument=instrument))
    for _ in range(2):
        canceled = await provider.cancel_payment(opened.provider_payment_id)
        assert canceled.status is PaymentStatus.CANCELED
    assert [entry["status"] for entry in await world.book()] == ["canceled"]


async def test_cancel_when_the_customer_was_faster(
    world: World, provider: ConektaProvider, customer_id: str
) -> None:
    paid = await paid_payment(provider, world, payment_draft(customer_id))
    assert await provider.cancel_payment(paid.provider_payment_id) == paid


async def test_cancel_when_the_customer_pays_at_the_same_moment(
    world: World, provider: ConektaProvider, customer_id: str
) -> None:
    """The order is read as pending, then paid, then the cancellation comes: 428, and read again."""
    opened = await open_payment(provider, payment_draft(customer_id))
    await world.fault("orders.cancel", "slow", seconds=0.2)
    canceling = asyncio.create_task(provider.cancel_payment(opened.provider_payment_id))
    while world.core.faults.active:  # noqa: ASYNC110 - the fault is used up when the call came in
        await asyncio.sleep(0.005)
    await world.pay(references(opened)[0])
    assert (await canceling).status is PaymentStatus.SUCCEEDED


async def test_cancel_after_it_ran_out(
    world: World, provider: ConektaProvider, customer_id: str
) -> None:
    opened = await open_payment(provider, payment_draft(customer_id))
    await world.expire(references(opened)[0])
    canceled = await provider.cancel_payment(opened.provider_payment_id)
    assert canceled.status is PaymentStatus.EXPIRED


@pytest.mark.parametrize("instrument", INSTRUMENTS)
async def test_refund(
    world: World, provider: ConektaProvider, customer_id: str, instrument: Instrument
) -> None:
    paid = await paid_payment(provider, world, payment_draft(customer_id, instrument=instrument))
    refund = await provider.refund(refund_draft(paid.provider_payment_id, amount_minor=10000))
    assert refund.amount_minor == 10000
    assert refund.status == "succeeded"
    assert refund.provider_payment_id == paid.provider_payment_id
    after = await provider.get_payment(paid.provider_payment_id)
    assert after.status is PaymentStatus.SUCCEEDED
    assert after.amount_refunded_minor == 10000
    assert after.captures == paid.captures
    rest = refund_draft(
        paid.provider_payment_id,
        refund_id="ref_2",
        amount_minor=AMOUNT_MINOR - 10000,
        already_refunded_minor=10000,
    )
    second = await provider.refund(rest)
    assert second.provider_refund_id != refund.provider_refund_id
    whole = await provider.get_payment(paid.provider_payment_id)
    assert whole.amount_refunded_minor == AMOUNT_MINOR
    assert whole.status is PaymentStatus.SUCCEEDED


async def test_the_second_payment_can_be_paid_back(
    world: World, provider: ConektaProvider, customer_id: str
) -> None:
    opened = await open_payment(provider, payment_draft(customer_id))
    for reference in references(opened):
        await world.pay(reference)
    await provider.refund(refund_draft(opened.provider_payment_id))
    after = await provider.get_payment(opened.provider_payment_id)
    assert after.amount_refunded_minor == AMOUNT_MINOR
    assert sum(capture.amount_minor for capture in after.captures) == 2 * AMOUNT_MINOR


async def test_a_refund_that_was_made_already_is_not_made_again(
    world: World, provider: ConektaProvider, customer_id: str
) -> None:
    paid = await paid_payment(provider, world, payment_draft(customer_id))
    draft = refund_draft(paid.provider_payment_id, amount_minor=10000)
    assert await provider.refund(draft) == await provider.refund(draft)
    refunds = [entry for entry in await world.book() if entry["kind"] == "refund"]
    assert len(refunds) == 1


async def test_a_refund_by_somebody_else_stops_ours(
    world: World, provider: ConektaProvider, customer_id: str
) -> None:
    paid = await paid_payment(provider, world, payment_draft(customer_id))
    body = {"amount": 777, "reason": "requested_by_client"}
    await world.http.post(f"/orders/{paid.provider_payment_id}/refunds", json=body)
    with pytest.raises(ProviderFailure) as raised:
        await provider.refund(refund_draft(paid.provider_payment_id, amount_minor=10000))
    assert raised.value.kind is FailureKind.REJECTED
    assert raised.value.code == "refund_mismatch"


async def test_what_was_not_paid_cannot_be_refunded(
    provider: ConektaProvider, customer_id: str
) -> None:
    opened = await open_payment(provider, payment_draft(customer_id))
    with pytest.raises(ProviderFailure) as raised:
        await provider.refund(refund_draft(opened.provider_payment_id))
    assert raised.value.kind is FailureKind.REJECTED


async def test_the_api_of_digital_femsa_is_configuration(
    make_provider: ProviderFactory, customer_id: str
) -> None:
    provider = make_provider(
        version_header="application/vnd.app-v2.1.0+json", account="femsa", timeout_seconds=5.0
    )
    assert provider.account == "femsa"
    opened = await open_payment(provider, payment_draft(customer_id))
    assert opened.status is PaymentStatus.PENDING
