"""What a subscription waits for next, and until when. Pure: the workflow only sets the timer.

The same answer is what operators read in the Temporal UI and what the API shows as the next step.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from models.dunning import LOOK_WHILE_IDLE, LOOK_WHILE_UNPAID, gives_up_at
from models.states import TERMINAL_STATUSES, SubscriptionStatus
from models.subscription import (
    BillingClock,
    OpenInvoice,
    SubscriptionState,
    SubscriptionTerms,
)

# A key of another account, a version of its API that is spoken no more: people have to act, so not at once.
REFUSED_AGAIN = timedelta(hours=1)


class Step(StrEnum):
    OPEN_INVOICE = "open_invoice"  # Engine clock: make the next invoice and its voucher.
    TRY_AGAIN = "try_again"  # Collect the open invoice once more.
    PAST_DUE = "past_due"  # The period began and its invoice is unpaid.
    CHECK_PROVIDER = "check_provider"  # The expected webhook did not come: look.
    GIVE_UP = "give_up"  # The last chance has passed.
    APPLY_CHANGE = "apply_change"  # A change of the plan takes effect with the period.
    END = "end"  # A scheduled cancellation takes effect.
    PAUSE = "pause"  # A scheduled pause takes effect.
    RESUME = "resume"  # A pause ends by itself.
    ASK_AGAIN = "ask_again"  # The provider refused what we have to know or do.
    BEGIN_BILLING = "begin_billing"  # A trial that no provider knows of is over.


SUMMARY_BY_STEP: dict[Step, str] = {
    Step.OPEN_INVOICE: "issue the next invoice",
    Step.TRY_AGAIN: "try to collect the invoice again",
    Step.PAST_DUE: "the invoice falls due",
    Step.CHECK_PROVIDER: "ask the provider, should its webhook not come",
    Step.GIVE_UP: "give up on the unpaid invoice",
    Step.APPLY_CHANGE: "change the plan",
    Step.END: "end as requested",
    Step.PAUSE: "pause as requested",
    Step.RESUME: "resume as requested",
    Step.ASK_AGAIN: "ask the provider again, which refused to answer",
    Step.BEGIN_BILLING: "bill the first period after the trial",
}


class Moment(NamedTuple):
    at: datetime
    step: Step

    @property
    def summary(self) -> str:
        return f"{SUMMARY_BY_STEP[self.step]} at {self.at:%Y-%m-%d %H:%M} UTC"


def paid_until(state: SubscriptionState) -> datetime | None:
    """The end of the last period that is paid for (or of the trial)."""
    return state.paid_ahead_until or state.current_period_end


def next_moment(terms: SubscriptionTerms, state: SubscriptionState) -> Moment | None:
    """The next thing that has to happen by itself; None when only an event or a command can help."""
    if state.status in TERMINAL_STATUSES or not state.opened:
        return None
    if state.refused_at is not None:
        return Moment(state.refused_at + REFUSED_AGAIN, Step.ASK_AGAIN)
    # Of two steps at one moment the first by name comes first: a change of the plan before a pause.
    moments = _held_moments(terms, state)
    if not state.is_held:
        engine = terms.clock is BillingClock.ENGINE
        moments += _engine_moments(terms, state) if engine else _provider_moments(terms, state)
    end = paid_until(state)
    if state.cancel_at_period_end and end is not None:
        moments.append(Moment(end, Step.END))
    elif state.change is not None and state.change.at is not None:
        moments.append(Moment(state.change.at, Step.APPLY_CHANGE))
    return min(moments, default=None)


def _held_moments(terms: SubscriptionTerms, state: SubscriptionState) -> list[Moment]:
    """While nothing is billed there is nothing to collect. The provider is asked now and then whether it
    agrees: who resumes or cancels in its dashboard may do so while its webhooks are lost."""
    moments = []
    if terms.clock is BillingClock.PROVIDER and state.provider_subscription_id is not None:
        moments += _looks_while_paused(state)
    if state.pause_at is not None:
        moments.append(Moment(state.pause_at, Step.PAUSE))
    if state.resume_at is not None and state.is_held:
        moments.append(Moment(state.resume_at, Step.RESUME))
    return moments


def _looks_while_paused(state: SubscriptionState) -> list[Moment]:
    paused_at, looked_at = state.paused_at, state.provider_looked_at
    if not state.is_held or state.status is not SubscriptionStatus.PAUSED or paused_at is None:
        return []
    since = paused_at if looked_at is None else max(paused_at, looked_at)
    return [Moment(since + LOOK_WHILE_IDLE, Step.CHECK_PROVIDER)]


def _engine_moments(terms: SubscriptionTerms, state: SubscriptionState) -> list[Moment]:
    invoice, end = state.invoice, paid_until(state)
    if invoice is None:
        if end is None or state.cancel_at_period_end:
            return []
        return [Moment(end - terms.policy.lead, Step.OPEN_INVOICE)]
    moments = []
    if invoice.next_try_at is not None:
        moments.append(Moment(invoice.next_try_at, Step.TRY_AGAIN))
    elif invoice.attempt_id is None and invoice.exhausted_at is None:
        # Nothing is on its way, for instance because the invoice was paid in part: nobody else will
        # move it, so it is collected at once.
        moments.append(Moment(invoice.created_at, Step.TRY_AGAIN))
    if invoice.for_change:
        # The renewal comes first: a change that is not paid by then has lapsed.
        return [*moments, Moment((end or invoice.due_at) - terms.policy.lead, Step.OPEN_INVOICE)]
    past_due_at = invoice.due_at + terms.policy.due_grace
    # A slip that comes to its end before is heard of then: a timer for nothing would be one for every
    # renewal.
    ends_before = invoice.ends_at is not None and invoice.ends_at <= past_due_at
    served = state.status in {SubscriptionStatus.ACTIVE, SubscriptionStatus.TRIALING}
    if served and not ends_before:
        moments.append(Moment(past_due_at, Step.PAST_DUE))
    return moments


def _provider_moments(terms: SubscriptionTerms, state: SubscriptionState) -> list[Moment]:
    invoice, policy = state.invoice, terms.policy
    moments = []
    if invoice is not None and invoice.next_try_at is not None:
        moments.append(Moment(invoice.next_try_at, Step.TRY_AGAIN))
    if state.status is SubscriptionStatus.INCOMPLETE and state.created_at is not None:
        moments.append(Moment(state.created_at + policy.first_payment_window, Step.GIVE_UP))
    exhausted = invoice is not None and invoice.exhausted_at is not None
    if state.past_due_since is not None and not exhausted:
        moments.append(Moment(gives_up_at(policy, invoice, state.past_due_since), Step.GIVE_UP))
    if runs_without_provider(state):
        return moments + _first_bill_moments(state)
    look = _look_at(terms, state)
    if look is not None:
        moments.append(Moment(look, Step.CHECK_PROVIDER))
    return moments


def _first_bill_moments(state: SubscriptionState) -> list[Moment]:
    """Of a trial that no provider knows of; once it was billed and nobody can be asked, it is past due."""
    end, invoice = state.current_period_end, state.invoice
    if end is None or state.cancel_at_period_end:
        return []
    if invoice is None:
        return [Moment(end, Step.BEGIN_BILLING)]
    return [Moment(end, Step.GIVE_UP)] if invoice.next_try_at is None else []


def runs_without_provider(state: SubscriptionState) -> bool:
    """A card trial that was begun without a card: no provider knows of it before it is paid."""
    trialing = state.status is SubscriptionStatus.TRIALING
    return trialing and state.provider_subscription_id is None


def _look_at(terms: SubscriptionTerms, state: SubscriptionState) -> datetime | None:
    """When the provider is asked should nothing be heard from it: its webhook may be lost. None where
    another moment of ours asks it anyway."""
    policy, invoice, looked_at = terms.policy, state.invoice, state.provider_looked_at
    match state.status:
        case SubscriptionStatus.ACTIVE | SubscriptionStatus.TRIALING:
            # After the period's end plus grace, and not sooner than that after a fruitless look.
            since, again = state.current_period_end, policy.provider_check_again
        case SubscriptionStatus.INCOMPLETE:
            # The customer is asked to confirm, and may have done so.
            waits = invoice is not None and invoice.attempt_id is not None
            since, again = (state.created_at if waits else None), policy.provider_check_again
        case SubscriptionStatus.PAST_DUE:
            exhausted = invoice is not None and invoice.exhausted_at is not None
            tries = invoice is not None and invoice.next_try_at is not None
            since = None if tries else state.past_due_since
            again = LOOK_WHILE_IDLE if exhausted else LOOK_WHILE_UNPAID
        case _:
            since, again = state.current_period_end, LOOK_WHILE_IDLE
    if since is None:
        return None
    due = since + (
        again if state.status is SubscriptionStatus.PAST_DUE else policy.provider_check_grace
    )
    if looked_at is not None and looked_at >= due:
        return looked_at + again
    return due


def reminder_at(terms: SubscriptionTerms, state: SubscriptionState) -> datetime | None:
    """When to tell the app that the period under way ends; None when nothing happens at its end that
    a customer should hear of. A voucher's issue is a reminder in itself."""
    end = state.current_period_end
    if end is None or state.cancel_at_period_end:
        return None
    if state.status is SubscriptionStatus.TRIALING:
        before = terms.policy.reminder_before_trial_end
    elif state.status is SubscriptionStatus.ACTIVE and terms.clock is BillingClock.PROVIDER:
        before = terms.policy.reminder_before_renewal
    else:
        return None
    return end - before if before else None


def unavailable_retry_at(
    terms: SubscriptionTerms, invoice: OpenInvoice, now: datetime
) -> datetime | None:
    """When to ask again after no provider could be reached; None when it is time to give up."""
    waits = terms.policy.provider_unavailable_retries
    if invoice.provider_failures > len(waits):
        return None
    return now + waits[invoice.provider_failures - 1]
