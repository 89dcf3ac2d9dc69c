"""Lets time pass on the time-skipping server: one sleep at a time, each to its end.

The server counts locks. An activity that runs holds one, and so does the clock while nobody sleeps; a sleep
gives back one. A second sleep at the same time would give back that of the running activity: the activity
times out although it works, and its lock is never given back (seen in temporal-test-server 1.40).
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio.api.testservice.v1 import SleepRequest
from temporalio.testing import WorkflowEnvironment

# The SDK's own sleep gives up after 30 s of real time, while the server goes on with it.
PATIENCE = timedelta(minutes=3)


class Sleeping:
    """Whoever wants time to pass in this environment asks here."""

    def __init__(self, env: WorkflowEnvironment) -> None:
        self._env = env
        self._one = asyncio.Lock()

    @property
    def someone_sleeps(self) -> bool:
        return self._one.locked()

    async def sleep(self, duration: timedelta) -> None:
        """Returns when the server's clock is so much further. Raises `RPCError` when that takes longer
        than `PATIENCE` of real time."""
        async with self._one:
            if not self._env.supports_time_skipping:
                await self._env.sleep(duration)
                return
            request = SleepRequest()
            request.duration.FromTimedelta(duration)
            await self._env.client.test_service.unlock_time_skipping_with_sleep(
                request, timeout=PATIENCE
            )
