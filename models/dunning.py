"""Collecting what was not paid: when to try again, when to stop, what the customer may use meanwhile.

Data (`BillingPolicy`, per plan) and the networks' own limits go in, moments come out. Three clocks run
beside each other and none of them moves another: the schedule of tries, the window after which the engine
stops, and the grace for which access outlives a missed payment.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from models.billing_policy import BillingPolicy
from models.outcomes import DeclineClass, Instrument
from models.states import SubscriptionStatus
from models.subscription import BillingClock, OpenInvoice, SubscriptionState, SubscriptionTerms

# None: the provider did not say why; worth the schedule, as a soft decline is.
RETRIED_CLASSES = frozenset({None, DeclineClass.SOFT, DeclineClass.TECHNICAL})

# What a customer may be told. Never why a bank suspects fraud: that would teach the thief.
MESSAGE_BY_CLASS: dict[DeclineClass, str] = {
    DeclineClass.SOFT: "The bank refused the payment for now; it will be tried again.",
    DeclineClass.HARD: "The bank refuses this card for good; another payment method is needed.",
    DeclineClass.CUSTOMER_ACTION: "The payment needs the customer: confirm it, or check the card.",
    DeclineClass.TECHNICAL: "The payment could not be processed; it will be tried again.",
}


class NetworkCap(NamedTuple):
    """At most `tries_max` tries at one payment in any `window`."""

    tries_max: int
    window: timedelta


# The networks fine whoever tries more often. Visa: 15 in 30 days; Mastercard: 10 in 24 h and 35 in 30 days.
NETWORK_CAPS: dict[str, tuple[NetworkCap, ...]] = {
    "visa": (NetworkCap(15, timedelta(days=30)),),
    "mastercard": (NetworkCap(10, timedelta(hours=24)), NetworkCap(35, timedelta(days=30))),
}
# A workflow does not know the card's network, and the customer may change it: the strictest of all.
STRICTEST_CAPS: tuple[NetworkCap, ...] = (
    NetworkCap(10, timedelta(hours=24)),
    NetworkCap(15, timedelta(days=30)),
)
TRIES_REMEMBERED_MAX = max(cap.tries_max for cap in STRICTEST_CAPS)

# While nothing of ours is due, the provider is asked whether the customer has paid by another way.
LOOK_WHILE_UNPAID = timedelta(days=1)
LOOK_WHILE_IDLE = timedelta(days=7)  # Paused, or kept past due for as long as nobody acts.


class Collection(NamedTuple):
    """How the collection of an open invoice stands, as the API shows it."""

    attempts_made: int
    attempts_left: int
    next_attempt_at: datetime | None
    ends_at: datetime | None


def is_retried(decline_class: DeclineClass | None, invoice: OpenInvoice) -> bool:
    """Whether the engine tries again by itself. The first payment it never does: nobody has been served
    yet, and the customer is still there to choose another card."""
    return decline_class in RETRIED_CLASSES and (invoice.after_trial or not invoice.first)


def tries_left(policy: BillingPolicy, invoice: OpenInvoice) -> int:
    """Tries that the engine still makes by itself, were each to be declined softly."""
    under_way = invoice.attempt_id is not None
    if invoice.exhausted_at is not None or not (under_way or invoice.next_try_at):
        return 0
    decline_class = invoice.last_decline.decline_class if invoice.last_decline else None
    if not is_retried(decline_class, invoice):
        return 0
    left = len(policy.retry_after_days) - max(0, _position(invoice) - 1)
    return max(0, left - under_way)


def next_try_at(
    policy: BillingPolicy, invoice: OpenInvoice, since: datetime, now: datetime
) -> datetime | None:
    """When to try again after the decline that `invoice` has just counted; None when only the customer
    can help any more: the schedule is over, the decline was hard, or the window closes before.

    `since` is when the subscription fell past due.
    """
    decline_class = invoice.last_decline.decline_class if invoice.last_decline else None
    position = _position(invoice)
    if not is_retried(decline_class, invoice) or not 1 <= position <= len(policy.retry_after_days):
        return None
    at = allowed_at(invoice.tried_at, now + timedelta(days=policy.retry_after_days[position - 1]))
    return at if at < gives_up_at(policy, invoice, since) else None


def allowed_at(
    tried_at: Sequence[datetime],
    wanted: datetime,
    caps: Sequence[NetworkCap] = STRICTEST_CAPS,
) -> datetime:
    """`wanted`, or the first moment after it at which one more try stays within every cap."""
    at = wanted
    for cap in caps:
        if len(tried_at) >= cap.tries_max:
            at = max(at, tried_at[-cap.tries_max] + cap.window)
    return at


def gives_up_at(policy: BillingPolicy, invoice: OpenInvoice | None, since: datetime) -> datetime:
    """When the window closes that began at `since`, or later with another payment method."""
    began = invoice.collecting_since if invoice is not None else None
    return max(since, began or since) + policy.past_due_window


def count_try(invoice: OpenInvoice, at: datetime) -> None:
    invoice.tried_at = [*invoice.tried_at, at][-TRIES_REMEMBERED_MAX:]


def begin_anew(invoice: OpenInvoice, now: datetime) -> None:
    """The customer brought another payment method: the schedule and its window start over. The networks'
    caps do not."""
    invoice.declines_forgiven = invoice.declines
    invoice.collecting_since = now
    invoice.exhausted_at = None
    invoice.last_decline = None


def access_until(
    policy: BillingPolicy, state: SubscriptionState, paid: datetime | None, now: datetime
) -> datetime | None:
    """How long the customer may be let in. Access follows what is paid, with a grace once a payment is
    missed, whatever the payment status does meanwhile: a card that fails once locks nobody out, and
    ending or pausing an unpaid subscription does not take the grace back."""
    if paid is None:
        return None
    missed = state.suspended_at is not None or state.status in {
        SubscriptionStatus.PAST_DUE,
        SubscriptionStatus.EXPIRED,
    }
    end = paid + policy.access_grace if missed else paid
    if state.status is SubscriptionStatus.CANCELED:
        return min(end, state.canceled_at or now)
    return end


def collection(terms: SubscriptionTerms, state: SubscriptionState) -> Collection | None:
    """None while nothing is being collected."""
    invoice = state.invoice
    if invoice is None or state.status in {
        SubscriptionStatus.CANCELED,
        SubscriptionStatus.EXPIRED,
    }:
        return None
    if terms.clock is BillingClock.ENGINE:
        return _slips(terms, invoice)
    ends_at = None
    if invoice.exhausted_at is None:
        if state.status is SubscriptionStatus.INCOMPLETE and state.created_at is not None:
            ends_at = state.created_at + terms.policy.first_payment_window
        elif state.past_due_since is not None:
            ends_at = gives_up_at(terms.policy, invoice, state.past_due_since)
    left = tries_left(terms.policy, invoice)
    return Collection(invoice.declines, left, invoice.next_try_at, ends_at)


def _slips(terms: SubscriptionTerms, invoice: OpenInvoice) -> Collection:
    """Vouchers and transfers: each try is a slip that the customer has some days to pay."""
    policy = terms.policy
    left = max(0, policy.vouchers_max - invoice.vouchers_issued)
    ends_at = None
    if invoice.exhausted_at is not None:
        left = 0
    elif invoice.tried_at:
        transfer = terms.instrument is Instrument.SPEI
        lifetime = policy.transfer_lifetime if transfer else policy.voucher_lifetime
        ends_at = invoice.tried_at[-1] + lifetime * (left + 1)
    return Collection(invoice.vouchers_issued, left, invoice.next_try_at, ends_at)


def _position(invoice: OpenInvoice) -> int:
    """Declines since the schedule began."""
    return invoice.declines - invoice.declines_forgiven
