"""Polar's webhooks: proof of origin over the raw bytes, then translation into our events.

Verified here and not by the SDK, whose import takes more than a second of the API's event loop; a test
holds the two against each other. The parser is ours too: a value that is new at Polar must not turn a
good event into an error.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from models.events import EventKind, ProviderEvent
from models.outcomes import ProviderName
from models.snapshots import PaymentStatus
from providers.failures import ProviderFailure, WebhookMalformed, WebhookRejected
from providers.polar import mapping
from providers.polar.grants import GRANT_REFERENCE
from providers.polar.mapping import (
    PolarCheckout,
    PolarGrant,
    PolarOrder,
    PolarRefund,
    PolarSubscription,
    Time,
)

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"
RELAY_HEADER = "x-polar-signature"
TOLERANCE_SECONDS = 300

_SECRET_PREFIX = "whsec_"  # noqa: S105 - how a secret begins, not one
_UNIX_SECONDS = re.compile(r"\d{1,12}")

Facts = dict[str, Any]


class _Envelope(BaseModel):
    model_config = ConfigDict(extra="ignore")

    type: str
    timestamp: Time | None = None
    data: dict[str, Any]


class WebhookReader:
    """`secrets` are for Polar's own headers (Standard Webhooks), `relay_secrets` for relays that sign
    the body alone. Each list may hold an old and a new secret."""

    def __init__(
        self, secrets: Sequence[str], relay_secrets: Sequence[str], account: str, *, livemode: bool
    ) -> None:
        self._keys = [key for secret in secrets if secret.strip() for key in _keys_of(secret)]
        self._relay_keys = [secret.encode() for secret in relay_secrets if secret.strip()]
        self._account = account
        self._livemode = livemode

    def parse(self, raw: bytes, headers: Mapping[str, str]) -> ProviderEvent:
        if not self._keys and not self._relay_keys:
            raise WebhookRejected("no webhook secret of Polar is configured")
        if self._signature_is_good(raw, headers):
            event_id = headers[ID_HEADER]
        elif self._relay_is_good(raw, headers):
            # A relay signs the body alone, so no header can be trusted to name the event.
            event_id = f"relay_{hashlib.sha256(raw).hexdigest()}"
        else:
            raise WebhookRejected("no configured secret made this signature, or it is too old")
        try:
            envelope = _Envelope.model_validate(json.loads(raw))
            facts = _translate(envelope)
        except (ValueError, RecursionError, ProviderFailure) as error:
            raise WebhookMalformed(f"unreadable event: {_without_values(error)}") from None
        return ProviderEvent(
            provider=ProviderName.POLAR,
            account=self._account,
            provider_event_id=event_id,
            event_type=envelope.type,
            occurred_at=envelope.timestamp or datetime.now(UTC),
            livemode=self._livemode,
            money_back=envelope.type == "order.refunded" or "failed_refund" in facts,
            **facts,
        )

    def _signature_is_good(self, raw: bytes, headers: Mapping[str, str]) -> bool:
        """Standard Webhooks: HMAC-SHA256 over id, time and body, base64, one of several versions."""
        event_id = headers.get(ID_HEADER)
        sent_at = headers.get(TIMESTAMP_HEADER, "")
        if not event_id or not _UNIX_SECONDS.fullmatch(sent_at):
            return False
        if abs(time.time() - int(sent_at)) > TOLERANCE_SECONDS:
            return False
        signed = f"{event_id}.{sent_at}.".encode() + raw
        given = _signatures(headers.get(SIGNATURE_HEADER, ""))
        good = False
        for key in self._keys:
            expected = hmac.new(key, signed, hashlib.sha256).digest()
            for candidate in given:
                # No early exit: the time taken does not tell which key came close.
                good |= hmac.compare_digest(expected, candidate)
        return good

    def _relay_is_good(self, raw: bytes, headers: Mapping[str, str]) -> bool:
        candidate = headers.get(RELAY_HEADER, "").strip().lower().encode()
        good = False
        for key in self._relay_keys:
            expected = hmac.new(key, raw, hashlib.sha256).hexdigest().encode()
            good |= hmac.compare_digest(candidate, expected)
        return good


def _keys_of(secret: str) -> list[bytes]:
    """Secrets made since 8 September 2026 sign with what they decode to, older ones with their own
    text. Which of the two a secret is cannot be seen, so both keys are tried."""
    secret = secret.strip()
    keys = [secret.encode()]
    encoded = secret.removeprefix(_SECRET_PREFIX)
    try:
        decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        return keys
    return [*keys, decoded] if decoded else keys


def _signatures(header: str) -> list[bytes]:
    found = []
    for versioned in header.split():
        version, _, encoded = versioned.partition(",")
        if version != "v1":
            continue
        try:
            found.append(base64.b64decode(encoded, validate=True))
        except ValueError:
            continue
    return found


def _translate(envelope: _Envelope) -> Facts:
    family = envelope.type.partition(".")[0]
    if family == "order":
        return about_order(mapping.read(PolarOrder, "webhook", envelope.data))
    if family == "checkout":
        return _about_checkout(mapping.read(PolarCheckout, "webhook", envelope.data))
    if family == "subscription":
        return about_subscription(mapping.read(PolarSubscription, "webhook", envelope.data))
    if family == "benefit_grant":
        return _about_grant(mapping.read(PolarGrant, "webhook", envelope.data))
    # Only a failure is news: of what went back the order tells.
    if family == "refund" and envelope.data.get("status") in mapping.REFUND_GONE:
        return _about_refund(mapping.read(PolarRefund, "webhook", envelope.data))
    return {"kind": EventKind.IGNORED}


def _about_refund(refund: PolarRefund) -> Facts:
    """It names its order and not the page, so our own row says what it was taken from."""
    return {"kind": EventKind.LOOK, "failed_refund": mapping.refund_snapshot(refund, None)}


def about_order(order: PolarOrder) -> Facts:
    attempt_id = order.reference("attempt_id")
    facts: Facts = {
        "subscription_id": order.reference("subscription_id"),
        "organization_id": _organization(
            order, order.customer.external_id if order.customer else None
        ),
        "provider_subscription_id": order.subscription_id,
    }
    if order.subscription_id is not None and not order.is_of_checkout:
        # A renewal, by Polar's clock: the order is an invoice, and the subscription has moved too.
        return {"kind": EventKind.LOOK, **facts, "provider_invoice_id": order.id}
    if attempt_id is None:
        return {"kind": EventKind.IGNORED}
    facts |= {"attempt_id": attempt_id, "provider_payment_id": order.checkout_id}
    if not order.has_money:
        # Made, but not paid yet: the page says what comes next.
        return {"kind": EventKind.LOOK, **facts}
    return {"kind": EventKind.PAYMENT, **facts, "payment": mapping.order_snapshot(order)}


def _about_checkout(checkout: PolarCheckout) -> Facts:
    attempt_id = checkout.reference("attempt_id")
    if attempt_id is None:
        return {"kind": EventKind.IGNORED}
    facts: Facts = {
        "attempt_id": attempt_id,
        "subscription_id": checkout.reference("subscription_id"),
        "organization_id": _organization(checkout, checkout.external_customer_id),
        "provider_payment_id": checkout.id,
    }
    snapshot = mapping.page_snapshot("webhook", checkout, [])
    if checkout.status == "succeeded" and snapshot.status is not PaymentStatus.SUCCEEDED:
        # The money is in the order, which the page does not name.
        return {"kind": EventKind.LOOK, **facts}
    return {"kind": EventKind.PAYMENT, **facts, "payment": snapshot}


def about_subscription(found: PolarSubscription) -> Facts:
    if found.reference(GRANT_REFERENCE) is not None:
        # It only carries a benefit: the events of the grant say what happened.
        return {"kind": EventKind.IGNORED}
    return {
        "kind": EventKind.SUBSCRIPTION,
        "subscription_id": found.reference("subscription_id"),
        "organization_id": found.reference("organization_id"),
        "provider_subscription_id": found.id,
        "subscription": mapping.subscription_snapshot("webhook", found, None),
    }


def _about_grant(grant: PolarGrant) -> Facts:
    """`benefit_grant.created` does not mean granted: the snapshot says whether it is."""
    snapshot = mapping.grant_snapshot(grant)
    return {
        "kind": EventKind.BENEFIT,
        "organization_id": snapshot.organization_id,
        "provider_subscription_id": grant.subscription_id,
        "grant": snapshot,
    }


def _organization(found: PolarOrder | PolarCheckout, external_id: str | None) -> str | None:
    return found.reference("organization_id") or external_id


def _without_values(error: Exception) -> str:
    """What is wrong, without what stood there: payloads hold personal data."""
    if isinstance(error, ProviderFailure):
        return error.message
    if isinstance(error, ValidationError):
        return ", ".join(sorted({".".join(map(str, e["loc"])) for e in error.errors()}))
    return type(error).__name__
