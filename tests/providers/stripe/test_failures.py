"""What no simulator does on purpose: answers that only a broken network or proxy gives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import stripe
from starlette.requests import Request
from starlette.responses import Response

from models.outcomes import DeclineClass, FallbackReason
from providers.failures import FailureKind, ProviderFailure
from providers.stripe import StripeProvider
from providers.stripe.failures import classify, decline_of
from tests.providers.stripe.conftest import API_KEY, serving

Kind = FailureKind


def error_body(**fields: Any) -> str:
    return json.dumps({"error": {"message": "for ana@example.mx", **fields}})


@asynccontextmanager
async def answering(status: int, body: str, **headers: str) -> AsyncIterator[StripeProvider]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await Request(scope, receive).body()
        await Response(body, status, headers)(scope, receive, send)

    async with serving(app) as url:
        provider = StripeProvider(api_key=API_KEY, api_base=url)
        yield provider
        await provider.aclose()


async def failure_of(provider: StripeProvider) -> ProviderFailure:
    with pytest.raises(ProviderFailure) as caught:
        await provider.get_payment("pi_1")
    assert "ana" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason", "code"),
    [
        (200, "<html>", Kind.UNKNOWN, FallbackReason.API_ERROR, None),
        (
            400,
            error_body(type="invalid_request_error", code="x"),
            Kind.REJECTED,
            None,
            "x",
        ),
        (
            402,
            error_body(type="card_error", code="card_declined", decline_code="stolen_card"),
            Kind.DECLINED,
            None,
            "card_declined",
        ),
        (
            403,
            error_body(type="invalid_request_error"),
            Kind.MISCONFIGURED,
            FallbackReason.PROVIDER_NOT_CONFIGURED,
            "invalid_request_error",
        ),
        (
            404,
            error_body(type="invalid_request_error", code="resource_missing"),
            Kind.NOT_FOUND,
            None,
            "resource_missing",
        ),
        (
            409,
            error_body(type="invalid_request_error", code="idempotency_key_in_use"),
            Kind.UNKNOWN,
            FallbackReason.API_ERROR,
            "idempotency_key_in_use",
        ),
        (
            429,
            error_body(type="invalid_request_error", code="lock_timeout"),
            Kind.UNAVAILABLE,
            FallbackReason.API_ERROR,
            "lock_timeout",
        ),
        (
            503,
            error_body(type="api_error"),
            Kind.UNKNOWN,
            FallbackReason.UNAVAILABLE,
            "api_error",
        ),
        (503, "<html>", Kind.UNKNOWN, FallbackReason.UNAVAILABLE, None),
        (502, "<html>bad gateway</html>", Kind.UNKNOWN, FallbackReason.API_ERROR, None),
        (504, "", Kind.UNKNOWN, FallbackReason.API_ERROR, None),
    ],
)
async def test_each_answer_has_its_class(
    status: int, body: str, kind: FailureKind, reason: FallbackReason | None, code: str | None
) -> None:
    async with answering(status, body, **{"request-id": "req_1"}) as provider:
        failure = await failure_of(provider)
    assert (failure.kind, failure.fallback_reason, failure.code) == (kind, reason, code)
    # The SDK loses the headers of an answer that is no JSON.
    assert failure.request_id == ("req_1" if code else None)
    assert failure.provider_object_id == "pi_1"
    assert (failure.decline is not None) is (kind is Kind.DECLINED)


async def test_an_answer_of_another_shape_is_unknown() -> None:
    async with answering(200, json.dumps({"id": "pi_1", "object": "payment_intent"})) as provider:
        failure = await failure_of(provider)
    assert failure.kind is Kind.UNKNOWN


async def test_a_connection_that_breaks_off_is_unknown() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    provider = StripeProvider(api_key=API_KEY, api_base=f"http://127.0.0.1:{port}")
    failure = await failure_of(provider)
    await provider.aclose()
    server.close()
    await server.wait_closed()
    assert (failure.kind, failure.fallback_reason) == (Kind.UNKNOWN, FallbackReason.API_ERROR)


async def test_a_bug_of_ours_is_not_blamed_on_stripe() -> None:
    provider = StripeProvider(api_key=API_KEY, api_base="http://127.0.0.1:9")
    await provider.aclose()
    with pytest.raises(stripe.APIConnectionError):
        await provider.get_payment("pi_1")
    error = stripe.APIConnectionError("x")  # type: ignore[no-untyped-call]
    error.__cause__ = RuntimeError("Event loop is closed")
    assert classify(error) is None


@pytest.mark.parametrize(
    ("fields", "decline_class"),
    [
        ({"decline_code": "do_not_honor"}, DeclineClass.SOFT),
        ({"decline_code": "do_not_honor", "advice_code": "do_not_try_again"}, DeclineClass.HARD),
        (
            {"decline_code": "generic_decline", "advice_code": "confirm_card_data"},
            DeclineClass.CUSTOMER_ACTION,
        ),
        ({"decline_code": "fraudulent", "advice_code": "try_again_later"}, DeclineClass.HARD),
        ({"code": "authentication_required"}, DeclineClass.CUSTOMER_ACTION),
        ({"decline_code": "processing_error"}, DeclineClass.TECHNICAL),
        ({"decline_code": "generic_decline", "network_advice_code": "03"}, DeclineClass.HARD),
        ({"decline_code": "generic_decline", "network_decline_code": "R1"}, DeclineClass.HARD),
        ({"decline_code": "do_not_honor", "network_decline_code": "05"}, DeclineClass.SOFT),
        ({}, DeclineClass.SOFT),
    ],
)
def test_decline_codes_decide_before_advice(
    fields: dict[str, str], decline_class: DeclineClass
) -> None:
    error = stripe.StripeObject.construct_from(fields, "")
    assert decline_of(error).decline_class is decline_class
