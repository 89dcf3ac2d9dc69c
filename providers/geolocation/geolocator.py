"""Asks the database first, then the web services, and takes no longer than it may."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import structlog

from models.routing import CountrySource, Located
from providers.geolocation.cache import Cache
from providers.geolocation.database import Database, DatabaseUnusable
from providers.geolocation.reading import public_address
from providers.geolocation.services import ServiceAway, WebService

# For all services together: a request that waits for a country is answered within 10 s all the same.
TOTAL_SECONDS = 1.5
# A service that was away is left alone for a while, so that an outage costs a few requests their 1.5 s
# and not every one.
REST_SECONDS = 30.0
# However long a service says that it wants to be left alone.
REST_SECONDS_MAX = 3600.0

# An address is personal data: it is never logged.
_log = structlog.get_logger("abono.geolocation")


class Geolocator:
    """`country_of` never raises: not knowing is an answer. Belongs to one event loop."""

    def __init__(
        self,
        database_path: Path | None = None,
        services: Sequence[WebService] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = _open(database_path)
        self._services = tuple(services)
        self._clock = clock
        self._cache = Cache(clock)
        self._resting_until: dict[CountrySource, float] = {}
        self._client: httpx.AsyncClient | None = None

    async def country_of(self, ip: str) -> Located | None:
        """The country of a public address, or None."""
        address = public_address(ip)
        if address is None:
            return None
        known, located = self._cache.get(address)
        if known:
            return located
        located = self._look_up(address) or await self._ask_all(address)
        self._cache.put(address, located)
        return located

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()
        if self._database is not None:
            self._database.close()

    def _look_up(self, address: str) -> Located | None:
        if self._database is None:
            return None
        try:
            country = self._database.country_of(address)
        except Exception as error:
            # Parts of a damaged file may still be readable; the services stand in for the others.
            _log.warning("geolocation database is damaged", error=type(error).__name__)
            return None
        return _located(country, CountrySource.DATABASE)

    async def _ask_all(self, address: str) -> Located | None:
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                for service in self._services:
                    if (located := await self._ask(service, address)) is not None:
                        return located
        except TimeoutError:
            _log.info("geolocation took too long")
        return None

    async def _ask(self, service: WebService, address: str) -> Located | None:
        if self._clock() < self._resting_until.get(service.source, 0.0):
            return None
        try:
            country = await service.country_of(self._http(), address)
        except ServiceAway as away:
            pause = min(max(away.retry_after_seconds or 0.0, REST_SECONDS), REST_SECONDS_MAX)
            self._resting_until[service.source] = self._clock() + pause
            _log.info("geolocation service away", service=service.source, reason=away.reason)
            return None
        except Exception as error:
            _log.error("geolocation failed", service=service.source, error=type(error).__name__)
            return None
        return _located(country, service.source)

    def _http(self) -> httpx.AsyncClient:
        """Made on first use: reading the certificates takes tens of milliseconds."""
        if self._client is None:
            self._client = httpx.AsyncClient(trust_env=False, follow_redirects=False)
        return self._client


def _open(path: Path | None) -> Database | None:
    if path is None:
        return None
    try:
        database = Database(path)
    except DatabaseUnusable as problem:
        _log.warning("geolocation goes on without its database", problem=str(problem))
        return None
    _log.info("geolocation database read", database=database.description)
    return database


def _located(country: str | None, source: CountrySource) -> Located | None:
    return None if country is None else Located(country=country, source=source)
