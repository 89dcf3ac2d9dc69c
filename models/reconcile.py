"""What a provider says, held against what our rows say: pure rules, no input or output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, ConfigDict

from models.disputes import follow
from models.events import EventKind, ProviderEvent
from models.outcomes import OPEN_OUTCOMES, OutcomeClass, ProviderName
from models.snapshots import (
    Capture,
    DisputeSnapshot,
    DisputeStatus,
    InvoiceSnapshot,
    PaymentSnapshot,
    PaymentStatus,
    ProviderInvoiceStatus,
    ProviderSubscriptionStatus,
    SubscriptionSnapshot,
)
from models.states import TERMINAL_STATUSES, InvoiceStatus, SubscriptionStatus


class Listing(StrEnum):
    """What a provider lets its account list."""

    PAYMENTS = "payments"
    INVOICES = "invoices"
    REFUNDS = "refunds"
    SUBSCRIPTIONS = "subscriptions"
    DISPUTES = "disputes"
    TRANSFERS_RECEIVED = "transfers_received"  # Told of by customer: what nobody waited for, too.


class OurRows(StrEnum):
    """What we ask the provider about, row by row."""

    SUBSCRIPTIONS = "our_subscriptions"
    ATTEMPTS = "our_open_payments"
    CAPTURES = "our_captures"
    DISPUTES = "our_open_disputes"


# What is looked at after everything else: no rows of one customer, but what all of them are sold.
OUR_PRICES = "our_prices"


class Drift(StrEnum):
    MONEY_NOT_BOOKED = "money_not_booked"
    REFUND_NOT_BOOKED = "refund_not_booked"
    ENDED_AT_PROVIDER = (
        "ended_at_provider"  # A slip that we still wait for cannot be paid any more.
    )
    SUBSCRIPTION_DIFFERS = "subscription_differs"
    INVOICE_DIFFERS = "invoice_differs"
    UNKNOWN_MONEY = "unknown_money"  # Nobody of ours asked for it.
    ORPHAN = "orphan"  # Carries our ids, and we have no such row.
    STILL_PAYABLE = "still_payable"  # A live slip or invoice for something that is settled here.
    STILL_BILLED = "still_billed"  # Over here, and the provider goes on billing.
    AMOUNT_DIFFERS = "amount_differs"
    REFUND_UNKNOWN_THERE = "refund_unknown_there"
    UNKNOWN_THERE = "unknown_there"  # Ours, and the provider does not know it.
    DISPUTE_DIFFERS = "dispute_differs"
    NOT_ON_SALE = "not_on_sale"  # A price of ours that new subscriptions cannot have any more.


# What the workflow that owns it can put right when it is told. The rest needs a person.
REPAIRABLE = frozenset(
    {
        Drift.MONEY_NOT_BOOKED,
        Drift.REFUND_NOT_BOOKED,
        Drift.REFUND_UNKNOWN_THERE,
        Drift.ENDED_AT_PROVIDER,
        Drift.SUBSCRIPTION_DIFFERS,
        Drift.INVOICE_DIFFERS,
        Drift.DISPUTE_DIFFERS,
    }
)


class Listed(BaseModel):
    """One object of a provider, as the event that a webhook about it would have brought.

    `amount_refunded_minor` is the total that went back, where the event does not carry it;
    `is_known` False says that the provider does not know the object at all.
    """

    model_config = ConfigDict(frozen=True)

    object_id: str
    event: ProviderEvent
    amount_refunded_minor: int | None = None
    is_known: bool = True


class ListedPage(BaseModel):
    model_config = ConfigDict(frozen=True)

    items: list[Listed]
    next_cursor: str | None = None


@dataclass(frozen=True)
class Ours:
    """What our rows say about one listed object. None and empty: there is no such row."""

    has_owner: bool = False
    attempt_outcome: str | None = None
    attempt_amount_minor: int | None = None
    attempt_currency: str | None = None
    invoice_status: str | None = None
    subscription_status: str | None = None
    current_period_end: AwareDatetime | None = None
    cancel_at_period_end: bool = False
    booked_charge_ids: frozenset[str] = field(default_factory=frozenset)
    refunded_minor: int = 0  # Went back, by our books.
    refund_pending_minor: int = 0  # Is on its way back.
    dispute_status: str | None = None
    dispute_is_taken: bool = False  # Its money is booked as gone.
    dispute_is_returned: bool = False


@dataclass(frozen=True)
class Difference:
    """One thing that the two sides see differently; `theirs` and `ours` are for people."""

    drift: Drift
    theirs: str
    ours: str


_LIVE = frozenset(
    {
        ProviderSubscriptionStatus.TRIALING,
        ProviderSubscriptionStatus.ACTIVE,
        ProviderSubscriptionStatus.PAST_DUE,
    }
)
_UNPAID_ENDS = frozenset({PaymentStatus.DECLINED, PaymentStatus.EXPIRED, PaymentStatus.CANCELED})
_SETTLED = frozenset({InvoiceStatus.PAID, InvoiceStatus.REFUNDED, InvoiceStatus.VOID})
# Who is right about the rest of the states is decided while collecting: dunning is ours.
_STATUS_PAIRS = frozenset(
    {
        (ProviderSubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE),
        (ProviderSubscriptionStatus.PAST_DUE, SubscriptionStatus.ACTIVE),
    }
)


def compare(listed: Listed, ours: Ours, *, cancels_at_period_end: bool = True) -> Difference | None:
    """The gravest difference, or None. Money comes first: repairing it usually mends the rest.

    `cancels_at_period_end` says whether the provider knows such a thing: one that does not is never
    asked for it.
    """
    if not listed.is_known:
        return Difference(Drift.UNKNOWN_THERE, "no such object", _state(ours))
    found = (*_money(listed, ours), *_refunds(listed, ours))
    if found:
        return found[0]
    event = listed.event
    if event.dispute is not None:
        return _dispute(event.dispute, ours)
    if event.payment is not None:
        return _payment(event.payment, event, ours)
    if event.invoice is not None:
        return _invoice(event.invoice, ours)
    if event.kind is EventKind.SUBSCRIPTION and event.subscription is not None:
        return _subscription(event.subscription, event, ours, cancels_at_period_end)
    return None


def captures_of(event: ProviderEvent) -> list[Capture]:
    """All the money that the event tells of."""
    if event.payment is not None:
        return event.payment.captures
    invoice = event.invoice
    if invoice is None and event.subscription is not None:
        invoice = event.subscription.latest_invoice
    return invoice.captures if invoice is not None else []


def _money(listed: Listed, ours: Ours) -> Iterator[Difference]:
    missing = [
        capture
        for capture in captures_of(listed.event)
        if capture.provider_charge_id not in ours.booked_charge_ids
    ]
    if missing:
        drift = Drift.MONEY_NOT_BOOKED if ours.has_owner else Drift.UNKNOWN_MONEY
        booked = f"{len(ours.booked_charge_ids)} captures" if ours.booked_charge_ids else "nothing"
        yield Difference(drift, f"captured {_sum(missing)}", booked)


def _refunds(listed: Listed, ours: Ours) -> Iterator[Difference]:
    """Totals, because a provider does not say which of ours a refund in its dashboard belongs to."""
    theirs_minor = refunded_there(listed)
    if theirs_minor is None or not ours.booked_charge_ids:
        return
    told = f"{theirs_minor} went back", f"{ours.refunded_minor} went back"
    if theirs_minor > ours.refunded_minor + ours.refund_pending_minor:
        yield Difference(Drift.REFUND_NOT_BOOKED, *told)
    elif theirs_minor < ours.refunded_minor:
        yield Difference(Drift.REFUND_UNKNOWN_THERE, *told)


def refunded_there(listed: Listed) -> int | None:
    if listed.amount_refunded_minor is not None:
        return listed.amount_refunded_minor
    payment = listed.event.payment
    return payment.amount_refunded_minor if payment is not None else None


def _payment(payment: PaymentSnapshot, event: ProviderEvent, ours: Ours) -> Difference | None:
    names_us = event.attempt_id is not None
    if payment.status is PaymentStatus.PENDING:
        if not ours.has_owner:
            return _difference(Drift.ORPHAN, payment.status, "no such row") if names_us else None
        if ours.attempt_outcome not in OPEN_OUTCOMES and ours.attempt_outcome is not None:
            return _difference(Drift.STILL_PAYABLE, payment.status, _state(ours))
    ended = payment.status in _UNPAID_ENDS and not payment.captures
    if ended and ours.attempt_outcome in OPEN_OUTCOMES:
        return _difference(Drift.ENDED_AT_PROVIDER, payment.status, _state(ours))
    asked = ours.attempt_amount_minor, ours.attempt_currency
    if ours.attempt_amount_minor is not None and asked != (payment.amount_minor, payment.currency):
        theirs = f"{payment.amount_minor} {payment.currency}"
        return Difference(Drift.AMOUNT_DIFFERS, theirs, f"{asked[0]} {asked[1]}")
    return None


def _invoice(invoice: InvoiceSnapshot, ours: Ours) -> Difference | None:
    if ours.invoice_status is None:
        return None
    paid = invoice.status is ProviderInvoiceStatus.PAID
    if paid and ours.invoice_status not in {InvoiceStatus.PAID, InvoiceStatus.REFUNDED}:
        return _difference(Drift.INVOICE_DIFFERS, invoice.status, ours.invoice_status)
    if invoice.status is ProviderInvoiceStatus.OPEN and ours.invoice_status in _SETTLED:
        return _difference(Drift.STILL_PAYABLE, invoice.status, ours.invoice_status)
    return None


def _subscription(
    found: SubscriptionSnapshot, event: ProviderEvent, ours: Ours, cancels_at_period_end: bool
) -> Difference | None:
    status, mine = found.status, ours.subscription_status
    if mine is None:
        orphan = event.subscription_id is not None and status in _LIVE
        return _difference(Drift.ORPHAN, status, "no such row") if orphan else None
    if mine in TERMINAL_STATUSES:
        goes_on = status in _LIVE and not found.cancel_at_period_end and not found.is_paused
        return _difference(Drift.STILL_BILLED, status, mine) if goes_on else None
    if status is ProviderSubscriptionStatus.CANCELED or (status, mine) in _STATUS_PAIRS:
        return _difference(Drift.SUBSCRIPTION_DIFFERS, status, mine)
    end = ours.current_period_end
    if end is not None and found.current_period_start >= end and status in _LIVE:
        theirs = f"{status}, period from {found.current_period_start:%Y-%m-%d}"
        return Difference(Drift.SUBSCRIPTION_DIFFERS, theirs, f"{mine}, until {end:%Y-%m-%d}")
    wishes = found.cancel_at_period_end, ours.cancel_at_period_end
    if cancels_at_period_end and not found.is_paused and wishes[0] is not wishes[1]:
        said = {True: "ends with its period", False: "goes on"}
        return Difference(Drift.SUBSCRIPTION_DIFFERS, said[wishes[0]], said[wishes[1]])
    return None


def _dispute(found: DisputeSnapshot, ours: Ours) -> Difference | None:
    """One of a payment that is not ours is another program's, and so is its payment: that is reported."""
    if not ours.has_owner:
        return None
    mine = None if ours.dispute_status is None else DisputeStatus(ours.dispute_status)
    status = follow(mine, found.status)
    is_taken = found.withdrawn or status is DisputeStatus.LOST
    # Money that neither went nor came back by our books makes no difference when all is over.
    taken = is_taken and not ours.dispute_is_taken and status is not DisputeStatus.WON
    returned = (
        status is DisputeStatus.WON and ours.dispute_is_taken and not ours.dispute_is_returned
    )
    if status is mine and not taken and not returned:
        return None
    theirs = f"{status}, money taken" if is_taken and status is DisputeStatus.OPEN else status
    return _difference(Drift.DISPUTE_DIFFERS, theirs, mine or "not heard of")


