"""Stripe's webhooks: verified over the raw bytes, then translated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import stripe
from pydantic_core import from_json
from stripe import WebhookSignature

from models.events import EventKind, ProviderEvent
from models.outcomes import ProviderName
from providers.failures import WebhookMalformed, WebhookRejected
from providers.stripe import disputes, mapping
from providers.stripe.cash_balance import SWEEPS
from providers.stripe.cash_ledger import FUNDED
from providers.stripe.checkout import HOSTED, open_page
from providers.stripe.payload import Payload

TOLERANCE_SECONDS = 300
SIGNATURE_HEADER = "stripe-signature"

Facts = dict[str, Any]


def verify(raw: bytes, headers: Mapping[str, str], secrets: Sequence[str]) -> None:
    """Raises WebhookRejected unless one of the secrets made the signature (two while rotating)."""
    if not secrets:
        raise WebhookRejected("no webhook secret is configured")
    header = headers.get(SIGNATURE_HEADER)
    if not header:
        raise WebhookRejected("no signature")
    for secret in secrets:
        try:
            WebhookSignature.verify_header(raw, header, secret, TOLERANCE_SECONDS)
        except (stripe.SignatureVerificationError, TypeError, ValueError):
            # ValueError: a body that is no text; TypeError: a signature that is no ASCII.
            continue
        return
    raise WebhookRejected("no configured secret made this signature, or it is too old")


def translate(raw: bytes, account: str) -> ProviderEvent:
    """The event in our words; `raw` has been verified. Raises WebhookMalformed."""
    try:
        values = from_json(raw)
        if not isinstance(values, dict) or values.get("object") != "event":
            raise ValueError("not a snapshot event")
        event = cast("stripe.Event", Payload(values))
        facts = _translator(event.type)(event)
        return ProviderEvent(
            provider=ProviderName.STRIPE,
            account=account,
            provider_event_id=event.id,
            event_type=event.type,
            occurred_at=mapping.instant(event.created),
            livemode=event.livemode,
            **facts,
        )
    except (mapping.Unreadable, AttributeError, LookupError, TypeError, ValueError) as error:
        raise WebhookMalformed(f"unreadable event: {type(error).__name__}") from None


def _translator(event_type: str) -> Callable[[stripe.Event], Facts]:
    for prefix, translator in _TRANSLATORS:
        if event_type.startswith(prefix):
            return translator
    return _ignored


def _ignored(_event: stripe.Event) -> Facts:
    return {"kind": EventKind.IGNORED}


def _subscription(event: stripe.Event) -> Facts:
    return about_subscription(cast("stripe.Subscription", event.data.object))


def about_subscription(found: stripe.Subscription) -> Facts:
    return {
        "kind": EventKind.SUBSCRIPTION,
        "subscription_id": mapping.our(found.metadata, "subscription_id"),
        "provider_subscription_id": found.id,
        "provider_invoice_id": mapping.reference(found.latest_invoice),
        "subscription": mapping.subscription(found),
    }


_INVOICE_NOISE = frozenset({"invoice.upcoming", "invoice.payment_succeeded"})


def _invoice(event: stripe.Event) -> Facts:
    found = cast("stripe.Invoice", event.data.object)
    # A draft is not collected yet (`invoice.finalized` follows), `invoice.upcoming` has no id,
    # `invoice.payment_succeeded` is `invoice.paid` once more, and an invoice without a subscription is
    # none of ours.
    if event.type in _INVOICE_NOISE or found.status in {"draft", None}:
        return _ignored(event)
    facts = about_invoice(found)
    return _ignored(event) if facts["provider_subscription_id"] is None else facts


def about_invoice(found: stripe.Invoice) -> Facts:
    snapshot = mapping.invoice(found)
    metadata = mapping.invoice_metadata(found)
    return {
        "kind": EventKind.INVOICE,
        "subscription_id": mapping.our(metadata, "subscription_id"),
        # The subscription remembers the attempt that opened it: right for its first invoice alone.
        "attempt_id": mapping.our(metadata, "attempt_id") if snapshot.first else None,
        "provider_subscription_id": snapshot.provider_subscription_id,
        "provider_invoice_id": snapshot.provider_invoice_id,
        "invoice": snapshot,
    }


def _payment_intent(event: stripe.Event) -> Facts:
    intent = cast("stripe.PaymentIntent", event.data.object)
    attempt_id = mapping.our(intent.metadata, "attempt_id")
    if attempt_id is None or mapping.our(intent.metadata, HOSTED) is not None:
        # An invoice's own payment (its news come as invoice events), that of a hosted page (its news
        # come as session events: a card declined on the page decides nothing), or another program's.
        return _ignored(event)
    facts: Facts = {
        "attempt_id": attempt_id,
        "subscription_id": mapping.our(intent.metadata, "subscription_id"),
        "provider_payment_id": intent.id,
    }
    if mapping.is_transfer(intent) and _money_may_have_moved(event.type):
        # A transfer may come in portions, and the payload does not say which: read them.
        return {"kind": EventKind.LOOK, **facts}
    captures = mapping.capture_of_event(intent, mapping.instant(event.created))
    return {"kind": EventKind.PAYMENT, **facts, "payment": mapping.payment(intent, captures)}


def _money_may_have_moved(event_type: str) -> bool:
    return event_type not in {"payment_intent.created", "payment_intent.requires_action"}


# After it had succeeded, too: a closed account sends the money back days later.
_FAILED_REFUNDS = frozenset({"failed", "canceled"})


def _money_back(event: stripe.Event) -> Facts:
    """A refund: what is left of the payment has to be read."""
    found: object = event.data.object
    is_charge = getattr(found, "object", None) == "charge"
    metadata = getattr(found, "metadata", None) if is_charge else None
    failed = getattr(found, "status", None) in _FAILED_REFUNDS
    is_refund = getattr(found, "object", None) == "refund"
    intent_id = mapping.reference(getattr(found, "payment_intent", None))
    return {
        "kind": EventKind.LOOK,
        "failed_refund": mapping.refund(cast(stripe.Refund, found))
        if is_refund and failed
        else None,
        "money_back": not event.type.startswith("charge.dispute."),
        "attempt_id": mapping.our(metadata, "attempt_id"),
        "subscription_id": mapping.our(metadata, "subscription_id"),
        # What swept up after a transfer is known to us by that transfer.
        "provider_payment_id": mapping.our(metadata, SWEEPS) or intent_id,
    }


def _dispute(event: stripe.Event) -> Facts:
    """Which invoice the disputed payment paid has to be asked: the object names its charge alone."""
    found = disputes.snapshot(cast("stripe.Dispute", event.data.object), [])
    return {
        "kind": EventKind.DISPUTE,
        "provider_payment_id": found.provider_payment_id,
        "dispute": found,
    }


def _cash_balance(event: stripe.Event) -> Facts:
    """Money came from a customer's bank. Which payment has it, if any, is read: the event names the
    customer alone. What moves within the balance is told of by the payments themselves."""
    moved = cast("stripe.CustomerCashBalanceTransaction", event.data.object)
    if moved.type != FUNDED:
        return _ignored(event)
    return {"kind": EventKind.LOOK, "provider_customer_id": mapping.reference(moved.customer)}


def _session(event: stripe.Event) -> Facts:
    session = cast("stripe.checkout.Session", event.data.object)
    attempt_id = mapping.our(session.metadata, "attempt_id")
    if attempt_id is None or session.mode != "payment":
        return _ignored(event)
    facts: Facts = {
        "attempt_id": attempt_id,
        "subscription_id": mapping.our(session.metadata, "subscription_id"),
        "organization_id": mapping.our(session.metadata, "organization_id"),
        "provider_payment_id": session.id,
    }
    if session.status == "complete":
        # A session names no charge, so who paid what has to be read.
        return {"kind": EventKind.LOOK, **facts}
    return {"kind": EventKind.PAYMENT, **facts, "payment": open_page(session)}


# The first prefix that fits decides; every other event is ignored.
_TRANSLATORS: tuple[tuple[str, Callable[[stripe.Event], Facts]], ...] = (
    ("customer.subscription.", _subscription),
    ("invoice.", _invoice),
    ("payment_intent.", _payment_intent),
    ("checkout.session.", _session),
    ("charge.refunded", _money_back),
    ("charge.dispute.", _dispute),
    ("charge.refund.", _money_back),
    ("refund.", _money_back),
    ("customer_cash_balance_transaction.", _cash_balance),
)
