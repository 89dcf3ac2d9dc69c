"""A worker that remembers few workflows loses no task of theirs when many happen at once."""

from __future__ import annotations

import asyncio

from temporalio.api.enums.v1 import EventType

from abono.simulate.world import World, open_world
from abono.worker_tuning import Tuning
from models.outcomes import Instrument
from tests.support.actions import all_runs
from tests.support.database import TestDatabases

SUBSCRIPTIONS = 30


async def test_no_workflow_is_forgotten_in_the_middle_of_its_task(databases: TestDatabases) -> None:
    """A task that is lost runs out after ten seconds, and the history says so."""
    async with open_world(databases, tuning=Tuning(cached_workflows_max=10)) as world:
        ids = await asyncio.gather(*(_open(world) for _ in range(SUBSCRIPTIONS)))
        lost = [
            (workflow_id, event.event_id)
            for workflow_id in ids
            for run in await all_runs(world.client, workflow_id)
            for event in run.events
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT
        ]
    assert not lost


async def _open(world: World) -> str:
    handle, _ = await world.open(await world.terms(Instrument.OXXO))
    return handle.id
