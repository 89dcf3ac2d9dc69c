"""A change of the interval that a provider makes by itself: previewed, held, made or dropped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.calendar import BillingInterval
from models.change_rules import ChangeRefused, decide
from models.commands import ChangePlan
from models.later_changes import begins_at, needs_a_date, was_dropped
from models.outcomes import Instrument, ProviderName
from models.plan_change import Offer, Proration
from models.snapshots import ProviderSubscriptionStatus, SubscriptionSnapshot
from models.states import SubscriptionStatus
from models.subscription import PendingChange, SubscriptionState, SubscriptionTerms

MONTHLY, YEARLY = BillingInterval.MONTHLY, BillingInterval.YEARLY
START = datetime(2026, 11, 1, 12, tzinfo=UTC)
END = datetime(2026, 12, 1, 12, tzinfo=UTC)
AMOUNTS = st.integers(1, 10**9)


def offer(amount_minor: int = 190_000, interval: BillingInterval = YEARLY) -> Offer:
    return Offer(
        plan_id=UUID(int=1), plan_name="Pro", billing_interval=interval, amount_minor=amount_minor
    )


def terms(
    amount_minor: int = 19_900, instrument: Instrument = Instrument.CARD
) -> SubscriptionTerms:
    return SubscriptionTerms(
        subscription_id=UUID(int=2),
        application_id=UUID(int=3),
        organization_id=UUID(int=4),
        plan_id=UUID(int=1),
        plan_name="Pro",
        billing_interval=MONTHLY,
        amount_minor=amount_minor,
        currency="MXN",
        instrument=instrument,
    )


def state(
    status: SubscriptionStatus = SubscriptionStatus.ACTIVE, **changes: object
) -> SubscriptionState:
    known = {"current_period_start": START, "current_period_end": END, "opened": True}
    return SubscriptionState.model_validate({"status": status, **known, **changes})


def command(wanted: Offer) -> ChangePlan:
    return ChangePlan(actor="test", offer=wanted, proration=Proration.NEXT_PERIOD)


def waiting(wanted: Offer | None = None, *, at_provider: bool = True) -> PendingChange:
    return PendingChange(
        offer=wanted or offer(),
        proration=Proration.NEXT_PERIOD,
        actor="test",
        at=END,
        at_provider=at_provider,
    )


def seen(
    start: datetime = START, *, holds: bool = False, interval: BillingInterval | None = MONTHLY
) -> SubscriptionSnapshot:
    return SubscriptionSnapshot(
        provider=ProviderName.STRIPE,
        provider_subscription_id="sub_1",
        provider_customer_id="cus_1",
        status=ProviderSubscriptionStatus.ACTIVE,
        current_period_start=start,
        current_period_end=start + timedelta(days=30),
        holds_change=holds,
        billing_interval=interval,
    )


@given(AMOUNTS, AMOUNTS, st.integers(0, 10**9), st.integers(0, 29 * 86_400))
def test_now_costs_nothing_and_then_the_new_price_less_what_credit_pays(
    old_minor: int, new_minor: int, credit_minor: int, second: int
) -> None:
    """What a provider bills then: the price, and a pending item of minus the credit, never below zero."""
    now, wanted = START + timedelta(seconds=second), offer(new_minor)
    found = decide(terms(old_minor), state(credit_minor=credit_minor), command(wanted), now)
    assert (found.amount_due_minor, found.lines, found.credit_change_minor) == (0, [], 0)
    assert found.takes_effect_at == found.next_invoice_at == END
    placed_minor = min(credit_minor, new_minor)
    assert found.next_invoice_minor == new_minor - placed_minor >= 0


@pytest.mark.parametrize(
    ("wanted", "instrument", "status", "told"),
    [
        (offer(), Instrument.CARD, SubscriptionStatus.ACTIVE, True),
        (offer(), Instrument.CARD, SubscriptionStatus.TRIALING, False),
        (offer(), Instrument.OXXO, SubscriptionStatus.ACTIVE, False),
        (offer(29_900, MONTHLY), Instrument.CARD, SubscriptionStatus.ACTIVE, False),
    ],
)
def test_only_another_interval_of_a_card_needs_a_date(
    wanted: Offer, instrument: Instrument, status: SubscriptionStatus, *, told: bool
) -> None:
    assert needs_a_date(terms(instrument=instrument), state(status), wanted) is told


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (state(pause_at=END), "a pause is agreed on"),
        (state(SubscriptionStatus.PAST_DUE, past_due_since=START), "an invoice is unpaid"),
        (state(cancel_at_period_end=True), "ends with its period"),
    ],
    ids=["pause", "past_due", "cancel"],
)
def test_what_cannot_be_told_a_date_is_refused(found: SubscriptionState, why: str) -> None:
    with pytest.raises(ChangeRefused, match=why):
        decide(terms(), found, command(offer()), START + timedelta(days=3))


def test_a_price_of_the_same_interval_waits_for_neither() -> None:
    dearer = command(offer(29_900, MONTHLY))
    decide(terms(), state(pause_at=END), dearer, START + timedelta(days=3))


@pytest.mark.parametrize(
    ("found", "dropped"),
    [
        (seen(holds=True), False),
        (seen(holds=False), True),
        (seen(END, holds=False, interval=YEARLY), False),
        (seen(END, holds=True, interval=YEARLY), False),
        (seen(END, holds=False, interval=MONTHLY), True),
        (seen(END, holds=False, interval=None), False),
    ],
    ids=["held", "let_go", "made", "made_and_still_there", "not_made", "not_told"],
)
def test_the_provider_says_whether_it_makes_the_change(
    found: SubscriptionSnapshot, *, dropped: bool
) -> None:
    assert was_dropped(waiting(), found) is dropped
    assert not was_dropped(waiting(at_provider=False), found)
    assert not was_dropped(None, found)


def test_a_date_counts_only_where_it_was_told() -> None:
    assert begins_at(waiting()) == END
    assert begins_at(waiting(at_provider=False)) is None
    assert begins_at(None) is None
