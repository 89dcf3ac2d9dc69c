"""Each way in which a call can go wrong has its class."""

from __future__ import annotations

import asyncio
import json
import platform
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from models.outcomes import DeclineClass, FallbackReason, OutcomeClass
from providers.failures import FailureKind
from providers.polar import PolarProvider, failures
from tests.providers.polar.drafts import (
    ProviderFactory,
    benefit_draft,
    customer_draft,
    failure_of,
    product_draft,
)
from tests.sandbox.polar.world import TOKEN, World


@pytest.mark.parametrize(
    ("mode", "kind", "reason"),
    [
        ("down", FailureKind.UNKNOWN, FallbackReason.UNAVAILABLE),
        ("error", FailureKind.UNKNOWN, FallbackReason.API_ERROR),
        ("applied_then_error", FailureKind.UNKNOWN, FallbackReason.API_ERROR),
        ("applied_then_timeout", FailureKind.UNKNOWN, FallbackReason.TIMEOUT),
        ("slow", FailureKind.UNKNOWN, FallbackReason.TIMEOUT),
        ("rate_limit", FailureKind.UNAVAILABLE, FallbackReason.API_ERROR),
    ],
)
async def test_every_fault_has_its_class(
    world: World,
    hasty_provider: PolarProvider,
    mode: str,
    kind: FailureKind,
    reason: FallbackReason,
) -> None:
    seconds = {"slow": 0.6, "rate_limit": 2.0}.get(mode)
    await world.fault("benefits.create", mode, seconds=seconds)
    failure = await failure_of(hasty_provider.ensure_benefit(benefit_draft()))
    assert failure.kind is kind
    assert failure.fallback_reason is reason
    assert failure.retry_after_seconds == (2 if mode == "rate_limit" else None)


async def test_nobody_listens(make_provider: ProviderFactory) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        provider = make_provider(api_base=f"http://127.0.0.1:{unused.getsockname()[1]}")
        failure = await failure_of(provider.ensure_customer(customer_draft()))
    assert failure.kind is FailureKind.UNAVAILABLE
    assert failure.fallback_reason is FallbackReason.UNAVAILABLE


@pytest.mark.parametrize(
    "settings",
    [
        {"api_base": "http://"},
        {"api_base": "polar"},
        {"api_base": "ftp://127.0.0.1"},
        {"api_base": "http://[::1"},
        {"api_key": ""},
        {"api_key": "a\nb"},
        {"api_key": "ñ€"},
    ],
)
async def test_settings_that_cannot_work(
    make_provider: ProviderFactory, settings: dict[str, str]
) -> None:
    failure = await failure_of(make_provider(**settings).ensure_product(product_draft()))
    assert failure.kind is FailureKind.MISCONFIGURED
    assert failure.fallback_reason is FallbackReason.PROVIDER_NOT_CONFIGURED


async def test_another_organizations_token(make_provider: ProviderFactory) -> None:
    provider = make_provider(api_key="polar_oat_other")
    failure = await failure_of(provider.ensure_product(product_draft()))
    assert failure.kind is FailureKind.MISCONFIGURED
    assert failure.code == "invalid_token"
    assert "polar_oat_other" not in str(failure)


def answer(status: int, body: Any, *headers: str) -> bytes:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(encoded)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + encoded


@asynccontextmanager
async def speaker(said: bytes) -> AsyncIterator[tuple[str, list[str]]]:
    """Says the same to everybody, and keeps what it heard."""
    heard: list[str] = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(said)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heard
    server.close()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{",
        answer(200, b"<html></html>"),
        answer(200, []),
        answer(200, None),
        answer(200, {}),
        answer(200, {"id": ["x"]}),
        answer(200, b"[" * 100_000),
        answer(302, b"", "Location: /elsewhere"),
        answer(408, b""),
        answer(500, b"<html></html>"),
        b"nonsense\r\n\r\n",
    ],
)
async def test_answers_that_say_nothing_are_unknown(
    make_provider: ProviderFactory, said: bytes
) -> None:
    """Dropped, cut off, not JSON, not a page, redirected, not HTTP."""
    async with speaker(said) as (address, _):
        failure = await failure_of(make_provider(api_base=address).get_payment("x"))
    assert failure.kind is FailureKind.UNKNOWN
    assert failure.outcome is OutcomeClass.UNKNOWN
    assert failure.fallback_reason is not None


@pytest.mark.parametrize("said", [{"items": 5}, {}, [], {"items": ["x"]}, {"items": [{"id": 1}]}])
async def test_lists_that_are_none(make_provider: ProviderFactory, said: Any) -> None:
    async with speaker(answer(200, said)) as (address, _):
        failure = await failure_of(make_provider(api_base=address).list_grants("x"))
    assert failure.kind is FailureKind.UNKNOWN


async def test_a_list_without_pagination_is_one_page(make_provider: ProviderFactory) -> None:
    async with speaker(answer(200, {"items": []})) as (address, heard):
        assert await make_provider(api_base=address).list_grants("x") == []
    assert len(heard) == 1


