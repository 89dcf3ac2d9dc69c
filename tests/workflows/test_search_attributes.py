"""Operators find workflows by attribute: on the real server, for the skipping one lists nothing."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from abono.simulate.world import World, open_world
from models.commands import Cancel
from models.operations import MarkPaid
from models.outcomes import Instrument
from tests.api.support import eventually
from tests.support.books import attempts_of
from tests.support.database import TestDatabases
from workflows.subscription import SubscriptionWorkflow


async def _start_real() -> WorkflowEnvironment:
    return await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(Path(sys.executable).with_name("temporal")),
        data_converter=pydantic_data_converter,
    )


@pytest.fixture
async def real_world(databases: TestDatabases) -> AsyncIterator[World]:
    async with open_world(databases, start=_start_real) as world:
        yield world


async def found(world: World, query: str) -> set[str]:
    return {each.id async for each in world.client.list_workflows(query)}


async def is_found(world: World, query: str, workflow_id: str) -> None:
    """Visibility follows a moment later."""

    async def look() -> bool:
        return workflow_id in await found(world, query)

    await eventually(look)


async def test_they_follow_the_subscription(real_world: World) -> None:
    world = real_world
    terms = await world.terms(Instrument.OXXO)
    handle, _ = await world.open(terms)
    [slip] = await attempts_of(world, terms)
    mine = f'TenantId="{terms.application_id}" AND ExecutionStatus="Running"'
    due = (slip.started_at + timedelta(days=4)).isoformat()
    waiting = f'{mine} AND Provider="conekta" AND NextDue < "{due}"'
    await is_found(world, waiting, f"payment/{slip.id}")

    row = await world.subscription(terms.subscription_id)
    deposit = MarkPaid(
        actor="test",
        reason="paid at the counter",
        amount_minor=terms.amount_minor,
        currency=terms.currency,
        reference="deposit 1",
        received_at=slip.started_at,
    )
    await handle.execute_update(SubscriptionWorkflow.mark_paid, deposit)
    paid = await world.subscription(terms.subscription_id)
    assert paid.next_step_at is not None
    near = [paid.next_step_at + timedelta(minutes=minutes) for minutes in (-1, 1)]
    active = (
        f'{mine} AND SubscriptionStatus="active" AND Provider="conekta" AND Country="MX"'
        f' AND PlanId="{terms.plan_id}" AND OrganizationId="{terms.organization_id}"'
        f' AND NextDue BETWEEN "{near[0].isoformat()}" AND "{near[1].isoformat()}"'
    )
    await is_found(world, active, row.workflow_id)

    cancel = Cancel(actor="test", immediately=True)
    await handle.execute_update(SubscriptionWorkflow.cancel, cancel)
    ended = 'SubscriptionStatus="canceled" AND ExecutionStatus="Completed" AND NextDue IS NULL'
    await is_found(world, ended, row.workflow_id)
