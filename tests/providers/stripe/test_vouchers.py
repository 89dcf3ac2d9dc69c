"""OXXO: issued, paid in time, late, twice, expired, canceled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from models.outcomes import Instrument, PayVoucher
from models.snapshots import PaymentSnapshot, PaymentStatus
from providers.drafts import PaymentDraft, RefundDraft
from providers.failures import FailureKind, ProviderFailure
from providers.stripe.payments import voucher_days
from tests.providers.stripe.conftest import Stage


async def issued(stage: Stage, **changes: object) -> tuple[PaymentDraft, PaymentSnapshot]:
    draft = await stage.payment_draft(Instrument.OXXO, **changes)
    payment_id = await stage.provider.prepare_payment(draft)
    return draft, await stage.provider.commit_payment(draft, payment_id)


def number_of(snapshot: PaymentSnapshot) -> str:
    assert isinstance(snapshot.next_action, PayVoucher)
    return snapshot.next_action.vouchers[0].reference


async def test_a_prepared_payment_shows_no_voucher(stage: Stage) -> None:
    draft = await stage.payment_draft(Instrument.OXXO)
    payment_id = await stage.provider.prepare_payment(draft)
    found = await stage.provider.get_payment(payment_id)
    assert found.status is PaymentStatus.PREPARED
    assert found.next_action is None
    assert found.attempt_id == draft.attempt_id
    assert await stage.charges() == []
    assert await stage.provider.prepare_payment(draft, retry=True) == payment_id


async def test_a_committed_payment_is_a_voucher_until_midnight_in_mexico(stage: Stage) -> None:
    draft, snapshot = await issued(stage)
    assert snapshot.status is PaymentStatus.PENDING
    action = snapshot.next_action
    assert isinstance(action, PayVoucher)
    assert (action.amount_minor, action.currency) == (19_900, "MXN")
    [voucher] = action.vouchers
    assert voucher.network == "oxxo"
    assert voucher.reference.isdigit()
    assert voucher.instructions_url is not None
    local = action.expires_at.astimezone(ZoneInfo("America/Mexico_City"))
    assert (local.hour, local.minute) == (23, 59)
    assert action.expires_at == snapshot.expires_at
    assert action.expires_at >= draft.expires_at.replace(microsecond=0)
    [charge] = await stage.charges()
    assert (charge["status"], charge["reference"]) == ("pending", voucher.reference)
    assert charge["subscription_id"] == draft.subscription_id
    assert charge["invoice_id"] == draft.invoice_id


@pytest.mark.parametrize(
    ("lifetime", "days"),
    [
        (timedelta(minutes=5), 1),
        (timedelta(days=1), 1),
        (timedelta(days=2, hours=1), 3),
        (timedelta(days=30), 7),
    ],
)
async def test_a_lifetime_becomes_days_that_stripe_takes(
    stage: Stage, lifetime: timedelta, days: int
) -> None:
    draft = await stage.payment_draft(Instrument.OXXO, expires_at=stage.now() + lifetime)
    # The draft reads the clock twice; a whole second in between must not make another day.
    draft = draft.model_copy(update={"created_at": draft.expires_at - lifetime})
    assert voucher_days(draft) == days


async def test_committing_again_shows_the_same_voucher(stage: Stage) -> None:
    draft, snapshot = await issued(stage)
    again = await stage.provider.commit_payment(draft, snapshot.provider_payment_id)
    assert again == snapshot
    stage.core.collection("stripe", "idempotency").clear()
    assert await stage.provider.commit_payment(draft, snapshot.provider_payment_id) == snapshot


async def test_cash_at_the_counter_settles_it(stage: Stage) -> None:
    draft, snapshot = await issued(stage)
    await stage.control(f"payments/{number_of(snapshot)}/pay")
    paid = await stage.provider.get_payment(snapshot.provider_payment_id)
    assert paid.status is PaymentStatus.SUCCEEDED
    assert paid.next_action is None
    [capture] = paid.captures
    assert (capture.amount_minor, capture.currency) == (19_900, "MXN")
    # A repeated commit answers with what is true now, not with the answer of before.
    again = await stage.provider.commit_payment(draft, snapshot.provider_payment_id)
    assert again == paid
    assert [c["status"] for c in await stage.charges()] == ["paid"]


async def test_a_webhook_and_an_answer_name_the_same_capture(stage: Stage) -> None:
    _, snapshot = await issued(stage)
    await stage.control(f"payments/{number_of(snapshot)}/pay")
    [event] = stage.events("payment_intent.succeeded")
    read = await stage.provider.get_payment(snapshot.provider_payment_id)
    assert event["data"]["object"]["latest_charge"] == read.captures[0].provider_charge_id


async def test_a_voucher_expires_by_the_clock(stage: Stage) -> None:
    _, snapshot = await issued(stage)
    await stage.advance(days=5)
    expired = await stage.provider.get_payment(snapshot.provider_payment_id)
    assert expired.status is PaymentStatus.EXPIRED
    assert expired.captures == []
    assert [c["status"] for c in await stage.charges()] == ["expired"]
    canceled = await stage.provider.cancel_payment(snapshot.provider_payment_id)
    assert canceled.status is PaymentStatus.CANCELED


async def test_cash_that_comes_after_the_expiry_is_real_money(stage: Stage) -> None:
    _, snapshot = await issued(stage)
    number = number_of(snapshot)
    await stage.control(f"payments/{number}/expire")
    found = await stage.provider.get_payment(snapshot.provider_payment_id)
    assert found.status is PaymentStatus.EXPIRED

    await stage.control(f"payments/{number}/pay")

    late = await stage.provider.get_payment(snapshot.provider_payment_id)
    assert late.status is PaymentStatus.SUCCEEDED
    assert len(late.captures) == 1
    assert [c["status"] for c in await stage.charges()] == ["paid"]


async def test_a_voucher_that_is_paid_twice_has_two_captures(stage: Stage) -> None:
    _, snapshot = await issued(stage)
    number = number_of(snapshot)
    await stage.control(f"payments/{number}/pay")
    await stage.control(f"payments/{number}/pay")
    twice = await stage.provider.get_payment(snapshot.provider_payment_id)
    assert len({capture.provider_charge_id for capture in twice.captures}) == 2
    charges = await stage.charges()
    assert [(c["status"], c["reference"]) for c in charges] == [("paid", number), ("paid", number)]
    assert len(stage.events("payment_intent.succeeded")) == 2


async def test_another_amount_is_reported_as_it_came(stage: Stage) -> None:
    _, snapshot = await issued(stage)
    await stage.control(f"payments/{number_of(snapshot)}/pay", {"amount_minor": 10_000})
    found = await stage.provider.get_payment(snapshot.provider_payment_id)
    assert found.amount_minor == 19_900
    assert [capture.amount_minor for capture in found.captures] == [10_000]


async def test_canceling_ends_it_and_a_faster_customer_wins(stage: Stage) -> None:
    _, snapshot = await issued(stage)
    canceled = await stage.provider.cancel_payment(snapshot.provider_payment_id)
    assert canceled.status is PaymentStatus.CANCELED
    assert await stage.provider.cancel_payment(snapshot.provider_payment_id) == canceled
    assert [c["status"] for c in await stage.charges()] == ["canceled"]

    _, other = await issued(stage)
    await stage.control(f"payments/{number_of(other)}/pay")
    won = await stage.provider.cancel_payment(other.provider_payment_id)
    assert won.status is PaymentStatus.SUCCEEDED
    assert len(won.captures) == 1


async def test_cash_after_a_cancellation_is_seen(stage: Stage) -> None:
    _, snapshot = await issued(stage)
    await stage.provider.cancel_payment(snapshot.provider_payment_id)
    await stage.control(f"payments/{number_of(snapshot)}/pay")
    # The kept answer of the cancellation would hide it; what is read does not.
    found = await stage.provider.cancel_payment(snapshot.provider_payment_id)
    assert found.status is PaymentStatus.SUCCEEDED


async def test_a_prepared_payment_can_be_canceled(stage: Stage) -> None:
    draft = await stage.payment_draft(Instrument.OXXO)
    payment_id = await stage.provider.prepare_payment(draft)
    canceled = await stage.provider.cancel_payment(payment_id)
    assert canceled.status is PaymentStatus.CANCELED
    with pytest.raises(ProviderFailure) as caught:
        await stage.provider.get_payment("pi_other")
    assert caught.value.kind is FailureKind.NOT_FOUND


async def test_a_company_of_one_word_gets_a_voucher(stage: Stage) -> None:
    _, snapshot = await issued(stage, customer_name="Acme")
    assert snapshot.status is PaymentStatus.PENDING


async def test_cash_cannot_be_refunded(stage: Stage) -> None:
    _, snapshot = await issued(stage)
    await stage.control(f"payments/{number_of(snapshot)}/pay")
    with pytest.raises(ProviderFailure) as caught:
        await stage.provider.refund(
            RefundDraft(
                refund_id="refund-1",
                provider_payment_id=snapshot.provider_payment_id,
                amount_minor=19_900,
                currency="MXN",
                reason="requested_by_customer",
                already_refunded_minor=0,
            )
        )
    assert caught.value.kind is FailureKind.UNSUPPORTED


async def test_what_stripe_cannot_do_is_a_typed_refusal(stage: Stage) -> None:
    card = await stage.payment_draft(Instrument.CARD)
    dollars = await stage.payment_draft(Instrument.OXXO, currency="USD")
    for draft in (card, dollars):
        with pytest.raises(ProviderFailure) as caught:
            await stage.provider.prepare_payment(draft)
        assert caught.value.kind is FailureKind.UNSUPPORTED


async def test_an_amount_below_the_minimum_is_rejected(stage: Stage) -> None:
    draft = await stage.payment_draft(Instrument.OXXO, amount_minor=500)
    with pytest.raises(ProviderFailure) as caught:
        await stage.provider.prepare_payment(draft)
    assert (caught.value.kind, caught.value.code) == (FailureKind.REJECTED, "amount_too_small")


async def test_a_voucher_can_be_refused(stage: Stage) -> None:
    draft = await stage.payment_draft(Instrument.OXXO)
    payment_id = await stage.provider.prepare_payment(draft)
    await stage.fault("payment_intents.confirm", "decline")
    with pytest.raises(ProviderFailure) as caught:
        await stage.provider.commit_payment(draft, payment_id)
    assert caught.value.kind is FailureKind.DECLINED
    assert caught.value.provider_object_id == payment_id
    found = await stage.provider.get_payment(payment_id)
    assert found.status is PaymentStatus.DECLINED
    assert found.decline is not None


async def test_unknown_references_are_not_found(stage: Stage) -> None:
    answer = await stage.http.post(f"{stage.url}/_control/payments/123/pay")
    assert answer.status_code == 404


async def test_expiry_is_read_in_utc(stage: Stage) -> None:
    _, snapshot = await issued(stage)
    assert snapshot.expires_at is not None
    assert snapshot.expires_at.tzinfo == UTC
    assert snapshot.expires_at > datetime.now(UTC)
