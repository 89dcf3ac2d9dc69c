"""SPEI: one CLABE per customer, money in portions, and a balance that keeps what nobody asked for."""

from __future__ import annotations

import pytest

from models.outcomes import Instrument, PayTransfer
from models.snapshots import PaymentSnapshot, PaymentStatus
from providers.drafts import PaymentDraft, RefundDraft
from providers.failures import FailureKind, ProviderFailure
from tests.providers.stripe.conftest import Stage


async def asked(stage: Stage, **changes: object) -> tuple[PaymentDraft, PaymentSnapshot]:
    draft = await stage.payment_draft(Instrument.SPEI, **changes)
    payment_id = await stage.provider.prepare_payment(draft)
    return draft, await stage.provider.commit_payment(draft, payment_id)


def transfer_of(snapshot: PaymentSnapshot) -> PayTransfer:
    assert isinstance(snapshot.next_action, PayTransfer)
    return snapshot.next_action


def total(snapshot: PaymentSnapshot) -> int:
    return sum(capture.amount_minor for capture in snapshot.captures)


async def test_a_transfer_has_a_clabe_and_our_own_deadline(stage: Stage) -> None:
    draft, snapshot = await asked(stage)
    assert snapshot.status is PaymentStatus.PENDING
    transfer = transfer_of(snapshot)
    assert len(transfer.clabe) == 18
    assert transfer.bank
    assert transfer.amount_minor == 19_900
    assert transfer.expires_at == draft.expires_at == snapshot.expires_at
    assert await stage.provider.get_payment(snapshot.provider_payment_id) == snapshot
    [charge] = await stage.charges()
    assert (charge["status"], charge["reference"]) == ("pending", transfer.clabe)


async def test_the_clabe_stays_with_the_customer(stage: Stage) -> None:
    draft, first = await asked(stage)
    await stage.control(f"payments/{transfer_of(first).clabe}/pay")
    _, second = await asked(stage, provider_customer_id=draft.provider_customer_id)
    assert transfer_of(second).clabe == transfer_of(first).clabe


async def test_the_whole_amount_settles_it(stage: Stage) -> None:
    _, snapshot = await asked(stage)
    await stage.control(f"payments/{transfer_of(snapshot).clabe}/pay")
    paid = await stage.provider.get_payment(snapshot.provider_payment_id)
    assert paid.status is PaymentStatus.SUCCEEDED
    assert total(paid) == 19_900
    assert [(c["status"], c["amount_minor"]) for c in await stage.charges()] == [("paid", 19_900)]


async def test_portions_are_counted_once_each(stage: Stage) -> None:
    _, snapshot = await asked(stage)
    clabe = transfer_of(snapshot).clabe

    await stage.control(f"payments/{clabe}/pay", {"amount_minor": 5_000})

    partly = await stage.provider.get_payment(snapshot.provider_payment_id)
    assert partly.status is PaymentStatus.PENDING
    assert transfer_of(partly).amount_minor == 14_900
    assert [capture.amount_minor for capture in partly.captures] == [5_000]
    assert len(stage.events("payment_intent.partially_funded")) == 1

    await stage.control(f"payments/{clabe}/pay")

    paid = await stage.provider.get_payment(snapshot.provider_payment_id)
    assert paid.status is PaymentStatus.SUCCEEDED
    assert [capture.amount_minor for capture in paid.captures] == [5_000, 14_900]
    assert paid.captures[0] == partly.captures[0]
    booked = [c["amount_minor"] for c in await stage.charges() if c["status"] == "paid"]
    assert sorted(booked) == [5_000, 14_900]


async def test_too_much_becomes_a_payment_of_its_own_as_soon_as_it_is_read(stage: Stage) -> None:
    """To the centavo, and once; what is then given back stays the customer's."""
    draft, snapshot = await asked(stage)
    payment_id = snapshot.provider_payment_id
    await stage.control(f"payments/{transfer_of(snapshot).clabe}/pay", {"amount_minor": 30_001})
    for _ in range(2):
        paid = await stage.provider.get_payment(payment_id)
        assert paid.status is PaymentStatus.SUCCEEDED
        assert [capture.amount_minor for capture in paid.captures] == [19_900, 10_101]
    charges = await stage.charges()
    assert sorted(c["amount_minor"] for c in charges if c["status"] == "paid") == [10_101, 19_900]
    assert not [c for c in charges if c["status"] == "pending"], "nothing is in nobody's book"

    await stage.provider.refund(
        RefundDraft(
            refund_id="refund-3",
            provider_payment_id=payment_id,
            provider_charge_id=paid.captures[1].provider_charge_id,
            amount_minor=10_101,
            currency="MXN",
            reason="requested_by_customer",
            already_refunded_minor=0,
        )
    )
    found = await stage.provider.get_payment(payment_id)
    assert (found.captures, found.amount_refunded_minor) == (paid.captures, 10_101)
    # Stripe keeps it in the customer's cash balance, where it pays the next CLABE.
    _, following = await asked(stage, provider_customer_id=draft.provider_customer_id)
    assert transfer_of(following).amount_minor == 19_900 - 10_101


