"""What was measured: on the terminal, as JSON, as a picture."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Figure

RESULTS = Path(__file__).with_name("results")
_VERDICTS = {True: "met", False: "missed", None: ""}


def tell(console: Console, figures: Sequence[Figure]) -> None:
    table = Table(title="Abono, measured", title_justify="left")
    for name in ("what", "figure", "median", "spread", "baseline", "target", "verdict", "note"):
        table.add_column(name)
    previous = ""
    for one in figures:
        table.add_row(
            one.row if one.row != previous else "",
            one.name,
            _number(one.value, one.unit),
            _spread(one.samples),
            _number(_middle(one.baseline), one.unit) if one.baseline else "",
            _target(one),
            _VERDICTS[one.met],
            one.note,
        )
        previous = one.row
    console.print(table)


def write(
    figures: Sequence[Figure], began: datetime, failures: Mapping[str, str] | None = None
) -> Path:
    """The JSON's path; the picture lies beside it. `failures`: the rows that have no figures, and why."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{began:%Y-%m-%dT%H%MZ}.json"
    told = {"date": began.isoformat(), "commit": _commit(), "machine": machine()}
    figures_told = [_plain(one) for one in figures]
    found = {**told, "failures": dict(failures or {}), "figures": figures_told}
    path.write_text(json.dumps(found, indent=1) + "\n")
    if any(one.target is not None for one in figures):
        draw(figures, path.with_suffix(".png"))
    return path


def draw(figures: Sequence[Figure], path: Path) -> None:
    """Each figure that has a target as a share of it: left of the line is good."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    judged = [one for one in figures if one.target is not None]
    shares = [_share_of_target(one) for one in judged]
    figure, axes = pyplot.subplots(figsize=(10, 0.4 * len(judged) + 1.5))
    colours = ["#2a9d8f" if one.met else "#e76f51" for one in judged]
    axes.barh([f"{one.row}: {one.name}" for one in judged], shares, color=colours)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.invert_yaxis()
    axes.set_xlabel("share of the target that is used (1 = just met, less is better)")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def machine() -> dict[str, Any]:
    return {
        "cpus": os.cpu_count(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _share_of_target(one: Figure) -> float:
    assert one.target is not None  # noqa: S101 - only such figures are drawn
    return one.target / one.value if one.at_least else one.value / one.target


def _plain(one: Figure) -> dict[str, Any]:
    return {
        "row": one.row,
        "name": one.name,
        "unit": one.unit,
        "median": one.value,
        "samples": list(one.samples),
        "baseline": list(one.baseline),
        "target": one.target,
        "verdict": _VERDICTS[one.met],
        "note": one.note,
    }


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return found.stdout.strip() or "unknown"


def _middle(samples: Sequence[float]) -> float:
    return sorted(samples)[len(samples) // 2]


def _number(value: float, unit: str) -> str:
    text = f"{value:,.0f}" if value >= 100 else f"{value:.2f}".rstrip("0").rstrip(".")
    return f"{text} {unit}".strip()


def _spread(samples: Sequence[float]) -> str:
    if len(samples) < 2:
        return ""
    return f"{_number(min(samples), '')} to {_number(max(samples), '')}"


def _target(one: Figure) -> str:
    if one.target is None:
        return ""
    return f"{'≥' if one.at_least else '≤'} {_number(one.target, one.unit)}"


def now() -> datetime:
    return datetime.now(UTC)
