"""A webhook read lazily says what the SDK's own objects say, whatever is missing from it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stripe

from models.events import ProviderEvent
from providers.failures import WebhookMalformed
from providers.stripe import webhooks
from providers.stripe.payload import Payload

INVOICE_PAID: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "benchmarks" / "invoice_paid.json").read_text()
)
# None of these is what any of Stripe's fields holds.
SURPRISES: tuple[Any, ...] = (None, {}, [], "surprise", 7)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key and index below `value`."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            if str(key).endswith("_decimal"):
                continue  # The SDK itself breaks on one that is no number; we read none of them.
            yield (*path, key)
            yield from places(value[key], (*path, key))


def changed(path: tuple[Any, ...], surprise: Any = ...) -> dict[str, Any]:
    """The event with something else at `path`, or, without a surprise, nothing."""
    event = copy.deepcopy(INVOICE_PAID)
    *way, last = path
    parent: Any = event
    for key in way:
        parent = parent[key]
    if surprise is ...:
        del parent[last]
    else:
        parent[last] = surprise
    return event


def read(event: dict[str, Any]) -> ProviderEvent | None:
    try:
        return webhooks.translate(json.dumps(event).encode(), "default")
    except WebhookMalformed:
        return None


def test_it_reads_as_the_sdk_does(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [INVOICE_PAID]
    for path in places(INVOICE_PAID):
        events += [changed(path), *(changed(path, surprise) for surprise in SURPRISES)]
    ours = [read(event) for event in events]
    assert ours[0] is not None
    assert ours.count(None) > len(SURPRISES)
    monkeypatch.setattr(webhooks, "Payload", lambda values: stripe.Event.construct_from(values, ""))
    assert ours == [read(event) for event in events]


def test_what_is_missing_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        Payload({}).id  # noqa: B018 - looking is the test
