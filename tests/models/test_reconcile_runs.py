"""Whatever is cut off, asked for aside or only tried: in the end every object was in every list."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from models.reconcile_runs import FIRST_LOOK, OVERLAP, RunBefore, where_to_begin

START = datetime(2026, 11, 1, tzinfo=UTC)
PARTS = 3
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Step:
    """A run that looks at `parts` parts, each `slow_minutes` after the one before, and is stopped then."""

    after_minutes: int
    parts: int
    slow_minutes: int
    since_minutes_ago: int | None = None
    dry_run: bool = False


STEPS = st.lists(
    st.builds(
        Step,
        after_minutes=st.integers(1, 600),
        parts=st.integers(0, PARTS),
        slow_minutes=st.integers(0, 300),
        since_minutes_ago=st.none() | st.integers(0, 30_000),
        dry_run=st.booleans(),
    ),
    max_size=8,
)


@dataclass
class History:
    """Which stretch of time each list was looked at for, by runs that repair."""

    at: datetime = START
    before: RunBefore | None = None
    first_look_at: datetime | None = None
    seen: list[tuple[int, datetime, datetime]] = field(default_factory=list)

    def run(self, step: Step) -> None:
        self.at += step.after_minutes * MINUTE
        ago = step.since_minutes_ago
        wanted = None if ago is None else self.at - ago * MINUTE
        begins = where_to_begin(self.before, wanted, self.at)
        part = begins.cursor.get("part", 0)
        stop = min(part + step.parts, PARTS)
        while part < stop:
            self.at += step.slow_minutes * MINUTE
            if not step.dry_run:
                self.seen.append((part, begins.since, self.at))
            part += 1
        if not step.dry_run and not begins.is_aside:
            self.first_look_at = self.first_look_at or begins.chain_started_at - FIRST_LOOK
            done = part == PARTS
            self.before = RunBefore(begins.since, begins.chain_started_at, done, {"part": part})

    def was_seen(self, part: int, made_at: datetime) -> bool:
        return any(one == part and since <= made_at <= at for one, since, at in self.seen)


@given(STEPS)
def test_nothing_is_skipped(steps: list[Step]) -> None:
    history = History()
    for step in steps:
        history.run(step)
    # Whoever was cut off is gone on with, and the run after that has everything to its own beginning.
    for _ in range(2):
        history.run(Step(after_minutes=1, parts=PARTS, slow_minutes=1))
    made_at = history.first_look_at
    while made_at is not None and made_at <= history.at - PARTS * MINUTE:
        assert all(history.was_seen(part, made_at) for part in range(PARTS)), made_at
        made_at += 61 * MINUTE


def test_a_run_aside_takes_nothing_that_is_due_away() -> None:
    cut_off = RunBefore(START - timedelta(days=3), START, finished=False, cursor={"part": 2})
    later = START + timedelta(hours=6)
    assert where_to_begin(cut_off, later - timedelta(hours=1), later).is_aside
    gone_on = where_to_begin(cut_off, None, later)
    assert (gone_on.since, gone_on.cursor) == (cut_off.since, {"part": 2})
    assert gone_on.chain_started_at == START
    finished = RunBefore(gone_on.since, gone_on.chain_started_at, finished=True)
    assert where_to_begin(finished, None, later).since == START - OVERLAP
