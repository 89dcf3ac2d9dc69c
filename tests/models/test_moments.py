"""What a subscription waits for: no living subscription is ever without something to wait for.

The strategies make the states that a workflow can rest in: nothing of its invoice is in flight, and
the fields agree with each other the way the workflow leaves them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from models.billing_policy import BillingPolicy
from models.calendar import BillingInterval
from models.moments import (
    SUMMARY_BY_STEP,
    Moment,
    Step,
    next_moment,
    paid_until,
    reminder_at,
    unavailable_retry_at,
)
from models.outcomes import Instrument
from models.plan_change import Proration
from models.states import TERMINAL_STATUSES, SubscriptionStatus
from models.subscription import (
    BillingClock,
    OpenInvoice,
    PendingChange,
    SubscriptionState,
    SubscriptionTerms,
)

INCOMPLETE, TRIALING = SubscriptionStatus.INCOMPLETE, SubscriptionStatus.TRIALING
ACTIVE, PAST_DUE = SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE
PAUSED = SubscriptionStatus.PAUSED
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SOME_ID = UUID(int=1)
AMOUNT = 19900

instants = st.integers(-400, 400).map(lambda hours: NOW + timedelta(hours=hours))


def terms_of(instrument: Instrument, policy: BillingPolicy | None = None) -> SubscriptionTerms:
    return SubscriptionTerms(
        subscription_id=SOME_ID,
        application_id=SOME_ID,
        organization_id=SOME_ID,
        plan_id=SOME_ID,
        plan_name="Pro",
        billing_interval=BillingInterval.MONTHLY,
        amount_minor=AMOUNT,
        currency="MXN",
        instrument=instrument,
        policy=policy or BillingPolicy(),
    )


VOUCHER, CARD = terms_of(Instrument.OXXO), terms_of(Instrument.CARD)
BOTH_CLOCKS = [VOUCHER, CARD]


def open_invoice(**changes: object) -> OpenInvoice:
    usual = {
        "invoice_id": SOME_ID,
        "amount_minor": AMOUNT,
        "currency": "MXN",
        "due_at": NOW,
        "created_at": NOW - 3 * DAY,
    }
    return OpenInvoice.model_validate({**usual, **changes})


def state_of(status: SubscriptionStatus, **changes: object) -> SubscriptionState:
    usual: dict[str, object] = {"status": status, "opened": True, "created_at": NOW - 90 * DAY}
    if status is not INCOMPLETE:
        usual |= {"current_period_start": NOW - 30 * DAY, "current_period_end": NOW}
    if status is PAST_DUE:
        usual |= {"past_due_since": NOW}
    return SubscriptionState.model_validate({**usual, **changes})


@st.composite
def resting_invoices(draw: st.DrawFn, first: bool, may_wait: bool) -> OpenInvoice:
    """An invoice for which nothing is in flight: a time for its next try is set, unless whoever
    bills waits for the customer or for its own clock (`may_wait`)."""
    next_tries = st.none() | instants if may_wait else instants
    return open_invoice(
        first=first,
        due_at=draw(instants),
        amount_paid_minor=draw(st.sampled_from([0, 0, 1, AMOUNT - 1])),
        next_try_at=draw(next_tries),
        declines=draw(st.integers(0, 3)),
    )


@st.composite
def resting_states(draw: st.DrawFn, terms: SubscriptionTerms) -> SubscriptionState:
    status = draw(st.sampled_from([INCOMPLETE, TRIALING, ACTIVE, PAST_DUE]))
    engine = terms.clock is BillingClock.ENGINE
    invoice = draw(st.none() | resting_invoices(status is INCOMPLETE, may_wait=not engine))
    # The engine's clock gives up or is paid when it lets go of an unpaid invoice.
    assume(invoice is not None or status is not INCOMPLETE)
    assume(invoice is not None or not (engine and status is PAST_DUE))
    changes: dict[str, object] = {"invoice": invoice, "created_at": draw(instants)}
    if status is not INCOMPLETE:
        changes["current_period_end"] = end = draw(instants)
        changes["cancel_at_period_end"] = draw(st.booleans())
        if engine and draw(st.booleans()):
            changes["paid_ahead_until"] = end + 30 * DAY
    if status is PAST_DUE:
        changes["past_due_since"] = draw(instants)
    if not engine:
        changes["provider_looked_at"] = draw(st.none() | instants)
        changes["provider_subscription_id"] = draw(st.sampled_from([None, "sub_1"]))
    return state_of(status, **changes)


any_resting = st.one_of(
    *(st.tuples(st.just(terms), resting_states(terms)) for terms in BOTH_CLOCKS)
)


@settings(max_examples=600)
@given(any_resting)
def test_no_living_subscription_is_forgotten(
    resting: tuple[SubscriptionTerms, SubscriptionState],
) -> None:
    assert next_moment(*resting) is not None


@pytest.mark.parametrize("status", [INCOMPLETE, TRIALING, ACTIVE, PAST_DUE])
def test_an_invoice_that_is_paid_in_part_is_not_forgotten(status: SubscriptionStatus) -> None:
    """A voucher that was paid with too little has ended, and no next try was set: the rest of the
    invoice has to be asked for, or given up, some time."""
    state = state_of(status, invoice=open_invoice(amount_paid_minor=1, first=status is INCOMPLETE))
    assert next_moment(VOUCHER, state) is not None


@given(any_resting, st.sampled_from(sorted(TERMINAL_STATUSES)))
def test_what_is_over_waits_for_nothing(
    resting: tuple[SubscriptionTerms, SubscriptionState], status: SubscriptionStatus
) -> None:
    terms, state = resting
    assert next_moment(terms, state.model_copy(update={"status": status})) is None


@given(any_resting)
def test_nothing_is_due_before_it_was_opened(
    resting: tuple[SubscriptionTerms, SubscriptionState],
) -> None:
    terms, state = resting
    assert next_moment(terms, state.model_copy(update={"opened": False})) is None


@given(any_resting)
def test_asking_changes_nothing(resting: tuple[SubscriptionTerms, SubscriptionState]) -> None:
    terms, state = resting
    before = state.model_dump()
    answer = next_moment(terms, state)
    assert next_moment(terms, state.model_copy(deep=True)) == answer
    assert state.model_dump() == before


@given(any_resting)
def test_the_next_try_and_the_end_are_never_missed(
    resting: tuple[SubscriptionTerms, SubscriptionState],
) -> None:
    terms, state = resting
    moment = next_moment(terms, state)
    assume(moment is not None)
    assert moment is not None
    if state.invoice is not None and state.invoice.next_try_at is not None:
        assert moment.at <= state.invoice.next_try_at
    end = paid_until(state)
    if state.cancel_at_period_end and end is not None:
        assert moment.at <= end


# Held.


@given(any_resting, st.booleans(), instants)
def test_while_it_is_held_nothing_is_billed_or_looked_for(
    resting: tuple[SubscriptionTerms, SubscriptionState], begun: bool, at: datetime
) -> None:
    terms, state = resting
    held = {"status": PAUSED, "resume_at": at} if begun else {"status": ACTIVE, "pause_at": at}
    moment = next_moment(terms, state.model_copy(update=held))
    assert moment is not None
    assert moment.step in {Step.PAUSE, Step.RESUME, Step.END}
    assert moment.at <= at


def test_a_pause_at_the_provider_is_looked_at_each_week() -> None:
    """Whoever resumes it in the provider's dashboard is heard of, also when the webhook is lost."""
    paused_at = NOW - 3 * DAY
    paused = state_of(PAUSED, paused_at=paused_at, provider_subscription_id="sub_1")
    assert next_moment(CARD, paused) == Moment(paused_at + 7 * DAY, Step.CHECK_PROVIDER)
    for looked_at, due in ((paused_at - DAY, paused_at), (NOW, NOW)):
        looked = paused.model_copy(update={"provider_looked_at": looked_at})
        assert next_moment(CARD, looked) == Moment(due + 7 * DAY, Step.CHECK_PROVIDER)
    ending = paused.model_copy(update={"resume_at": NOW + DAY})
    assert next_moment(CARD, ending) == Moment(NOW + DAY, Step.RESUME), "it asks then anyway"
    assert next_moment(VOUCHER, paused) is None, "the engine's own clock has nobody to ask"


