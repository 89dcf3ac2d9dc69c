"""A CLABE stays the customer's: what comes when no slip is out is a payment as soon as it is looked for."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from models.events import EventKind
from models.reconcile import Listing
from models.snapshots import PaymentSnapshot, PaymentStatus
from providers.drafts import PaymentDraft, RefundDraft
from providers.failures import ProviderFailure
from tests.providers.stripe.conftest import Stage
from tests.providers.stripe.test_lists import listed
from tests.providers.stripe.test_transfers import asked, total, transfer_of
from tests.providers.stripe.test_webhooks import parsed

FULL = 19_900


async def closed(stage: Stage, **changes: object) -> tuple[PaymentDraft, str, str]:
    """A transfer that was canceled before anything came; its id, and the CLABE."""
    draft, snapshot = await asked(stage, **changes)
    canceled = await stage.provider.cancel_payment(snapshot.provider_payment_id)
    assert (canceled.status, canceled.captures) == (PaymentStatus.CANCELED, [])
    return draft, snapshot.provider_payment_id, transfer_of(snapshot).clabe


async def send(stage: Stage, clabe: str, amount_minor: int) -> None:
    await stage.control(f"payments/{clabe}/pay", {"amount_minor": amount_minor})


async def amounts(stage: Stage, payment_id: str) -> list[int]:
    """Read twice: looking again neither takes nor counts anything again."""
    found = [await stage.provider.get_payment(payment_id) for _ in range(2)]
    assert found[0] == found[1]
    return [capture.amount_minor for capture in found[0].captures]


async def give_back(stage: Stage, paid: PaymentSnapshot, number: int, amount_minor: int) -> None:
    draft = RefundDraft(
        refund_id=stage.next_id("refund"),
        provider_payment_id=paid.provider_payment_id,
        provider_charge_id=paid.captures[number].provider_charge_id,
        amount_minor=amount_minor,
        currency="MXN",
        reason="requested_by_customer",
        already_refunded_minor=0,
    )
    await stage.provider.refund(draft)


async def held(stage: Stage) -> int:
    """What lies in cash balances, in nobody's book."""
    return sum(c["amount_minor"] for c in await stage.charges() if c["status"] == "pending")


async def test_what_comes_after_the_end_is_a_payment_of_the_canceled_transfer(
    stage: Stage,
) -> None:
    _, payment_id, clabe = await closed(stage)
    await stage.advance(days=40)
    await send(stage, clabe, FULL)
    assert await held(stage) == FULL
    assert await amounts(stage, payment_id) == [FULL]
    await send(stage, clabe, 100)
    assert await amounts(stage, payment_id) == [FULL, 100]
    assert await held(stage) == 0


async def test_only_money_from_the_bank_is_told_of_by_its_customer(stage: Stage) -> None:
    draft, snapshot = await asked(stage)
    await send(stage, transfer_of(snapshot).clabe, FULL)
    told = parsed(stage, "customer_cash_balance_transaction.created")
    assert [event.kind for event in told] == [EventKind.LOOK, EventKind.IGNORED]
    assert told[0].provider_customer_id == draft.provider_customer_id
    assert told[0].provider_payment_id is None


async def test_between_two_slips_it_belongs_to_the_one_before_and_pays_no_later_one(
    stage: Stage,
) -> None:
    draft, before, clabe = await closed(stage)
    await send(stage, clabe, 5_000)
    assert await amounts(stage, before) == [5_000]
    _, following = await asked(stage, provider_customer_id=draft.provider_customer_id)
    assert transfer_of(following).amount_minor == FULL
    await send(stage, clabe, FULL)
    assert await amounts(stage, following.provider_payment_id) == [FULL]
    assert await amounts(stage, before) == [5_000]


async def test_a_slip_that_is_out_first_takes_what_nobody_looked_for(stage: Stage) -> None:
    draft, before, clabe = await closed(stage)
    await send(stage, clabe, 5_000)
    _, following = await asked(stage, provider_customer_id=draft.provider_customer_id)
    assert await amounts(stage, before) == []
    assert await amounts(stage, following.provider_payment_id) == [5_000]


