"""`abono demo`: the life of some subscriptions, told while it happens, every step an assertion."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from contextlib import suppress
from uuid import uuid4

from rich.console import Console

from abono.demo.checks import StepFailed
from abono.demo.engine import Engine, Places
from abono.demo.scene import Scene
from abono.demo.stack import Stage, restarted, stage
from abono.demo.story import STORY
from abono.demo.telling import Telling, make_console
from abono.demo.world import World

_TERMINATED = 143


async def run(console: Console | None = None) -> int:
    """Play it. Returns 0 when every step held, else 1. Raises DevError when there is no stack."""
    playing = asyncio.create_task(_play(Telling(console or _stdout())))
    asked_to_stop = _on_signals(playing)
    try:
        return await playing
    except asyncio.CancelledError:
        if asked_to_stop.is_set():
            return _TERMINATED
        raise  # Ctrl-C


def _on_signals(playing: asyncio.Task[int]) -> asyncio.Event:
    """End the story, and with it what was started for it, when the process is asked to end."""
    asked_to_stop = asyncio.Event()

    def stop() -> None:
        asked_to_stop.set()
        playing.cancel()

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:  # nohup: stay when the terminal goes.
            continue
        asyncio.get_running_loop().add_signal_handler(number, stop)
    return asked_to_stop


def _stdout() -> Console:
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(
            errors="replace"
        )  # A terminal without a tick must not end the story.
    return make_console()


async def _play(telling: Telling) -> int:
    started = time.monotonic()
    telling.title()
    async with stage(telling) as ready:
        up = time.monotonic()
        held = await _tell(telling, ready)
        now = time.monotonic()
        if held:
            _end(telling, ready, up - started, now - up)
    return 0 if held else 1


async def _tell(telling: Telling, ready: Stage) -> bool:
    info = ready.info
    places = Places(info.temporal_ui_url, info.temporal_namespace, ready.home / "logs")
    engine = Engine(info, places, uuid4().hex[:8])
    world = World(info.sandbox_url, places)
    scene = Scene(engine, world, telling)
    try:
        await world.behave()
        for number, chapter in enumerate(STORY, start=1):
            telling.chapter(number, chapter.title)
            await chapter.play(scene)
    except StepFailed as problem:
        telling.failure(problem)
        return False
    finally:
        with suppress(StepFailed):
            await world.clear_faults()
        await engine.aclose()
        await world.aclose()
    return True


def _end(telling: Telling, ready: Stage, start_seconds: float, story_seconds: float) -> None:
    details = []
    if killed := restarted(ready):
        names = ", ".join(killed)
        details.append(f"Killed in the middle and started again: {names}. Nothing was lost.")
    if ready.own:
        details.append(
            "`make up` starts Abono again with all of this in it, to be looked at in the Temporal UI."
        )
    else:
        details.append(f"Look around: {ready.info.temporal_ui_url} and {ready.info.api_url}/docs")
    total = start_seconds + story_seconds
    took = f"{total:.0f} s (start {start_seconds:.0f} s, story {story_seconds:.0f} s)"
    telling.ending(f"[bold green]Every step held[/] in {took}.", details)
