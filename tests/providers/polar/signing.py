"""Webhooks as Polar signs them, written another way than the simulator has it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

from providers.polar import PolarProvider
from tests.sandbox.polar.world import TOKEN

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
OTHER = "whsec_" + base64.b64encode(b"another key, just as long as that").decode()
PLAIN = "polar_whs_not~base64"
RELAY = "relay-secret"
EVENT_ID = "5c0b2e37-5b0c-4a53-8a0e-4f5d6c5b1f10"

Json = dict[str, Any]


def build(**settings: Any) -> PolarProvider:
    """An adapter that only reads webhooks: it never opens a connection."""
    return PolarProvider(api_key=TOKEN, **settings)


def encoded(body: Any) -> bytes:
    return json.dumps(body).encode()


def signed(
    raw: bytes, secret: str = SECRET, *, legacy: bool = False, age: int = 0, **change: str
) -> dict[str, str]:
    """Standard Webhooks headers; `legacy` is the key of secrets made before 8 September 2026."""
    sent_at = str(int(time.time()) - age)
    key = secret.encode() if legacy else base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.digest(key, f"{EVENT_ID}.{sent_at}.".encode() + raw, hashlib.sha256)
    headers = {
        "webhook-id": EVENT_ID,
        "webhook-timestamp": sent_at,
        "webhook-signature": "v1," + base64.b64encode(mac).decode(),
    }
    return {**headers, **{name.replace("_", "-"): value for name, value in change.items()}}


def relayed(raw: bytes, secret: str = RELAY) -> dict[str, str]:
    return {"x-polar-signature": hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()}


def event(event_type: str, data: Json, **change: Any) -> Json:
    return {
        "type": event_type,
        "timestamp": "2026-11-01T10:03:00.123456Z",
        "api_version": "2026-10",
        "data": data,
        **change,
    }


GOOD = event("organization.updated", {"id": "o"})
