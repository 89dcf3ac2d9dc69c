"""Payments by hand, in two steps: vouchers, transfers, and what a lost answer leaves of them."""

from __future__ import annotations

import pytest

from models.outcomes import Instrument, OutcomeClass, PayTransfer, PayVoucher
from models.snapshots import PaymentStatus
from providers.capabilities import Capability
from providers.failures import FailureKind, ProviderFailure
from tests.providers.contract.bench import AMOUNT_MINOR, Bench, reference_of, unknown_id
from tests.providers.contract.failing import answer_or_failure, failure_of

OVER = {PaymentStatus.CANCELED, PaymentStatus.EXPIRED, PaymentStatus.DECLINED}

every_instrument = pytest.mark.parametrize(
    "instrument",
    [
        pytest.param(Instrument.OXXO, marks=pytest.mark.needs(Capability.CASH_VOUCHER)),
        pytest.param(Instrument.SPEI, marks=pytest.mark.needs(Capability.BANK_TRANSFER)),
    ],
)


@every_instrument
async def test_what_is_prepared_cannot_be_paid(bench: Bench, instrument: Instrument) -> None:
    draft = bench.payment_draft(await bench.customer(), instrument)
    payment_id = await bench.provider.prepare_payment(draft)
    found = await bench.provider.get_payment(payment_id)
    assert found.status is PaymentStatus.PREPARED
    assert found.next_action is None
    assert found.captures == []
    assert found.attempt_id == draft.attempt_id
    assert await bench.book() == []


@every_instrument
async def test_it_is_found_by_our_reference(bench: Bench, instrument: Instrument) -> None:
    """Before and after it was committed, also by another process."""
    draft = bench.payment_draft(await bench.customer(), instrument)
    payment_id = await bench.provider.prepare_payment(draft)
    assert await bench.adapter().prepare_payment(draft, retry=True) == payment_id
    await bench.provider.commit_payment(draft, payment_id)
    assert await bench.provider.prepare_payment(draft, retry=True) == payment_id
    assert (await bench.provider.get_payment(payment_id)).attempt_id == draft.attempt_id


@every_instrument
async def test_another_attempt_is_another_payment(bench: Bench, instrument: Instrument) -> None:
    customer_id = await bench.customer()
    ids = {
        await bench.provider.prepare_payment(
            bench.payment_draft(customer_id, instrument), retry=True
        )
        for _ in range(2)
    }
    assert len(ids) == 2


@every_instrument
async def test_committing_once_and_again_asks_for_the_money_once(
    bench: Bench, instrument: Instrument
) -> None:
    draft, first = await bench.issued(instrument)
    assert first.status is PaymentStatus.PENDING
    assert (first.amount_minor, first.currency) == (draft.amount_minor, draft.currency)
    assert first.attempt_id == draft.attempt_id
    assert isinstance(first.next_action, PayVoucher | PayTransfer)
    assert first.next_action.instrument is instrument
    assert first.next_action.amount_minor == AMOUNT_MINOR
    assert first.expires_at is not None
    assert first.expires_at >= draft.expires_at
    again = await bench.adapter().commit_payment(draft, first.provider_payment_id)
    assert again == first
    assert await bench.provider.get_payment(first.provider_payment_id) == first
    assert [entry["amount_minor"] for entry in await bench.book("pending")] == [AMOUNT_MINOR]


@every_instrument
async def test_paid_once_is_one_capture_for_ever(bench: Bench, instrument: Instrument) -> None:
    draft, opened = await bench.issued(instrument)
    await bench.pay(opened)
    payment_id = opened.provider_payment_id
    paid = await bench.provider.get_payment(payment_id)
    assert paid.status is PaymentStatus.SUCCEEDED
    assert [capture.amount_minor for capture in paid.captures] == [AMOUNT_MINOR]
    assert await bench.provider.commit_payment(draft, payment_id) == paid
    # The customer was faster: that is what canceling tells, and it takes nothing back.
    assert await bench.provider.cancel_payment(payment_id) == paid
    assert await bench.refunds() == []


