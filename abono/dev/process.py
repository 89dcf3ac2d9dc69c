"""One child process: started on a leash, logged to a file, stopped in order."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from abono.dev.errors import ChildFailed

_TETHER = Path(__file__).with_name("tether.py")
_POLL_SECONDS = 0.05
_POLL_SECONDS_MAX = 0.25
_LOG_BYTES_MAX = 10_000_000
_LOG_TAIL_LINES = 12


@dataclass(frozen=True)
class Account:
    """The account a child runs under; None elsewhere means the supervisor's own."""

    name: str
    uid: int
    gid: int


@dataclass
class Child:
    """`start` and `stop` may be called again and again; `name` and the log file stay the same.

    `death_signal` is what the child gets when the supervisor dies without stopping it.
    """

    name: str
    command: list[str]
    log_file: Path
    environment: Mapping[str, str]
    account: Account | None = None
    directory: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    stop_seconds: float = 5.0
    # Runs before every start, also before a restart: clears what a killed process left behind.
    before_start: Callable[[], None] = lambda: None
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Must be called on a thread that lives as long as the child should (Linux ties it to
        the thread): the main one."""
        self.before_start()
        _rotate(self.log_file)
        account = f"{self.account.uid}:{self.account.gid}" if self.account else "-"
        tether = [sys.executable, "-I", "-S", str(_TETHER)]
        leash = [str(int(self.death_signal)), str(os.getpid()), account]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*tether, *leash, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=dict(self.environment),
                # Ctrl-C in the terminal is for the supervisor, which then stops the children in order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self.exit_code is None else None

    @property
    def exit_code(self) -> int | None:
        """None while it runs (or was never started)."""
        return self._process.poll() if self._process else None

    async def wait(self) -> int:
        """Until it exits; its code, negative for a signal."""
        # Asked for, not waited for in a thread: such a thread would never end with the program.
        while (code := self.exit_code) is None:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)
        return code

    def stop(self, seconds: float | None = None) -> None:
        """Ask it to end, wait, and end it (and whatever it started) by force after `seconds`."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(self.stop_seconds if seconds is None else max(seconds, 0.0))
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    async def wait_until(self, ready: Callable[[], Awaitable[bool]], seconds: float) -> None:
        """Until `ready` says so. Raises ChildFailed when the child dies first or time runs out."""
        deadline = time.monotonic() + seconds
        pause_seconds = _POLL_SECONDS
        while not await ready():
            if self.exit_code is not None:
                raise self.failure(f"{self.name} stopped ({describe_exit(self.exit_code)}).")
            if time.monotonic() > deadline:
                raise self.failure(f"{self.name} was not ready within {seconds:.0f} s.")
            await asyncio.sleep(pause_seconds)
            # Every question costs the child (and its log) something too.
            pause_seconds = min(pause_seconds * 1.3, _POLL_SECONDS_MAX)
        if self.exit_code is not None:  # Then a stranger answered in its place.
            raise self.failure(f"{self.name} stopped ({describe_exit(self.exit_code)}).")

    def failure(self, message: str) -> ChildFailed:
        last_lines = "".join(f"\n    {line}" for line in self.log_tail())
        return ChildFailed(message, f"Its log, {self.log_file}, ends with:{last_lines}")

    def log_tail(self) -> list[str]:
        try:
            text = self.log_file.read_bytes()[-20_000:].decode(errors="replace")
        except OSError:
            return []
        return text.splitlines()[-_LOG_TAIL_LINES:]


def describe_exit(code: int) -> str:
    """`exit code 1`, or the signal's name."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _rotate(log_file: Path) -> None:
    log_file.parent.mkdir(parents=True, exist_ok=True)
    if log_file.exists() and log_file.stat().st_size > _LOG_BYTES_MAX:
        os.replace(log_file, log_file.with_suffix(".log.1"))
