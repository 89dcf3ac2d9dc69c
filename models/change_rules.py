"""Whether the plan of a subscription may change now, and all that follows when it does.

One function decides for the preview and for the change itself, from the workflow's own state.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import AwareDatetime, BaseModel, ConfigDict

from models.calendar import BillingPeriod, period
from models.commands import ChangePlan
from models.later_changes import why_not_later
from models.moments import paid_until
from models.plan_change import (
    InvoiceLine,
    Offer,
    PaidPeriod,
    Proration,
    lines_anew,
    lines_within,
    period_line,
    settle_lines,
)
from models.states import TERMINAL_STATUSES, SubscriptionStatus
from models.subscription import BillingClock, SubscriptionState, SubscriptionTerms

# A preview's instant may be this old when the change is asked for: the time to read a page and decide.
PREVIEW_VALID = timedelta(hours=1)
# Between the clock that previewed and the one that changes.
CLOCK_SKEW = timedelta(minutes=1)
# What a customer needs to reach a counter; with less, the renewal would come first.
PAY_CHANGE_WITHIN_MIN = timedelta(days=1)

_S = SubscriptionStatus
_NOT_NOW = {
    _S.INCOMPLETE: "the first payment is still open",
    _S.PAUSED: "the subscription is paused: resume it first",
}


class ChangeRefused(Exception):
    """The subscription's state does not allow the change; the message is for the caller."""


class Decision(BaseModel):
    """What a change comes to. `takes_effect_at` None: when its invoice is paid."""

    model_config = ConfigDict(frozen=True)

    offer: Offer
    takes_back: bool = False  # The terms stay: a change that was pending is dropped.
    at: AwareDatetime  # The instant that it was computed for.
    takes_effect_at: AwareDatetime | None
    lines: list[InvoiceLine] = []
    amount_due_minor: int = 0
    credit_change_minor: int = 0
    credit_minor: int  # Afterwards.
    period: BillingPeriod | None = None  # Begins with the change, for another interval.
    pay_by: AwareDatetime | None = None
    next_invoice_minor: int | None = None
    next_invoice_at: AwareDatetime | None = None

    @property
    def now(self) -> bool:
        return self.takes_effect_at == self.at


def decide(
    terms: SubscriptionTerms, state: SubscriptionState, change: ChangePlan, now: datetime
) -> Decision:
    """Raises ChangeRefused. Changes nothing."""
    _refuse_by_status(state)
    at = _instant(state, change, now).replace(microsecond=0)  # As the providers count.
    if change.offer.same_as(terms.offer):
        return _with_next(terms, state, _stays(terms, state, at))
    if state.change is not None and state.change.at is None:
        raise ChangeRefused("a change waits for its payment: pay it, or take it back first")
    if change.proration is Proration.NEXT_PERIOD:
        found = _with_next_period(terms, state, change, at)
    elif state.status is _S.TRIALING:
        found = _at_once(state, change, at)
    elif change.proration is Proration.NONE:
        found = _without_proration(terms, state, change, at)
    else:
        found = _prorated(terms, state, change, at)
    _refuse_half_paid(state)
    return _with_next(terms, state, found)


def _refuse_by_status(state: SubscriptionState) -> None:
    if state.status in TERMINAL_STATUSES:
        raise ChangeRefused(f"the subscription is {state.status}")
    reason = _NOT_NOW.get(state.status) or (None if state.opened else "it is being opened")
    if reason is not None:
        raise ChangeRefused(reason)


def _instant(state: SubscriptionState, change: ChangePlan, now: datetime) -> datetime:
    if change.at is None:
        return now
    began = state.current_period_start
    if not now - PREVIEW_VALID <= change.at <= now + CLOCK_SKEW or (
        began is not None and change.at < began
    ):
        raise ChangeRefused("the preview is too old: ask for another one")
    return change.at


def _stays(terms: SubscriptionTerms, state: SubscriptionState, at: datetime) -> Decision:
    """Back to the present terms: nothing to settle but a change that has not happened yet."""
    return Decision(
        offer=terms.offer,
        takes_back=True,
        at=at,
        takes_effect_at=at,
        credit_minor=state.credit_minor,
    )


def _at_once(state: SubscriptionState, change: ChangePlan, at: datetime) -> Decision:
    return Decision(offer=change.offer, at=at, takes_effect_at=at, credit_minor=state.credit_minor)


def _without_proration(
    terms: SubscriptionTerms, state: SubscriptionState, change: ChangePlan, at: datetime
) -> Decision:
    if change.offer.billing_interval is not terms.billing_interval:
        raise ChangeRefused("another interval needs the proration `prorate` or `next_period`")
    return _at_once(state, change, at)


