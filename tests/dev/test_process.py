"""Children: they die with their supervisor, come back when they die, and stop when asked."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from abono.dev.errors import AlreadyRunning, ChildFailed
from abono.dev.info import only_one
from abono.dev.process import Child
from abono.dev.report import Report
from abono.dev.supervisor import DEATHS_MAX, Supervisor

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    " print('up', flush=True); time.sleep(60)",
]
LIMIT_SECONDS = 10.0


def make_child(tmp_path: Path, command: list[str]) -> Child:
    return Child("Sleeper", command, tmp_path / "logs" / "sleeper.log", dict(os.environ))


async def says_up(child: Child) -> bool:
    return "up" in child.log_tail()


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while not condition():  # noqa: ASYNC110 - another process's doing, nothing signals it
            await asyncio.sleep(0.02)


async def test_a_child_that_does_not_listen_is_ended_by_force(tmp_path: Path) -> None:
    child = make_child(tmp_path, DEAF)
    child.start()
    await child.wait_until(lambda: says_up(child), LIMIT_SECONDS)
    child.stop(0.2)
    assert child.exit_code == -signal.SIGKILL


async def test_a_child_that_dies_early_shows_the_end_of_its_log(tmp_path: Path) -> None:
    child = make_child(tmp_path, [sys.executable, "-c", "raise SystemExit('no such table')"])
    child.start()

    async def never() -> bool:
        return False

    with pytest.raises(ChildFailed, match=r"(?s)exit code 1.*no such table"):
        await child.wait_until(never, LIMIT_SECONDS)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux ties a child's life to its parent's")
def test_children_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "sleeper.log"
    program = (
        "import time, os; from pathlib import Path; from abono.dev.process import Child\n"
        f"child = Child('Sleeper', {SLEEP!r}, Path({str(log)!r}), dict(os.environ))\n"
        "child.start(); print(child.pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child_pid = int(parent.stdout.readline())
        asyncio.run(eventually(lambda: log.exists() and "up" in log.read_text()))
        parent.kill()
    asyncio.run(eventually(lambda: not is_running(child_pid)))


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_a_killed_child_is_back_within_two_seconds(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, {}, throwaway=True, report=Report())
    child = make_child(tmp_path, SLEEP)

    async def ready() -> bool:
        return child.pid is not None

    await supervisor._launch(child, ready, LIMIT_SECONDS)
    first = child.pid
    assert first is not None
    killed = time.monotonic()
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: child.pid not in {None, first})
    assert time.monotonic() - killed < 2
    await supervisor.stop()
    assert child.pid is None


async def test_a_child_that_keeps_dying_is_given_up_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abono.dev.supervisor.RESTART_BACKOFF_SECONDS", (0.0,) * DEATHS_MAX)
    supervisor = Supervisor(tmp_path, {}, throwaway=True, report=Report())
    child = make_child(tmp_path, [sys.executable, "-c", "print('broken'); raise SystemExit(3)"])
    started = iter([True])

    async def ready_once() -> bool:
        return next(started, False)

    await supervisor._launch(child, ready_once, LIMIT_SECONDS)
    problem = await asyncio.wait_for(supervisor.failed, LIMIT_SECONDS)
    assert f"died {DEATHS_MAX} times" in str(problem)
    assert "broken" in str(problem)
    await supervisor.stop()


def test_one_home_has_one_supervisor(tmp_path: Path) -> None:
    with only_one(tmp_path), pytest.raises(AlreadyRunning, match=str(os.getpid())):
        only_one(tmp_path).__enter__()
    with only_one(tmp_path):  # Let go of again.
        pass
