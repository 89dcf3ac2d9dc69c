"""The webhook that the benchmarks send: Stripe's `invoice.paid`, some 4 KB, signed as Stripe signs it."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.load import post

PATH = "/api/v1/webhooks/stripe"
# Recorded from the sandbox.
_INVOICE_PAID: dict[str, Any] = json.loads(
    Path(__file__).with_name("invoice_paid.json").read_text()
)


def invoice_paid() -> bytes:
    """A new event each time: only its id differs."""
    return copy_of(_INVOICE_PAID)


def copy_of(event: dict[str, Any]) -> bytes:
    """The same news in another event, as providers repeat themselves."""
    return json.dumps({**event, "id": f"evt_{uuid4().hex}"}).encode()


def late_copy_of(paid: dict[str, Any]) -> bytes:
    """What was said of the invoice before it was paid, and arrives late: the dispatcher cannot settle
    it by itself, as it does with a repetition, so a workflow has to hear it and write that down."""
    was = {"status": "open", "attempt_count": 1, "amount_paid": 0}
    data = {**paid["data"], "object": {**paid["data"]["object"], **was}}
    return copy_of({**paid, "type": "invoice.payment_failed", "data": data})


def signature_headers(raw: bytes, secret: str) -> dict[str, str]:
    moment = int(time.time())
    signed = f"{moment}.".encode() + raw
    signature = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return {"Stripe-Signature": f"t={moment},v1={signature}"}


def signed_requests(count: int, secret: str) -> Iterator[bytes]:
    """Whole requests, each with an event of its own."""
    for _ in range(count):
        raw = invoice_paid()
        yield post(PATH, raw, signature_headers(raw, secret))
