"""Each way in which a call can go wrong has its class, and none of them stops the event loop."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from urllib3.exceptions import ConnectTimeoutError

from models.outcomes import DeclineClass, FallbackReason, Instrument, OutcomeClass
from models.snapshots import PaymentStatus
from providers.conekta import ConektaProvider, failures
from providers.conekta.client import CONCURRENT_CALLS_MAX
from providers.drafts import AttachPaymentMethod
from providers.failures import FailureKind, ProviderFailure
from tests.providers.conekta.drafts import (
    ProviderFactory,
    customer_draft,
    failure_of,
    open_payment,
    payment_draft,
    references,
    subscription_draft,
)
from tests.sandbox.conekta.world import World

INSTRUMENTS = [Instrument.OXXO, Instrument.SPEI]


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
    hasty_provider: ConektaProvider,
    customer_id: str,
    mode: str,
    kind: FailureKind,
    reason: FallbackReason,
) -> None:
    seconds = {"slow": 0.6, "rate_limit": 2.0}.get(mode)
    await world.fault("orders.create", mode, seconds=seconds)
    failure = await failure_of(hasty_provider.prepare_payment(payment_draft(customer_id)))
    assert failure.kind is kind
    assert failure.fallback_reason is reason
    assert failure.retry_after_seconds == (2 if mode == "rate_limit" else None)


async def test_a_rate_limit_without_a_time_to_wait(world: World, provider: ConektaProvider) -> None:
    await world.fault("customers.create", "rate_limit")
    failure = await failure_of(provider.ensure_customer(customer_draft()))
    assert failure.kind is FailureKind.UNAVAILABLE
    assert failure.outcome is OutcomeClass.NOT_ATTEMPTED
    assert failure.retry_after_seconds is None


async def test_nobody_listens(make_provider: ProviderFactory) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        provider = make_provider(api_base=f"http://127.0.0.1:{unused.getsockname()[1]}")
        failure = await failure_of(provider.ensure_customer(customer_draft()))
    assert failure.kind is FailureKind.UNAVAILABLE
    assert failure.fallback_reason is FallbackReason.UNAVAILABLE


def test_a_connection_that_never_comes_about_is_a_timeout() -> None:
    failure = failures.from_transport("orders.create", ConnectTimeoutError())
    assert failure.kind is FailureKind.UNAVAILABLE
    assert failure.fallback_reason is FallbackReason.TIMEOUT


async def test_a_base_address_that_is_none(make_provider: ProviderFactory) -> None:
    failure = await failure_of(make_provider(api_base="http://").get_payment("ord_1"))
    assert failure.kind is FailureKind.MISCONFIGURED


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull",
        b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"id": ["x"]}',
        b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
async def test_answers_that_say_nothing_are_unknown(
    make_provider: ProviderFactory, answer: bytes
) -> None:
    """Dropped, cut off, not JSON, not an order, redirected, not HTTP."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    provider = make_provider(api_base=f"http://127.0.0.1:{port}")
    failure = await failure_of(provider.prepare_payment(payment_draft("cus_1")))
    assert failure.kind is FailureKind.UNKNOWN
    assert failure.outcome is OutcomeClass.UNKNOWN
    assert failure.fallback_reason is FallbackReason.API_ERROR
    server.close()


async def test_a_wrong_key_is_our_configuration(make_provider: ProviderFactory) -> None:
    provider = make_provider(api_key="key_wrong_and_secret")
    failure = await failure_of(provider.get_payment("ord_1"))
    assert failure.kind is FailureKind.MISCONFIGURED
    assert failure.fallback_reason is FallbackReason.PROVIDER_NOT_CONFIGURED
    assert "key_wrong_and_secret" not in str(failure)


