"""Stored once, one default, and nothing that is tried for ever."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import update
from temporalio.exceptions import ApplicationError

from activities.payment_methods import PaymentMethodActivities
from models.commands import DetachPaymentMethodInput
from models.outcomes import ProviderName
from models.storage.tables import PaymentMethod
from providers.registry import ProviderRegistry
from sandbox.faults import FaultMode
from tests.activities.running import run
from tests.activities.stage import Stage


async def attached_token(stage: Stage) -> tuple[PaymentMethod, str]:
    """A stored card, and the provider's id of it: a token that can be handed over again."""
    method = await stage.method(await stage.card("pm_card_visa"))
    assert method.provider_payment_method_id is not None
    return method, method.provider_payment_method_id


async def test_the_same_token_twice_is_stored_once(stage: Stage) -> None:
    first, token = await attached_token(stage)
    again = await stage.waiting_method(token, set_as_default=True)
    result = await run(stage.methods.add_payment_method, again)

    assert (result.status, result.failure_code) == ("failed", "already_stored")
    row = await stage.method(again.payment_method_id)
    assert (row.status, row.failure_code, row.setup_token) == ("failed", "already_stored", None)
    assert not row.is_default
    kept = await stage.method(first.id)
    assert (kept.status, kept.is_default) == ("active", True)
    repeated = await run(stage.methods.add_payment_method, again, attempt=2)
    assert (repeated.status, repeated.failure_code) == ("failed", "already_stored")


async def test_the_same_token_twice_at_once_is_stored_once(stage: Stage) -> None:
    first, token = await attached_token(stage)
    async with stage.books.sessions.begin() as session:  # As if its own answer was still under way.
        await session.execute(
            update(PaymentMethod)
            .where(PaymentMethod.id == first.id)
            .values(status="pending", setup_token=token, provider_payment_method_id=None)
        )
    waiting = [await stage.waiting_method(token) for _ in range(3)]
    results = await asyncio.gather(
        *(run(stage.methods.add_payment_method, each) for each in waiting)
    )
    assert sorted(result.status for result in results) == ["active", "failed", "failed"]


async def test_two_first_cards_at_once_make_one_default(stage: Stage) -> None:
    waiting = [await stage.waiting_method("pm_card_visa") for _ in range(3)]
    await asyncio.gather(*(run(stage.methods.add_payment_method, each) for each in waiting))
    rows = [await stage.method(each.payment_method_id) for each in waiting]
    assert [row.status for row in rows] == ["active"] * 3
    assert [row.is_default for row in rows].count(True) == 1


async def test_a_card_that_failed_is_nobodys_default(stage: Stage) -> None:
    """It must not keep the next one from being the first."""
    refused = await stage.waiting_method("pm_nonsense", set_as_default=True)
    assert (await run(stage.methods.add_payment_method, refused)).status == "failed"
    good = await stage.method(await stage.card("pm_card_visa"))
    assert good.is_default


def detaching(method: PaymentMethod) -> DetachPaymentMethodInput:
    return DetachPaymentMethodInput(
        payment_method_id=method.id,
        application_id=method.application_id,
        organization_id=method.organization_id,
        provider=ProviderName(method.provider),
    )


async def test_a_provider_that_cannot_move_a_subscription_keeps_its_card(stage: Stage) -> None:
    """Conekta, asked to charge the default instead: a typed refusal, so that nothing is detached."""
    old, _ = await attached_token(stage)
    new = await stage.method(await stage.card("pm_card_visa"))
    async with stage.books.sessions.begin() as session:
        for id_, default in ((old.id, False), (new.id, True)):
            await session.execute(
                update(PaymentMethod)
                .where(PaymentMethod.id == id_)
                .values(provider="conekta", is_default=default)
            )
        row = await session.merge(await stage.books.subscription())
        row.status, row.payment_method_id = "active", old.id
        row.provider_customer_id, row.provider_subscription_id = "cus_1", "sub_1"
    result = await run(stage.methods.release_payment_method, detaching(await stage.method(old.id)))
    assert result.status == "in_use"
    assert result.subscription_ids == [stage.books.subscription_id]
    assert (await stage.method(old.id)).status == "active"


@pytest.mark.parametrize("mode", [FaultMode.DOWN, FaultMode.ERROR, FaultMode.RATE_LIMIT])
async def test_a_provider_that_is_away_is_asked_again(stage: Stage, mode: FaultMode) -> None:
    method, _ = await attached_token(stage)
    assert (await run(stage.methods.release_payment_method, detaching(method))).status == "detached"
    stage.fault("stripe", "payment_methods.detach", mode)
    with pytest.raises(ApplicationError) as raised:
        await run(stage.methods.forget_payment_method, detaching(method))
    assert not raised.value.non_retryable
    stage.core.faults.clear()
    for _ in range(2):
        await run(stage.methods.forget_payment_method, detaching(method))


async def test_a_worker_without_the_key_does_not_forget_to_forget(stage: Stage) -> None:
    method, _ = await attached_token(stage)
    keyless = PaymentMethodActivities(stage.books.sessions, ProviderRegistry({}))
    result = await run(keyless.release_payment_method, detaching(method))
    assert (result.status, result.failure_code) == ("failed", "provider_not_configured")
    assert (await stage.method(method.id)).status == "active"
    with pytest.raises(ApplicationError):
        await run(keyless.forget_payment_method, detaching(method))