@every_instrument
async def test_what_was_prepared_is_canceled_for_good(bench: Bench, instrument: Instrument) -> None:
    draft = bench.payment_draft(await bench.customer(), instrument)
    payment_id = await bench.provider.prepare_payment(draft)
    for _ in range(2):
        canceled = await bench.provider.cancel_payment(payment_id)
        assert canceled.status is PaymentStatus.CANCELED
    # A request that was still on its way finds it closed: refused, or told what it is.
    late = await answer_or_failure(bench.provider.commit_payment(draft, payment_id))
    if isinstance(late, ProviderFailure):
        assert late.kind is FailureKind.REJECTED
    else:
        assert late.status is PaymentStatus.CANCELED
    assert await bench.book("pending", "paid") == []


@every_instrument
async def test_what_is_open_is_canceled_once_and_again(
    bench: Bench, instrument: Instrument
) -> None:
    _, opened = await bench.issued(instrument)
    for _ in range(2):
        canceled = await bench.provider.cancel_payment(opened.provider_payment_id)
        assert canceled.status is PaymentStatus.CANCELED
        assert canceled.next_action is None
        assert canceled.captures == []
    assert await bench.book("pending") == []


@pytest.mark.needs(Capability.CASH_VOUCHER)
async def test_canceling_what_ran_out_is_no_error(bench: Bench) -> None:
    _, opened = await bench.issued(Instrument.OXXO)
    await bench.expire(opened)
    assert (await bench.provider.get_payment(opened.provider_payment_id)).status in OVER
    for _ in range(2):
        ended = await bench.provider.cancel_payment(opened.provider_payment_id)
        assert ended.status in OVER


@pytest.mark.needs(Capability.CASH_VOUCHER)
async def test_cash_that_comes_after_the_end_is_seen(bench: Bench) -> None:
    _, opened = await bench.issued(Instrument.OXXO)
    await bench.expire(opened)
    await bench.control(f"payments/{reference_of(opened)}/pay")
    late = await bench.provider.get_payment(opened.provider_payment_id)
    assert late.status is PaymentStatus.SUCCEEDED
    assert [capture.amount_minor for capture in late.captures] == [AMOUNT_MINOR]


@pytest.mark.needs(Capability.CASH_VOUCHER)
async def test_paid_twice_is_two_captures(bench: Bench) -> None:
    _, opened = await bench.issued(Instrument.OXXO)
    for _ in range(2):
        await bench.pay(opened)
    paid = await bench.provider.get_payment(opened.provider_payment_id)
    assert len({capture.provider_charge_id for capture in paid.captures}) == 2


@every_instrument
async def test_a_refusal_is_a_decline_and_nothing_else(
    bench: Bench, instrument: Instrument
) -> None:
    draft = bench.payment_draft(await bench.customer(), instrument)
    payment_id = await bench.provider.prepare_payment(draft)
    voucher = instrument is Instrument.OXXO
    operation = bench.profile.operations["commit_voucher" if voucher else "commit_transfer"]
    await bench.fault(operation.name, "decline")
    failure = await failure_of(bench, bench.provider.commit_payment(draft, payment_id))
    assert failure.outcome is OutcomeClass.DECLINED
    assert failure.decline is not None
    assert failure.fallback_reason is None
    assert failure.provider_object_id == payment_id
    assert await bench.book("pending", "paid") == []


async def test_a_payment_that_nobody_made_is_not_found(bench: Bench) -> None:
    for call in (bench.provider.get_payment, bench.provider.cancel_payment):
        failure = await failure_of(bench, call(unknown_id("pi")))
        assert failure.kind is FailureKind.NOT_FOUND
        assert failure.outcome is OutcomeClass.NOT_ATTEMPTED