def _difference(drift: Drift, theirs: str, ours: str) -> Difference:
    return Difference(drift, str(theirs), str(ours))


def _state(ours: Ours) -> str:
    """What we hold it for, in a word."""
    outcome = ours.attempt_outcome
    if outcome is not None:
        return str(OutcomeClass(outcome))
    if ours.dispute_status is not None:
        return f"dispute {ours.dispute_status}"
    return str(ours.subscription_status or ours.invoice_status or "booked")


def _sum(captures: list[Capture]) -> str:
    total_minor = sum(capture.amount_minor for capture in captures)
    return f"{total_minor} {captures[0].currency}"


class FindingStatus(StrEnum):
    FOUND = "found"  # Nothing done: a dry run.
    SIGNALLED = "signalled"  # The owner has been told, and has not written it down yet.
    REPAIRED = "repaired"
    LEFT = "left"  # A person has to look.


class ReconcileInput(BaseModel):
    """The argument of ReconcileWorkflow. `since` None goes on where the last run was done."""

    model_config = ConfigDict(frozen=True)

    provider: ProviderName
    since: AwareDatetime | None = None
    dry_run: bool = False


class ReconcileReport(BaseModel):
    """What a run came to. `reported_before` counts drift of earlier runs that is still there."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    provider: ProviderName
    since: AwareDatetime
    objects: int = 0
    repaired: int = 0
    left: int = 0
    reported_before: int = 0
    finished: bool = False  # False: the next run goes on from there.
    stopped_by: str | None = None  # Why it is not finished, for people.


def reconcile_workflow_id(provider: ProviderName) -> str:
    """One run at a time for each provider."""
    return f"reconcile/{provider}"
