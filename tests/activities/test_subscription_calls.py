"""Calls about a subscription that runs at Stripe: safe to repeat, refused for good or asked again."""

from __future__ import annotations

import pytest
from temporalio.exceptions import ApplicationError

from activities.results import SubscriptionIds
from activities.signatures.attempts import OpenProviderSubscription
from activities.signatures.subscriptions import (
    ChangePaymentMethod,
    ResumeReference,
    SubscriptionReference,
)
from activities.subscription_calls import SubscriptionActivities
from models.outcomes import ConfirmPayment, ProviderName
from models.snapshots import ProviderInvoiceStatus
from models.storage.tables import new_id
from sandbox.faults import FaultMode
from tests.activities.running import run
from tests.activities.stage import Stage

STRIPE = ProviderName.STRIPE
MONTH_SECONDS = 31 * 86_400


def running(stage: Stage) -> SubscriptionActivities:
    return SubscriptionActivities(stage.books.sessions, stage.calls)


async def opened(stage: Stage) -> tuple[OpenProviderSubscription, SubscriptionReference]:
    request = await stage.opening()
    result = await run(stage.calls.open_provider_subscription, request)
    ids = SubscriptionIds.unpack(str(result.provider_object_id))
    return request, SubscriptionReference(
        provider=STRIPE,
        provider_customer_id=ids.provider_customer_id,
        provider_subscription_id=ids.provider_subscription_id,
    )


def resuming(reference: SubscriptionReference, *, new_period: bool) -> ResumeReference:
    return ResumeReference(**reference.model_dump(), new_period=new_period, resume_id=new_id())


@pytest.mark.parametrize("mode", [FaultMode.APPLIED_THEN_TIMEOUT, FaultMode.APPLIED_THEN_ERROR])
async def test_a_lost_answer_is_asked_for_again(stage: Stage, mode: FaultMode) -> None:
    _, reference = await opened(stage)
    calls = running(stage)
    stage.fault("stripe", "subscriptions.pause", mode, count=1)
    with pytest.raises(ApplicationError) as lost:
        await run(calls.pause_subscription, reference)
    assert not lost.value.non_retryable
    assert (await run(calls.pause_subscription, reference, attempt=2)).is_paused
    stage.core.clock.advance_to(stage.core.clock.now() + MONTH_SECONDS)
    await stage.core.settle_time()
    stage.fault("stripe", "subscriptions.resume", mode, count=1)
    request = resuming(reference, new_period=True)
    with pytest.raises(ApplicationError) as lost:
        await run(calls.resume_subscription, request)
    assert not lost.value.non_retryable
    found = await run(calls.resume_subscription, request, attempt=2)
    assert found.latest_invoice is not None
    assert found.latest_invoice.status is ProviderInvoiceStatus.OPEN
    action = found.latest_invoice.next_action
    assert isinstance(action, ConfirmPayment)
    assert action.client_secret == "", "no secret in a history"
    assert [c["status"] for c in stage.core.charges] == ["paid"], "nobody was charged by that"


async def test_another_card_of_the_same_provider_takes_over(stage: Stage) -> None:
    request, reference = await opened(stage)
    other = await stage.card("pm_card_mastercard")
    change = ChangePaymentMethod(
        **reference.model_dump(), terms=request.terms, payment_method_id=other
    )
    for attempt in (1, 2):
        await run(running(stage).change_payment_method, change, attempt=attempt)
    kept = stage.core.collection("stripe", "subscriptions")[reference.provider_subscription_id]
    method = await stage.method(other)
    assert kept["default_payment_method"] == method.provider_payment_method_id


async def test_a_card_that_is_kept_elsewhere_is_refused_for_good(stage: Stage) -> None:
    request, reference = await opened(stage)
    change = ChangePaymentMethod(
        **reference.model_dump(), terms=request.terms, payment_method_id=new_id()
    )
    with pytest.raises(ApplicationError, match="a card does not move") as refused:
        await run(running(stage).change_payment_method, change)
    assert refused.value.non_retryable


async def test_a_provider_without_a_key_is_waited_for(stage: Stage) -> None:

    _, reference = await opened(stage)
    keyless = SubscriptionActivities(stage.books.sessions, stage.without_providers())
    with pytest.raises(ApplicationError) as refused:
        await run(keyless.pause_subscription, reference)
    assert refused.value.type == "provider_not_configured"
