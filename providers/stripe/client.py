"""The SDK's client, pooled and quiet."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from typing import Any

import httpx
import stripe

from models.outcomes import ProviderName
from providers.calling import path_template, provider_call

# The SDK would write a file below the home directory and send platform details and latencies.
stripe.enable_telemetry = False
# At DEBUG the SDK logs whole bodies: personal data and client secrets.
logging.getLogger("stripe").setLevel(logging.WARNING)

# The SDK's default keeps 20 idle connections; above that every call would pay a TLS handshake.
CONNECTIONS_MAX = 50
CONNECT_SECONDS_MAX = 3.0
KEEP_ALIVE_SECONDS = 30.0


class PooledHTTPXClient(stripe.HTTPXClient):
    """The SDK's client has no setting for its pool, so its inner client is replaced.

    That touches private names; the SDK's version is pinned, and the tests would notice.
    """

    def __init__(self, *, limits: httpx.Limits, timeout: httpx.Timeout) -> None:
        super().__init__(timeout=timeout)
        self._client_async = httpx.AsyncClient(
            limits=limits,
            trust_env=False,
            verify=ssl.create_default_context(cafile=stripe.ca_bundle_path),
        )

    def _get_request_args_kwargs(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any
    ) -> Any:
        """The SDK hands its encoded body over as `data`, which httpx deprecates for text."""
        args, kwargs = super()._get_request_args_kwargs(method, url, headers, post_data)
        body = kwargs.pop("data")
        return args, {**kwargs, "content": body or None}

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """The one way of every request of the SDK."""
        operation = f"{method.upper()} {path_template(httpx.URL(url).path)}"
        with provider_call(ProviderName.STRIPE, operation) as call:
            content, status, answered = await super().request_async(method, url, headers, post_data)
            call.result = str(status)
            return content, status, answered

    async def aclose(self) -> None:
        await self._client_async.aclose()


def make_client(
    api_key: str, api_base: str | None, timeout_seconds: float
) -> tuple[stripe.StripeClient, PooledHTTPXClient]:
    """A client for one event loop, and its transport, which has to be closed.

    The SDK never retries by itself: an attempt that may have happened is a matter for the workflow.
    """
    wait_seconds = min(CONNECT_SECONDS_MAX, timeout_seconds)
    transport = PooledHTTPXClient(
        limits=httpx.Limits(
            max_connections=CONNECTIONS_MAX,
            max_keepalive_connections=CONNECTIONS_MAX,
            keepalive_expiry=KEEP_ALIVE_SECONDS,
        ),
        timeout=httpx.Timeout(timeout_seconds, connect=wait_seconds, pool=wait_seconds),
    )
    if api_base is None:
        return stripe.StripeClient(api_key, http_client=transport, max_network_retries=0), transport
    base = api_base.rstrip("/")
    # An address that is not set would still point at stripe.com.
    client = stripe.StripeClient(
        api_key,
        http_client=transport,
        max_network_retries=0,
        base_addresses={"api": base, "files": base, "connect": base, "meter_events": base},
    )
    return client, transport
