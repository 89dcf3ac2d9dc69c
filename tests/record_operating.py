"""Scenarios in which an operator acts, for `tests/record_histories.py`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from abono.simulate.world import World
from models.commands import resolve_workflow_id
from models.operations import AskNow, Declaration, Declare, MarkPaid, ReissueVoucher
from models.outcomes import Instrument
from models.subscription import SubscriptionTerms
from sandbox.faults import Fault, FaultMode
from tests.api.support import eventually
from tests.support.books import attempts_of
from workflows.resolve_attempt import ResolveAttemptWorkflow
from workflows.subscription import SubscriptionWorkflow

HOUR = timedelta(hours=1)
WHO = {"actor": "record", "reason": "the customer called"}


async def voucher_replaced_then_marked_paid(world: World) -> SubscriptionTerms:
    terms = await world.terms(Instrument.OXXO)
    handle, _ = await world.open(terms)
    await handle.execute_update(SubscriptionWorkflow.reissue_voucher, ReissueVoucher(**WHO))
    for amount_minor in (9900, 10000):
        deposit = MarkPaid(
            amount_minor=amount_minor,
            currency="MXN",
            reference=f"deposit of {amount_minor}",
            received_at=datetime.now(UTC) - HOUR,
            **WHO,
        )
        await handle.execute_update(SubscriptionWorkflow.mark_paid, deposit)
        await world.sleep(HOUR)
    return terms


async def voucher_declared_not_executed(world: World) -> SubscriptionTerms:
    """The provider answers neither the attempt nor the questions about it."""
    charge = Fault(provider="conekta", operation="charges.create", mode=FaultMode.ERROR, count=1)
    world.core.faults.add(charge)
    question = Fault(provider="conekta", operation="orders.retrieve", mode=FaultMode.DOWN)
    world.core.faults.add(question)
    terms = await world.terms(Instrument.OXXO)
    opening = asyncio.create_task(world.open(terms))
    await eventually(lambda: attempts_of(world, terms))
    await world.sleep(HOUR)
    [attempt] = await attempts_of(world, terms)
    resolving = world.client.get_workflow_handle(resolve_workflow_id(attempt.id))
    await resolving.execute_update(ResolveAttemptWorkflow.ask_now, AskNow(**WHO))
    declared = Declare(declared=Declaration.NOT_EXECUTED, **WHO)
    await resolving.execute_update(ResolveAttemptWorkflow.declare, declared)
    await opening
    return terms


OPERATING_SCENARIOS = (voucher_replaced_then_marked_paid, voucher_declared_not_executed)