def _with_next_period(
    terms: SubscriptionTerms, state: SubscriptionState, change: ChangePlan, at: datetime
) -> Decision:
    if state.cancel_at_period_end:
        raise ChangeRefused("the subscription ends with its period: resume it first")
    refusal = why_not_later(terms, state, change.offer)
    if refusal is not None:
        raise ChangeRefused(refusal)
    boundary = next_boundary(state, at)
    if boundary is None:
        raise ChangeRefused("the coming period is not known while this one is unpaid")
    return Decision(
        offer=change.offer, at=at, takes_effect_at=boundary, credit_minor=state.credit_minor
    )


def next_boundary(state: SubscriptionState, at: datetime) -> datetime | None:
    """Where the next period begins that is not paid and has not begun."""
    end, invoice = paid_until(state), state.invoice
    if end is not None and end > at:
        return end
    unpaid = invoice.period_end if invoice is not None else None
    return unpaid if unpaid is not None and unpaid > at else None


def _prorated(
    terms: SubscriptionTerms, state: SubscriptionState, change: ChangePlan, at: datetime
) -> Decision:
    if state.status is _S.PAST_DUE:
        raise ChangeRefused("an unpaid period cannot be prorated: use `none` or `next_period`")
    anew = change.offer.billing_interval is not terms.billing_interval
    paid, old = paid_periods(terms, state), terms.offer
    following = _begins_anew(terms, change.offer, at) if anew else None
    lines = (
        lines_anew(paid, old, change.offer, at, following)
        if following is not None
        else lines_within(paid, old, change.offer, at)
    )
    settled = settle_lines(lines, state.credit_minor)
    to_pay = settled.amount_due_minor > 0
    if state.invoice is not None and (to_pay or anew or terms.clock is BillingClock.PROVIDER):
        raise ChangeRefused("another invoice is being collected: use `none` or `next_period`")
    by_slip = to_pay and terms.clock is BillingClock.ENGINE
    return Decision(
        offer=change.offer,
        at=at,
        takes_effect_at=None if by_slip else at,
        lines=settled.lines,
        amount_due_minor=settled.amount_due_minor,
        credit_change_minor=settled.credit_change_minor,
        credit_minor=state.credit_minor + settled.credit_change_minor,
        period=following,
        pay_by=_pay_by(terms, state, at) if by_slip else None,
    )


def _begins_anew(terms: SubscriptionTerms, offer: Offer, at: datetime) -> BillingPeriod:
    """Providers count months in UTC; the engine does in the customer's time zone."""
    zone = terms.time_zone if terms.clock is BillingClock.ENGINE else "UTC"
    return period(at, zone, offer.billing_interval, 0)


def paid_periods(terms: SubscriptionTerms, state: SubscriptionState) -> list[PaidPeriod]:
    start, end, ahead = (
        state.current_period_start,
        state.current_period_end,
        state.paid_ahead_until,
    )
    if start is None or end is None:
        return []
    current = terms.amount_minor if state.period_amount_minor is None else state.period_amount_minor
    found = [PaidPeriod(start=start, end=end, amount_minor=current)]
    if ahead is not None:
        sold = terms.amount_minor if state.ahead_amount_minor is None else state.ahead_amount_minor
        found.append(PaidPeriod(start=end, end=ahead, amount_minor=sold))
    return found


def _pay_by(terms: SubscriptionTerms, state: SubscriptionState, at: datetime) -> datetime:
    """As long as a slip lives, but not into the days in which the renewal is collected."""
    end = paid_until(state)
    latest = at + terms.policy.voucher_lifetime
    if end is not None:
        latest = min(latest, end - terms.policy.lead)
    if latest - at < PAY_CHANGE_WITHIN_MIN:
        raise ChangeRefused("the renewal is too near to collect a change: use `next_period`")
    return latest


def _refuse_half_paid(state: SubscriptionState) -> None:
    if state.invoice is not None and state.invoice.amount_paid_minor:
        raise ChangeRefused("the open invoice is paid in part: pay the rest first")


def _with_next(terms: SubscriptionTerms, state: SubscriptionState, found: Decision) -> Decision:
    """What the next period will cost, and when it begins."""
    starts = found.period.end if found.period is not None else next_boundary(state, found.at)
    if starts is None or (state.cancel_at_period_end and not found.takes_back):
        return found
    reserved = state.invoice.credit_change_minor if state.invoice is not None else 0
    line = period_line(found.offer, None, None)
    following = settle_lines([line], found.credit_minor - reserved)
    return found.model_copy(
        update={"next_invoice_minor": following.amount_due_minor, "next_invoice_at": starts}
    )
