"""What a benchmark measures, and how a median becomes a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter

from tests.support.database import TestDatabases


@dataclass(frozen=True)
class Stage:
    """What every benchmark is given. `tiny` runs the harness with numbers that say nothing."""

    databases: TestDatabases
    folder: Path
    tiny: bool = False
    began: float = field(default_factory=perf_counter)

    def size(self, full: int, tiny: int) -> int:
        return tiny if self.tiny else full


@dataclass(frozen=True)
class Figure:
    """One measured number: `samples` are its rounds, in the order in which they ran.

    `target` is None for a figure that explains another one. `at_least` says which side of it is good.
    """

    row: str
    name: str
    unit: str
    samples: Sequence[float]
    target: float | None = None
    at_least: bool = False
    note: str = ""
    baseline: Sequence[float] = field(default_factory=tuple)

    @property
    def value(self) -> float:
        return median(self.samples)

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


def quotients(ours: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """Round by round, because both halves of a round had the same machine."""
    return [one / other for one, other in zip(ours, baseline, strict=True)]


def percentile(samples: Sequence[float], share: float) -> float:
    """The nearest rank: the smallest sample that `share` of them do not exceed."""
    ranked = sorted(samples)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]
