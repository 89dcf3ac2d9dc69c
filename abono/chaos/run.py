"""`abono chaos`: both chapters, one after the other, or one of them; the exit code is 1 on a violation."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from abono.chaos.blows import plan_rounds
from abono.chaos.lives import Plan
from abono.chaos.processes import Campaign, Report, run_campaign
from abono.chaos.shards import Aims, live_on
from abono.chaos.telling import clock_lines, lives_bar, tell_lives, tell_processes

VIOLATED = 1


@dataclass(frozen=True)
class Strikes:
    """The second chapter's options."""

    seed: int
    seconds: float
    customers: int
    keep: Path | None

    @property
    def command(self) -> str:
        words = f"abono chaos processes --seed {self.seed} --seconds {self.seconds:g}"
        return f"{words} --customers {self.customers}"


def play_lives(aims: Aims, console: Console) -> int:
    console.print(f"[bold]Lives on the simulators[/], from seed {aims.first.seed}")
    with lives_bar(console, aims) as tell:
        chapter = live_on(aims, tell)
    tell_lives(console, chapter)
    return VIOLATED if chapter.violated is not None else 0


def strike_processes(strikes: Strikes, console: Console) -> int:
    console.print(f"[bold]Real processes[/], seed {strikes.seed}")
    report = asyncio.run(_strike(strikes, console))
    tell_processes(console, report, strikes.command)
    return VIOLATED if report.violations else 0


async def _strike(strikes: Strikes, console: Console) -> Report:
    """Ends with SIGTERM and SIGHUP as with Ctrl-C: everything it started is stopped first."""
    campaign = Campaign(
        seed=strikes.seed,
        seconds=strikes.seconds,
        rounds=plan_rounds(strikes.seed),
        customers=strikes.customers,
        keep=strikes.keep,
    )
    running = asyncio.ensure_future(run_campaign(campaign, clock_lines(console)))
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    try:
        return await running
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def plan_of(
    seed: int,
    lives: int,
    years: float,
    *,
    only_lives: list[int] | None,
    only_outages: list[int] | None,
    outages: bool,
    chance: bool,
) -> Plan:
    positions = tuple(only_outages) if only_outages else None
    return Plan(
        seed=seed,
        lives=lives,
        years=years,
        only_lives=tuple(only_lives) if only_lives else None,
        only_outages=positions if outages else (),
        crashes=chance,
    )
