"""A simulation plays the usual order of things: the provider bills, its webhook comes, the engine follows."""

from __future__ import annotations

from datetime import timedelta
from statistics import median

import pytest
from sqlalchemy import select

from abono.simulate.driver import play
from abono.simulate.lives import KINDS, Habit, Life
from abono.simulate.world import open_world
from models.billing_policy import BillingPolicy
from models.calendar import BillingInterval
from models.outcomes import Instrument
from models.storage.tables import Payment
from tests.support.database import TestDatabases

YEARS = 0.6
RENEWALS = 7


@pytest.mark.parametrize("name", ["card at Stripe", "card at Conekta"])
async def test_a_renewal_is_heard_of_when_it_is_billed(databases: TestDatabases, name: str) -> None:
    kind = next(one for one in KINDS if one.name == name and one.instrument is Instrument.CARD)
    life = Life(1, kind, BillingInterval.MONTHLY, 0, timedelta(), Habit(), [])
    async with open_world(databases) as world:
        outcome = await play(world, seed=1, lives=[life], outages=[], years=YEARS)
        payments = await world.all(select(Payment))
    assert not outcome.violations
    assert len(payments) == 1 + RENEWALS
    delays = [payment.recorded_at - payment.occurred_at for payment in payments]
    # Not when the engine asks whether a webhook was lost. Now and then the clock skips to that all the same:
    # it does not wait for a workflow's task.
    assert median(delays) < BillingPolicy().provider_check_grace / 2, delays