async def test_the_latest_of_several_closed_transfers_has_it(stage: Stage) -> None:
    draft, first, clabe = await closed(stage)
    _, second, _ = await closed(stage, provider_customer_id=draft.provider_customer_id)
    # Prepared, and never shown to the customer.
    await stage.provider.prepare_payment(
        await stage.payment_draft(draft.instrument, provider_customer_id=draft.provider_customer_id)
    )
    await send(stage, clabe, 700)
    assert await amounts(stage, first) == []
    assert await amounts(stage, second) == [700]


async def test_an_older_transfer_has_what_it_left_itself(stage: Stage) -> None:
    draft, older = await asked(stage)
    clabe = transfer_of(older).clabe
    await closed(stage, provider_customer_id=draft.provider_customer_id)
    await send(stage, clabe, 5_000)
    canceled = await stage.provider.cancel_payment(older.provider_payment_id)
    assert total(canceled) == 5_000


@pytest.mark.parametrize("mode", ["applied_then_timeout", "applied_then_error"])
@pytest.mark.parametrize(
    "operation", ["payment_intents.create", "payment_intents.confirm", "payment_intents.list"]
)
async def test_a_lost_answer_neither_loses_nor_doubles_it(
    stage: Stage, operation: str, mode: str
) -> None:
    """Also when more money comes before it is asked again."""
    impatient = stage.new_provider(timeout_seconds=1.0)
    for more in (0, 300):
        _, payment_id, clabe = await closed(stage)
        await send(stage, clabe, 1_200)
        await stage.fault(operation, mode)
        with pytest.raises(ProviderFailure):
            await impatient.get_payment(payment_id)
        if more:
            await send(stage, clabe, more)
        assert sum(await amounts(stage, payment_id)) == 1_200 + more
        assert await held(stage) == 0


async def test_two_that_look_at_once_take_it_once(stage: Stage) -> None:
    _, payment_id, clabe = await closed(stage)
    await send(stage, clabe, 900)
    await asyncio.gather(
        *(stage.new_provider().get_payment(payment_id) for _ in range(3)), return_exceptions=True
    )
    assert await amounts(stage, payment_id) == [900]


async def test_what_was_given_back_is_never_taken_again(stage: Stage) -> None:
    """The refund lies in the same balance, alone and beside new money; also when a slip took it meanwhile."""
    draft, payment_id, clabe = await closed(stage)
    await send(stage, clabe, 1_000)
    paid = await stage.provider.get_payment(payment_id)
    await give_back(stage, paid, 0, 1_000)
    assert await amounts(stage, payment_id) == [1_000]
    assert await held(stage) == 1_000

    await send(stage, clabe, 250)
    assert await amounts(stage, payment_id) == [1_000, 250]
    assert await held(stage) == 1_000

    _, later = await asked(stage, provider_customer_id=draft.provider_customer_id)
    assert transfer_of(later).amount_minor == FULL - 1_000
    canceled = await stage.provider.cancel_payment(later.provider_payment_id)
    assert canceled.captures == []
    assert await held(stage) == 1_000


async def test_reconciliation_finds_it_at_a_transfer_of_long_ago(stage: Stage) -> None:
    draft, payment_id, clabe = await closed(stage)
    await asked(stage)
    await stage.advance(days=200)
    await send(stage, clabe, FULL)
    assert await listed(stage, Listing.PAYMENTS) == []
    [found] = await listed(stage, Listing.TRANSFERS_RECEIVED)
    assert (found.object_id, found.event.attempt_id) == (payment_id, draft.attempt_id)
    assert found.event.payment is not None
    assert total(found.event.payment) == FULL
    assert [found] == await listed(stage, Listing.TRANSFERS_RECEIVED)
    await stage.advance(days=31)
    assert await listed(stage, Listing.TRANSFERS_RECEIVED, since=-timedelta(days=60)) == []