@pytest.mark.parametrize("terms", BOTH_CLOCKS)
def test_a_pause_without_an_end_waits_for_a_command(terms: SubscriptionTerms) -> None:
    assert next_moment(terms, state_of(PAUSED, invoice=open_invoice(amount_paid_minor=1))) is None


@pytest.mark.parametrize("terms", BOTH_CLOCKS)
def test_a_pause_begins_and_ends_by_itself(terms: SubscriptionTerms) -> None:
    agreed = state_of(ACTIVE, pause_at=NOW, resume_at=NOW + 30 * DAY)
    assert next_moment(terms, agreed) == Moment(NOW, Step.PAUSE)
    begun = agreed.model_copy(update={"status": PAUSED, "pause_at": None})
    moment = next_moment(terms, begun)
    assert moment == Moment(NOW + 30 * DAY, Step.RESUME)
    assert moment is not None
    assert moment.summary == "resume as requested at 2026-07-01 12:00 UTC"
    ending = begun.model_copy(update={"cancel_at_period_end": True})
    assert next_moment(terms, ending) == Moment(NOW, Step.END), (
        "the end comes before the resumption"
    )


def test_a_change_comes_before_the_pause_that_begins_with_it() -> None:
    offer = VOUCHER.offer.model_copy(update={"amount_minor": 2900})
    change = PendingChange(offer=offer, proration=Proration.NEXT_PERIOD, actor="test", at=NOW)
    both = state_of(ACTIVE, pause_at=NOW, change=change)
    for terms in BOTH_CLOCKS:
        assert next_moment(terms, both) == Moment(NOW, Step.APPLY_CHANGE)
        applied = both.model_copy(update={"change": None})
        assert next_moment(terms, applied) == Moment(NOW, Step.PAUSE)


