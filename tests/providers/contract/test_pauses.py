"""Pauses at the provider: nothing is billed while one lasts, and at most one new period when it ends."""

from __future__ import annotations

import pytest

from models.snapshots import (
    ProviderInvoiceStatus,
    ProviderSubscriptionStatus,
    SubscriptionSnapshot,
)
from providers.capabilities import Capability
from providers.failures import FailureKind
from tests.providers.contract.bench import Bench
from tests.providers.contract.failing import failure_of
from tests.providers.contract.needs import needs

pytestmark = needs(Capability.PAUSE)
LOST = ["applied_then_error", "applied_then_timeout"]


async def pause(bench: Bench, running: SubscriptionSnapshot) -> SubscriptionSnapshot:
    return await bench.provider.pause_subscription(
        running.provider_customer_id, running.provider_subscription_id
    )


async def resume(
    bench: Bench, running: SubscriptionSnapshot, *, new_period: bool, resume_id: str = "resume-1"
) -> SubscriptionSnapshot:
    return await bench.provider.resume_subscription(
        running.provider_customer_id,
        running.provider_subscription_id,
        new_period=new_period,
        resume_id=resume_id,
    )


async def test_nothing_is_billed_while_it_is_paused(bench: Bench) -> None:
    running = await bench.subscribed()
    assert not running.is_paused
    for _ in range(2):
        found = await pause(bench, running)
        assert found.is_paused
        assert found.current_period_end == running.current_period_end
    await bench.advance(days=95)
    assert len(await bench.book("paid", "pending")) == 1
    assert (await pause(bench, running)).is_paused


async def test_within_its_period_it_goes_on_as_if_nothing_had_been(bench: Bench) -> None:
    running = await bench.subscribed()
    await pause(bench, running)
    await bench.advance(days=9)
    for _ in range(2):
        assert await resume(bench, running, new_period=False) == running
    assert len(await bench.book("paid", "pending")) == 1
    await bench.advance(days=24)
    assert len(await bench.book("paid")) == 2, "it renews when it would have"


async def test_after_its_period_one_new_one_is_billed_from_now_on(bench: Bench) -> None:
    running = await bench.subscribed()
    await pause(bench, running)
    await bench.advance(days=95)
    first = await resume(bench, running, new_period=True)
    again = await resume(bench, running, new_period=True)
    new, repeated = first.latest_invoice, again.latest_invoice
    assert new is not None
    assert repeated is not None
    assert new.provider_invoice_id == repeated.provider_invoice_id
    assert not new.first
    assert new.period_start > running.current_period_end
    if new.status is ProviderInvoiceStatus.OPEN:
        assert new.attempt_count == 0, "it waits for us"
        new = await bench.provider.retry_invoice(
            new.provider_invoice_id, attempt_id=bench.new_id(), provider_payment_method_id=None
        )
    assert new.status is ProviderInvoiceStatus.PAID
    assert len(await bench.book("paid")) == 2
    found = await bench.provider.get_subscription(
        running.provider_customer_id, running.provider_subscription_id
    )
    assert not found.is_paused
    assert found.current_period_end == new.period_end
    await bench.advance(days=32)
    assert len(await bench.book("paid")) == 3


@pytest.mark.parametrize("mode", LOST)
async def test_a_lost_answer_can_be_asked_for_again(bench: Bench, mode: str) -> None:
    running = await bench.subscribed()
    hasty = await bench.hasty_adapter()
    ids = (running.provider_customer_id, running.provider_subscription_id)
    await bench.fault(bench.profile.operations["pause_subscription"].name, mode)
    failure = await failure_of(bench, hasty.pause_subscription(*ids))
    assert failure.kind is FailureKind.UNKNOWN
    assert (await pause(bench, running)).is_paused
    await bench.advance(days=95)
    await bench.fault(bench.profile.operations["resume_subscription"].name, mode)
    failure = await failure_of(
        bench, hasty.resume_subscription(*ids, new_period=True, resume_id="resume-1")
    )
    assert failure.kind is FailureKind.UNKNOWN
    found = await resume(bench, running, new_period=True)
    assert found.latest_invoice is not None
    assert found.latest_invoice.period_start > running.current_period_end
    assert len(await bench.book("paid")) <= 2


async def test_what_is_over_stays_over(bench: Bench) -> None:
    running = await bench.subscribed()
    ids = (running.provider_customer_id, running.provider_subscription_id)
    await pause(bench, running)
    await bench.provider.cancel_subscription(*ids, at_period_end=False)
    await bench.advance(days=95)
    assert len(await bench.book("paid", "pending")) == 1


async def test_what_nobody_paid_is_stopped_and_owes_no_period_that_follows(bench: Bench) -> None:
    """Unpaid, and asked for twice. Whoever can be collected there pays the one invoice and goes on from the
    period that runs; whoever cannot is never resumed, so that nothing missed is billed."""
    running, unpaid = await bench.unpaid_renewal()
    ids = (running.provider_customer_id, running.provider_subscription_id)
    for _ in range(2):
        found = await bench.provider.pause_subscription(*ids, unpaid=True)
        assert found.is_paused
    await bench.advance(days=95)
    assert len(await bench.book("paid")) == 1, "only what was paid before"
    found = await bench.provider.get_subscription(*ids)
    assert found.is_paused
    assert found.latest_invoice is not None
    assert found.latest_invoice.provider_invoice_id == unpaid.provider_invoice_id
    if not found.is_collectable:
        ended = await bench.provider.cancel_subscription(*ids, at_period_end=False)
        assert ended.status is ProviderSubscriptionStatus.CANCELED
        await bench.advance(days=95)
        assert len(await bench.book("paid")) == 1
        return
    better = await bench.card(running.provider_customer_id)
    paid = await bench.provider.retry_invoice(
        unpaid.provider_invoice_id, attempt_id=bench.new_id(), provider_payment_method_id=better
    )
    assert paid.status is ProviderInvoiceStatus.PAID
    for _ in range(2):
        found = await resume(bench, running, new_period=False)
        assert (found.status, found.is_paused) == (ProviderSubscriptionStatus.ACTIVE, False)
    assert found.current_period_start > unpaid.period_end, "the periods between are nobody's"
    assert len(await bench.book("paid")) == 2
    await bench.advance(days=32)
    assert len(await bench.book("paid")) == 3
