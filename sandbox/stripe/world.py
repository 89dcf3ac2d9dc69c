"""The simulator's memory: collections, clock, events and the book of money."""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sandbox.core import Core, new_id
from sandbox.stripe.refusals import Refusal, missing

API_VERSION = "2026-10-28.endive"

Object = dict[str, Any]
_COMPARE = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}

# Which collection an id belongs to, by its prefix: used to expand references.
COLLECTION_BY_PREFIX = {
    "cus": "customers",
    "pm": "payment_methods",
    "price": "prices",
    "sub": "subscriptions",
    "sub_sched": "subscription_schedules",
    "in": "invoices",
    "pi": "payment_intents",
    "seti": "setup_intents",
    "ch": "charges",
    "py": "charges",
    "re": "refunds",
    "du": "disputes",
}


@dataclass
class Origin:
    """What caused the events that are sent now: an API request, or Stripe's own clock (None)."""

    request_id: str | None = None
    idempotency_key: str | None = None


class World:
    """Reads and writes `core.state["stripe"]`, which stays plain JSON.

    Fields whose names begin with an underscore are the simulator's own and never leave it.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self.origin = Origin()
        # The earliest moment at which something may fall due; before it a tick costs nothing.
        self.next_due = -math.inf
        # Where this simulator is mounted, as its latest caller reached it: hosted pages live there.
        self.base_url = ""

    def now(self) -> int:
        return self.core.clock.now()

    def wake_at(self, unix_seconds: int) -> None:
        self.next_due = min(self.next_due, unix_seconds)

    def all(self, collection: str) -> dict[str, Object]:
        return self.core.collection("stripe", collection)

    def put(self, collection: str, entity: Object) -> Object:
        self.all(collection)[entity["id"]] = entity
        return entity

    def get(self, collection: str, object_id: str, param: str = "id") -> Object:
        """The object, or Stripe's 404."""
        found = self.all(collection).get(object_id)
        if found is None:
            raise missing(collection.removesuffix("s"), object_id, param)
        return found

    def by_id(self, object_id: str) -> Object | None:
        prefix = object_id.rsplit("_", 1)[0]
        collection = COLLECTION_BY_PREFIX.get(prefix) or COLLECTION_BY_PREFIX.get(
            object_id.split("_", 1)[0]
        )
        return self.all(collection).get(object_id) if collection else None

    def emit(self, event_type: str, entity: Object, previous: Object | None = None) -> None:
        """Send a snapshot event about the object as it is now."""
        data: Object = {"object": self.render(entity)}
        if previous is not None:
            data["previous_attributes"] = previous
        self.core.webhooks.emit(
            "stripe",
            {
                "id": new_id("evt_1"),
                "object": "event",
                "api_version": API_VERSION,
                "created": self.now(),
                "type": event_type,
                "livemode": False,
                "pending_webhooks": 1,
                "request": {
                    "id": self.origin.request_id,
                    "idempotency_key": self.origin.idempotency_key,
                },
                "data": data,
            },
        )

    def render(self, entity: Object, expand: list[str] | None = None) -> Object:
        """The object as the API shows it, with the references named in `expand` filled in."""
        shown: Object = _public(entity)
        for path in expand or []:
            self._expand(shown, entity, path.split("."))
        return shown

    def page(self, url: str, entities: Iterable[Object], params: dict[str, Any]) -> Object:
        """One page of a list, newest first, as `limit`, `starting_after` and `expand` ask."""
        newest_first = [one for one in entities if _made_within(one, params.get("created"))][::-1]
        after = params.get("starting_after")
        if after is not None:
            ids = [entity["id"] for entity in newest_first]
            newest_first = newest_first[ids.index(after) + 1 :] if after in ids else []
        limit = int(params.get("limit") or 10)
        below = [p.removeprefix("data.") for p in params.get("expand") or [] if p[:5] == "data."]
        return {
            "object": "list",
            "url": url,
            "has_more": len(newest_first) > limit,
            "data": [self.render(entity, below) for entity in newest_first[:limit]],
        }

    def _expand(self, shown: Any, original: Any, path: list[str]) -> None:
        if isinstance(shown, list):
            for item in shown:
                self._expand(item, None, path)
            return
        if not isinstance(shown, dict):
            return
        field, rest = path[0], path[1:]
        if original is not None and f"_{field}" in original:
            # Includable fields (`confirmation_secret`, `payments`) are absent until asked for.
            shown[field] = _public(original[f"_{field}"])
        value = shown.get(field)
        if isinstance(value, str):
            target = self.by_id(value)
            if target is not None:
                shown[field] = self.render(target, [".".join(rest)] if rest else [])
        elif rest:
            known = self.by_id(value["id"]) if isinstance(value, dict) and "id" in value else None
            self._expand(value, known, rest)

    def book(self, entity_id: str, kind: str, status: str, **fields: Any) -> None:
        """Write a movement of money into the book of the whole sandbox."""
        self.core.book(provider="stripe", id=entity_id, kind=kind, status=status, **fields)


def _made_within(entity: Object, asked: Any) -> bool:
    """Whether the object passes `created`: a moment, or an object of `gt`, `gte`, `lt`, `lte`."""
    if asked is None:
        return True
    made = entity["created"]
    if not isinstance(asked, dict):
        return bool(made == _seconds(asked))
    for name, value in asked.items():
        if name not in _COMPARE:
            raise Refusal(400, f"Received unknown parameter: created[{name}]", param="created")
        if not _COMPARE[name](made, _seconds(value)):
            return False
    return True


def _seconds(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise Refusal(400, f"Invalid timestamp: {value}", param="created") from None


def _public(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _public(v) for k, v in value.items() if not k.startswith("_")}
    if isinstance(value, list):
        return [_public(item) for item in value]
    return copy.copy(value)


def rfc3339(unix_seconds: int) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat().replace("+00:00", "Z")


def our_ids(metadata: dict[str, Any]) -> dict[str, Any]:
    """The caller's own references, as far as the object carries them."""
    return {name: metadata.get(name) for name in ("subscription_id", "invoice_id")}
