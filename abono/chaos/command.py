"""The options of `abono chaos`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

commands = typer.Typer(
    help="Everything that can go wrong, at once, and whether the books still agree."
)

Seed = Annotated[int, typer.Option(help="The same seed tells the same story.")]


@commands.command("lives")
def lives(
    seed: Seed = 1,
    renewals: Annotated[
        int | None, typer.Option(min=1, help="Until so many bills for a later period")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="Or until then; 300 when nothing else is said")
    ] = None,
    worlds: Annotated[int | None, typer.Option(min=1, help="Or so many worlds")] = None,
    shards: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Processes that live at once; four for each core"),
    ] = None,
    lives: Annotated[int, typer.Option(min=1, max=500, help="Of one world")] = 25,
    years: Annotated[float, typer.Option(min=0.1, max=20, help="Of one world")] = 0.5,
    life: Annotated[list[int] | None, typer.Option(help="Only this life; repeat")] = None,
    outage: Annotated[list[int] | None, typer.Option(help="Only this outage; repeat")] = None,
    outages: Annotated[bool, typer.Option(help="Providers that are away for hours")] = True,
    crashes: Annotated[bool, typer.Option(help="Crashes and failing calls by chance")] = True,
) -> int:
    """Thousands of lives on the simulators, with every fault that there is."""
    from rich.console import Console

    from abono.chaos.run import plan_of, play_lives
    from abono.chaos.shards import Aims, default_shards

    first = plan_of(
        seed, lives, years, only_lives=life, only_outages=outage, outages=outages, chance=crashes
    )
    if renewals is None and worlds is None and seconds is None:
        seconds = 300.0
    return play_lives(Aims(first, renewals, worlds, seconds, shards or default_shards()), Console())


@commands.command("processes")
def processes(
    seed: Seed = 1,
    seconds: Annotated[float, typer.Option(min=1, help="After that no further blow")] = 300.0,
    customers: Annotated[int, typer.Option(min=1, max=100, help="At once")] = 4,
    keep: Annotated[
        Path | None, typer.Option(help="Keep databases and logs in this new folder")
    ] = None,
) -> int:
    """The whole stack under load, and one process after the other is killed."""
    from rich.console import Console

    from abono.chaos.run import Strikes, strike_processes

    return strike_processes(Strikes(seed, seconds, customers, keep), Console())
