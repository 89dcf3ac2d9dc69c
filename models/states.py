"""The life of a subscription as a table: what may follow what, and nothing else."""

from __future__ import annotations

from enum import StrEnum


class SubscriptionStatus(StrEnum):
    INCOMPLETE = "incomplete"
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    PAUSED = "paused"
    CANCELED = "canceled"
    EXPIRED = "expired"


class SubscriptionEvent(StrEnum):
    """Why a subscription changes its status."""

    TRIAL_STARTED = "trial_started"
    PAYMENT_SUCCEEDED = "payment_succeeded"
    PAYMENT_FAILED = "payment_failed"
    PAUSED = "paused"
    RESUMED = "resumed"  # What was paid for still runs, or the new period was paid.
    RESUMED_UNPAID = "resumed_unpaid"  # A new period begins, and nobody has paid it yet.
    CANCELED = "canceled"
    GAVE_UP = "gave_up"


class InvoiceStatus(StrEnum):
    PENDING = "pending"
    PAID = "paid"
    FAILED = "failed"
    REFUNDED = "refunded"
    VOID = "void"


TERMINAL_STATUSES = frozenset({SubscriptionStatus.CANCELED, SubscriptionStatus.EXPIRED})

_S, _E = SubscriptionStatus, SubscriptionEvent

TRANSITIONS: dict[tuple[SubscriptionStatus, SubscriptionEvent], SubscriptionStatus] = {
    (_S.INCOMPLETE, _E.TRIAL_STARTED): _S.TRIALING,
    (_S.INCOMPLETE, _E.PAYMENT_SUCCEEDED): _S.ACTIVE,
    (_S.INCOMPLETE, _E.PAYMENT_FAILED): _S.INCOMPLETE,
    (_S.INCOMPLETE, _E.CANCELED): _S.CANCELED,
    (_S.INCOMPLETE, _E.GAVE_UP): _S.EXPIRED,
    (_S.TRIALING, _E.PAYMENT_SUCCEEDED): _S.ACTIVE,
    (_S.TRIALING, _E.PAYMENT_FAILED): _S.PAST_DUE,
    (_S.TRIALING, _E.PAUSED): _S.PAUSED,
    (_S.TRIALING, _E.CANCELED): _S.CANCELED,
    (_S.TRIALING, _E.GAVE_UP): _S.EXPIRED,
    (_S.ACTIVE, _E.PAYMENT_SUCCEEDED): _S.ACTIVE,
    (_S.ACTIVE, _E.PAYMENT_FAILED): _S.PAST_DUE,
    (_S.ACTIVE, _E.PAUSED): _S.PAUSED,
    (_S.ACTIVE, _E.CANCELED): _S.CANCELED,
    (_S.ACTIVE, _E.GAVE_UP): _S.EXPIRED,
    (_S.PAST_DUE, _E.PAYMENT_SUCCEEDED): _S.ACTIVE,
    (_S.PAST_DUE, _E.PAYMENT_FAILED): _S.PAST_DUE,
    (_S.PAST_DUE, _E.PAUSED): _S.PAUSED,
    (_S.PAST_DUE, _E.CANCELED): _S.CANCELED,
    (_S.PAST_DUE, _E.GAVE_UP): _S.EXPIRED,
    # Money alone ends no pause: what comes in while nothing is sold is kept in sight.
    (_S.PAUSED, _E.TRIAL_STARTED): _S.TRIALING,
    (_S.PAUSED, _E.RESUMED): _S.ACTIVE,
    (_S.PAUSED, _E.RESUMED_UNPAID): _S.PAST_DUE,
    (_S.PAUSED, _E.CANCELED): _S.CANCELED,
    (_S.PAUSED, _E.GAVE_UP): _S.EXPIRED,
}


class IllegalTransition(Exception):
    """The table has no such move: a stale event, or a bug. The caller decides which."""


def may(status: SubscriptionStatus, event: SubscriptionEvent) -> bool:
    """Whether the table lets `event` happen in `status`."""
    return (status, event) in TRANSITIONS


def next_status(status: SubscriptionStatus, event: SubscriptionEvent) -> SubscriptionStatus:
    """The status after `event`; raises IllegalTransition when the table has no such move."""
    try:
        return TRANSITIONS[(status, event)]
    except KeyError:
        raise IllegalTransition(f"a subscription that is {status} cannot have {event}") from None
