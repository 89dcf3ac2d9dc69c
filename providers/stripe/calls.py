"""What every call has in common: idempotency keys, failures, and reading back after a write."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import stripe

from models.outcomes import FallbackReason
from providers.failures import FailureKind, ProviderFailure
from providers.stripe.failures import classify, unknown
from providers.stripe.mapping import Unreadable
from providers.stripe.payload import Payload

Result = TypeVar("Result")


def keyed(kind: str, our_id: str) -> stripe.RequestOptions:
    """The idempotency key of one act on one of our objects: the same for every repetition of it."""
    return {"idempotency_key": f"{kind}:{our_id}"}


@contextmanager
def calling(object_id: str | None = None) -> Iterator[None]:
    """Make what Stripe does to a call into ProviderFailure; `object_id` is what the call is about.

    The SDK's exception is not chained: it quotes whole bodies, and causes end up in histories.
    """
    try:
        yield
    except stripe.StripeError as error:
        failure = classify(error, object_id)
        if failure is None:
            raise
        raise failure from None
    except Unreadable as error:
        message = f"unreadable answer: {error}"
        raise unknown(message, object_id, FallbackReason.API_ERROR) from None


async def lean_answer(
    client: stripe.StripeClient,
    method: Literal["get", "post"],
    path: str,
    params: Mapping[str, Any],
    options: stripe.RequestOptions | None = None,
) -> Payload:
    """The answer, read as far as it is looked at: for calls that are made often. The SDK's own methods make
    an object of every part of it first, a tenth of what opening a subscription takes."""
    answer = await client.raw_request_async(method, path, **params, **(options or {}))
    if not isinstance(answer.data, dict):
        raise Unreadable("not an object")
    return Payload(answer.data)


async def read_back(reading: Awaitable[Result], object_id: str) -> Result:
    """Read after a write that succeeded. Whatever goes wrong now, the write has happened, so no
    failure may say that it has not."""
    try:
        return await reading
    except ProviderFailure as failure:
        if failure.kind is FailureKind.UNKNOWN:
            raise
        message = f"done, but not read back: {failure.message}"
        reason = failure.fallback_reason or FallbackReason.API_ERROR
        raise unknown(message, object_id, reason) from None


def was_replayed(answer: stripe.StripeObject) -> bool:
    """Whether Stripe repeated an old answer: what it says may no longer be so."""
    response = answer.last_response
    return response is not None and response.headers.get("Idempotent-Replayed") == "true"
