"""What is written once where it could be written twice, and what must not wait for that."""

from __future__ import annotations

from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory
from temporalio.converter import default

from abono.simulate.world import World, open_world
from models.outcomes import Instrument
from tests.api.support import eventually
from tests.support.actions import all_runs, cost_of
from tests.support.database import TestDatabases
from tests.workflows.test_cards import AUSTIN, DAY, HOUR, holder
from tests.workflows.test_commands_in_doubt import opening_in_doubt
from tests.workflows.test_late_news import Noted

UPSERT = EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES


def shown_status(history: WorkflowHistory) -> Any:
    """What operators see: of the run's start, or of what it has said since."""
    shown = history.events[0].workflow_execution_started_event_attributes.search_attributes
    for event in history.events:
        if event.event_type == UPSERT:
            said = event.upsert_workflow_search_attributes_event_attributes.search_attributes
            shown.MergeFrom(said)
    payload = shown.indexed_fields["SubscriptionStatus"]
    return default().payload_converter.from_payloads([payload])[0]


async def test_a_card_that_is_good_at_once_is_written_once(databases: TestDatabases) -> None:
    noted = Noted()
    async with open_world(databases, interceptors=[noted]) as world:
        terms = await holder(world, AUSTIN.good)
        noted.types.clear()
        await world.open(terms)
        assert noted.types == ["choose_route", "open_provider_subscription", "record"]
        row = await world.subscription(terms.subscription_id)
        assert (row.status, row.version) == ("active", 1)
        await world.sleep(HOUR)
        waiting, opening = await all_runs(world.client, row.workflow_id)
        assert shown_status(waiting) == "active"
        assert UPSERT not in {event.event_type for event in opening.events}
        # Started by an update, routed, opened, written, continued.
        assert cost_of([opening]).actions == 6


async def test_an_opening_in_doubt_is_written_before_the_doubt_is_over(world: World) -> None:
    terms = await holder(world, AUSTIN.good)

    async def is_written() -> bool:
        row = await world.subscription(terms.subscription_id)
        return (row.version, row.status, row.provider) == (1, "incomplete", "stripe")

    async with opening_in_doubt(world, terms):
        await eventually(is_written)
    assert (await world.subscription(terms.subscription_id)).status == "active"


async def test_a_status_is_shown_while_its_run_goes_on(world: World) -> None:
    """The run waits for a slip, so no other one begins that would be given the status."""
    world.payer.after = HOUR
    terms = await world.terms(Instrument.OXXO)
    await world.open(terms)
    await world.sleep(20 * DAY)
    world.payer.after = None
    await world.sleep(13 * DAY)
    row = await world.subscription(terms.subscription_id)
    assert row.status == "past_due"
    assert shown_status((await all_runs(world.client, row.workflow_id))[0]) == "past_due"
