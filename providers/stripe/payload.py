"""JSON of a webhook or an answer read by attribute, like the SDK's objects, made only as far as it is
looked at.

`stripe.Event.construct_from` makes an object of every part of an event first: 0.8 ms for an invoice of
4 KB, most of what it costs to accept a webhook, and nearly all of it is never read.
"""

from __future__ import annotations

import json
from typing import Any


class Payload:
    """One JSON object. What it does not have raises AttributeError, as with the SDK's.

    What was read once is kept as an attribute: a second reading does not come here.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def __getattr__(self, name: str) -> Any:
        try:
            seen = _seen(self._values[name])
        except KeyError:
            raise AttributeError(name) from None
        self.__dict__[name] = seen
        return seen

    def __str__(self) -> str:
        """As the SDK's: an object where a text belongs reads the same whichever of the two saw it."""
        return json.dumps(self._values, sort_keys=True, indent=2)


def _seen(value: Any) -> Any:
    if isinstance(value, dict):
        return Payload(value)
    if isinstance(value, list):
        return [_seen(one) for one in value]
    return value
