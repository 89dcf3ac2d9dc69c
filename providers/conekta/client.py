"""The conekta SDK behind an asynchronous door: its raw variants, run in threads of their own.

The SDK is synchronous and parses answers strictly, so a write that succeeded may still raise. Its
`…_without_preload_content` variants hand out the bytes instead; we read them with our own models.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from models.outcomes import ProviderName
from providers.calling import provider_call
from providers.conekta import failures

if TYPE_CHECKING:
    import conekta
    import urllib3

PAGE_SIZE = 250  # The most that Conekta gives at once.
# Calls at the same time per provider object: more would only queue at Conekta's rate limit.
CONCURRENT_CALLS_MAX = 16
CONNECT_TIMEOUT_SECONDS_MAX = 3.0
# A whole call may take this many read timeouts (queueing, connecting, a dribbling body) before it is
# given up from outside; the thread itself is bounded by the timeouts of its socket.
TOTAL_TIMEOUT_FACTOR = 2.0


@dataclass(frozen=True)
class Answer:
    """A 2xx answer whose body is JSON."""

    status: int
    body: Any


@dataclass(frozen=True)
class Sdk:
    """The SDK's resources plus the arguments that every call is made with."""

    client: conekta.ApiClient
    customers: conekta.CustomersApi
    orders: conekta.OrdersApi
    charges: conekta.ChargesApi
    payment_methods: conekta.PaymentMethodsApi
    plans: conekta.PlansApi
    subscriptions: conekta.SubscriptionsApi
    version_header: str
    timeouts: tuple[float, float]

    @property
    def options(self) -> dict[str, Any]:
        # The SDK writes its own headers into this mapping, so each call needs a new one.
        return {"_request_timeout": self.timeouts, "_headers": {"Accept": self.version_header}}


Send = Callable[[Sdk], "urllib3.HTTPResponse"]


class ConektaClient:
    def __init__(
        self, *, api_key: str, api_base: str | None, version_header: str, timeout_seconds: float
    ) -> None:
        self._api_key = api_key
        self._api_base = api_base.rstrip("/") if api_base else None
        self._version_header = version_header
        self._timeout_seconds = timeout_seconds
        self._sdk: Sdk | None = None
        self._sdk_lock = threading.Lock()
        self._threads = ThreadPoolExecutor(CONCURRENT_CALLS_MAX, thread_name_prefix="conekta")

    async def call(self, operation: str, send: Send) -> Answer:
        """Run `send` in a thread. Raises ProviderFailure for everything that is not a JSON 2xx."""
        with provider_call(ProviderName.CONEKTA, operation):
            return await self._call(operation, send)

    async def _call(self, operation: str, send: Send) -> Answer:
        # The SDK's import must not eat up the time of the first call.
        sdk = await self.load()
        work: Future[Answer] = self._threads.submit(_perform, sdk, operation, send)
        try:
            async with asyncio.timeout(self._timeout_seconds * TOTAL_TIMEOUT_FACTOR):
                return await asyncio.wrap_future(work)
        except TimeoutError:
            # Work that can still be cancelled had not been taken up by a thread: nothing was sent.
            raise failures.gave_up_waiting(operation, started=not work.cancel()) from None

    async def aclose(self) -> None:
        """Wait for the calls under way (their timeouts bound them), then close the connections."""
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
        if self._sdk is not None:
            self._sdk.client.rest_client.pool_manager.clear()

    async def load(self) -> Sdk:
        """The SDK, imported with the first call at the latest: that takes most of a second, which not
        every process has to pay."""
        if self._sdk is None:
            return await asyncio.wrap_future(self._threads.submit(self._load_sdk))
        return self._sdk

    def _load_sdk(self) -> Sdk:
        with self._sdk_lock:
            if self._sdk is None:
                self._sdk = self._make_sdk()
            return self._sdk

    def _make_sdk(self) -> Sdk:
        import conekta

        configuration = conekta.Configuration(
            host=self._api_base,
            access_token=self._api_key,
            # Temporal owns retries; the SDK's own would sleep in the thread and resend.
            retries=False,
            no_proxy="*",
            connection_pool_maxsize=CONCURRENT_CALLS_MAX,
        )
        client = conekta.ApiClient(configuration)
        # By default it tells Conekta the name and the kernel of the machine.
        client.conekta_user_agent = "{}"
        connect = min(self._timeout_seconds, CONNECT_TIMEOUT_SECONDS_MAX)
        return Sdk(
            client=client,
            customers=conekta.CustomersApi(client),
            orders=conekta.OrdersApi(client),
            charges=conekta.ChargesApi(client),
            payment_methods=conekta.PaymentMethodsApi(client),
            plans=conekta.PlansApi(client),
            subscriptions=conekta.SubscriptionsApi(client),
            version_header=self._version_header,
            timeouts=(float(connect), float(self._timeout_seconds)),
        )


def _perform(sdk: Sdk, operation: str, send: Send) -> Answer:
    from conekta import ApiException
    from urllib3.exceptions import HTTPError

    try:
        response = send(sdk)
        raw = response.data
    except HTTPError as error:
        raise failures.from_transport(operation, error) from error
    except ApiException as error:
        # The raw variants raise it for nothing but a TLS error.
        raise failures.from_tls(operation, str(error.reason)) from error
    except ValidationError as error:
        # The SDK's request models refused what we built. Their text repeats the values, which
        # may be personal, so only the names of the fields go on.
        fields = sorted({".".join(map(str, e["loc"])) for e in error.errors()})
        raise failures.refused_by_sdk(operation, fields) from None
    return _read(operation, response.status, raw, response.headers)


def _read(operation: str, status: int, raw: bytes, headers: Mapping[str, str]) -> Answer:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        body = None
    if not 200 <= status < 300:
        raise failures.from_answer(operation, status, body, headers)
    if body is None:
        raise failures.unreadable(operation, "the body is not JSON")
    return Answer(status, body)
