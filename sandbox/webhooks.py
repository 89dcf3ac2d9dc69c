"""Sends the simulators' events as the providers do: signed, retried, at least once, in no sure order."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import Callable
from functools import cache
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, Field

Signer = Callable[[bytes], dict[str, str]]

# Shorter than the real ones (hours), so that a restarted API hears everything within a demo.
RETRY_DELAYS_SECONDS = (0.5, 1, 2, 4, 8, 15, 30, 60, 60, 60)


@cache
def _trusted() -> ssl.SSLContext:
    """Made once: reading the machine's certificates takes longer than a delivery."""
    return ssl.create_default_context()


class DeliveryPolicy(BaseModel):
    """How badly the network behaves. `drop` is the share (0 to 1) of events that are never sent."""

    model_config = ConfigDict(extra="forbid")

    duplicate: int = Field(0, ge=0, le=20)
    reorder: bool = False
    drop: float = Field(0.0, ge=0, le=1)
    delay_seconds: float = Field(0.0, ge=0)


class WebhookSender:
    """Keeps every event ever made, so that it can be listed and sent again."""

    def __init__(self, base_url: str | None) -> None:
        self.base_url = base_url
        self.policy = DeliveryPolicy()
        self.events: list[dict[str, Any]] = []  # {provider, id, body, status}
        self.signers: dict[str, Signer] = {}
        self._random = random.Random(0)  # noqa: S311 - chance for faults, not for secrets
        self._held: list[dict[str, Any]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: httpx.AsyncClient | None = None

    def emit(self, provider: str, event: dict[str, Any], event_id: str | None = None) -> None:
        """Record the event and, if there is a target, send it in the background. `event_id` is for a
        provider whose bodies do not carry it."""
        known_as = event_id or event["id"]
        record = {"provider": provider, "id": known_as, "body": event, "status": "pending"}
        self.events.append(record)
        if self.base_url is None:
            record["status"] = "unsent"
        elif self._random.random() < self.policy.drop:
            record["status"] = "dropped"
        elif self.policy.reorder and not self._held:
            self._held.append(record)  # Goes out after the next one, or after a second.
            self._spawn(self._release_held(1.0))
        else:
            self._send(record)
            self._spawn(self._release_held(0.0))

    def redeliver(self, *, only_undelivered: bool = False, newest: int = 0) -> int:
        """Send events again (all of them, or those that never arrived, or so many of the `newest`);
        returns how many."""
        chosen = [e for e in self.events if not only_undelivered or e["status"] != "delivered"]
        chosen = chosen[-newest:]
        for record in chosen:
            self._send(record)
        return len(chosen)

    def reset(self) -> None:
        self.events.clear()
        self._held.clear()
        self.policy = DeliveryPolicy()

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    async def drain(self) -> None:
        """Wait until nothing is on its way any more (for tests)."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _send(self, record: dict[str, Any]) -> None:
        for _ in range(1 + self.policy.duplicate):
            self._spawn(self._deliver(record, self.policy.delay_seconds))

    async def _release_held(self, after_seconds: float) -> None:
        await asyncio.sleep(after_seconds)
        while self._held:
            self._send(self._held.pop())

    async def _deliver(self, record: dict[str, Any], delay_seconds: float) -> None:
        provider = record["provider"]
        await asyncio.sleep(delay_seconds)
        for retry_delay_seconds in (*RETRY_DELAYS_SECONDS, None):
            body = json.dumps(record["body"], separators=(",", ":")).encode()
            headers = {"Content-Type": "application/json", **self.signers[provider](body)}
            if await self._post(f"{self.base_url}/{provider}", body, headers):
                record["status"] = "delivered"
                return
            if retry_delay_seconds is not None:
                await asyncio.sleep(retry_delay_seconds)
        record["status"] = "failed"

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> bool:
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=10, trust_env=False, verify=_trusted())
        client = self._client
        try:
            response = await client.post(url, content=body, headers=headers)
        except httpx.HTTPError:
            # A pool whose server was killed under a hundred requests may never hand out a connection
            # again. Whoever still uses it ends by its own time limit.
            if self._client is client:
                self._client = None
            return False
        return response.is_success

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
