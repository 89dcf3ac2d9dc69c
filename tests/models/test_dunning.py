"""The rules of collecting: property tests over any policy and any string of declines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.billing_policy import BillingPolicy, OnUnpaid
from models.dunning import (
    MESSAGE_BY_CLASS,
    NETWORK_CAPS,
    STRICTEST_CAPS,
    NetworkCap,
    access_until,
    allowed_at,
    begin_anew,
    collection,
    count_try,
    gives_up_at,
    next_try_at,
    tries_left,
)
from models.moments import Step, next_moment
from models.outcomes import DeclineClass
from models.snapshots import Decline
from models.states import TERMINAL_STATUSES, SubscriptionStatus
from models.subscription import OpenInvoice, SubscriptionState
from tests.models.test_moments import CARD, VOUCHER

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SOFT, HARD, CUSTOMER, TECHNICAL = (
    DeclineClass.SOFT,
    DeclineClass.HARD,
    DeclineClass.CUSTOMER_ACTION,
    DeclineClass.TECHNICAL,
)
any_class = st.sampled_from([SOFT, SOFT, SOFT, TECHNICAL, CUSTOMER, HARD])


@st.composite
def policies(draw: st.DrawFn) -> BillingPolicy:
    days = tuple(draw(st.lists(st.integers(1, 30), max_size=12)))
    return BillingPolicy(
        retry_after_days=days,
        past_due_window=timedelta(days=draw(st.integers(1, 90))),
        access_grace=timedelta(days=draw(st.integers(0, 60))),
        on_unpaid=draw(st.sampled_from(OnUnpaid)),
    )


def invoice_of(**changes: object) -> OpenInvoice:
    usual = {
        "invoice_id": UUID(int=1),
        "amount_minor": 100,
        "currency": "MXN",
        "due_at": NOW,
        "created_at": NOW,
    }
    return OpenInvoice.model_validate({**usual, **changes})


def refuse(policy: BillingPolicy, invoice: OpenInvoice, kind: DeclineClass, at: datetime) -> None:
    """One try, refused: what the workflow writes down."""
    invoice.next_try_at = None
    count_try(invoice, at)
    invoice.declines += 1
    invoice.last_decline = Decline(decline_class=kind, code="x")
    invoice.next_try_at = next_try_at(policy, invoice, NOW, at)


def run(policy: BillingPolicy, kinds: list[DeclineClass]) -> tuple[OpenInvoice, list[datetime]]:
    """The engine alone, until it stops by itself: the moments of its tries."""
    invoice, tries = invoice_of(), []
    at: datetime | None = NOW
    for kind in kinds:
        if at is None:
            break
        tries.append(at)
        refuse(policy, invoice, kind, at)
        at = invoice.next_try_at
    return invoice, tries


declines = st.lists(any_class, min_size=1, max_size=40)


@settings(max_examples=300)
@given(policies(), declines)
def test_never_more_tries_than_the_schedule(
    policy: BillingPolicy, kinds: list[DeclineClass]
) -> None:
    _, tries = run(policy, kinds)
    assert len(tries) <= 1 + len(policy.retry_after_days)


@settings(max_examples=300)
@given(policies(), declines)
def test_tries_go_forward_and_end_before_the_window(
    policy: BillingPolicy, kinds: list[DeclineClass]
) -> None:
    _, tries = run(policy, kinds)
    assert tries == sorted(set(tries))
    assert all(at < NOW + policy.past_due_window for at in tries[1:])


@given(policies(), declines)
def test_nothing_is_tried_by_itself_after_a_hard_decline(
    policy: BillingPolicy, kinds: list[DeclineClass]
) -> None:
    _, tries = run(policy, kinds)
    made = kinds[: len(tries)]
    assert not {HARD, CUSTOMER} & set(made[:-1])
    if made[-1] in {HARD, CUSTOMER}:
        invoice, _ = run(policy, made)
        assert (invoice.next_try_at, tries_left(policy, invoice)) == (None, 0)


@given(policies(), st.sampled_from(DeclineClass))
def test_the_first_payment_is_not_retried(policy: BillingPolicy, kind: DeclineClass) -> None:
    invoice = invoice_of(first=True)
    refuse(policy, invoice, kind, NOW)
    assert invoice.next_try_at is None


@settings(max_examples=300)
@given(policies(), declines)
def test_the_tries_left_come_true(policy: BillingPolicy, kinds: list[DeclineClass]) -> None:
    """What is announced is the most that follows, and each try takes one off."""
    invoice, at = invoice_of(), NOW
    announced: int | None = None
    for kind in kinds:
        refuse(policy, invoice, kind, at)
        left = tries_left(policy, invoice)
        assert announced is None or left <= announced - 1
        announced = left
        if invoice.next_try_at is None:
            assert left == 0
            break
        at = invoice.next_try_at


@settings(max_examples=300)
@given(st.lists(st.timedeltas(timedelta(), 3 * DAY), max_size=80))
def test_no_network_cap_is_ever_passed(gaps: list[timedelta]) -> None:
    """Whoever asks, and however often."""
    invoice, at = invoice_of(), NOW
    made: list[datetime] = []
    for gap in gaps:
        at = allowed_at(invoice.tried_at, at + gap)
        count_try(invoice, at)
        made.append(at)
    for cap in STRICTEST_CAPS:
        for moment in made:
            inside = [one for one in made if moment - cap.window < one <= moment]
            assert len(inside) <= cap.tries_max


@pytest.mark.parametrize("network", sorted(NETWORK_CAPS))
def test_the_strictest_caps_hold_for_each_network(network: str) -> None:
    for cap in NETWORK_CAPS[network]:
        assert any(
            strict.tries_max <= cap.tries_max and strict.window >= cap.window
            for strict in STRICTEST_CAPS
        )


def test_a_cap_moves_a_try_to_the_first_moment_that_is_allowed() -> None:
    cap = NetworkCap(2, DAY)
    tried = [NOW, NOW + timedelta(hours=1)]
    assert allowed_at(tried, NOW + timedelta(hours=2), [cap]) == NOW + DAY
    assert allowed_at(tried, NOW + 2 * DAY, [cap]) == NOW + 2 * DAY


@given(policies(), declines, st.timedeltas(timedelta(), 60 * DAY))
def test_another_card_begins_the_schedule_anew_but_not_the_caps(
    policy: BillingPolicy, kinds: list[DeclineClass], later: timedelta
) -> None:
    invoice, tries = run(policy, kinds)
    again = tries[-1] + later
    begin_anew(invoice, again)
    assert gives_up_at(policy, invoice, NOW) == max(NOW, again) + policy.past_due_window
    before = list(invoice.tried_at)
    refuse(policy, invoice, SOFT, again)
    assert invoice.tried_at[:-1] == before[-len(invoice.tried_at) + 1 :] or len(before) == 0
    first = policy.retry_after_days[0] if policy.retry_after_days else None
    if first is not None and first * DAY < policy.past_due_window:
        assert invoice.next_try_at is not None


instants = st.timedeltas(timedelta(), 365 * DAY).map(lambda since: NOW + since)


@given(policies(), st.sampled_from(SubscriptionStatus), instants, instants, st.booleans())
def test_access_is_never_taken_before_what_is_paid_and_its_grace(
    policy: BillingPolicy,
    status: SubscriptionStatus,
    paid: datetime,
    now: datetime,
    suspended: bool,
) -> None:
    state = SubscriptionState(status=status, suspended_at=now if suspended else None)
    end = access_until(policy, state, paid, now)
    assert end is not None
    if status is SubscriptionStatus.CANCELED:
        assert end <= now or end <= paid + policy.access_grace
        return
    missed = suspended or status in {SubscriptionStatus.PAST_DUE, SubscriptionStatus.EXPIRED}
    assert end == (paid + policy.access_grace if missed else paid)


def test_nobody_has_access_to_what_was_never_paid() -> None:
    state = SubscriptionState(status=SubscriptionStatus.EXPIRED)
    assert access_until(BillingPolicy(), state, None, NOW) is None


@given(policies(), declines, st.sampled_from(sorted(TERMINAL_STATUSES)))
def test_collecting_stops_with_the_subscription(
    policy: BillingPolicy, kinds: list[DeclineClass], status: SubscriptionStatus
) -> None:
    invoice, _ = run(policy, kinds)
    terms = CARD.model_copy(update={"policy": policy})
    state = SubscriptionState(status=status, opened=True, invoice=invoice)
    assert (next_moment(terms, state), collection(terms, state)) == (None, None)


@pytest.mark.parametrize("terms", [CARD, VOUCHER])
@pytest.mark.parametrize("status", [SubscriptionStatus.PAUSED, SubscriptionStatus.PAST_DUE])
def test_an_exhausted_invoice_is_not_tried_again_by_itself(
    terms: object, status: SubscriptionStatus
) -> None:
    chosen = CARD if terms is CARD else VOUCHER
    invoice = invoice_of(exhausted_at=NOW, vouchers_issued=3, declines=4)
    state = SubscriptionState(
        status=status,
        opened=True,
        invoice=invoice,
        past_due_since=NOW,
        suspended_at=NOW,
        current_period_end=NOW,
    )
    moment = next_moment(chosen, state)
    assert moment is None or moment.step is Step.CHECK_PROVIDER
    shown = collection(chosen, state)
    assert shown is not None
    assert (shown.attempts_left, shown.next_attempt_at, shown.ends_at) == (0, None, None)


def test_what_is_shown_of_a_voucher() -> None:
    invoice = invoice_of(vouchers_issued=1, tried_at=[NOW], attempt_id=UUID(int=2))
    state = SubscriptionState(status=SubscriptionStatus.ACTIVE, opened=True, invoice=invoice)
    shown = collection(VOUCHER, state)
    assert shown == (1, 2, None, NOW + 9 * DAY)


def test_every_class_has_a_message_that_tells_no_thief_anything() -> None:
    assert set(MESSAGE_BY_CLASS) == set(DeclineClass)
    assert not any("fraud" in text or "stolen" in text for text in MESSAGE_BY_CLASS.values())
