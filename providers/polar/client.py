"""The polar SDK as the part that builds and sends requests; what comes back is read by us.

The SDK (1.0.2) parses answers strictly: a new enum value, an error name it does not know, a date in
`Retry-After` or an HTML page raise in ways that lose the status, also after a write that succeeded. So
the answer is taken out of the SDK's hands right after it was received, and read by models of our own.
"""

from __future__ import annotations

import asyncio
import functools
import re
import ssl
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from models.outcomes import ProviderName
from providers.calling import provider_call
from providers.failures import ProviderFailure
from providers.polar import failures

if TYPE_CHECKING:
    from polar.v2026_10.services.benefit_grants import BenefitGrantsAsync
    from polar.v2026_10.services.benefits import BenefitsAsync
    from polar.v2026_10.services.checkouts import CheckoutsAsync
    from polar.v2026_10.services.customers import CustomersAsync
    from polar.v2026_10.services.orders import OrdersAsync
    from polar.v2026_10.services.products import ProductsAsync
    from polar.v2026_10.services.refunds import RefundsAsync
    from polar.v2026_10.services.subscriptions import SubscriptionsAsync

PRODUCTION_BASE = "https://api.polar.sh"
PAGE_SIZE = 100  # The most that Polar gives at once.
PAGES_MAX = 20

CONNECTIONS_MAX = 20
CONNECT_SECONDS_MAX = 3.0
KEEP_ALIVE_SECONDS = 30.0
# A whole call may take this many read timeouts (queueing, connecting, a dribbling body).
TOTAL_TIMEOUT_FACTOR = 2.0

# The SDK does not encode path values: a slash or two dots would ask for another object.
_PATH_VALUE = re.compile(r"[A-Za-z0-9_-]{1,128}")


class Answered(Exception):
    """The answer on its way past the SDK's parser; not an error."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(response.status_code)
        self.response = response


@dataclass(frozen=True)
class Sdk:
    """The SDK's services that we use, over one connection pool."""

    http: httpx.AsyncClient
    customers: CustomersAsync
    products: ProductsAsync
    benefits: BenefitsAsync
    benefit_grants: BenefitGrantsAsync
    checkouts: CheckoutsAsync
    orders: OrdersAsync
    refunds: RefundsAsync
    subscriptions: SubscriptionsAsync


Send = Callable[[Sdk], Awaitable[Any]]
SendPage = Callable[[Sdk, int], Awaitable[Any]]


def path_value(value: str) -> str:
    """The id, if it is safe in a path. Raises ProviderFailure(REJECTED) otherwise."""
    if not _PATH_VALUE.fullmatch(value):
        raise failures.rejected("an id that Polar cannot have made", "invalid_id")
    return value


