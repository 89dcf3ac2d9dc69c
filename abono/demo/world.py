"""The world outside, through the sandbox's control plane: shops, banks, months that pass, lost answers."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx

from abono.demo.checks import StepFailed
from abono.demo.engine import WAIT_SECONDS_MAX, Places
from abono.demo.views import Movement, Subscription

_REQUEST_SECONDS_MAX = 15.0
_POLL_SECONDS = 0.05


class World:
    def __init__(self, sandbox_url: str, places: Places) -> None:
        self._where = places.of_logs("sandbox")
        self._client = httpx.AsyncClient(
            base_url=f"{sandbox_url}/_control",
            timeout=_REQUEST_SECONDS_MAX,
            trust_env=False,
            # A connection that the sandbox closes just now would leave open whether it has heard.
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    async def behave(self) -> None:
        """No faults, and webhooks that arrive: whatever somebody tried before is over."""
        await self.clear_faults()
        await self._send("POST", "/webhooks", {})

    async def clear_faults(self) -> None:
        await self._send("DELETE", "/faults")

    async def go_down(self, provider: str) -> None:
        """It answers 503 to every call, until the faults are cleared."""
        await self._send("POST", "/faults", {"provider": provider, "mode": "down"})

    async def lose_answer(self, provider: str, operation: str) -> None:
        """The next such call is carried out, and its answer never arrives."""
        fault = {
            "provider": provider,
            "operation": operation,
            "mode": "applied_then_timeout",
            "count": 1,
        }
        await self._send("POST", "/faults", fault)

    async def until_answer_lost(self, provider: str, operation: str) -> None:
        """Until the call that `lose_answer` waited for has been made. Raises StepFailed."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while any(
            fault["provider"] == provider and fault["operation"] == operation
            for fault in (await self._send("GET", "/faults"))["data"]
        ):
            if time.monotonic() > deadline:
                got = f"none within {WAIT_SECONDS_MAX:.0f} s"
                raise StepFailed(f"a call of {provider} {operation}", got, self._where)
            await asyncio.sleep(_POLL_SECONDS)

    async def renew(self, subscription: Subscription, outcome: str) -> None:
        """The provider's clock reaches the next period and bills it: `paid` or `failed`."""
        path = f"/subscriptions/{subscription.provider}/{subscription.provider_subscription_id}"
        await self._send("POST", f"{path}/renew", {"outcome": outcome})

    async def pay(self, reference: str) -> None:
        """Somebody pays this voucher at the till, or to this CLABE."""
        await self._send("POST", f"/payments/{reference}/pay", {})

    async def expire(self, reference: str) -> None:
        """The time to pay this voucher is over."""
        await self._send("POST", f"/payments/{reference}/expire", {})

    async def movements(self, subscription: Subscription) -> list[Movement]:
        """What the providers have in their books for it."""
        book = [Movement.model_validate(entry) for entry in await self._send("GET", "/charges")]
        return [movement for movement in book if movement.subscription_id == str(subscription.id)]

    async def until_status(self, subscription: Subscription, reference: str, status: str) -> None:
        """Until the provider's book says so of this voucher. Raises StepFailed."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while True:
            book = await self.movements(subscription)
            found = [m.status for m in book if m.reference == reference]
            if found == [status]:
                return
            if time.monotonic() > deadline:
                expected = f"voucher {reference} to be {status} at the provider"
                raise StepFailed(expected, ", ".join(found) or "no such voucher", self._where)
            await asyncio.sleep(_POLL_SECONDS)

    async def _send(self, method: str, path: str, body: Any = None) -> Any:
        """Sent again only while nobody is there to hear it: paying twice would be paying twice."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        expected = f"the sandbox to carry out {method} {path}"
        while True:
            try:
                response = await self._client.request(method, path, json=body)
            except httpx.ConnectError:
                if time.monotonic() > deadline:
                    raise StepFailed(expected, "nobody answers there", self._where) from None
                await asyncio.sleep(_POLL_SECONDS)
                continue
            except httpx.TransportError as problem:
                got = f"no answer ({type(problem).__name__})"
                raise StepFailed(expected, got, self._where) from None
            if not response.is_success:
                got = f"{response.status_code} {response.text[:200]}"
                raise StepFailed(expected, got, self._where)
            return response.json()
