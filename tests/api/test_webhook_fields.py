"""No field of an authentic event, whatever is in it, breaks the door or stops the dispatcher.

Method: events as the sandbox's providers sent them (`told.json`), signed well, with one value in each
replaced by what no provider should send. Whatever is taken goes through the dispatcher together.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from api.dispatcher import Dispatcher
from api.inbox import Reception
from models.outcomes import ProviderName
from models.storage.tables import WebhookEvent
from providers.failures import WebhookMalformed
from providers.registry import ProviderRegistry
from tests.api.support import Api
from tests.api.test_webhook_fuzz import providers
from tests.providers.contract.profiles import PROFILES, Profile

__all__ = ["providers"]  # The fixture: every provider, with every scheme.

TOLD: dict[str, list[dict[str, Any]]] = json.loads(
    Path(__file__).with_name("told.json").read_text()
)
# Half of a character, a NUL, no calendar's time, no bigint, no id, nothing, and every other type.
ODD: tuple[object, ...] = (
    "\ud800",
    "a\x00b",
    "",
    "x" * 5_000,
    2**63,
    10**19 - 1,
    -1,
    1e300,
    None,
    True,
    [],
    {},
    [1],
)

# Of all pairs of a place and a value; no divisor of their number, so that each value gets around.
STRIDE = 4

Path_ = tuple[str | int, ...]


def places(value: Any, at: Path_ = ()) -> Iterator[Path_]:
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for key, item in inner:
        yield (*at, key)
        yield from places(item, (*at, key))


def spoiled(body: dict[str, Any], place: Path_, odd: object, number: int) -> bytes:
    changed: Any = deepcopy(body)
    if "id" in changed:
        changed["id"] = f"evt_{number}"  # Else it would be a repetition of the one before.
    *way, last = place
    holder = changed
    for key in way:
        holder = holder[key]
    holder[last] = odd
    return json.dumps(changed).encode()


@pytest.mark.parametrize("profile", PROFILES, ids=str)
async def test_an_odd_value_in_any_field_is_taken_or_refused(
    api: Api, providers: ProviderRegistry, profile: Profile
) -> None:
    adapter, scheme = providers.get(ProviderName(profile.name)), profile.schemes[0]
    assert adapter is not None

    async def take(number: int, raw: bytes) -> Reception | WebhookMalformed:
        headers = {k.lower(): v for k, v in scheme.sign(raw, "real", f"evt_{number}", 0).items()}
        try:
            return await api.context.inbox.receive(adapter.parse_webhook(raw, headers), raw)
        except WebhookMalformed as refused:
            return refused

    bodies = TOLD[profile.name]
    odd_ones = [(body, place, odd) for body in bodies for place in places(body) for odd in ODD]
    raws = [spoiled(*one, number) for number, one in enumerate(odd_ones[::STRIDE])]
    # Many share a statement, as in a burst: what cannot be stored must not keep the others out.
    answers = await asyncio.gather(*(take(number, raw) for number, raw in enumerate(raws)))
    dispatcher = Dispatcher(api.context)
    while await dispatcher.run_once():
        pass

    accepted = answers.count(Reception.ACCEPTED)
    assert len(raws) / 2 < accepted == len(await api.inbox())
    tried = await api.all(select(func.max(WebhookEvent.attempts)))
    assert tried == [1], "no pass had to be made again"
