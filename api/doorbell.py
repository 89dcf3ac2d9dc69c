"""Wakes the dispatcher, and whoever delivers events: at once in this process, soon in the others.

PostgreSQL serialises the commits of transactions that NOTIFY, so the insert of a webhook must not: the
bell is rung after the commit, on a connection of its own, once for many.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from activities.webhook_queue import OUTBOUND_CHANNEL

CHANNEL = "abono_inbox"
# Other replicas only help with what this one has not taken: nothing is lost by telling them late.
_NOTIFY_PAUSE_SECONDS = 0.1
_RECONNECT_SECONDS = 2.0

_log = structlog.get_logger("abono.dispatcher")


class Doorbell:
    def __init__(self) -> None:
        self._here = asyncio.Event()
        self._elsewhere = asyncio.Event()
        self._told = asyncio.Event()

    def ring(self) -> None:
        """Something is due, or will be in a moment. Cheap, and never fails."""
        self._here.set()
        self._elsewhere.set()

    def ring_here(self) -> None:
        self._here.set()

    def ring_told_here(self) -> None:
        """There may be something to bring to an application. Who tells something rings in its transaction,
        and is heard in every process."""
        self._told.set()

    async def wait(self, timeout_seconds: float) -> None:
        """Until it rings or the time is over."""
        await _wait(self._here, timeout_seconds)

    async def wait_told(self, timeout_seconds: float) -> None:
        """Until an application was told something, or the time is over."""
        await _wait(self._told, timeout_seconds)

    async def connect(self, engine: AsyncEngine) -> None:
        """Carry the ringing to and from other processes; runs until cancelled. While PostgreSQL is
        away, only the ringing in this process is heard."""
        while True:
            try:
                await self._carry(engine)
            except Exception as error:  # Whatever it was: the bell is a help, not a need.
                _log.info("doorbell has no line", error=type(error).__name__)
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _carry(self, engine: AsyncEngine) -> None:
        lost = asyncio.Event()
        async with engine.connect() as connection:
            line: Any = (await connection.get_raw_connection()).driver_connection
            own = line.get_server_pid()

            def heard(_connection: object, pid: int, _channel: str, _payload: str) -> None:
                if pid != own:
                    self._here.set()

            def told(_connection: object, _pid: int, _channel: str, _payload: str) -> None:
                self._told.set()

            def on_lost(_connection: object) -> None:
                lost.set()
                self._elsewhere.set()

            line.add_termination_listener(on_lost)
            await line.add_listener(CHANNEL, heard)
            await line.add_listener(OUTBOUND_CHANNEL, told)
            try:
                while not lost.is_set():
                    await self._elsewhere.wait()
                    self._elsewhere.clear()
                    await line.execute(f"NOTIFY {CHANNEL}")
                    await asyncio.sleep(_NOTIFY_PAUSE_SECONDS)
            finally:
                line.remove_termination_listener(on_lost)
                if not line.is_closed():
                    await line.remove_listener(CHANNEL, heard)
                    await line.remove_listener(OUTBOUND_CHANNEL, told)


async def _wait(bell: asyncio.Event, timeout_seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_seconds):
            await bell.wait()
    bell.clear()
