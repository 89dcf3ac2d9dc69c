"""Stripe's objects in our words. No StripeObject leaves this package: a pickled one carries the key.

Webhook payloads are never expanded and answers sometimes are, so every reference may be an id or an
object. What is missing although it was promised raises `Unreadable`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import ParamSpec, TypeVar

import stripe

from models.calendar import BillingInterval
from models.outcomes import (
    ConfirmPayment,
    NextAction,
    PayTransfer,
    PayVoucher,
    ProviderName,
    Voucher,
)
from models.snapshots import (
    Capture,
    InvoiceSnapshot,
    PaymentMethodSnapshot,
    PaymentSnapshot,
    PaymentStatus,
    ProviderInvoiceStatus,
    ProviderSubscriptionStatus,
    RefundSnapshot,
    SubscriptionSnapshot,
)
from providers.stripe.amounts import from_stripe
from providers.stripe.failures import decline_of

# What an invoice item of ours stands for, in its metadata.
KIND = "abono_kind"
EXPIRED_CODE = "payment_intent_payment_attempt_expired"

_SUBSCRIPTION_STATUS = {
    "incomplete": ProviderSubscriptionStatus.INCOMPLETE,
    "incomplete_expired": ProviderSubscriptionStatus.CANCELED,
    "trialing": ProviderSubscriptionStatus.TRIALING,
    "active": ProviderSubscriptionStatus.ACTIVE,
    "past_due": ProviderSubscriptionStatus.PAST_DUE,
    "unpaid": ProviderSubscriptionStatus.PAST_DUE,
    "paused": ProviderSubscriptionStatus.PAUSED,
    "canceled": ProviderSubscriptionStatus.CANCELED,
}
_INVOICE_STATUS = {
    # A draft is an invoice that nobody can pay yet.
    "draft": ProviderInvoiceStatus.OPEN,
    "open": ProviderInvoiceStatus.OPEN,
    "paid": ProviderInvoiceStatus.PAID,
    "void": ProviderInvoiceStatus.VOID,
    "uncollectible": ProviderInvoiceStatus.UNCOLLECTIBLE,
}
_INTERVAL = {"month": BillingInterval.MONTHLY, "year": BillingInterval.YEARLY}
_PAYMENT_STATUS = {
    "requires_confirmation": PaymentStatus.PREPARED,
    "requires_action": PaymentStatus.PENDING,
    "requires_capture": PaymentStatus.PENDING,
    "processing": PaymentStatus.PENDING,
    "succeeded": PaymentStatus.SUCCEEDED,
    "canceled": PaymentStatus.CANCELED,
}
_REFUND_STATUS = {
    "pending": "pending",
    "requires_action": "pending",
    "succeeded": "succeeded",
    "failed": "failed",
    "canceled": "failed",
}

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Unreadable(Exception):
    """An object of Stripe that lacks what its documentation promises."""


def readable(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Make everything that a malformed object can cause into one exception."""

    @functools.wraps(function)
    def guarded(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise Unreadable(f"{function.__name__}: {type(error).__name__}") from None

    return guarded


def instant(unix_seconds: int) -> datetime:
    """Raises Unreadable for a number that is no time of this calendar."""
    try:
        return datetime.fromtimestamp(unix_seconds, UTC)
    except (OverflowError, OSError) as error:
        raise Unreadable("not a time") from error


def reference(value: object) -> str | None:
    """The id behind a field that holds an id, an expanded object or nothing."""
    if value is None or isinstance(value, str):
        return value or None
    return str(getattr(value, "id"))  # noqa: B009 - the field may hold any of Stripe's types


def our(metadata: object, name: str) -> str | None:
    """One of our own ids, as far as the object carries it."""
    value = getattr(metadata, name, None)
    return None if value is None else str(value)


@readable
def payment_method(method: stripe.PaymentMethod, customer_id: str) -> PaymentMethodSnapshot:
    card = getattr(method, "card", None)
    return PaymentMethodSnapshot(
        provider=ProviderName.STRIPE,
        provider_payment_method_id=method.id,
        provider_customer_id=customer_id,
        type=method.type,
        last4=getattr(card, "last4", None),
        brand=getattr(card, "brand", None),
        exp_month=getattr(card, "exp_month", None),
        exp_year=getattr(card, "exp_year", None),
    )


@readable
def subscription(found: stripe.Subscription) -> SubscriptionSnapshot:
    item = found.items.data[0]
    cancel_at = found.cancel_at
    latest = found.latest_invoice
    return SubscriptionSnapshot(
        provider=ProviderName.STRIPE,
        provider_subscription_id=found.id,
        provider_customer_id=str(reference(found.customer)),
        status=_SUBSCRIPTION_STATUS[found.status],
        current_period_start=instant(item.current_period_start),
        current_period_end=instant(item.current_period_end),
        trial_end=None if found.trial_end is None else instant(found.trial_end),
        cancel_at_period_end=found.cancel_at_period_end
        or (cancel_at is not None and cancel_at <= item.current_period_end),
        is_paused=found.status == "paused" or found.pause_collection is not None,
        is_collectable=found.pause_collection is not None,
        canceled_at=None if found.canceled_at is None else instant(found.canceled_at),
        latest_invoice=None if latest is None or isinstance(latest, str) else invoice(latest),
        billing_interval=interval_of(item),
        holds_change=getattr(found, "schedule", None) is not None,
    )


def interval_of(item: stripe.SubscriptionItem) -> BillingInterval | None:
    """None for an interval that Abono does not sell."""
    recurring = getattr(getattr(item, "price", None), "recurring", None)
    once = getattr(recurring, "interval_count", None) == 1
    return _INTERVAL.get(str(getattr(recurring, "interval", None))) if once else None


@readable
def invoice(found: stripe.Invoice, intent: stripe.PaymentIntent | None = None) -> InvoiceSnapshot:
    """`intent` is the invoice's payment, when it was read too: it knows declines and refunds."""
    currency = found.currency.upper()
    start, end = _billed_period(found)
    open_ = found.status == "open"
    error = None if intent is None else intent.last_payment_error
    return InvoiceSnapshot(
        provider=ProviderName.STRIPE,
        provider_invoice_id=str(found.id),
        provider_subscription_id=_subscription_of(found),
        status=_INVOICE_STATUS[str(found.status)],
        amount_minor=from_stripe(found.total, currency),
        currency=currency,
        captures=_invoice_captures(found, currency),
        amount_refunded_minor=from_stripe(_amount_refunded(intent), currency),
        period_start=instant(start),
        period_end=instant(end),
        created_at=instant(found.created),
        attempt_count=found.attempt_count,
        decline=decline_of(error) if open_ and error is not None else None,
        next_action=_invoice_next_action(found) if open_ else None,
        hosted_invoice_url=getattr(found, "hosted_invoice_url", None),
        invoice_pdf=getattr(found, "invoice_pdf", None),
        first=found.billing_reason == "subscription_create",
        credit_applied_minor=from_stripe(_credit_applied(found), currency),
    )


@readable
def invoice_metadata(found: stripe.Invoice) -> object:
    """The subscription's metadata as it was when the invoice was finalized."""
    details = found.parent.subscription_details if found.parent else None
    return None if details is None else details.metadata


@readable
def payment(
    intent: stripe.PaymentIntent, captures: Sequence[Capture], amount_refunded_minor: int = 0
) -> PaymentSnapshot:
    currency = str(intent.currency).upper()
    status = payment_status(intent)
    error = getattr(intent, "last_payment_error", None)
    return PaymentSnapshot(
        provider=ProviderName.STRIPE,
        provider_payment_id=intent.id,
        status=status,
        amount_minor=from_stripe(int(intent.amount), currency),
        currency=currency,
        captures=list(captures),
        amount_refunded_minor=amount_refunded_minor,
        expires_at=_expires_at(intent),
        next_action=_payment_next_action(intent) if status is PaymentStatus.PENDING else None,
        decline=decline_of(error) if status is PaymentStatus.DECLINED else None,
        attempt_id=our(getattr(intent, "metadata", None), "attempt_id"),
    )


def payment_status(intent: stripe.PaymentIntent) -> PaymentStatus:
    if intent.status != "requires_payment_method":
        return _PAYMENT_STATUS[intent.status]
    error = getattr(intent, "last_payment_error", None)
    if error is None:
        return PaymentStatus.PREPARED
    expired = getattr(error, "code", None) == EXPIRED_CODE
    return PaymentStatus.EXPIRED if expired else PaymentStatus.DECLINED


@readable
def capture_of_charge(charge: stripe.Charge) -> Capture:
    currency = charge.currency.upper()
    return Capture(
        provider_charge_id=charge.id,
        amount_minor=from_stripe(charge.amount_captured, currency),
        currency=currency,
        captured_at=instant(charge.created),
    )


@readable
def capture_of_event(intent: stripe.PaymentIntent, seen_at: datetime) -> list[Capture]:
    """The money in an intent that a webhook brought: its charge is only an id there."""
    charge_id = reference(intent.latest_charge)
    if intent.status != "succeeded" or charge_id is None:
        return []
    currency = str(intent.currency).upper()
    amount_minor = from_stripe(int(intent.amount_received), currency)
    return [
        Capture(
            provider_charge_id=charge_id,
            amount_minor=amount_minor,
            currency=currency,
            captured_at=seen_at,
        )
    ]


@readable
def refund(found: stripe.Refund) -> RefundSnapshot:
    currency = found.currency.upper()
    return RefundSnapshot(
        provider=ProviderName.STRIPE,
        provider_refund_id=found.id,
        provider_payment_id=reference(found.payment_intent),
        status=_REFUND_STATUS[str(found.status)],
        amount_minor=from_stripe(found.amount, currency),
        currency=currency,
        failure_code=getattr(found, "failure_reason", None),
    )


@readable
def is_transfer(intent: stripe.PaymentIntent) -> bool:
    """A bank transfer: its money comes in portions that only the cash balance lists."""
    return list(intent.payment_method_types) == ["customer_balance"]


def _subscription_of(found: stripe.Invoice) -> str | None:
    details = found.parent.subscription_details if found.parent else None
    return None if details is None else reference(details.subscription)


def _billed_period(found: stripe.Invoice) -> tuple[int, int]:
    """The line's period. The invoice's own is the one before, for a renewal."""
    for line in found.lines.data:
        details = line.parent.subscription_item_details if line.parent else None
        if details is not None and not details.proration:
            return line.period.start, line.period.end
    return found.period_start, found.period_end


def _credit_applied(found: stripe.Invoice) -> int:
    """What we had taken off with a pending item (see `changes`)."""
    return -sum(line.amount for line in found.lines.data if our(line.metadata, KIND) == "credit")


def _invoice_captures(found: stripe.Invoice, currency: str) -> list[Capture]:
    """The charge's id is not in a webhook's invoice, so the invoice's id stands for its money:
    the same id in a webhook and in an answer, so that it is counted once."""
    if found.amount_paid <= 0:
        return []
    paid_at = found.status_transitions.paid_at or found.created
    return [
        Capture(
            provider_charge_id=str(found.id),
            amount_minor=from_stripe(found.amount_paid, currency),
            currency=currency,
            captured_at=instant(paid_at),
        )
    ]


def _amount_refunded(intent: stripe.PaymentIntent | None) -> int:
    if intent is None:
        return 0
    charge = intent.latest_charge
    return charge.amount_refunded if isinstance(charge, stripe.Charge) else 0


def _invoice_next_action(found: stripe.Invoice) -> NextAction | None:
    secret = getattr(getattr(found, "confirmation_secret", None), "client_secret", None)
    if secret is None:
        return None
    return ConfirmPayment(provider=ProviderName.STRIPE, client_secret=secret)


def _expires_at(intent: stripe.PaymentIntent) -> datetime | None:
    """The voucher's own end; else the one we keep for it (a CLABE never expires at Stripe)."""
    details = getattr(getattr(intent, "next_action", None), "oxxo_display_details", None)
    expires_after = getattr(details, "expires_after", None)
    if expires_after is not None:
        return instant(expires_after)
    kept = our(getattr(intent, "metadata", None), "expires_at")
    return None if kept is None else datetime.fromisoformat(kept)


def _payment_next_action(intent: stripe.PaymentIntent) -> NextAction | None:
    action = intent.next_action
    if action is None:
        return None
    if action.type == "oxxo_display_details":
        return _voucher(intent, action)
    if action.type == "display_bank_transfer_instructions":
        return _transfer(intent, action)
    secret = str(intent.client_secret)
    return ConfirmPayment(provider=ProviderName.STRIPE, client_secret=secret)


def _voucher(intent: stripe.PaymentIntent, action: stripe.PaymentIntent.NextAction) -> PayVoucher:
    details = action.oxxo_display_details
    if details is None or details.number is None or details.expires_after is None:
        raise ValueError("an OXXO voucher without a number or an end")
    currency = str(intent.currency).upper()
    slip = Voucher(
        network="oxxo",
        reference=details.number,
        # Stripe shows the barcode on its page and nowhere else.
        barcode_url=details.hosted_voucher_url,
        instructions_url=details.hosted_voucher_url,
    )
    return PayVoucher(
        vouchers=[slip],
        amount_minor=from_stripe(int(intent.amount), currency),
        currency=currency,
        expires_at=instant(details.expires_after),
    )


def _transfer(intent: stripe.PaymentIntent, action: stripe.PaymentIntent.NextAction) -> PayTransfer:
    details = action.display_bank_transfer_instructions
    addresses = [] if details is None else details.financial_addresses or []
    spei = next((a.spei for a in addresses if a.type == "spei"), None)
    expires_at = _expires_at(intent)
    if details is None or spei is None or expires_at is None:
        raise ValueError("transfer instructions without a CLABE or an end")
    currency = str(intent.currency).upper()
    remaining = int(details.amount_remaining or 0)
    return PayTransfer(
        clabe=spei.clabe,
        bank=spei.bank_name,
        amount_minor=from_stripe(remaining, currency),
        currency=currency,
        expires_at=expires_at,
    )
