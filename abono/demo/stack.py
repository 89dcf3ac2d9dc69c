"""Which stack the story is played against: the one that runs here, else one started for it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from abono.demo.telling import Telling
from abono.dev.errors import DevError
from abono.dev.info import (
    StackInfo,
    environment_file,
    find_home,
    find_running,
    is_locked,
    read_info,
)
from abono.dev.report import ConsoleReport
from abono.dev.supervisor import running_stack

# The story charges cards and issues vouchers: never with somebody's own account.
_PROVIDERS = ("STRIPE", "CONEKTA", "POLAR")
_SIMULATED = ("STRIPE", "CONEKTA")
_STARTING_SECONDS_MAX = 90.0
_PROBE_SECONDS_MAX = 5.0


@dataclass(frozen=True)
class Stage:
    """`own` when it was started for the story and stops after it."""

    home: Path
    info: StackInfo
    own: bool


@asynccontextmanager
async def stage(telling: Telling) -> AsyncIterator[Stage]:
    """Raises DevError when there is none to play on."""
    home = find_home()
    info = await _running(home, telling)
    if info is not None:
        refuse_real_providers(home, info)
        await _show(info, home, telling)
        yield Stage(home, info, own=False)
        return
    report = ConsoleReport(telling.console)
    async with running_stack(home, environment=without_own_keys(os.environ), report=report) as info:
        try:
            yield Stage(home, info, own=True)
        finally:
            telling.console.print("[dim]Stopping what was started for the story …[/]")


def restarted(before: Stage) -> list[str]:
    """The parts that somebody killed meanwhile and that run again."""
    now = read_info(before.home)
    pids = now.pids if now is not None else {}
    return [name for name, pid in before.info.pids.items() if pids.get(name, pid) != pid]


def without_own_keys(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without provider accounts: then all of them are simulated."""
    own = tuple(f"{provider}_" for provider in _PROVIDERS)
    return {name: value for name, value in environment.items() if not name.startswith(own)}


def refuse_real_providers(home: Path, info: StackInfo) -> None:
    """Raises DevError when the running stack sends anything to a real provider."""
    try:
        told = json.loads(environment_file(home).read_text())
    except (OSError, ValueError):
        return
    for provider in _SIMULATED:
        if not str(told.get(f"{provider}_API_BASE", "")).startswith(info.sandbox_url):
            raise DevError(
                f"The stack that runs here uses your own {provider.capitalize()} account, "
                "and the demo would charge it.",
                f"Start the stack without {provider}_API_KEY, or set ABONO_HOME for a second one.",
            )


async def _running(home: Path, telling: Telling) -> StackInfo | None:
    """The one that runs here; one that is just starting is waited for."""
    deadline = time.monotonic() + _STARTING_SECONDS_MAX
    with telling.waiting("A stack is starting here; waiting for it …"):
        while (info := find_running(home)) is None:
            # Locked without dev.json: it starts (or stops, and then the lock is free soon).
            if not is_locked(home) or time.monotonic() > deadline:
                return None
            await asyncio.sleep(0.2)
    return info


async def _show(info: StackInfo, home: Path, telling: Telling) -> None:
    telling.console.print(f"[dim]Playing against the stack that runs here ({home}).[/]")
    parts = {
        "API, PostgreSQL, Temporal": f"{info.api_url}/readyz",
        "Provider sandbox": f"{info.sandbox_url}/_control/healthz",
    }
    async with httpx.AsyncClient(timeout=_PROBE_SECONDS_MAX, trust_env=False) as client:
        for name, url in parts.items():
            milliseconds = await _probe(client, name, url)
            telling.note(f"{name:<26}[dim]{milliseconds:4.0f} ms   {url}[/]")


async def _probe(client: httpx.AsyncClient, name: str, url: str) -> float:
    """Milliseconds to a good answer; one that restarts just now is given time."""
    deadline = time.monotonic() + _STARTING_SECONDS_MAX
    while True:
        started = time.monotonic()
        try:
            answer = await client.get(url)
            if answer.is_success:
                return (time.monotonic() - started) * 1000
            got = f"{answer.status_code}"
        except httpx.TransportError as problem:
            got = type(problem).__name__
        if time.monotonic() > deadline:
            raise DevError(
                f"{name} does not answer at {url} ({got}).", "Stop the stack and start it anew."
            )
        await asyncio.sleep(0.2)
