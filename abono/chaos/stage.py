"""The stack of real processes in a folder of its own, on free ports; and how one of them is struck."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from abono.demo.stack import without_own_keys
from abono.dev.info import StackInfo, only_one
from abono.dev.ports import DEFAULT_PORTS, spare_port
from abono.dev.report import Report
from abono.dev.supervisor import Supervisor, prepare_home

# A part that is not back by then does not come back by itself.
BACK_SECONDS_MAX = 60.0
# Nothing of it is kept, and everything here has been killed before.
STOP_SECONDS_MAX = 4.0


class Watchman(Report):
    """Remembers when each part was last seen to come back, and tells it."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self.came_back: dict[str, float] = {}  # By name: monotonic seconds.
        self._news = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def note(self, text: str) -> None:
        self._tell(text)

    def back(self, name: str, seconds: float) -> None:
        super().back(name, seconds)
        self.came_back[name] = time.monotonic()
        task = asyncio.get_running_loop().create_task(self._spread())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def until_back(self, name: str, since: float) -> float:
        """When it was back. Raises TimeoutError when it is not within BACK_SECONDS_MAX."""
        async with asyncio.timeout(BACK_SECONDS_MAX), self._news:
            await self._news.wait_for(lambda: self.came_back.get(name, 0.0) > since)
        return self.came_back[name]

    async def _spread(self) -> None:
        async with self._news:
            self._news.notify_all()


@dataclass
class Stage:
    home: Path
    supervisor: Supervisor
    info: StackInfo
    watchman: Watchman
    frozen: set[int] = field(default_factory=set)  # Process ids.

    async def kill(self, name: str) -> float:
        """As `kill -9` does. When it was back, in monotonic seconds."""
        return await self._end(name, signal.SIGKILL)

    async def restart(self, name: str) -> float:
        """Ends it in order; the supervisor starts it again. When it was back."""
        return await self._end(name, self.supervisor.child(name).stop_signal)

    async def kill_for(self, name: str, seconds: float) -> float:
        """Killed, and not started again before `seconds` are over. When it was back."""
        async with self.without(name):
            await asyncio.sleep(seconds)
        return self.watchman.came_back[self.supervisor.child(name).name]

    @asynccontextmanager
    async def without(self, name: str, how: signal.Signals = signal.SIGKILL) -> AsyncIterator[None]:
        """Ended, and not started again before the end of the block, which ends when it is back."""
        with self.supervisor.away(name):
            struck = self._signal(name, how)
            yield
        await self._back(name, struck)

    @asynccontextmanager
    async def freezing(self, name: str) -> AsyncIterator[None]:
        """It does nothing during the block, neither answers nor closes a connection."""
        pid = self.supervisor.child(name).pid
        if pid is None:  # Dead already, and on its way back.
            yield
            return
        os.killpg(pid, signal.SIGSTOP)
        self.frozen.add(pid)
        try:
            yield
        finally:
            self.frozen.discard(pid)
            if self.supervisor.child(name).pid == pid:
                os.killpg(pid, signal.SIGCONT)

    async def _end(self, name: str, number: signal.Signals) -> float:
        return await self._back(name, self._signal(name, number))

    async def _back(self, name: str, since: float) -> float:
        return await self.watchman.until_back(self.supervisor.child(name).name, since)

    def _signal(self, name: str, number: signal.Signals) -> float:
        """To the process itself: its helpers, if it has any, are left behind as by a real kill."""
        pid, struck = self.supervisor.child(name).pid, time.monotonic()
        if pid is not None:
            os.kill(pid, number)
        return struck


@asynccontextmanager
async def stage(
    home: Path, tell: Callable[[str], None], more: Mapping[str, str] | None = None
) -> AsyncIterator[Stage]:
    """Everything is ended with the block, by the ids of the processes that were started for it. `more`:
    variables for them beside this process's own."""
    home = prepare_home(home)
    with ExitStack() as claims, only_one(home):
        ports = {name: claims.enter_context(spare_port()) for name in DEFAULT_PORTS}
        watchman = Watchman(tell)
        supervisor = Supervisor(home, ports, throwaway=True, report=watchman)
        try:
            info = await supervisor.start(without_own_keys(os.environ) | dict(more or {}))
            yield Stage(home, supervisor, info, watchman)
        finally:
            await supervisor.stop(STOP_SECONDS_MAX)