class PolarClient:
    def __init__(self, *, api_key: str, api_base: str | None, timeout_seconds: float) -> None:
        self._api_key = api_key
        self._api_base = (api_base or PRODUCTION_BASE).rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._sdk: Sdk | None = None
        self._sdk_lock = threading.Lock()

    @property
    def is_production(self) -> bool:
        return self._api_base == PRODUCTION_BASE

    async def call(self, operation: str, send: Send) -> Any:
        """The JSON of a 2xx answer. Raises ProviderFailure for everything else."""
        with provider_call(ProviderName.POLAR, operation):
            return await self._call(operation, send)

    async def _call(self, operation: str, send: Send) -> Any:
        # Importing the SDK takes more than a second, which the event loop must not wait for.
        sdk = self._sdk
        if sdk is None:
            sdk = await asyncio.to_thread(self._load_sdk, operation)
        try:
            async with asyncio.timeout(self._timeout_seconds * TOTAL_TIMEOUT_FACTOR):
                await send(sdk)
        except Answered as answered:
            return _read(operation, answered.response)
        except httpx.RequestError as error:
            raise failures.from_transport(operation, error) from error
        except TimeoutError:
            raise failures.gave_up_waiting(operation) from None
        raise failures.unreadable(operation, "the SDK did not send anything")

    async def pages(self, operation: str, send: SendPage) -> list[Any]:
        """The items of every page of a list."""
        items: list[Any] = []
        for number in range(1, PAGES_MAX + 1):
            body = await self._page(operation, send, number)
            items += body["items"]
            if number >= body["max_page"]:
                break
        return items

    async def aclose(self) -> None:
        if self._sdk is not None:
            await self._sdk.http.aclose()

    async def _page(self, operation: str, send: SendPage, number: int) -> dict[str, Any]:
        body = await self.call(operation, lambda sdk: send(sdk, number))
        found = body.get("items") if isinstance(body, dict) else None
        if not isinstance(found, list):
            raise failures.unreadable(operation, "not a list")
        pagination = body.get("pagination")
        last = pagination.get("max_page") if isinstance(pagination, dict) else None
        return {"items": found, "max_page": last if isinstance(last, int) else number}

    def _load_sdk(self, operation: str) -> Sdk:
        with self._sdk_lock:
            if self._sdk is not None:
                return self._sdk
            try:
                self._sdk = self._make_sdk()
            except (httpx.InvalidURL, UnicodeEncodeError) as error:
                raise failures.misconfigured(operation, type(error).__name__) from None
            return self._sdk

    def _make_sdk(self) -> Sdk:
        from polar.base import AsyncClientBase
        from polar.v2026_10 import PolarAsync
        from polar.v2026_10.services.benefit_grants import BenefitGrantsAsync
        from polar.v2026_10.services.benefits import BenefitsAsync
        from polar.v2026_10.services.checkouts import CheckoutsAsync
        from polar.v2026_10.services.customers import CustomersAsync
        from polar.v2026_10.services.orders import OrdersAsync
        from polar.v2026_10.services.products import ProductsAsync
        from polar.v2026_10.services.refunds import RefundsAsync
        from polar.v2026_10.services.subscriptions import SubscriptionsAsync

        class Transport(AsyncClientBase):
            """Hands the answer over as an exception, which passes by the SDK's own parser."""

            async def send_request(self, request: httpx.Request) -> httpx.Response:
                raise Answered(await self._client.send(request))

        transport = Transport(self._api_base, PolarAsync.version, self._api_key)
        http = self._make_http(transport._client)
        if not http.base_url.host:
            raise httpx.InvalidURL("no host")
        transport._client = http
        return Sdk(
            http=http,
            customers=CustomersAsync(transport),
            products=ProductsAsync(transport),
            benefits=BenefitsAsync(transport),
            benefit_grants=BenefitGrantsAsync(transport),
            checkouts=CheckoutsAsync(transport),
            orders=OrdersAsync(transport),
            refunds=RefundsAsync(transport),
            subscriptions=SubscriptionsAsync(transport),
        )

    def _make_http(self, made_by_sdk: httpx.AsyncClient) -> httpx.AsyncClient:
        """The SDK's client with the settings it has no argument for: pool, timeouts, no proxies."""
        wait_seconds = min(self._timeout_seconds, CONNECT_SECONDS_MAX)
        return httpx.AsyncClient(
            base_url=made_by_sdk.base_url,
            headers=made_by_sdk.headers,
            timeout=httpx.Timeout(self._timeout_seconds, connect=wait_seconds, pool=wait_seconds),
            limits=httpx.Limits(
                max_connections=CONNECTIONS_MAX,
                max_keepalive_connections=CONNECTIONS_MAX,
                keepalive_expiry=KEEP_ALIVE_SECONDS,
            ),
            trust_env=False,
            verify=_tls_context(),
        )


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """One for the process: reading the certificates takes longer than most calls."""
    return httpx.create_ssl_context(trust_env=False)


def _read(operation: str, response: httpx.Response) -> Any:
    try:
        body = response.json()
    except (ValueError, RecursionError):
        body = None
    if not response.is_success:
        raise _failure(operation, response, body)
    if body is None:
        raise failures.unreadable(operation, "the body is not JSON")
    return body


def _failure(operation: str, response: httpx.Response, body: Any) -> ProviderFailure:
    return failures.from_answer(operation, response.status_code, body, response.headers)