async def test_an_unknown_object_is_not_found(provider: ConektaProvider) -> None:
    for call in (provider.get_payment, provider.cancel_payment):
        assert (await failure_of(call("ord_unknown"))).kind is FailureKind.NOT_FOUND
    failure = await failure_of(provider.prepare_payment(payment_draft("cus_unknown")))
    assert failure.kind is FailureKind.NOT_FOUND
    assert failure.request_id is not None


async def test_an_expiry_in_the_past_is_rejected(
    provider: ConektaProvider, customer_id: str
) -> None:
    past = datetime.now(UTC) - timedelta(days=1)
    draft = payment_draft(customer_id, expires_at=past)
    payment_id = await provider.prepare_payment(draft)
    failure = await failure_of(provider.commit_payment(draft, payment_id))
    assert failure.kind is FailureKind.REJECTED
    assert failure.fallback_reason is None


async def test_what_the_sdk_refuses_is_never_sent(
    world: World, provider: ConektaProvider, customer_id: str
) -> None:
    draft = payment_draft(customer_id, amount_minor=-5)
    failure = await failure_of(provider.prepare_payment(draft))
    assert failure.kind is FailureKind.REJECTED
    assert "unit_price" in failure.message
    assert world.orders() == []


async def test_a_decline_names_the_order_that_it_left(
    world: World, provider: ConektaProvider, customer_id: str
) -> None:
    draft = payment_draft(customer_id)
    payment_id = await provider.prepare_payment(draft)
    await world.fault("charges.create", "decline")
    failure = await failure_of(provider.commit_payment(draft, payment_id))
    assert failure.kind is FailureKind.DECLINED
    assert failure.provider_object_id == payment_id
    assert failure.decline is not None
    assert failure.decline.code == "card_declined"
    assert failure.fallback_reason is None
    snapshot = await provider.get_payment(payment_id)
    assert snapshot.status is PaymentStatus.DECLINED
    assert snapshot.decline == failure.decline
    assert (await provider.cancel_payment(payment_id)).status is PaymentStatus.DECLINED


async def test_messages_carry_nothing_personal(world: World, provider: ConektaProvider) -> None:
    failure = await failure_of(
        provider.ensure_customer(customer_draft(email="not-an-address", name="Ana López"))
    )
    assert failure.kind is FailureKind.REJECTED
    assert "email" in failure.message
    assert "Ana" not in str(failure)
    assert "not-an-address" not in str(failure)


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (
            "conekta.errors.parameter_validation.charge.cash_payment.oxxo_payment.disabled",
            FailureKind.REJECTED,
            FallbackReason.UNAVAILABLE,
        ),
        (
            "conekta.errors.parameter_validation.charge.bank_payment.spei_payment.disabled",
            FailureKind.REJECTED,
            FallbackReason.UNAVAILABLE,
        ),
        ("conekta.errors.parameter_validation.whitelist", FailureKind.REJECTED, None),
    ],
)
def test_a_way_to_pay_that_is_switched_off_may_be_tried_elsewhere(
    code: str, kind: FailureKind, reason: FallbackReason | None
) -> None:
    body = {"object": "error", "details": [{"code": code}]}
    failure = failures.from_answer("charges.create", 422, body, {})
    assert failure.kind is kind
    assert failure.fallback_reason is reason
    assert failure.code == code


@pytest.mark.parametrize("body", [None, [], "text", {"details": None}, {"details": [{"code": 5}]}])
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 422, 428, 429, 500, 503])
def test_error_bodies_that_are_not_conekta_s(status: int, body: object) -> None:
    failure = failures.from_answer("orders.create", status, body, {})
    assert failure.code == f"http_{status}"
    assert (failure.decline is not None) == (status == 402)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("insufficient_funds", DeclineClass.SOFT),
        ("card_declined", DeclineClass.SOFT),
        ("never_heard_of", DeclineClass.SOFT),
        ("stolen_card", DeclineClass.HARD),
        ("suspected_fraud", DeclineClass.HARD),
        ("expired_card", DeclineClass.CUSTOMER_ACTION),
        ("conekta.errors.processing.bank.timeout", DeclineClass.TECHNICAL),
        ("conekta.errors.processing.bank.declined", DeclineClass.SOFT),
        ("conekta.errors.processing.tokenization.used", DeclineClass.CUSTOMER_ACTION),
    ],
)
def test_declines_have_a_class(code: str, expected: DeclineClass) -> None:
    assert failures.decline_of(code).decline_class is expected


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("999999", 3600.0), ("soon", None), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0)],
)
def test_retry_after(header: str, seconds: float | None) -> None:
    failure = failures.from_answer("orders.create", 429, None, {"Retry-After": header})
    assert failure.retry_after_seconds == seconds


