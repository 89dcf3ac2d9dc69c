"""An application that calls the API while its parts are killed: one key per wish, and patience."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from abono.dev.info import StackInfo

_TIMEOUT_SECONDS = 15.0
_AGAIN_SECONDS = 0.3
_POLL_SECONDS = 0.2
# What says "come back in a moment"; every other answer is an answer.
_PASSING = frozenset({429, 503})


class GaveUp(Exception):
    """Nothing came of a wish for as long as anybody would wait."""


class Refused(Exception):
    """The engine said no. Which is an answer: the wish was one that may not be granted now."""


@dataclass
class Tally:
    """What the calls met. `faulty` are answers that no caller may ever get."""

    answers: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    faulty: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)


class Caller:
    """`run` makes this run's idempotency keys differ from those of every other run."""

    def __init__(self, info: StackInfo, tally: Tally, *, run: str, patience_seconds: float) -> None:
        self._tally = tally
        self._run = run
        self._wishes = 0
        self._patience_seconds = patience_seconds
        self._keys = {False: info.api_key, True: info.admin_api_key}
        self._api = f"{info.api_url}/api/v1"
        self._control = f"{info.sandbox_url}/_control"
        self._client = httpx.AsyncClient(
            timeout=_TIMEOUT_SECONDS,
            trust_env=False,
            # A connection that dies with its server would leave open whether a request was heard; a
            # fresh one for each shows that at once.
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    async def post(self, path: str, body: Any = None, *, admin: bool = False) -> dict[str, Any]:
        """Sent again with the same key until it is answered. Raises Refused and GaveUp."""
        self._wishes += 1
        headers = {
            "Authorization": f"Bearer {self._keys[admin]}",
            "Idempotency-Key": f"{self._run}-{self._wishes}",
        }
        url = f"{self._api}{path}"
        return await self._patiently("POST", url, headers=headers, json=body)

    async def get(self, path: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._keys[False]}"}
        return await self._patiently("GET", f"{self._api}{path}", headers=headers)

    async def until(
        self, path: str, holds: Callable[[dict[str, Any]], bool], seconds: float | None = None
    ) -> dict[str, Any]:
        """Read it until `holds`. Raises GaveUp."""
        deadline = time.monotonic() + (seconds or self._patience_seconds)
        while True:
            found = await self.get(path)
            if holds(found):
                return found
            if time.monotonic() > deadline:
                raise GaveUp(f"GET {path}: still {found.get('status')}")
            await asyncio.sleep(_POLL_SECONDS)

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """The sandbox's control plane. Sent again only while nobody is there to hear it, since paying
        twice would be paying twice; an answer that got lost counts as heard."""
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                response = await self._client.request(method, f"{self._control}{path}", json=body)
                return response.json() if response.is_success else None
            except httpx.ConnectError:
                if time.monotonic() > deadline:
                    raise GaveUp(f"{method} {path}: no sandbox") from None
                await asyncio.sleep(_AGAIN_SECONDS)
            except httpx.TransportError:
                return None

    async def visit(self, url: str) -> None:
        """Press the button of a provider's page; whatever comes of it is in the provider's book."""
        try:
            await self._client.post(url)
        except httpx.TransportError:
            return

    async def _patiently(self, method: str, url: str, **said: Any) -> dict[str, Any]:
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                response = await self._client.request(method, url, **said)
            except httpx.TransportError as trouble:
                self._tally.answers[type(trouble).__name__] += 1
                got = type(trouble).__name__
            else:
                self._tally.answers[str(response.status_code)] += 1
                if response.is_success:
                    return dict(response.json())
                got = f"{response.status_code} {_code(response)}"
                if not _is_passing(response):
                    self._judge(method, url, response)
                    raise Refused(f"{method} {url}: {got}")
            if time.monotonic() > deadline:
                raise GaveUp(f"{method} {url}: {got}")
            self._tally.repeated += 1
            await asyncio.sleep(_AGAIN_SECONDS)

    def _judge(self, method: str, url: str, response: httpx.Response) -> None:
        """A refusal is fair; an error that is ours, a forgotten key or a lost row are not."""
        unfair = response.status_code >= 500 or response.status_code in {400, 401, 403, 404, 422}
        if unfair:
            said = f"{method} {httpx.URL(url).path}: {response.status_code} {response.text[:300]}"
            self._tally.faulty.append(said)


def _is_passing(response: httpx.Response) -> bool:
    busy = response.status_code == httpx.codes.CONFLICT
    in_use = busy and _code(response) == "idempotency_key_in_use"
    return in_use or response.status_code in _PASSING


def _code(response: httpx.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return ""
    return str(body.get("code", "")) if isinstance(body, dict) else ""
