"""Customers whom providers bill, and how steadily those tell of it: twice each, and out of order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from abono.chaos.calling import Caller
from abono.chaos.customers import (
    OXXO,
    ROUTES,
    Shop,
    open_shop,
    path_of,
    reference_of,
    subscribe,
)

CARD = next(route for route in ROUTES if route.card_at == "stripe")
# Each event has a copy, and each second one overtakes the one before.
_NETWORK = {"duplicate": 1, "reorder": True}
# As many at once as one small machine opens without falling behind.
_OPENINGS_AT_ONCE = 4


@dataclass
class Customers:
    """Subscriptions at Stripe, by the provider's id, and slips of Conekta's that nobody has paid yet."""

    caller: Caller
    billed: list[str]
    slips: list[str]


async def open_customers(caller: Caller, cards: int, slips: int) -> Customers:
    shop = await open_shop(caller)
    free = asyncio.Semaphore(_OPENINGS_AT_ONCE)

    async def one(number: int) -> dict[str, Any]:
        async with free:
            route = CARD if number < cards else OXXO
            return await _open(caller, shop, route, f"customer-{number}")

    rows = await asyncio.gather(*(one(number) for number in range(cards + slips)))
    await caller.control("POST", "/webhooks", _NETWORK)
    return Customers(
        caller,
        [row["provider_subscription_id"] for row in rows[:cards]],
        [str(reference_of(row)) for row in rows[cards:]],
    )


async def _open(caller: Caller, shop: Shop, route: Any, name: str) -> dict[str, Any]:
    opened = await subscribe(caller, shop, route, name)
    done = (lambda row: row["status"] == "active") if route is CARD else reference_of
    return await caller.until(path_of(opened), lambda row: bool(done(row)))


@asynccontextmanager
async def flowing(customers: Customers, bills_per_second: float, slips: int) -> AsyncIterator[None]:
    """During the block one subscription after the other is billed for its next period, and so many of
    the slips are paid."""
    work = asyncio.create_task(_flow(customers, 1 / bills_per_second, slips))
    try:
        yield
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def _flow(customers: Customers, every_seconds: float, slips: int) -> None:
    due = time.monotonic()
    for known_as in cycle(customers.billed):
        if slips and customers.slips:
            slips -= 1
            await customers.caller.control("POST", f"/payments/{customers.slips.pop()}/pay", {})
        await bill(customers, known_as)
        due += every_seconds
        await asyncio.sleep(due - time.monotonic())


async def bill(customers: Customers, known_as: str) -> None:
    path = f"/subscriptions/stripe/{known_as}/renew"
    await customers.caller.control("POST", path, {"outcome": "paid"})