NAMED = {"error": "NotPermitted", "detail": "no"}


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (400, {"error": "BadRequest", "detail": "x"}, FailureKind.REJECTED, "BadRequest"),
        (401, {"error": "invalid_token"}, FailureKind.MISCONFIGURED, "invalid_token"),
        (402, {"error": "PaymentFailed", "detail": "x"}, FailureKind.DECLINED, "PaymentFailed"),
        (403, NAMED, FailureKind.MISCONFIGURED, "NotPermitted"),
        (403, b"", FailureKind.MISCONFIGURED, "http_403"),
        (403, {"error": "RefundDisputedPayment"}, FailureKind.REJECTED, "RefundDisputedPayment"),
        (404, {"error": "ResourceNotFound"}, FailureKind.NOT_FOUND, "ResourceNotFound"),
        # An API version that is gone: nothing was looked for, so nothing is missing.
        (404, {"detail": "Not Found"}, FailureKind.MISCONFIGURED, "http_404"),
        (409, {"error": "SubscriptionLocked"}, FailureKind.REJECTED, "SubscriptionLocked"),
        (410, {"error": "ExpiredCheckoutError"}, FailureKind.REJECTED, "ExpiredCheckoutError"),
        (422, {"error": "E", "detail": [{"loc": ["body", "x"]}]}, FailureKind.REJECTED, "body.x"),
        (422, {"error": "E", "detail": ["x", {"loc": 5}]}, FailureKind.REJECTED, "E"),
        (422, {"error": "ana@example.com"}, FailureKind.REJECTED, "http_422"),
        (429, b"", FailureKind.UNAVAILABLE, "http_429"),
    ],
)
async def test_refusals(
    make_provider: ProviderFactory, status: int, body: Any, kind: FailureKind, code: str
) -> None:
    async with speaker(answer(status, body)) as (address, _):
        failure = await failure_of(make_provider(api_base=address).get_payment("x"))
    assert (failure.kind, failure.code) == (kind, code)
    assert "@" not in str(failure)
    if kind is FailureKind.DECLINED:
        assert failure.decline is not None
        assert failure.decline.decline_class is DeclineClass.SOFT


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("30", 30.0),
        ("99999", 3600.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00", 0.0),
        ("soon", None),
        ("-1", None),
    ],
)
async def test_how_long_to_wait(
    make_provider: ProviderFactory, header: str, expected: float | None
) -> None:
    """Also as a date, on which the SDK's own reading fails."""
    said = answer(429, {"error": "RateLimitExceeded"}, f"Retry-After: {header}")
    async with speaker(said) as (address, _):
        failure = await failure_of(make_provider(api_base=address).get_payment("x"))
    assert failure.retry_after_seconds == expected


async def test_a_body_that_dribbles_is_given_up(make_provider: ProviderFactory) -> None:
    """Each piece comes in time; the whole does not."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
        try:
            for _ in range(50):
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    provider = make_provider(api_base=address, timeout_seconds=0.2)
    failure = await failure_of(provider.get_payment("x"))
    server.close()
    assert failure.kind is FailureKind.UNKNOWN
    assert failure.fallback_reason is FallbackReason.TIMEOUT


async def test_a_call_is_sent_once_and_says_little(
    make_provider: ProviderFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No retries of the SDK's, no proxy of the environment's, nothing about the machine."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with speaker(answer(503, b"")) as (address, heard):
        failure = await failure_of(make_provider(api_base=f"{address}/prefix/").get_payment("x"))
    assert failure.kind is FailureKind.UNKNOWN
    [request] = heard
    assert request.startswith("GET /prefix/v1/checkouts/x HTTP/1.1\r\n")
    lines = {line.lower() for line in request.splitlines()}
    assert "polar-version: 2026-10" in lines
    assert f"authorization: bearer {TOKEN}" in lines
    assert platform.node() not in request


async def test_many_calls_at_once(world: World, provider: PolarProvider) -> None:
    customer_id = await provider.ensure_customer(customer_draft())
    calls = [provider.list_grants(customer_id) for _ in range(40)]
    assert await asyncio.gather(*calls) == [[]] * 40


async def test_closing_without_a_call() -> None:
    await PolarProvider(api_key=TOKEN).aclose()


def test_what_was_written_and_not_read_is_unknown() -> None:
    lost = failures.after_the_write(failures.misconfigured("orders.list", "x"))
    assert lost.kind is FailureKind.UNKNOWN
    assert lost.fallback_reason is FallbackReason.PROVIDER_NOT_CONFIGURED


def test_the_sdk_is_not_imported_before_the_first_call() -> None:
    """It takes more than a second, and the API only reads webhooks."""
    program = (
        "import sys\n"
        "from providers.polar import PolarProvider\n"
        "PolarProvider(api_key='k', webhook_secrets=['s'])\n"
        "sys.exit('polar' in sys.modules or 'adaptix' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert done.returncode == 0
