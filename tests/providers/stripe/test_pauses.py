"""Stripe's pause in detail; what every provider promises of one is in the contract."""

from __future__ import annotations

import pytest

from models.snapshots import ProviderInvoiceStatus
from models.snapshots import ProviderSubscriptionStatus as Status
from providers.failures import FailureKind, ProviderFailure
from tests.providers.stripe.conftest import Stage


async def test_a_paused_one_looks_paused_and_gives_nothing_back(stage: Stage) -> None:
    _, prepared = await stage.subscribed()
    found = await stage.provider.pause_subscription("", prepared.provider_subscription_id)
    assert (found.status, found.is_paused, found.cancel_at_period_end) == (
        Status.PAUSED,
        True,
        False,
    )
    assert stage.events("customer.subscription.paused")
    assert [c["status"] for c in await stage.charges()] == ["paid"], "no refund, no credit"


async def test_a_new_period_is_paid_in_a_step_of_its_own(stage: Stage) -> None:
    _, prepared = await stage.subscribed()
    id_ = prepared.provider_subscription_id
    await stage.provider.pause_subscription("", id_)
    await stage.advance(days=40)
    for _ in range(2):
        found = await stage.provider.resume_subscription("", id_, new_period=True, resume_id="r-1")
        assert found.is_paused, "until there is a payment, or an attempt at one"
        assert found.latest_invoice is not None
        assert found.latest_invoice.status is ProviderInvoiceStatus.OPEN
    assert len(await stage.charges()) == 1
    assert found.latest_invoice is not None
    paid = await stage.provider.retry_invoice(
        found.latest_invoice.provider_invoice_id,
        attempt_id="attempt-r",
        provider_payment_method_id=None,
    )
    assert paid.status is ProviderInvoiceStatus.PAID
    found = await stage.provider.get_subscription("", id_)
    assert (found.status, found.is_paused) == (Status.ACTIVE, False)
    assert stage.events("customer.subscription.resumed")


async def test_a_card_that_is_refused_ends_the_pause_as_past_due(stage: Stage) -> None:
    draft, prepared = await stage.subscribed()
    id_ = prepared.provider_subscription_id
    await stage.provider.pause_subscription("", id_)
    await stage.advance(days=40)
    found = await stage.provider.resume_subscription("", id_, new_period=True, resume_id="r-1")
    assert found.latest_invoice is not None
    bad = await stage.card(draft.provider_customer_id, "pm_card_chargeCustomerFail")
    with pytest.raises(ProviderFailure) as caught:
        await stage.provider.retry_invoice(
            found.latest_invoice.provider_invoice_id,
            attempt_id="attempt-r",
            provider_payment_method_id=bad,
        )
    assert caught.value.kind is FailureKind.DECLINED
    assert (await stage.provider.get_subscription("", id_)).status is Status.PAST_DUE


async def test_a_resumption_that_nobody_pays_is_void_after_a_day(stage: Stage) -> None:
    _, prepared = await stage.subscribed()
    id_ = prepared.provider_subscription_id
    await stage.provider.pause_subscription("", id_)
    await stage.advance(days=40)
    await stage.provider.resume_subscription("", id_, new_period=True, resume_id="r-1")
    await stage.advance(days=1)
    found = await stage.provider.get_subscription("", id_)
    assert found.is_paused
    assert found.latest_invoice is not None
    assert found.latest_invoice.status is ProviderInvoiceStatus.VOID


async def test_what_is_unpaid_is_not_paused(stage: Stage) -> None:
    _, prepared = await stage.subscribed()
    id_ = prepared.provider_subscription_id
    await stage.control(f"subscriptions/stripe/{id_}/renew", {"outcome": "failed"})
    with pytest.raises(ProviderFailure) as caught:
        await stage.provider.pause_subscription("", id_)
    assert caught.value.kind is FailureKind.REJECTED


async def test_what_is_over_is_told_and_not_refused(stage: Stage) -> None:
    _, prepared = await stage.subscribed()
    id_ = prepared.provider_subscription_id
    await stage.provider.cancel_subscription("", id_, at_period_end=False)
    assert (await stage.provider.pause_subscription("", id_)).status is Status.CANCELED
    found = await stage.provider.resume_subscription("", id_, new_period=True, resume_id="r-1")
    assert found.status is Status.CANCELED
