"""One webhook, one try: signed as Standard Webhooks says, to an address that was judged, and no further."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

import httpx
from standardwebhooks import Webhook

from api.outbound.addresses import (
    Address,
    AddressRefused,
    Resolve,
    locate,
    parse,
    resolve_by_system,
)
from api.pans import contains_card_number
from models.outbound import EVENTS_VERSION
from models.storage.tables import OutboundEvent

# A receiver stores and answers; what takes longer belongs behind its answer. Stripe waits as long.
TIMEOUT_SECONDS = 10.0
# Of the addresses behind a name; more would only make a dead receiver slower to tell.
_ADDRESSES_MAX = 3
_CONNECT_SECONDS_MAX = 4.0
# Enough to recognise an error page by.
_EXCERPT_BYTES = 512
_EXCERPT_SECONDS_MAX = 1.0


@dataclass(frozen=True)
class Result:
    """What came of a try. `error` is a word of ours: None means delivered."""

    error: str | None = None
    response_status: int | None = None
    response_excerpt: str | None = None

    @property
    def delivered(self) -> bool:
        return self.error is None

    @property
    def gone(self) -> bool:
        """The receiver says that nobody wants this any more."""
        return self.response_status == HTTPStatus.GONE


def body_of(event: OutboundEvent) -> str:
    """What is sent of an event: the same text at every try."""
    said: dict[str, Any] = {
        "id": str(event.id),
        "type": event.type,
        "version": EVENTS_VERSION,
        "timestamp": event.created_at.isoformat(),
        "sequence": event.sequence,
        "subscription_id": str(event.subscription_id) if event.subscription_id else None,
        "purchase_id": str(event.purchase_id) if event.purchase_id else None,
        "data": event.data,
    }
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def signed_headers(
    secrets: Sequence[str], event_id: str, body: str, at: datetime
) -> dict[str, str]:
    """The three headers of Standard Webhooks, with one signature for each secret."""
    signatures = [Webhook(secret).sign(event_id, at, body) for secret in secrets]
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


class Sender:
    """`resolve` and `ssl_context` are the system's own when left out."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        resolve: Resolve = resolve_by_system,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.allow_private = allow_private
        self._resolve = resolve
        self._ssl_context = ssl_context
        self._made: httpx.AsyncClient | None = None

    async def check(self, url: str) -> None:
        """Whether webhooks may go there now. Raises AddressRefused."""
        try:
            async with asyncio.timeout(_CONNECT_SECONDS_MAX):
                await self._locate(url)
        except (socket.gaierror, TimeoutError):
            raise AddressRefused("names a host that cannot be found") from None

    async def send(
        self, url: str, headers: dict[str, str], body: str, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> Result:
        """Never raises for what a receiver or the network does."""
        try:
            async with asyncio.timeout(timeout_seconds):
                parsed, addresses = await self._locate(url)
                return await self._post(parsed, addresses, headers, body.encode())
        except AddressRefused:
            return Result("address_refused")
        except socket.gaierror:
            return Result("name_not_found")
        except (TimeoutError, httpx.TimeoutException):
            return Result("timeout")
        except httpx.ConnectError as error:
            return Result("tls_failed" if _is_tls(error) else "connection_failed")
        except httpx.HTTPError:
            return Result("connection_lost")

    async def aclose(self) -> None:
        if self._made is not None:
            await self._made.aclose()
            self._made = None

    async def _locate(self, url: str) -> tuple[httpx.URL, list[Address]]:
        parsed = parse(url, allow_private=self.allow_private)
        return parsed, await locate(parsed, self._resolve, allow_private=self.allow_private)

    async def _post(
        self, url: httpx.URL, addresses: list[Address], headers: dict[str, str], body: bytes
    ) -> Result:
        """To the first address that takes a connection; never to two that do."""
        *others, last = addresses[:_ADDRESSES_MAX]
        for address in others:
            try:
                return await self._post_to(url, address, headers, body)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._post_to(url, last, headers, body)

    async def _post_to(
        self, url: httpx.URL, address: Address, headers: dict[str, str], body: bytes
    ) -> Result:
        request = self._client().build_request(
            "POST",
            url.copy_with(host=str(address)),
            content=body,
            headers={**headers, "host": url.netloc.decode()},
            # The certificate has to be that of the name, not of the address.
            extensions={"sni_hostname": url.raw_host.decode()} if url.scheme == "https" else None,
        )
        response = await self._client().send(request, stream=True, follow_redirects=False)
        try:
            return _result(response.status_code, await _excerpt(response))
        finally:
            await response.aclose()

    def _client(self) -> httpx.AsyncClient:
        """Made when it is first needed: reading the machine's certificates takes 20 ms."""
        if self._made is None:
            self._made = httpx.AsyncClient(
                verify=self._ssl_context or httpx.create_ssl_context(),
                trust_env=False,  # A proxy would resolve names by itself.
                timeout=httpx.Timeout(TIMEOUT_SECONDS, connect=_CONNECT_SECONDS_MAX),
                # A connection is known by its address here: kept open, it could be used for another
                # name at the same address, whose certificate nobody has looked at.
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
                headers={
                    "user-agent": "Abono-Webhooks/1",
                    "content-type": "application/json",
                    "accept": "*/*",
                    "accept-encoding": "identity",
                },
            )
        return self._made


def _result(status: int, excerpt: str | None) -> Result:
    if 200 <= status < 300:
        return Result(None, status, excerpt)
    return Result("redirected" if 300 <= status < 400 else "refused", status, excerpt)


async def _excerpt(response: httpx.Response) -> str | None:
    """The beginning of the answer, as far as it comes at once. The status has said what counts, and the
    rest may never end."""
    found = b""
    with contextlib.suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(_EXCERPT_SECONDS_MAX):
            async for chunk in response.aiter_raw():
                found += chunk
                if len(found) >= _EXCERPT_BYTES:
                    break
    text = found[:_EXCERPT_BYTES].decode(errors="replace").replace("\x00", "").strip()
    if contains_card_number(text):
        return "[left out: it looks like a card number]"
    return text or None


def _is_tls(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
