"""Money that goes back: all, part, once for one reference, and never more than came."""

from __future__ import annotations

import pytest

from models.outcomes import Instrument, OutcomeClass, ProviderName
from providers.capabilities import Capability
from providers.failures import FailureKind
from tests.providers.contract.bench import AMOUNT_MINOR, Bench, unknown_id
from tests.providers.contract.failing import failure_of
from tests.providers.contract.profiles import encoded

pytestmark = pytest.mark.needs(Capability.REFUND)


async def test_all_of_it(bench: Bench) -> None:
    paid = await bench.refundable()
    made = await bench.provider.refund(bench.refund_draft(paid.provider_payment_id))
    assert (made.provider, made.amount_minor, made.currency) == (
        bench.name,
        AMOUNT_MINOR,
        bench.profile.currency,
    )
    assert made.status in {"pending", "succeeded"}
    after = await bench.provider.get_payment(paid.provider_payment_id)
    assert after.amount_refunded_minor == AMOUNT_MINOR
    assert after.captures == paid.captures
    assert await bench.refunds() == [AMOUNT_MINOR]


async def test_part_of_it_and_then_the_rest(bench: Bench) -> None:
    paid = await bench.refundable()
    payment_id = paid.provider_payment_id
    for amount_minor, before in ((5_000, 0), (AMOUNT_MINOR - 5_000, 5_000)):
        draft = bench.refund_draft(
            payment_id, amount_minor=amount_minor, already_refunded_minor=before
        )
        made = await bench.provider.refund(draft)
        assert made.amount_minor == amount_minor
        after = await bench.provider.get_payment(payment_id)
        assert after.amount_refunded_minor == before + amount_minor
    assert await bench.refunds() == [5_000, AMOUNT_MINOR - 5_000]


async def test_asked_for_again_it_is_the_same_refund(bench: Bench) -> None:
    paid = await bench.refundable()
    draft = bench.refund_draft(paid.provider_payment_id, amount_minor=5_000)
    first = await bench.provider.refund(draft)
    again = await bench.adapter().refund(draft)
    assert again.provider_refund_id == first.provider_refund_id
    assert again.amount_minor == first.amount_minor
    assert await bench.refunds() == [5_000]


@pytest.mark.parametrize("before", [0, 5_000])
async def test_more_than_is_left_is_refused(bench: Bench, before: int) -> None:
    paid = await bench.refundable()
    payment_id = paid.provider_payment_id
    if before:
        await bench.provider.refund(bench.refund_draft(payment_id, amount_minor=before))
    draft = bench.refund_draft(
        payment_id, amount_minor=AMOUNT_MINOR - before + 1, already_refunded_minor=before
    )
    failure = await failure_of(bench, bench.provider.refund(draft))
    assert failure.kind is FailureKind.REJECTED
    assert failure.outcome is OutcomeClass.NOT_ATTEMPTED
    assert await bench.refunds() == ([before] if before else [])


async def test_what_nobody_paid_is_not_paid_back(bench: Bench) -> None:
    opened = await bench.unpaid()
    draft = bench.refund_draft(opened.provider_payment_id)
    failure = await failure_of(bench, bench.provider.refund(draft))
    assert failure.kind is FailureKind.REJECTED
    assert await bench.refunds() == []


async def test_a_payment_that_nobody_made_is_not_found(bench: Bench) -> None:
    draft = bench.refund_draft(unknown_id("pi"))
    failure = await failure_of(bench, bench.provider.refund(draft))
    assert failure.kind is FailureKind.NOT_FOUND


@pytest.mark.needs(Capability.RETRY_INVOICE)
async def test_an_invoice_is_paid_back_by_its_own_id(bench: Bench) -> None:
    """The engine knows a period's money by the invoice."""
    invoice = (await bench.subscribed()).latest_invoice
    assert invoice is not None
    made = await bench.provider.refund(bench.refund_draft(invoice.provider_invoice_id))
    assert made.amount_minor == AMOUNT_MINOR
    read = await bench.provider.get_invoice(invoice.provider_invoice_id)
    assert read.amount_refunded_minor == AMOUNT_MINOR


@pytest.mark.needs(Capability.CASH_REFUND)
async def test_cash_is_paid_back(bench: Bench) -> None:
    _, slip = await bench.issued(Instrument.OXXO)
    await bench.pay(slip)
    await bench.provider.refund(bench.refund_draft(slip.provider_payment_id))
    assert await bench.refunds() == [AMOUNT_MINOR]


async def test_a_refund_can_be_read_until_it_fails(bench: Bench) -> None:
    """Days after it was called done the bank may send the money back: then it is ours again."""
    paid = await bench.refundable()
    made = await bench.provider.refund(bench.refund_draft(paid.provider_payment_id))
    ids = (paid.provider_payment_id, made.provider_refund_id)
    assert (await bench.provider.get_refund(*ids)).status == "succeeded"
    failure = await failure_of(bench, bench.provider.get_refund(ids[0], unknown_id("re")))
    assert failure.kind in {FailureKind.NOT_FOUND, FailureKind.REJECTED}
    if bench.name is ProviderName.CONEKTA:
        return  # It documents no refund that fails after it was made.
    await bench.control(f"refunds/{made.provider_refund_id}/fail")
    found = await bench.provider.get_refund(*ids)
    assert (found.status, found.amount_minor) == ("failed", AMOUNT_MINOR)
    after = await bench.provider.get_payment(paid.provider_payment_id)
    assert (after.amount_refunded_minor, after.captures) == (0, paid.captures)
    scheme = bench.profile.schemes[0]
    reader = bench.adapter({scheme.setting: scheme.configured(["new"])})
    told = set()
    for number, body in enumerate(bench.events()):
        raw = encoded(body)
        event = reader.parse_webhook(raw, scheme.sign(raw, "new", f"evt_{number}", 0))
        if event.failed_refund is not None and event.money_back:
            told.add(event.failed_refund.provider_refund_id)
    assert told == {made.provider_refund_id}
