"""What the campaign shows: a bar or a line per event while it runs, and what it came to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from abono.chaos.lives import Figures, Lived
from abono.chaos.processes import Report
from abono.chaos.shards import Aims, Chapter
from abono.chaos.strikes import RESUME_SECONDS_TARGET, Recovery
from abono.simulate.lives import Life, Outage

_STORY_LINES_MAX = 60


def clock_lines(console: Console) -> Callable[[str], None]:
    """One line per event, with the seconds since now."""
    began = time.monotonic()

    def tell(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:7.1f} s[/]  {escape(text)}", soft_wrap=True)

    return tell


@contextmanager
def lives_bar(console: Console, aims: Aims) -> Iterator[Callable[[Figures], None]]:
    """A bar for a person, a line per world for a file."""
    began = time.monotonic()
    columns = (TextColumn("[bold]living"), BarColumn(), TextColumn("{task.fields[what]}"))
    with Progress(
        *columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=1.0, what="")

        def tell(figures: Figures) -> None:
            shares = [
                done / aim
                for done, aim in (
                    (figures.renewals, aims.renewals),
                    (figures.worlds, aims.worlds),
                    (time.monotonic() - began, aims.seconds),
                )
                if aim
            ]
            what = f"{figures.renewals:,} renewals, {figures.faults.total():,} faults"
            bar.update(task, completed=min(max(shares, default=0.0), 1.0), what=what)
            if not console.is_terminal:
                spent = time.monotonic() - began
                console.print(f"{spent:7.1f} s  {what}, {figures.worlds} worlds")

        yield tell


def tell_lives(console: Console, chapter: Chapter) -> None:
    figures = chapter.figures
    pace = figures.renewals / chapter.seconds if chapter.seconds else 0.0
    _table(
        console,
        {
            "lived": f"{figures.lives:,} lives in {figures.worlds:,} worlds,"
            f" {chapter.seconds:,.0f} s; {figures.begun_again} begun again",
            "renewals": f"{figures.renewals:,} ({pace:.1f} a second)",
            "faults placed": f"{figures.faults.total():,}: {_counted(figures.faults)}",
            "workflow caches": _counted(figures.caches),
            "subscriptions": _counted(figures.statuses),
            "invoices": _counted(figures.invoices),
            "attempts": _counted(figures.attempts),
        },
    )
    if chapter.violated is None:
        console.print("[bold green]No violation.[/]")
        return
    for violation in chapter.violated.violations:
        console.print(f"[bold red]Violated:[/] {escape(violation)}")
    if chapter.shortest is not None:
        _tell_story(console, chapter.shortest)
    again = (chapter.shortest or chapter.violated).plan.command
    console.print(f"Again: [bold]{escape(again)}[/]", soft_wrap=True)


def _tell_story(console: Console, shortest: Lived) -> None:
    plan = shortest.plan
    console.print(f"Seed {plan.seed}. The shortest story that was found:")
    told = [_life(life) for life in plan.planned_lives()]
    told += [_outage(outage) for outage in plan.planned_outages()]
    if plan.crashes:
        told.append("workers crash and calls fail by chance")
    for line in told[:_STORY_LINES_MAX]:
        console.print(f"  {escape(line)}", soft_wrap=True)
    if len(told) > _STORY_LINES_MAX:
        console.print(f"  … and {len(told) - _STORY_LINES_MAX} more")
    for violation in shortest.violations:
        console.print(f"It ends with: {escape(violation)}", soft_wrap=True)


def _life(life: Life) -> str:
    deeds = "; ".join(f"after {at.days} days {deed}" for at, deed in life.deeds)
    trial = f", {life.trial_days} days of trial" if life.trial_days else ""
    return f"life {life.number}: {life.kind.name}, {life.interval}{trial}. {deeds}".strip()


def _outage(outage: Outage) -> str:
    hours = (outage.ends - outage.begins).total_seconds() / 3600
    days = outage.begins.total_seconds() / 86_400
    return f"after {days:.1f} days {outage.provider} is {outage.mode} for {hours:.1f} h"


def tell_processes(console: Console, report: Report, command: str) -> None:
    tally = report.tally
    _table(
        console,
        {
            "struck": f"{report.rounds} rounds in {report.seconds:.0f} s: {_counted(report.blows)}",
            "work resumed": _resumed(report.recoveries),
            "customers": _counted(report.stories),
            "answers": f"{_counted(tally.answers)}; {tally.repeated} sent again",
            "still waiting": "; ".join(tally.late[:3]) or "nobody",
            "faults placed": _counted(report.faults),
            "at rest after": f"{report.rest_seconds:.1f} s; {report.replayed} histories replayed",
        },
    )
    for slow in _slow(report.recoveries):
        console.print(
            f"[yellow]Slow:[/] {escape(slow.blows)}: {slow.slowest_seconds:.1f} s", soft_wrap=True
        )
    if not report.violations:
        console.print("[bold green]All eight invariants hold.[/]")
        return
    for violation in report.violations:
        console.print(f"[bold red]Violated:[/] {escape(violation)}", soft_wrap=True)
    console.print(f"Seed {report.seed}. The same blows again: [bold]{escape(command)}[/]")


def _fair(recoveries: list[Recovery]) -> list[Recovery]:
    return [one for one in recoveries if not one.weather]


def _slow(recoveries: list[Recovery]) -> list[Recovery]:
    return [one for one in _fair(recoveries) if one.slowest_seconds > RESUME_SECONDS_TARGET]


def _resumed(recoveries: list[Recovery]) -> str:
    """Of the rounds in fair weather alone: in bad weather it is the providers that take their time."""
    fair = _fair(recoveries)
    if not fair:
        return "not measured: no round in fair weather"
    seconds = [one.slowest_seconds for one in fair]
    return (
        f"median {median(seconds):.1f} s, longest {max(seconds):.1f} s after the process was back"
        f" ({len(_slow(recoveries))} of {len(fair)} rounds longer than {RESUME_SECONDS_TARGET:.0f} s)"
    )


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counter.most_common()) or "none"


def _table(console: Console, rows: dict[str, str]) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, text in rows.items():
        table.add_row(name, escape(text))
    console.print()
    console.print(table)
    console.print()
