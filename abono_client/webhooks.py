"""Verifies the webhooks that Abono sends, by Standard Webhooks: https://www.standardwebhooks.com."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from abono_client.errors import WebhookInvalid

# What Standard Webhooks advises: replays are refused after five minutes, clocks may differ as much.
TOLERANCE_SECONDS = 300
_PREFIX = "whsec_"


def verify_webhook(
    body: bytes, headers: Mapping[str, str], *secrets: str, now: float | None = None
) -> dict[str, Any]:
    """The event in `body`, the raw bytes of the request. Raises WebhookInvalid.

    Several `secrets` while one is rotated; the signature of any will do. `now` is seconds since 1970.
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        id_, sent_at, signatures = (
            given[f"webhook-{name}"] for name in ("id", "timestamp", "signature")
        )
    except KeyError as missing:
        raise WebhookInvalid(f"the header {missing} is missing") from None
    _check_time(sent_at, time.time() if now is None else now)
    signed = b".".join([id_.encode(), sent_at.encode(), body])
    offered = [one.removeprefix("v1,") for one in signatures.split() if one.startswith("v1,")]
    if not any(
        hmac.compare_digest(_signature(secret, signed), one.encode())
        for secret in secrets
        for one in offered
    ):
        raise WebhookInvalid("no secret made this signature")
    event = json.loads(body)
    if not isinstance(event, dict):
        raise WebhookInvalid("the body is no object")
    return event


def _check_time(sent_at: str, now: float) -> None:
    if not sent_at.isascii() or not sent_at.isdigit():
        raise WebhookInvalid("the timestamp is no number")
    if abs(now - int(sent_at)) > TOLERANCE_SECONDS:
        raise WebhookInvalid("the timestamp is too old, or too new")


def _signature(secret: str, signed: bytes) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a secret is base64 behind whsec_") from None
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
