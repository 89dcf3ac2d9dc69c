"""Row 8. What a subscription is while nothing happens: the history of the run that waits.

An exact count. It bounds what Temporal keeps for each subscription and how fast one comes back to memory.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.crowd import Crowd
from benchmarks.measure import Figure, Stage
from models.commands import subscription_workflow_id
from tests.cost.test_renewals import IDLE_BYTES_MAX, IDLE_EVENTS_MAX
from tests.support.actions import Cost, all_runs, cost_of

ROW = "Idle subscription"
# How many of the crowd it looks at.
CROWD = 20


async def measure(stage: Stage, crowd: Crowd, tell: Callable[[str], None]) -> list[Figure]:
    tell("reading histories")
    costs = [await _idle(crowd, number) for number in range(min(CROWD, len(crowd.ids)))]
    # The worst counts: a budget that most keep is none.
    return [
        Figure(ROW, "history events", "", [max(c.events for c in costs)], target=IDLE_EVENTS_MAX),
        Figure(
            ROW, "history size", "bytes", [max(c.size_bytes for c in costs)], target=IDLE_BYTES_MAX
        ),
    ]


async def _idle(crowd: Crowd, number: int) -> Cost:
    runs = await all_runs(crowd.client, subscription_workflow_id(crowd.ids[number]))
    return cost_of(runs[:1])
