"""Failures as the contract wants them: typed, and discreet."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import pytest

from providers.failures import ProviderFailure
from tests.providers.contract.bench import EMAIL_USER, NAME, Bench
from tests.providers.contract.schemes import secret_of, standard_secret_of

Answer = TypeVar("Answer")


async def failure_of(bench: Bench, call: Awaitable[object]) -> ProviderFailure:
    """The failure that the call ends in, which keeps what is secret or personal to itself."""
    with pytest.raises(ProviderFailure) as caught:
        await call
    assert_discreet(bench, caught.value)
    return caught.value


async def answer_or_failure(call: Awaitable[Answer]) -> Answer | ProviderFailure:
    """For an act that may be refused or told that it came to nothing: both are right."""
    try:
        return await call
    except ProviderFailure as failure:
        return failure


def assert_discreet(bench: Bench, error: BaseException) -> None:
    """Failures end up in logs and histories, with whatever caused them."""
    link: BaseException | None = error
    while link is not None:
        for text in (str(link), repr(link), repr(vars(link))):
            for secret in secrets_of(bench):
                assert secret not in text, f"{type(link).__name__} tells {secret}"
        link = link.__cause__


def secrets_of(bench: Bench) -> tuple[str, ...]:
    """What must never be told: keys, webhook secrets, a card's token, and who the customer is."""
    keys = (secret_of("new"), secret_of("old"), standard_secret_of("new"))
    token = bench.profile.good_token
    return (bench.profile.api_key, *keys, token, NAME, EMAIL_USER)
