"""That every accepted webhook was applied once: seen in the inbox, in our ledger and in the sandbox's."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import timedelta

import httpx
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from temporalio.service import RPCError

from abono.chaos.rest import StackBooks
from abono.simulate.commitments import check_commitments
from abono.simulate.invariants import RECEIVED, InvariantViolated, check_invariants, hold
from models.storage.tables import OutboundEvent, Payment, WebhookEvent
from tests.outages.balancer import EventKey
from tests.outages.stack import Stack

_LOOK_SECONDS = 0.2
# Nothing ends here, so that nothing is billed after its end.
_FAREWELL = timedelta(0)


async def until_applied(stack: Stack, books: StackBooks, seconds_max: float) -> float:
    """How long it took until the inbox was empty of work, every event was in it and all books agreed.
    Raises InvariantViolated with what still differs when the time is over."""
    began = time.monotonic()
    while True:
        try:
            await check_applied_once(stack, books)
        except (InvariantViolated, SQLAlchemyError, RPCError, OSError, httpx.HTTPError) as problem:
            if time.monotonic() - began > seconds_max:
                raise InvariantViolated(f"after {seconds_max:.0f} s: {problem}") from problem
        else:
            return time.monotonic() - began
        await asyncio.sleep(_LOOK_SECONDS)


async def check_applied_once(stack: Stack, books: StackBooks) -> None:
    """The cheapest first: most looks find that something is still under way."""
    waiting = await unapplied(books)
    hold(not waiting, f"{len(waiting)} are not applied: {waiting[:5]}")
    stored = Counter(await _stored(books))
    hold(all(count == 1 for count in stored.values()), "an event has two rows")
    lost = stack.balancer.accepted() - stored.keys()
    hold(not lost, f"answered with 200 and not stored: {sorted(lost)[:5]}")
    unheard = await untaken(stack, books)
    hold(not unheard, f"{len(unheard)} were never taken: {sorted(unheard)[:5]}")
    await _money_once(books)
    await check_commitments(books, farewell=_FAREWELL)
    await check_invariants(books)


async def unapplied(books: StackBooks) -> list[str]:
    """What each of them is, and why it waits as far as that is known."""
    told = func.concat_ws(" ", WebhookEvent.event_type, WebhookEvent.last_error)
    return await books.all(select(told).where(WebhookEvent.applied_at.is_(None)))


async def tries(books: StackBooks) -> int:
    """How often the dispatchers handed on the one that they handed on most often."""
    return int((await books.all(select(func.max(WebhookEvent.attempts))))[0])


async def _stored(books: StackBooks) -> list[EventKey]:
    async with books.sessions() as session:
        rows = await session.execute(select(WebhookEvent.provider, WebhookEvent.provider_event_id))
        return [(provider, event_id) for provider, event_id in rows]


async def untaken(stack: Stack, books: StackBooks) -> set[EventKey]:
    """What the providers have to tell and nobody has taken yet."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        found = (await http.get(f"{stack.info.sandbox_url}/_control/webhooks")).json()["data"]
    return {(event["provider"], event["id"]) for event in found} - {*await _stored(books)}


async def _money_once(books: StackBooks) -> None:
    """For each payment that a provider took there is one of ours, and the application heard of it once.

    Payments of one subscription are counted: an invoice of Stripe's is another object than its payment.
    """
    taken = Counter(
        (charge["provider"], charge["subscription_id"], charge["amount_minor"])
        for charge in await books.movements()
        if charge["kind"] == "charge" and charge["status"] in RECEIVED
    )
    payments = await books.all(select(Payment).where(Payment.kind == "capture"))
    booked = Counter((one.provider, str(one.subscription_id), one.amount_minor) for one in payments)
    hold(taken == booked, f"taken and not booked {taken - booked}, the other way {booked - taken}")
    told = await books.all(select(OutboundEvent).where(OutboundEvent.type == "invoice.paid"))
    paid = Counter(str(one.invoice_id) for one in payments)
    heard = Counter(event.data["invoice_id"] for event in told)
    hold(heard == paid, f"told differently from what was paid: {heard - paid}, {paid - heard}")
