"""Lets time pass on the time-skipping server: one sleep at a time, each to its end.

The server counts locks. An activity that runs holds one, and so does the clock while nobody sleeps; a sleep
gives back one. A second sleep at the same time would give back that of the running activity: the activity
times out although it works, and its lock is never given back (seen in temporal-test-server 1.40).
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import datetime, timedelta

from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

PATIENCE_SECONDS = 180.0
LOOK_SECONDS = 0.2


class Sleeping:
    """Whoever wants time to pass in this environment asks here."""

    def __init__(self, env: WorkflowEnvironment) -> None:
        self._env = env
        self._one = asyncio.Lock()

    @property
    def someone_sleeps(self) -> bool:
        return self._one.locked()

    async def sleep(self, duration: timedelta) -> None:
        """Returns when the server's clock is so much further. Raises `TimeoutError` when that takes longer
        than `PATIENCE_SECONDS` of real time."""
        async with self._one:
            if not self._env.supports_time_skipping:
                await self._env.sleep(duration)
                return
            until = await self._env.get_current_time() + duration
            began = time.monotonic()
            try:
                await self._env.sleep(duration)
            except RPCError:
                # The client gives up after 30 s, and loses its connection when the server answers a call
                # twice, as it does one time in tens of thousands. The server goes on with the sleep: to
                # ask for another would be the second one.
                await self._reach(until, began + PATIENCE_SECONDS)

    async def _reach(self, until: datetime, deadline: float) -> None:
        now = None
        while time.monotonic() < deadline:
            with suppress(RPCError):
                now = await self._env.get_current_time()
                if now >= until:
                    return
            await asyncio.sleep(LOOK_SECONDS)
        raise TimeoutError(f"the skipping clock stands at {now}, and was to reach {until} by now")
