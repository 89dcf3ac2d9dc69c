"""How each provider's webhooks are signed, written another way than the simulators and adapters have it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from tests.sandbox.conekta.world import private_key, public_pem

Headers = dict[str, str]
# Every scheme that has a time in it refuses one that is older than this.
TOLERANCE_SECONDS = 300


@dataclass(frozen=True)
class Scheme:
    """`setting` is the environment variable of its keys, `configured` turns the keys' names into its
    value, `sign` makes the headers (raw bytes, a key's name, the event's id, the age in seconds)."""

    name: str
    setting: str
    configured: Callable[[Sequence[str]], str]
    sign: Callable[[bytes, str, str, int], Headers]
    signature_header: str
    has_time: bool = False

    def __str__(self) -> str:
        return self.name


def secret_of(key: str) -> str:
    return f"secret-of-the-{key}-key"


def standard_secret_of(key: str) -> str:
    return "whsec_" + base64.b64encode(secret_of(key).encode()).decode()


def _comma_list(keys: Sequence[str]) -> str:
    return ",".join(secret_of(key) for key in keys)


def _hex_mac(secret: str, signed: bytes) -> str:
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _sign_as_stripe(raw: bytes, key: str, _event_id: str, age_seconds: int) -> Headers:
    sent_at = int(time.time()) - age_seconds
    mac = _hex_mac(secret_of(key), f"{sent_at}.".encode() + raw)
    return {"stripe-signature": f"t={sent_at},v1={mac}"}


def _sign_as_conekta(raw: bytes, key: str, _event_id: str, _age_seconds: int) -> Headers:
    signature = private_key(key).sign(raw, padding.PKCS1v15(), hashes.SHA256())
    return {"digest": base64.b64encode(signature).decode()}


def _sign_as_standard(raw: bytes, key: str, event_id: str, age_seconds: int) -> Headers:
    sent_at = int(time.time()) - age_seconds
    signed = f"{event_id}.{sent_at}.".encode() + raw
    mac = hmac.digest(secret_of(key).encode(), signed, hashlib.sha256)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(sent_at),
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def _relay(header: str) -> Callable[[bytes, str, str, int], Headers]:
    def sign(raw: bytes, key: str, _event_id: str, _age_seconds: int) -> Headers:
        return {header: _hex_mac(secret_of(key), raw)}

    return sign


STRIPE = Scheme(
    "stripe-signature",
    "STRIPE_WEBHOOK_SECRET",
    _comma_list,
    _sign_as_stripe,
    "stripe-signature",
    has_time=True,
)
CONEKTA_DIGEST = Scheme(
    "conekta-digest",
    "CONEKTA_WEBHOOK_PUBLIC_KEYS",
    lambda keys: "".join(public_pem(key) for key in keys),
    _sign_as_conekta,
    "digest",
)
CONEKTA_RELAY = Scheme(
    "conekta-relay",
    "CONEKTA_WEBHOOK_SECRET",
    _comma_list,
    _relay("x-conekta-signature"),
    "x-conekta-signature",
)
POLAR_STANDARD = Scheme(
    "polar-standard",
    "POLAR_WEBHOOK_SECRET",
    lambda keys: ",".join(standard_secret_of(key) for key in keys),
    _sign_as_standard,
    "webhook-signature",
    has_time=True,
)
POLAR_RELAY = Scheme(
    "polar-relay",
    "ABONO_POLAR_RELAY_SECRET",
    _comma_list,
    _relay("x-polar-signature"),
    "x-polar-signature",
)