async def test_what_is_not_there_is_refused_by_type(
    provider: ConektaProvider, customer_id: str
) -> None:
    card = AttachPaymentMethod(
        payment_method_id="pm_1", provider_customer_id=customer_id, token="t", type=Instrument.OXXO
    )
    single = payment_draft(customer_id, instrument=Instrument.CARD)
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: provider.attach_payment_method(card),
        lambda: provider.prepare_subscription(subscription_draft(customer_id, None)),
        lambda: provider.prepare_subscription(
            subscription_draft(customer_id, "src_1", currency="USD")
        ),
        lambda: provider.prepare_payment(single),
        lambda: provider.commit_payment(single, "ord_1"),
        lambda: provider.prepare_payment(payment_draft(customer_id, currency="USD")),
    ]
    for call in calls:
        failure = await failure_of(call())
        assert failure.kind is FailureKind.UNSUPPORTED
        assert failure.outcome is OutcomeClass.NOT_ATTEMPTED


async def test_the_event_loop_goes_on_while_the_sdk_waits(
    world: World, provider: ConektaProvider, customer_id: str
) -> None:
    await world.fault("orders.retrieve", "slow", seconds=0.3)
    payment_id = await provider.prepare_payment(payment_draft(customer_id))
    beats: list[float] = []

    async def beat() -> None:
        while True:
            beats.append(time.monotonic())
            await asyncio.sleep(0.01)

    heart = asyncio.create_task(beat())
    await provider.get_payment(payment_id)
    heart.cancel()
    assert len(beats) >= 10
    assert max(b - a for a, b in pairwise(beats)) < 0.2


async def test_calls_run_side_by_side(
    world: World, provider: ConektaProvider, customer_id: str
) -> None:
    payment_id = await provider.prepare_payment(payment_draft(customer_id))
    await world.fault("orders.retrieve", "slow", count=8, seconds=0.3)
    began = time.monotonic()
    await asyncio.gather(*(provider.get_payment(payment_id) for _ in range(8)))
    assert time.monotonic() - began < 1.5


async def test_a_call_that_finds_no_thread_was_not_sent(
    world: World, make_provider: ProviderFactory, customer_id: str
) -> None:
    """When all threads hang, what still queues is known not to have happened."""
    provider = make_provider(timeout_seconds=0.4)
    payment_id = await provider.prepare_payment(payment_draft(customer_id))
    await world.fault("orders.retrieve", "slow", count=None, seconds=1)
    calls = [provider.get_payment(payment_id) for _ in range(CONCURRENT_CALLS_MAX * 4)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    kinds = [result.kind for result in results if isinstance(result, ProviderFailure)]
    assert len(kinds) == len(calls)
    assert FailureKind.UNAVAILABLE in kinds
    assert FailureKind.UNKNOWN in kinds


async def test_a_canceled_caller_leaves_the_adapter_usable(
    world: World, provider: ConektaProvider, customer_id: str
) -> None:
    opened = await open_payment(provider, payment_draft(customer_id))
    await world.fault("orders.retrieve", "slow", seconds=0.2)
    call = asyncio.create_task(provider.get_payment(opened.provider_payment_id))
    await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    read = await provider.get_payment(opened.provider_payment_id)
    assert references(read) == references(opened)
