"""The invariants that the ledgers alone can show: webhooks, transitions, the end of a subscription."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select

from abono.simulate.invariants import RECEIVED, Books, hold
from models.outcomes import OutcomeClass
from models.states import TERMINAL_STATUSES, TRANSITIONS, SubscriptionEvent, SubscriptionStatus
from models.storage.tables import AuditEntry, ChargeAttempt, Subscription, WebhookEvent

_EVENTS = frozenset(SubscriptionEvent)


async def check_commitments(books: Books, *, farewell: timedelta) -> None:
    """Raises InvariantViolated. Call it at rest. `farewell`: how long a provider that was away at the end
    of a subscription may have gone on billing it."""
    await check_webhooks_applied(books)
    rows = await books.all(select(Subscription))
    check_transitions(await books.all(select(AuditEntry).where(AuditEntry.action.in_(_EVENTS))))
    attempts = await books.all(select(ChargeAttempt))
    check_over_is_over(rows, attempts, await books.movements(), farewell)


async def check_webhooks_applied(books: Books) -> None:
    """Invariant 3: what was accepted for a workflow has been dealt with; once, as the table holds it."""
    waits = WebhookEvent.applied_at.is_(None) & WebhookEvent.workflow_id.is_not(None)
    waiting = await books.all(select(WebhookEvent).where(waits))
    told = [f"{event.event_type} for {event.workflow_id}" for event in waiting]
    hold(not told, f"invariant 3: accepted and not applied: {told[:5]}")


def check_transitions(entries: Iterable[AuditEntry]) -> None:
    """Invariant 4: every change of a status is a move of the table, and begins where the last ended."""
    moves: dict[UUID, list[AuditEntry]] = defaultdict(list)
    for entry in entries:
        if entry.subscription_id is not None and "status" in entry.after:
            moves[entry.subscription_id].append(entry)
    for subscription_id, made in moves.items():
        status = SubscriptionStatus.INCOMPLETE
        made.sort(key=lambda entry: (entry.at, entry.version))
        while made:
            # Several moves of one commit bear one time: they are taken in the order in which they fit.
            same = [one for one in made if (one.at, one.version) == (made[0].at, made[0].version)]
            fitting = [one for one in same if one.before["status"] == status]
            entry = (fitting or same)[0]
            made.remove(entry)
            before = SubscriptionStatus(entry.before["status"])
            move = (before, SubscriptionEvent(entry.action))
            whole = before is status and TRANSITIONS.get(move) == entry.after["status"]
            told = f"{entry.action}: {entry.before} to {entry.after}, and it was {status}"
            hold(whole, f"invariant 4: {subscription_id} moved by {told}")
            status = SubscriptionStatus(entry.after["status"])


def check_over_is_over(
    rows: Iterable[Subscription],
    attempts: Iterable[ChargeAttempt],
    movements: Iterable[dict[str, Any]],
    farewell: timedelta,
) -> None:
    """Invariant 6: after its end we try nothing more, and no provider goes on billing it."""
    ended = {
        row.id: row.canceled_at
        for row in rows
        if row.status in TERMINAL_STATUSES and row.canceled_at is not None
    }
    for attempt in attempts:
        end = ended.get(attempt.subscription_id) if attempt.subscription_id else None
        tried = end is not None and attempt.started_at > end
        ours = attempt.outcome != OutcomeClass.NOT_ATTEMPTED
        told = f"attempt {attempt.id} began after {attempt.subscription_id} had ended"
        hold(not (tried and ours), f"invariant 6: {told}")
    for movement in movements:
        owner = UUID(movement["subscription_id"]) if movement["subscription_id"] else None
        end = ended.get(owner) if owner else None
        if end is None or movement["kind"] != "charge" or movement["status"] not in RECEIVED:
            continue
        late = datetime.fromisoformat(movement["created_at"]) > end + farewell
        # A slip may be paid long after; it was issued before.
        billed = late and not movement["reference"]
        told = f"{movement['provider']} {movement['id']} at {movement['created_at']}, over at {end}"
        hold(not billed, f"invariant 6: {owner} was charged after its end: {told}")
