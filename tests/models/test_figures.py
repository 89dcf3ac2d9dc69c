"""What a change of a subscription does to revenue, and how the past is read backwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from models.calendar import BillingInterval
from models.figures import Entry, Month, Movement, Standing, Step, rate, steps
from models.states import SubscriptionStatus as Status

AT = datetime(2026, 11, 1, tzinfo=UTC)


def standing(status: Status, amount_minor: int = 1200) -> Standing:
    return Standing(status, amount_minor, BillingInterval.MONTHLY)


@pytest.mark.parametrize(
    ("before", "after", "movement"),
    [
        (standing(Status.INCOMPLETE), standing(Status.ACTIVE), Movement.NEW),
        (standing(Status.TRIALING), standing(Status.PAST_DUE), Movement.NEW),
        (standing(Status.PAUSED), standing(Status.ACTIVE), Movement.RESUMED),
        (standing(Status.ACTIVE), standing(Status.PAUSED), Movement.PAUSED),
        (standing(Status.ACTIVE), standing(Status.CANCELED), Movement.CHURNED),
        (standing(Status.PAST_DUE), standing(Status.EXPIRED), Movement.CHURNED),
        (standing(Status.ACTIVE), standing(Status.ACTIVE, 1300), Movement.EXPANSION),
        (standing(Status.ACTIVE), standing(Status.ACTIVE, 1100), Movement.CONTRACTION),
        (standing(Status.ACTIVE), standing(Status.PAST_DUE), None),
        (standing(Status.TRIALING), standing(Status.CANCELED), None),
        (standing(Status.PAUSED), standing(Status.CANCELED), None),
    ],
)
def test_each_change_has_one_name(
    before: Standing, after: Standing, movement: Movement | None
) -> None:
    assert Step(AT, before, after).movement is movement


def entry(days: int, action: str, **before: Any) -> Entry:
    return Entry(AT + timedelta(days=days), action, before)


def test_the_past_is_what_the_audit_log_says_was_before() -> None:
    now = Standing(Status.CANCELED, 24_000, BillingInterval.YEARLY)
    log = [
        entry(9, "canceled", status="active"),
        entry(8, "cancel"),
        entry(5, "change", amount_minor=1000, billing_interval="monthly"),
        entry(1, "payment_succeeded", status="incomplete"),
    ]
    lived = [(one.movement, int(one.difference_minor)) for one in steps(now, log)]
    assert lived == [
        (Movement.CHURNED, -2000),
        (Movement.EXPANSION, 1000),
        (Movement.NEW, 1000),
    ]


def test_a_month_ends_with_what_it_began_with_and_what_happened() -> None:
    month = Month()
    past_due = Step(AT, standing(Status.PAST_DUE), standing(Status.ACTIVE))
    lost = Step(AT, standing(Status.PAST_DUE), standing(Status.EXPIRED))
    for step in (past_due, lost):
        month.add(step)
    assert (month.recovered, month.lost) == (1, 1)
    assert month.amounts[Movement.CHURNED] == 1200
    assert month.counts[Movement.CHURNED] == 1


def test_a_share_of_nothing_is_no_share() -> None:
    assert rate(0, 0) is None
    assert rate(1, 3) == 0.3333
