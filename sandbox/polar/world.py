"""The simulator's memory: collections, clock, events and the book of money."""

from __future__ import annotations

import base64
import calendar
import copy
import hashlib
import hmac
import json
import time
import uuid
from datetime import UTC, datetime

from sandbox.core import Core
from sandbox.polar.wire import API_VERSION, Json, not_found

ORGANIZATION_ID = "0b7e6f0e-9c8e-4f6b-8a4b-6a1f2f9f5d10"
_MONTHS_BY_INTERVAL = {"month": 1, "year": 12}
_SECONDS_BY_INTERVAL = {"day": 86400, "week": 7 * 86400}


class World:
    """Reads and writes `core.state["polar"]`, which stays plain JSON.

    Fields whose names begin with an underscore are the simulator's own and never leave it.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self._last_event_at = 0.0
        core.webhooks.signers["polar"] = self.sign

    def all(self, collection: str) -> dict[str, Json]:
        return self.core.collection("polar", collection)

    def put(self, collection: str, entity: Json) -> Json:
        self.all(collection)[entity["id"]] = entity
        return entity

    def get(self, collection: str, entity_id: str) -> Json:
        """The object, or Polar's 404."""
        found = self.all(collection).get(entity_id)
        if found is None:
            raise not_found()
        return found

    def now(self) -> int:
        return self.core.clock.now()

    def time(self, offset_seconds: int = 0) -> str:
        return rfc3339(self.now() + offset_seconds)

    def touch(self, entity: Json) -> None:
        entity["modified_at"] = self.time()

    def emit(self, event_type: str, shown: Json) -> None:
        """Send what the object looks like now; later changes must not alter what was said."""
        # Never the same moment twice: the body is what an event is told apart by.
        at = max(time.time() + self.core.clock.offset_seconds, self._last_event_at + 1e-5)
        self._last_event_at = at
        stamp = datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
        event = {
            "type": event_type,
            "timestamp": stamp,
            "api_version": API_VERSION,
            "data": copy.deepcopy(shown),
        }
        raw = json.dumps(event, separators=(",", ":")).encode()
        self.core.webhooks.emit("polar", event, event_id=webhook_id(raw))

    def sign(self, raw: bytes) -> dict[str, str]:
        """Standard Webhooks headers. The id stays the same when an event is sent again, the time
        does not."""
        event_id, sent_at = webhook_id(raw), int(time.time())
        key = signing_key(self.core.config.polar_webhook_secret)
        mac = hmac.new(key, f"{event_id}.{sent_at}.".encode() + raw, hashlib.sha256).digest()
        return {
            "webhook-id": event_id,
            "webhook-timestamp": str(sent_at),
            "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
            "user-agent": "polar.sh webhooks",
        }

    def book(self, entity: Json, kind: str, amount: int, status: str, entry_id: str) -> None:
        """Write a movement into the book of the whole sandbox. Amounts are before tax: the tax is
        Polar's own, as merchant of record. `entity` carries our metadata and its page's id."""
        self.core.book(
            provider="polar",
            id=entry_id,
            kind=kind,
            amount_minor=amount,
            currency=entity["currency"].upper(),
            status=status,
            reference=entity.get("checkout_id") or entity["id"],
            subscription_id=entity["metadata"].get("subscription_id"),
            invoice_id=entity["metadata"].get("invoice_id"),
            created_at=self.time(),
        )


def webhook_id(raw: bytes) -> str:
    """The id of an event, made of its bytes: nothing has to be remembered to say it again."""
    return str(uuid.UUID(bytes=hashlib.sha256(raw).digest()[:16], version=4))


def signing_key(secret: str) -> bytes:
    """As for secrets made since September 2026: what follows the prefix is base64. A secret that is
    not signs with its own text, as older ones do."""
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        return secret.encode()


def rfc3339(unix_seconds: int) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat().replace("+00:00", "Z")


def unix(time_text: str) -> int:
    return int(datetime.fromisoformat(time_text).timestamp())


def after_period(start: str, interval: str, count: int) -> str:
    """The end of the period that begins at `start`; the 31st becomes the month's last day."""
    begins = datetime.fromisoformat(start)
    if interval in _SECONDS_BY_INTERVAL:
        return rfc3339(unix(start) + count * _SECONDS_BY_INTERVAL[interval])
    months = begins.year * 12 + begins.month - 1 + count * _MONTHS_BY_INTERVAL[interval]
    year, month = divmod(months, 12)
    day = min(begins.day, calendar.monthrange(year, month + 1)[1])
    ends = begins.replace(year=year, month=month + 1, day=day)
    return ends.isoformat().replace("+00:00", "Z")
