"""Pages of the provider's: one step, nothing to pay that nobody has seen, and the money found again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from models.outcomes import Redirect
from models.snapshots import PaymentStatus
from providers.capabilities import Capability
from providers.failures import FailureKind
from tests.providers.contract.bench import AMOUNT_MINOR, Bench
from tests.providers.contract.failing import failure_of

pytestmark = pytest.mark.needs(Capability.HOSTED_CHECKOUT)


async def test_a_page_waits_for_the_customer(bench: Bench) -> None:
    draft, page = await bench.page()
    assert page.status is PaymentStatus.PENDING
    assert page.attempt_id == draft.attempt_id
    assert (page.amount_minor, page.currency) == (draft.amount_minor, draft.currency)
    assert isinstance(page.next_action, Redirect)
    assert page.next_action.url.startswith("http")
    assert page.expires_at is not None
    assert page.expires_at > datetime.now(UTC)
    assert await bench.provider.get_payment(page.provider_payment_id) == page
    assert await bench.book("paid") == []


async def test_the_money_is_found_whichever_page_was_paid(bench: Bench) -> None:
    """A second page of one attempt may have been made; nobody saw the first, but if somebody had…"""
    draft, first = await bench.page()
    second = await bench.provider.create_checkout(draft, retry=True)
    await bench.pay(first)
    paid = await bench.provider.get_payment(second.provider_payment_id)
    assert paid.status is PaymentStatus.SUCCEEDED
    assert [capture.amount_minor for capture in paid.captures] == [AMOUNT_MINOR]
    assert paid.attempt_id == draft.attempt_id


async def test_a_card_that_is_refused_on_the_page_decides_nothing(bench: Bench) -> None:
    _, page = await bench.page()
    await bench.fault(bench.profile.page_operation or "", "decline")
    assert (await bench.pay(page))["status"] == "declined"
    found = await bench.provider.get_payment(page.provider_payment_id)
    assert found.status is PaymentStatus.PENDING
    assert found.captures == []


async def test_a_page_that_was_paid_is_not_canceled(bench: Bench) -> None:
    _, page = await bench.page()
    await bench.pay(page)
    told = await bench.provider.cancel_payment(page.provider_payment_id)
    assert told.status is PaymentStatus.SUCCEEDED
    assert await bench.refunds() == []


async def test_a_page_that_ran_out_is_over(bench: Bench) -> None:
    _, page = await bench.page()
    await bench.expire(page)
    for call in (bench.provider.get_payment, bench.provider.cancel_payment):
        found = await call(page.provider_payment_id)
        assert found.status is PaymentStatus.EXPIRED
        assert found.next_action is None


@pytest.mark.needs(Capability.CANCEL_CHECKOUT)
async def test_a_page_that_is_closed_takes_no_money(bench: Bench) -> None:
    _, page = await bench.page()
    for _ in range(2):
        closed = await bench.provider.cancel_payment(page.provider_payment_id)
        assert closed.status in {PaymentStatus.EXPIRED, PaymentStatus.CANCELED}
    await bench.pay(page)
    assert await bench.book("paid") == []


async def test_a_product_that_nobody_made_opens_no_page(bench: Bench) -> None:
    draft = bench.checkout_draft(await bench.customer(), "prod_unknown")
    failure = await failure_of(bench, bench.provider.create_checkout(draft))
    assert failure.kind in {FailureKind.NOT_FOUND, FailureKind.REJECTED}