# Trials.


@pytest.mark.parametrize("terms", BOTH_CLOCKS)
def test_the_app_is_told_of_a_trial_that_ends_in_a_bill(terms: SubscriptionTerms) -> None:
    state = state_of(TRIALING)
    assert reminder_at(terms, state) == NOW - 3 * DAY
    assert reminder_at(terms, state.model_copy(update={"cancel_at_period_end": True})) is None


def test_the_app_is_told_a_week_before_a_card_is_charged() -> None:
    assert reminder_at(CARD, state_of(ACTIVE)) == NOW - 7 * DAY
    assert reminder_at(VOUCHER, state_of(ACTIVE)) is None


def test_a_trial_without_a_card_is_billed_at_its_end() -> None:
    state = state_of(TRIALING)
    assert next_moment(CARD, state) == Moment(NOW, Step.BEGIN_BILLING)
    ending = state.model_copy(update={"cancel_at_period_end": True})
    assert next_moment(CARD, ending) == Moment(NOW, Step.END)
    billed = state.model_copy(update={"invoice": open_invoice(first=True)})
    assert next_moment(CARD, billed) == Moment(NOW, Step.GIVE_UP)
    soon = open_invoice(first=True, next_try_at=NOW + DAY)
    waiting = state.model_copy(update={"invoice": soon})
    assert next_moment(CARD, waiting) == Moment(NOW + DAY, Step.TRY_AGAIN)


# The engine's clock.


@given(instants, st.integers(0, 20), st.none() | instants)
def test_the_invoice_is_made_a_lead_before_the_period(
    end: datetime, lead_days: int, paid_ahead_until: datetime | None
) -> None:
    terms = terms_of(Instrument.SPEI, BillingPolicy(lead=lead_days * DAY))
    state = state_of(ACTIVE, current_period_end=end, paid_ahead_until=paid_ahead_until)
    paid_to = paid_ahead_until or end
    assert next_moment(terms, state) == Moment(paid_to - lead_days * DAY, Step.OPEN_INVOICE)


def test_a_trial_is_billed_before_its_end() -> None:
    assert next_moment(VOUCHER, state_of(TRIALING)) == Moment(NOW - 3 * DAY, Step.OPEN_INVOICE)


@pytest.mark.parametrize("status", [ACTIVE, TRIALING])
def test_a_slip_that_ends_in_time_needs_no_second_timer(status: SubscriptionStatus) -> None:
    grace = VOUCHER.policy.due_grace
    in_time = open_invoice(attempt_id=SOME_ID, due_at=NOW, ends_at=NOW + grace)
    assert next_moment(VOUCHER, state_of(status, invoice=in_time)) is None
    too_late = open_invoice(attempt_id=SOME_ID, due_at=NOW, ends_at=NOW + 2 * grace)
    due = next_moment(VOUCHER, state_of(status, invoice=too_late))
    assert due == Moment(NOW + grace, Step.PAST_DUE)


@pytest.mark.parametrize("status", [ACTIVE, TRIALING])
def test_an_unpaid_invoice_falls_due_once(status: SubscriptionStatus) -> None:
    waiting = open_invoice(attempt_id=SOME_ID, due_at=NOW + DAY)
    due = next_moment(VOUCHER, state_of(status, invoice=waiting))
    assert due == Moment(NOW + DAY + VOUCHER.policy.due_grace, Step.PAST_DUE)
    # After that its voucher, which is in flight, decides.
    assert next_moment(VOUCHER, state_of(PAST_DUE, invoice=waiting)) is None


