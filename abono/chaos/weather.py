"""Providers and a network that behave badly, by a seed: a few faults and a delivery policy at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Any

from abono.chaos.calling import Caller
from sandbox.faults import FaultMode

PROVIDERS = ("stripe", "conekta", "polar")
_FAULTS_MAX, _TIMES_MAX = 3, 3
_SLOW_SECONDS = 2.0
STORM_SECONDS = 20.0
# More than a provider sends within the second in which everybody renews, and what the sandbox can sign.
BURST_SIZE = 60


class Weather:
    def __init__(self, caller: Caller, seed: int) -> None:
        self._caller = caller
        self._chance = Random(f"{seed}/weather")  # noqa: S311 - seeded on purpose
        self.placed: Counter[str] = Counter()

    async def turn_bad(self) -> str:
        """What it is like now, in words."""
        chance = self._chance
        said = []
        for _ in range(chance.randint(1, _FAULTS_MAX)):
            fault: dict[str, Any] = {
                "provider": chance.choice(PROVIDERS),
                "mode": str(chance.choice(list(FaultMode))),
                "count": chance.randint(1, _TIMES_MAX),
            }
            if fault["mode"] == FaultMode.SLOW:
                fault["seconds"] = _SLOW_SECONDS
            await self._caller.control("POST", "/faults", fault)
            self.placed[fault["mode"]] += fault["count"]
            said.append(f"{fault['provider']} {fault['mode']} x{fault['count']}")
        policy = {
            "duplicate": chance.choice([0, 1, 3]),
            "reorder": chance.random() < 0.5,
            "drop": chance.choice([0.0, 0.1, 0.3]),
            "delay_seconds": chance.choice([0.0, 0.5, 2.0]),
        }
        await self._caller.control("POST", "/webhooks", policy)
        self.placed["webhook policies"] += 1
        network = ", ".join(f"{name} {value}" for name, value in policy.items() if value)
        return "; ".join([*said, f"webhooks: {network or 'in order'}"])

    async def turn_fair(self) -> None:
        await asyncio.gather(
            self._caller.control("DELETE", "/faults"),
            self._caller.control("POST", "/webhooks", {}),
        )
        # Providers repeat what nobody took, and so what the network lost.
        await self._caller.control("POST", "/webhooks/redeliver", {"only_undelivered": True})

    async def clear_up(self) -> None:
        """Until cancelled: no storm lasts for ever, and whoever waits for lost news hears it then."""
        while True:
            await asyncio.sleep(STORM_SECONDS)
            await self.turn_fair()

    async def burst(self, copies: int) -> None:
        """The newest webhooks, so many times again, all at once."""
        for _ in range(copies):
            await self._caller.control("POST", "/webhooks/redeliver", {"newest": BURST_SIZE})
        self.placed["bursts"] += copies
