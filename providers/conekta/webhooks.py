"""Conekta's webhooks: proof of origin over the raw bytes, then translation into our events."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pydantic import BaseModel, ConfigDict, ValidationError

from models.events import EventKind, ProviderEvent
from models.outcomes import ProviderName
from providers.conekta import disputes, mapping
from providers.failures import ProviderFailure, WebhookMalformed, WebhookRejected

DIGEST_HEADER = "digest"
RELAY_HEADER = "x-conekta-signature"

_MONEY_BACK = frozenset(
    {"order.refunded", "order.partially_refunded", "charge.refunded", "charge.reversed"}
)
_PEM = re.compile(r"-----BEGIN ((?:RSA )?PUBLIC KEY)-----(.*?)-----END \1-----", re.DOTALL)
_PEM_LINE_LENGTH = 64


class _Envelope(BaseModel):
    model_config = ConfigDict(extra="ignore")

    type: str
    id: str | None = None
    created_at: int | None = None
    livemode: bool = False
    data: dict[str, Any] = {}

    @property
    def subject(self) -> dict[str, Any] | None:
        """The order, charge or subscription; a ping has none."""
        found = self.data.get("object")
        return found if isinstance(found, dict) else None


class WebhookReader:
    """`public_keys` are for Conekta's own `Digest` header, `secrets` for relays that sign by HMAC.

    Raises ValueError when `public_keys` has text but no usable RSA key in it.
    """

    def __init__(self, public_keys: str | None, secrets: Sequence[str], account: str) -> None:
        self._keys = _load_keys(public_keys or "")
        self._secrets = [secret.encode() for secret in secrets if secret]
        self._account = account

    def parse(self, raw: bytes, headers: Mapping[str, str]) -> ProviderEvent:
        if not self._keys and not self._secrets:
            raise WebhookRejected("no verification key is configured for Conekta's webhooks")
        if not (self._digest_is_good(raw, headers) or self._relay_is_good(raw, headers)):
            raise WebhookRejected("no configured key of Conekta made a signature in the headers")
        try:
            envelope = _Envelope.model_validate(json.loads(raw))
        except (ValueError, ValidationError, RecursionError) as error:
            raise WebhookMalformed("the event is not readable JSON with a type") from error
        return self._translate(envelope, raw)

    def _digest_is_good(self, raw: bytes, headers: Mapping[str, str]) -> bool:
        """RSASSA-PKCS1-v1_5 with SHA-256. There is no key id, so every active key is tried."""
        given = headers.get(DIGEST_HEADER)
        if given is None:
            return False
        try:
            signature = base64.b64decode(given, validate=True)
        except ValueError:
            return False
        for key in self._keys:
            try:
                key.verify(signature, raw, padding.PKCS1v15(), hashes.SHA256())
            except InvalidSignature:
                continue
            return True
        return False

    def _relay_is_good(self, raw: bytes, headers: Mapping[str, str]) -> bool:
        given = headers.get(RELAY_HEADER)
        if given is None:
            return False
        candidate = given.strip().lower().encode()
        good = False
        for secret in self._secrets:
            expected = hmac.new(secret, raw, hashlib.sha256).hexdigest().encode()
            # No early exit: the time taken does not tell which secret came close.
            good |= hmac.compare_digest(candidate, expected)
        return good

    def _translate(self, envelope: _Envelope, raw: bytes) -> ProviderEvent:
        family = envelope.type.partition(".")[0]
        facts: dict[str, Any] = {"kind": EventKind.IGNORED}
        if envelope.subject is not None:
            if envelope.type.startswith("charge.chargeback."):
                facts = _about_chargeback(envelope.subject, _time(envelope.created_at))
            elif envelope.type == "order.charged_back":
                facts = _about_charged_back(envelope.subject, _time(envelope.created_at))
            elif family == "order":
                facts = about_order(envelope.subject)
            elif family == "charge":
                facts = _about_charge(envelope.subject)
            elif family == "subscription":
                facts = _about_subscription(envelope.subject)
        if envelope.id is None and facts["kind"] is not EventKind.IGNORED:
            raise WebhookMalformed("the event has no id, so a repetition could not be told apart")
        return ProviderEvent(
            provider=ProviderName.CONEKTA,
            account=self._account,
            # A ping may come without an id; its own bytes then name it.
            provider_event_id=envelope.id or hashlib.sha256(raw).hexdigest(),
            event_type=envelope.type,
            occurred_at=_time(envelope.created_at),
            livemode=envelope.livemode,
            money_back=envelope.type in _MONEY_BACK,
            **facts,
        )


def about_order(subject: dict[str, Any]) -> dict[str, Any]:
    try:
        order = mapping.read_order("webhook", subject)
    except ProviderFailure as failure:
        raise WebhookMalformed(failure.message) from failure
    known = {
        "subscription_id": order.reference("subscription_id"),
        "attempt_id": order.reference("attempt_id"),
        "provider_payment_id": order.id,
    }
    if known["attempt_id"] is None:
        # A subscription's order carries none of our ids: it may be an invoice that we know.
        known["provider_invoice_id"] = order.id
    try:
        snapshot = mapping.payment_snapshot("webhook", order)
    except ProviderFailure:
        # Some events leave keys out, `charges` for one: then the order itself has to be read.
        return {"kind": EventKind.LOOK, **known}
    return {"kind": EventKind.PAYMENT, "payment": snapshot, **known}


def _about_charged_back(subject: dict[str, Any], seen_at: datetime) -> dict[str, Any]:
    facts = about_order(subject)
    try:
        dispute = disputes.of_order(mapping.read_order("webhook", subject), seen_at)
    except ValueError as error:
        raise WebhookMalformed("the chargeback has no readable time") from error
    # Without the chargeback itself there is nothing to write down: its own events tell.
    if dispute is None:
        return facts
    return {**facts, "kind": EventKind.DISPUTE, "payment": None, "dispute": dispute}


def _about_chargeback(subject: dict[str, Any], seen_at: datetime) -> dict[str, Any]:
    try:
        found = mapping.ConektaChargeback.model_validate(subject)
        dispute = disputes.snapshot(found, seen_at)
    except (ValueError, OverflowError, OSError) as error:
        raise WebhookMalformed("the chargeback cannot be read") from error
    return {"kind": EventKind.DISPUTE, "dispute": dispute}


def _about_charge(subject: dict[str, Any]) -> dict[str, Any]:
    """A charge names its order but not our ids."""
    order_id = subject.get("order_id")
    if not isinstance(order_id, str):
        return {"kind": EventKind.IGNORED}
    charge_id = subject.get("id")
    return {
        "kind": EventKind.LOOK,
        "provider_payment_id": order_id,
        "provider_charge_id": charge_id if isinstance(charge_id, str) else None,
    }


def _about_subscription(subject: dict[str, Any]) -> dict[str, Any]:
    """Subscriptions carry no metadata, and their amount is in another object: read them."""
    subscription_id = subject.get("id")
    if not isinstance(subscription_id, str):
        raise WebhookMalformed("the subscription has no id")
    return {"kind": EventKind.LOOK, "provider_subscription_id": subscription_id}


def _time(unix_seconds: int | None) -> datetime:
    if unix_seconds is None:
        return datetime.now(UTC)
    try:
        return datetime.fromtimestamp(unix_seconds, UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise WebhookMalformed("created_at is not a time") from error


def _load_keys(text: str) -> list[rsa.RSAPublicKey]:
    """Several PEM blocks one after the other, also on one line or with `\\n` written out."""
    keys = []
    for label, body in _PEM.findall(text.replace("\\n", "\n")):
        packed = "".join(body.split())
        width = _PEM_LINE_LENGTH
        lines = [packed[start : start + width] for start in range(0, len(packed), width)]
        pem = "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])
        key = serialization.load_pem_public_key(pem.encode())
        if not isinstance(key, rsa.RSAPublicKey):
            raise ValueError("a webhook key of Conekta is not an RSA key")
        keys.append(key)
    if text.strip() and not keys:
        raise ValueError("the webhook keys of Conekta are not public keys in PEM format")
    return keys