async def test_what_another_transfer_waits_for_is_no_surplus(stage: Stage) -> None:
    draft, first = await asked(stage)
    owner = draft.provider_customer_id
    _, second = await asked(stage, provider_customer_id=owner)
    clabe = transfer_of(first).clabe
    await stage.control(f"payments/{clabe}/pay", {"amount_minor": 30_000})
    paid = await stage.provider.get_payment(first.provider_payment_id)
    waits = await stage.provider.get_payment(second.provider_payment_id)
    assert (total(paid), total(waits)) == (19_900, 10_100)
    await stage.control(f"payments/{clabe}/pay", {"amount_minor": 10_000})
    assert total(await stage.provider.get_payment(first.provider_payment_id)) == 19_900
    assert total(await stage.provider.get_payment(second.provider_payment_id)) == 20_100


@pytest.mark.parametrize("mode", ["applied_then_timeout", "applied_then_error"])
@pytest.mark.parametrize("operation", ["payment_intents.create", "payment_intents.confirm"])
async def test_a_lost_answer_takes_too_much_once(stage: Stage, operation: str, mode: str) -> None:
    _, snapshot = await asked(stage)
    await stage.control(f"payments/{transfer_of(snapshot).clabe}/pay", {"amount_minor": 30_000})
    await stage.control(
        "faults", {"provider": "stripe", "operation": operation, "mode": mode, "count": 1}
    )
    with pytest.raises(ProviderFailure):
        await stage.new_provider(timeout_seconds=1.0).get_payment(snapshot.provider_payment_id)
    paid = await stage.provider.get_payment(snapshot.provider_payment_id)
    assert [capture.amount_minor for capture in paid.captures] == [19_900, 10_100]


async def test_what_a_canceled_transfer_had_becomes_a_payment_of_its_own(stage: Stage) -> None:
    """Stripe gives it back to the balance, where nobody sees it and any other transfer could take it."""
    draft, snapshot = await asked(stage)
    payment_id = snapshot.provider_payment_id
    await stage.control(f"payments/{transfer_of(snapshot).clabe}/pay", {"amount_minor": 5_000})
    canceled = await stage.provider.cancel_payment(payment_id)
    again = await stage.provider.cancel_payment(payment_id)
    assert canceled == again == await stage.provider.get_payment(payment_id)
    assert canceled.status is PaymentStatus.CANCELED
    assert (total(canceled), canceled.amount_refunded_minor) == (5_000, 0)
    charges = [c for c in await stage.charges() if c["status"] in {"paid", "succeeded"}]
    assert sum(c["amount_minor"] * (1 if c["kind"] == "charge" else -1) for c in charges) == 5_000
    assert not [c for c in await stage.charges() if c["status"] == "pending"]

    _, following = await asked(stage, provider_customer_id=draft.provider_customer_id)
    assert transfer_of(following).amount_minor == 19_900, "no other transfer takes it"
    await stage.provider.refund(
        RefundDraft(
            refund_id="refund-2",
            provider_payment_id=payment_id,
            provider_charge_id=canceled.captures[0].provider_charge_id,
            amount_minor=2_000,
            currency="MXN",
            reason="requested_by_customer",
            already_refunded_minor=0,
        )
    )
    found = await stage.provider.get_payment(payment_id)
    assert (total(found), found.amount_refunded_minor) == (5_000, 2_000)


@pytest.mark.parametrize("mode", ["applied_then_timeout", "applied_then_error"])
@pytest.mark.parametrize("operation", ["payment_intents.create", "payment_intents.confirm"])
async def test_a_lost_answer_sweeps_once(stage: Stage, operation: str, mode: str) -> None:
    _, snapshot = await asked(stage)
    await stage.control(f"payments/{transfer_of(snapshot).clabe}/pay", {"amount_minor": 5_000})
    await stage.control(
        "faults", {"provider": "stripe", "operation": operation, "mode": mode, "count": 1}
    )
    with pytest.raises(ProviderFailure) as lost:
        await stage.new_provider(timeout_seconds=1.0).cancel_payment(snapshot.provider_payment_id)
    assert lost.value.kind is FailureKind.UNKNOWN
    canceled = await stage.provider.cancel_payment(snapshot.provider_payment_id)
    assert (canceled.status, total(canceled)) == (PaymentStatus.CANCELED, 5_000)


async def test_a_clabe_never_expires_at_stripe(stage: Stage) -> None:
    _, snapshot = await asked(stage)
    await stage.control(f"payments/{transfer_of(snapshot).clabe}/expire")
    await stage.advance(days=40)
    assert await stage.provider.get_payment(snapshot.provider_payment_id) == snapshot


async def test_a_transfer_can_be_refunded(stage: Stage) -> None:
    _, snapshot = await asked(stage)
    await stage.control(f"payments/{transfer_of(snapshot).clabe}/pay")
    made = await stage.provider.refund(
        RefundDraft(
            refund_id="refund-1",
            provider_payment_id=snapshot.provider_payment_id,
            amount_minor=900,
            currency="MXN",
            reason="requested_by_customer",
            already_refunded_minor=0,
        )
    )
    assert made.provider_payment_id == snapshot.provider_payment_id
    found = await stage.provider.get_payment(snapshot.provider_payment_id)
    assert found.amount_refunded_minor == 900
    assert total(found) == 19_900