@pytest.mark.parametrize("terms", BOTH_CLOCKS)
def test_an_invoice_is_tried_again_when_its_time_comes(terms: SubscriptionTerms) -> None:
    invoice = open_invoice(next_try_at=NOW + timedelta(minutes=5), due_at=NOW + DAY)
    state = state_of(PAST_DUE, invoice=invoice)
    assert next_moment(terms, state) == Moment(NOW + timedelta(minutes=5), Step.TRY_AGAIN)


@pytest.mark.parametrize("status", [ACTIVE, TRIALING])
def test_what_ends_with_its_period_is_billed_no_more(status: SubscriptionStatus) -> None:
    state = state_of(status, cancel_at_period_end=True)
    assert next_moment(VOUCHER, state) == Moment(NOW, Step.END)
    ahead = state.model_copy(update={"paid_ahead_until": NOW + 30 * DAY})
    assert next_moment(VOUCHER, ahead) == Moment(NOW + 30 * DAY, Step.END)


# The provider's clock.


def test_the_first_payment_has_a_window() -> None:
    state = state_of(INCOMPLETE, created_at=NOW, invoice=open_invoice(first=True))
    assert next_moment(CARD, state) == Moment(NOW + timedelta(hours=23), Step.GIVE_UP)


def test_a_past_due_subscription_has_a_window() -> None:
    asked = NOW + 14.5 * DAY
    state = state_of(PAST_DUE, past_due_since=NOW, provider_looked_at=asked, invoice=open_invoice())
    assert next_moment(CARD, state) == Moment(NOW + 15 * DAY, Step.GIVE_UP)


def test_the_provider_is_asked_daily_while_no_try_is_due() -> None:
    """The customer may have paid by another way, and the webhook of it be lost."""
    state = state_of(PAST_DUE, past_due_since=NOW, invoice=open_invoice())
    assert next_moment(CARD, state) == Moment(NOW + DAY, Step.CHECK_PROVIDER)
    later = state.model_copy(update={"provider_looked_at": NOW + DAY})
    assert next_moment(CARD, later) == Moment(NOW + 2 * DAY, Step.CHECK_PROVIDER)


def test_a_start_that_waits_for_its_customer_is_looked_at() -> None:
    waits = open_invoice(first=True, attempt_id=SOME_ID)
    state = state_of(INCOMPLETE, created_at=NOW, invoice=waits)
    assert next_moment(CARD, state) == Moment(NOW + timedelta(hours=2), Step.CHECK_PROVIDER)


@pytest.mark.parametrize("status", [ACTIVE, TRIALING])
def test_the_provider_is_looked_at_after_the_period_and_a_grace(status: SubscriptionStatus) -> None:
    due = NOW + timedelta(hours=2)
    known = state_of(status, provider_subscription_id="sub_1")
    assert next_moment(CARD, known) == Moment(due, Step.CHECK_PROVIDER)
    earlier = known.model_copy(update={"provider_looked_at": due - timedelta(seconds=1)})
    assert next_moment(CARD, earlier) == Moment(due, Step.CHECK_PROVIDER)


@given(instants, st.timedeltas(timedelta(), timedelta(days=30)))
def test_a_fruitless_look_is_repeated_after_a_while(end: datetime, late: timedelta) -> None:
    looked_at = end + CARD.policy.provider_check_grace + late
    state = state_of(ACTIVE, current_period_end=end, provider_looked_at=looked_at)
    again = looked_at + CARD.policy.provider_check_again
    assert next_moment(CARD, state) == Moment(again, Step.CHECK_PROVIDER)


def test_the_waits_for_an_absent_provider_grow_and_end() -> None:
    waits = VOUCHER.policy.provider_unavailable_retries
    found = [
        unavailable_retry_at(VOUCHER, open_invoice(provider_failures=failures), NOW)
        for failures in range(1, len(waits) + 2)
    ]
    assert found == [*(NOW + wait for wait in waits), None]
    assert sorted(waits) == list(waits)


def test_every_step_can_be_read_by_a_person() -> None:
    assert set(SUMMARY_BY_STEP) == set(Step)
    assert Moment(NOW, Step.END).summary == "end as requested at 2026-06-01 12:00 UTC"
