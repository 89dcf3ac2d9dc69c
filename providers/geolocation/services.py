"""The two public web services: what is sent to them, and how their answers are read."""

from __future__ import annotations

import asyncio
import json
import logging
from abc import ABC, abstractmethod
from typing import Any

import httpx
from pydantic import SecretStr

from models.routing import CountrySource
from providers.geolocation.reading import iso_country

TIMEOUT_SECONDS = 1.0
# Their answers have some 800 bytes; whatever is longer is none of theirs.
_ANSWER_BYTES_MAX = 16_384

# At INFO httpx logs whole addresses of requests: the customer's IP address and our key.
logging.getLogger("httpx").setLevel(logging.WARNING)


class ServiceAway(Exception):
    """No usable answer. `retry_after_seconds` when the service itself said how long to stay away."""

    def __init__(self, reason: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


class WebService(ABC):
    """One GET per address. `key` belongs to a paid plan and is sent as `?key=`."""

    source: CountrySource

    def __init__(self, base_url: str, key: SecretStr | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._key = key

    async def country_of(self, client: httpx.AsyncClient, address: str) -> str | None:
        """None when the service does not know. Raises ServiceAway."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return self._read(await self._get(client, address))
        except TimeoutError:
            raise ServiceAway("timeout") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ServiceAway(type(error).__name__) from None

    async def _get(self, client: httpx.AsyncClient, address: str) -> dict[str, Any]:
        params = self._params()
        if self._key is not None:
            params["key"] = self._key.get_secret_value()
        async with client.stream("GET", self._base_url + self._path(address), params=params) as got:
            if got.status_code == httpx.codes.TOO_MANY_REQUESTS:
                raise ServiceAway("rate limit", self._pause(got.headers))
            if got.status_code >= 500 or got.is_redirect:
                raise ServiceAway(f"HTTP {got.status_code}")
            body = bytearray()
            async for chunk in got.aiter_bytes():
                body += chunk
                if len(body) > _ANSWER_BYTES_MAX:
                    raise ServiceAway("answer too long")
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            raise ServiceAway("no JSON") from None
        if not isinstance(answer, dict):
            raise ServiceAway("no JSON object")
        return answer

    @abstractmethod
    def _path(self, address: str) -> str: ...

    @abstractmethod
    def _read(self, answer: dict[str, Any]) -> str | None:
        """The country; raises ServiceAway when the answer is a refusal to work."""

    def _params(self) -> dict[str, str]:
        return {}

    def _pause(self, headers: httpx.Headers) -> float | None:
        return _seconds(headers.get("Retry-After"))


class IpapiCo(WebService):
    """https://ipapi.co: 30,000 look-ups a month without a key. Errors come as `{"error": true}`, the
    rate limit with status 429 and, at times, with 200."""

    source = CountrySource.IPAPI

    def _path(self, address: str) -> str:
        return f"/{address}/json/"

    def _read(self, answer: dict[str, Any]) -> str | None:
        if not answer.get("error"):
            return iso_country(answer.get("country_code"))
        if answer.get("reserved") or "invalid" in str(answer.get("reason")).lower():
            return None
        limited = answer.get("reason") == "RateLimited"
        raise ServiceAway("rate limit" if limited else "refused")


class IpApi(WebService):
    """http://ip-api.com: 45 look-ups a minute without a key, unencrypted and not for commercial use;
    with one, base it on https://pro.ip-api.com."""

    source = CountrySource.IP_API

    def _path(self, address: str) -> str:
        return f"/json/{address}"

    def _params(self) -> dict[str, str]:
        return {"fields": "status,message,countryCode,query"}

    def _pause(self, headers: httpx.Headers) -> float | None:
        # It bans whoever goes on asking before this has passed.
        return _seconds(headers.get("X-Ttl"))

    def _read(self, answer: dict[str, Any]) -> str | None:
        if answer.get("status") == "success":
            return iso_country(answer.get("countryCode"))
        if answer.get("message") in {"private range", "reserved range", "invalid query"}:
            return None
        raise ServiceAway("refused")


def _seconds(header: str | None) -> float | None:
    return float(header) if header is not None and header.isdecimal() else None
