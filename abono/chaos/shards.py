"""The first chapter: world after world in several processes, until enough has been lived."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from abono.chaos.lives import Figures, Lived, Plan, live, smaller
from abono.dev.postgres import running_postgres
from abono.simulate.databases import FreshDatabases

# Each try plays a world again; more would take longer than reading the story.
_TRIES_MAX = 12


@dataclass(frozen=True)
class Aims:
    """It ends with whatever is reached first: renewals, worlds, seconds, or a violation."""

    first: Plan
    renewals: int | None
    worlds: int | None
    seconds: float | None
    shards: int


@dataclass
class Chapter:
    figures: Figures = field(default_factory=Figures)
    seconds: float = 0.0
    violated: Lived | None = None  # As found.
    shortest: Lived | None = None  # As short as it got.


def default_shards() -> int:
    """A world waits most of its time, for calls that run into their timeout."""
    return 4 * (os.cpu_count() or 1)


def live_on(aims: Aims, tell: Callable[[Figures], None]) -> Chapter:
    """World n has the seed of the first one plus n."""
    chapter, began = Chapter(), time.monotonic()
    with _server() as url, _pool(aims.shards) as pool:
        waiting: set[Future[Lived]] = set()
        for number in count():
            waiting.add(pool.submit(live, _numbered(aims.first, number), url))
            if len(waiting) < aims.shards and not _last(aims, number):
                continue
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            _take(chapter, done, tell)
            if _last(aims, number) or _enough(aims, chapter, began):
                break
        # What was begun is lived to its end: it counts.
        _take(chapter, wait(waiting).done, tell)
        if chapter.violated is not None and not chapter.violated.broke:
            chapter.shortest = _shortest(pool, url, chapter.violated)
    chapter.seconds = time.monotonic() - began
    return chapter


def _take(chapter: Chapter, done: set[Future[Lived]], tell: Callable[[Figures], None]) -> None:
    for future in done:
        lived = future.result()
        chapter.figures.add(lived.figures)
        if lived.violations and chapter.violated is None:
            chapter.violated = lived
        tell(chapter.figures)


def _last(aims: Aims, number: int) -> bool:
    return aims.worlds is not None and number + 1 >= aims.worlds


def _enough(aims: Aims, chapter: Chapter, began: float) -> bool:
    renewed = aims.renewals is not None and chapter.figures.renewals >= aims.renewals
    over = aims.seconds is not None and time.monotonic() - began >= aims.seconds
    return renewed or over or chapter.violated is not None


def _numbered(first: Plan, number: int) -> Plan:
    return Plan(
        seed=first.seed + number,
        lives=first.lives,
        years=first.years,
        only_lives=first.only_lives,
        only_outages=first.only_outages,
        crashes=first.crashes,
    )


def _shortest(pool: ProcessPoolExecutor, url: str, found: Lived) -> Lived:
    """The smallest part of the plan that still ends in a violation, as far as a few tries find it."""
    tries, candidates = 0, smaller(found)
    while tries < _TRIES_MAX and (plan := next(candidates, None)) is not None:
        tries += 1
        again = pool.submit(live, plan, url).result()
        if again.violations:
            found, candidates = again, smaller(again)
    return found


@contextmanager
def _server() -> Iterator[str]:
    with (
        tempfile.TemporaryDirectory(prefix="abono-chaos-") as folder,
        running_postgres(Path(folder) / "postgres") as url,
    ):
        FreshDatabases(url)
        yield url


def _mute() -> None:
    """What the skipping server writes about calls that crashed is meant to happen."""
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stderr.fileno())


@contextmanager
def _pool(shards: int) -> Iterator[ProcessPoolExecutor]:
    """Processes of their own, started fresh: each has its own event loop and Temporal runtime."""
    spawning = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(max_workers=shards, mp_context=spawning, initializer=_mute)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
