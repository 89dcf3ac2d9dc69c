"""What all simulators share: state, clock, faults, webhook delivery and the book of money."""

from __future__ import annotations

import asyncio
import json
import math
import os
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.faults import Fault, FaultMode, Faults
from sandbox.webhooks import WebhookSender

Handler = Callable[[Request, "Call"], Awaitable[Response]]
ErrorBody = Callable[[int, str], dict[str, Any]]

# A lost answer is a client that waits in vain; no SDK of ours waits longer than this.
LOST_ANSWER_SECONDS_MAX = 120.0


@dataclass
class Clock:
    """The simulators' time: the wall clock, moved forward as far as somebody asked for."""

    offset_seconds: float = 0.0

    def now(self) -> int:
        """Unix seconds."""
        return int(time.time() + self.offset_seconds)

    def advance_to(self, unix_seconds: float) -> None:
        """Never goes back: a provider's clock does not either."""
        self.offset_seconds = max(self.offset_seconds, unix_seconds - time.time())


@dataclass
class Call:
    """What a handler is told beside the request: whether the card must be declined."""

    operation: str
    decline: bool = False


@dataclass
class SandboxConfig:
    """`webhook_base_url` is where `/stripe`, `/conekta` and `/polar` are appended; None keeps webhooks
    unsent (they are still recorded and can be redelivered once a target is set)."""

    stripe_api_key: str = "sk_test_sandbox"
    conekta_api_key: str = "key_sandbox"
    polar_access_token: str = "polar_oat_sandbox"  # noqa: S105
    webhook_base_url: str | None = None
    stripe_webhook_secret: str = "whsec_sandbox"  # noqa: S105
    # Base64 after the prefix, as Polar makes them since September 2026.
    polar_webhook_secret: str = "whsec_YWJvbm8tc2FuZGJveC1wb2xhci1zZWNyZXQtMzJieXQ="  # noqa: S105
    conekta_private_key_pem: str | None = None
    state_file: Path | None = None


@dataclass
class Core:
    """The sandbox's heart. `state[provider][collection][id]` is plain JSON, so it can be kept."""

    config: SandboxConfig
    clock: Clock = field(default_factory=Clock)
    faults: Faults = field(default_factory=Faults)
    state: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    charges: list[dict[str, Any]] = field(default_factory=list)
    # Simulators register what has to happen when time passes (renewals, expiries).
    on_time: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    # And when the next of it will, in Unix seconds; infinite for nothing.
    next_dues: list[Callable[[], float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._positions: dict[tuple[str, str, str], int] = {}  # In the book, by `_key`.
        self.webhooks = WebhookSender(self.config.webhook_base_url)
        self._load()

    def collection(self, provider: str, name: str) -> dict[str, Any]:
        return self.state.setdefault(provider, {}).setdefault(name, {})

    async def settle_time(self) -> None:
        """Let every simulator do what its clock has made due."""
        for tick in self.on_time:
            await tick()

    def next_due_at(self) -> float:
        """The next moment, in Unix seconds, at which a provider does something by itself; not later than
        that, and infinite for never."""
        return min((next_due() for next_due in self.next_dues), default=math.inf)

    async def serve(
        self, provider: str, operation: str, request: Request, handler: Handler, error: ErrorBody
    ) -> Response:
        """Run one provider operation under the faults that are switched on for it."""
        await self.settle_time()
        fault = self.faults.take(provider, operation)
        if fault is None:
            return await handler(request, Call(operation))
        refused = self._refuse(fault, error)
        if refused is not None:
            return refused
        if fault.mode is FaultMode.SLOW:
            await asyncio.sleep(fault.seconds or 5.0)
        answer = await handler(request, Call(operation, decline=fault.mode is FaultMode.DECLINE))
        if fault.mode is FaultMode.APPLIED_THEN_ERROR:
            return JSONResponse(error(500, "internal error after the write"), 500)
        if fault.mode is FaultMode.APPLIED_THEN_TIMEOUT:
            await _wait_for_disconnect(request, fault.seconds or LOST_ANSWER_SECONDS_MAX)
            return JSONResponse(error(504, "the answer was lost"), 504)
        return answer

    def _refuse(self, fault: Fault, error: ErrorBody) -> Response | None:
        if fault.mode is FaultMode.DOWN:
            return Response("upstream connect error", 503, media_type="text/plain")
        if fault.mode is FaultMode.ERROR:
            return JSONResponse(error(500, "internal error"), 500)
        if fault.mode is FaultMode.GONE:
            return JSONResponse(error(404, "there is no such object"), 404)
        if fault.mode is FaultMode.RATE_LIMIT:
            headers = {"Retry-After": str(int(fault.seconds))} if fault.seconds else {}
            return JSONResponse(error(429, "too many requests"), 429, headers)
        return None

    def book(self, **movement: Any) -> None:
        """Write one movement of money into the book that `GET /_control/charges` shows.

        Keys: provider, id, kind, amount_minor, currency, status, reference, subscription_id,
        invoice_id, created_at. A movement with the same provider, kind and id replaces the earlier.
        """
        position = self._positions.setdefault(_key(movement), len(self.charges))
        if position < len(self.charges):
            self.charges[position] = {**self.charges[position], **movement}
        else:
            self.charges.append(movement)

    def movement(self, provider: str, kind: str, movement_id: str) -> dict[str, Any] | None:
        """The entry in the book; to change its `id` use `rename`."""
        position = self._positions.get((provider, kind, movement_id))
        return None if position is None else self.charges[position]

    def rename(self, entry: dict[str, Any], movement_id: str) -> None:
        """What was booked under one id goes on under another."""
        self._positions[(entry["provider"], entry["kind"], movement_id)] = self._positions.pop(
            _key(entry)
        )
        entry["id"] = movement_id

    def reset(self) -> None:
        self.state.clear()
        self.charges.clear()
        self._positions.clear()
        self.faults.clear()
        self.webhooks.reset()
        self.clock.offset_seconds = 0.0
        self.save()

    def save(self) -> None:
        """Keep everything in `state_file`, written whole and renamed, so that a kill loses nothing."""
        path = self.config.state_file
        if path is None:
            return
        kept = {
            "state": self.state,
            "charges": self.charges,
            "clock_offset_seconds": self.clock.offset_seconds,
            "events": self.webhooks.events,
        }
        draft = path.with_suffix(".tmp")
        draft.write_text(json.dumps(kept))
        os.replace(draft, path)

    def _load(self) -> None:
        path = self.config.state_file
        if path is None or not path.exists():
            return
        kept = json.loads(path.read_text())
        self.state = kept["state"]
        self.charges = kept["charges"]
        self._positions = {_key(entry): position for position, entry in enumerate(self.charges)}
        self.clock.offset_seconds = kept["clock_offset_seconds"]
        self.webhooks.events = kept["events"]


def _key(movement: dict[str, Any]) -> tuple[str, str, str]:
    return movement["provider"], movement["kind"], movement["id"]


def new_id(prefix: str, length: int = 24) -> str:
    """An id as the providers make them: a prefix and random letters."""
    alphabet = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    return prefix + "".join(secrets.choice(alphabet) for _ in range(length))


async def _wait_for_disconnect(request: Request, seconds: float) -> None:
    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    try:
        await asyncio.wait_for(gone(), seconds)
    except TimeoutError:
        return
