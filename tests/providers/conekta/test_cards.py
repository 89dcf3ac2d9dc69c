"""Stored cards: made from tokens that are good for one card each."""

from __future__ import annotations

import pytest

from providers.conekta import ConektaProvider
from providers.failures import FailureKind
from tests.providers.conekta.drafts import (
    BROKE_TOKEN,
    GOOD_TOKEN,
    card_request,
    failure_of,
)
from tests.sandbox.conekta.world import World

SINGLE_USE = f"{GOOD_TOKEN}_browser1"


def stored(world: World) -> list[str]:
    return list(world.core.collection("conekta", "payment_sources"))


@pytest.mark.parametrize(
    ("token", "brand", "last4"),
    [
        (GOOD_TOKEN, "visa", "4242"),
        ("tok_test_mastercard_4444", "mastercard", "4444"),
        (BROKE_TOKEN, "visa", "0127"),
    ],
)
async def test_what_is_kept_of_a_card(
    provider: ConektaProvider, customer_id: str, token: str, brand: str, last4: str
) -> None:
    card = await provider.attach_payment_method(card_request(customer_id, token))
    assert card.provider_payment_method_id.startswith("src_")
    assert card.provider_customer_id == customer_id
    assert (card.type, card.brand, card.last4) == ("card", brand, last4)
    assert (card.exp_month, card.exp_year) == (12, 2034)


async def test_two_cards_are_two(world: World, provider: ConektaProvider, customer_id: str) -> None:
    first = await provider.attach_payment_method(card_request(customer_id))
    second = await provider.attach_payment_method(card_request(customer_id))
    assert stored(world) == [
        first.provider_payment_method_id,
        second.provider_payment_method_id,
    ]


async def test_a_token_that_nobody_made(provider: ConektaProvider, customer_id: str) -> None:
    failure = await failure_of(
        provider.attach_payment_method(card_request(customer_id, "tok_unknown"))
    )
    assert failure.kind is FailureKind.NOT_FOUND
    failure = await failure_of(provider.attach_payment_method(card_request("cus_unknown")))
    assert failure.kind is FailureKind.NOT_FOUND


async def test_a_card_is_forgotten_once_and_again(
    world: World, provider: ConektaProvider, customer_id: str
) -> None:
    card = await provider.attach_payment_method(card_request(customer_id))
    for _ in range(2):
        await provider.detach_payment_method(customer_id, card.provider_payment_method_id)
    assert stored(world) == []
    await world.fault("payment_sources.delete", "down")
    failure = await failure_of(provider.detach_payment_method(customer_id, "src_1"))
    assert failure.kind is FailureKind.UNKNOWN


@pytest.mark.parametrize("mode", ["applied_then_timeout", "applied_then_error"])
async def test_a_lost_answer_is_found_by_what_is_new(
    world: World, hasty_provider: ConektaProvider, customer_id: str, mode: str
) -> None:
    old = await hasty_provider.attach_payment_method(card_request(customer_id))
    await world.fault("payment_sources.create", mode)
    card = await hasty_provider.attach_payment_method(card_request(customer_id, SINGLE_USE))
    assert stored(world) == [old.provider_payment_method_id, card.provider_payment_method_id]
    assert card.last4 == "4242"


async def test_a_request_that_was_never_carried_out_is_not_taken_for_one_that_was(
    world: World, provider: ConektaProvider, customer_id: str
) -> None:
    await provider.attach_payment_method(card_request(customer_id))
    await world.fault("payment_sources.create", "error")
    failure = await failure_of(
        provider.attach_payment_method(card_request(customer_id, SINGLE_USE))
    )
    assert failure.kind is FailureKind.UNKNOWN
    await provider.attach_payment_method(card_request(customer_id, SINGLE_USE))
    assert len(stored(world)) == 2


async def test_trying_again_adopts_the_card_of_a_used_token(
    world: World, provider: ConektaProvider, customer_id: str
) -> None:
    """As when the worker died between Conekta's answer and our note of it."""
    await provider.attach_payment_method(
        card_request(customer_id, "tok_test_mastercard_4444_browser")
    )
    await world.advance(60)
    first = await provider.attach_payment_method(card_request(customer_id, SINGLE_USE))
    again = await provider.attach_payment_method(card_request(customer_id, SINGLE_USE))
    assert again == first
    assert len(stored(world)) == 2


async def test_a_used_token_that_left_no_card(provider: ConektaProvider, customer_id: str) -> None:
    card = await provider.attach_payment_method(card_request(customer_id, SINGLE_USE))
    await provider.detach_payment_method(customer_id, card.provider_payment_method_id)
    failure = await failure_of(
        provider.attach_payment_method(card_request(customer_id, SINGLE_USE))
    )
    assert failure.kind is FailureKind.DECLINED
    assert failure.code == "conekta.errors.processing.tokenization.used"
