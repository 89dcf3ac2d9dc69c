"""Our side of a comparison: what our rows say about listed objects, and which rows to ask about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.event_facts import EventFacts, key_of, load_facts
from activities.event_targets import find_attempt, find_target
from activities.reconcile_disputes import Owner, Side, dispute_sides
from models.events import ProviderEvent
from models.outcomes import OPEN_OUTCOMES, PAID_BY_HAND
from models.reconcile import Listed, Ours, captures_of
from models.states import TERMINAL_STATUSES
from models.storage.tables import ChargeAttempt, Payment, Purchase, Refund, Subscription


class _Booked(NamedTuple):
    """A capture of ours, with what went back of it and what is about to."""

    provider_charge_id: str
    attempt_id: UUID | None
    invoice_id: UUID
    refunded_minor: int
    pending_minor: int


async def our_sides(session: AsyncSession, listed: Sequence[Listed]) -> list[Side]:
    """Our side of each; about ten queries, however many there are."""
    events = [one.event for one in listed]
    facts = await load_facts(session, events)
    asked = await _amounts_asked(session, facts)
    booked = await _captures(session, events, facts)
    owners = await _owners(session, events, facts)
    disputed = await dispute_sides(session, events)
    return [
        disputed[event.provider_event_id]
        if (event := one.event).dispute is not None
        else Side(owner, _side(one, facts, asked, booked))
        for one, owner in zip(listed, owners, strict=True)
    ]


def _side(
    listed: Listed,
    facts: EventFacts,
    asked: dict[UUID, tuple[int, str]],
    booked: Sequence[_Booked],
) -> Ours:
    event = listed.event
    attempt = find_attempt(event, facts)
    invoice = None
    if event.provider_invoice_id is not None:
        invoice = facts.invoices.get(key_of(event, event.provider_invoice_id))
    target = find_target(event, facts)
    row = None
    if target is not None and target.subscription_id is not None:
        row = facts.subscriptions.get(target.subscription_id)
    told = {capture.provider_charge_id for capture in captures_of(event)}
    mine = [
        one
        for one in booked
        if one.provider_charge_id in told
        or (not told and attempt is not None and one.attempt_id == attempt.id)
        or (not told and invoice is not None and one.invoice_id == invoice.id)
    ]
    amount_minor, currency = asked.get(attempt.id, (None, None)) if attempt else (None, None)
    return Ours(
        has_owner=target is not None,
        attempt_outcome=attempt.outcome if attempt else None,
        attempt_amount_minor=amount_minor,
        attempt_currency=currency,
        invoice_status=invoice.status if invoice else None,
        subscription_status=row.status if row else None,
        current_period_end=row.current_period_end if row else None,
        cancel_at_period_end=row.cancel_at_period_end if row else False,
        booked_charge_ids=frozenset(one.provider_charge_id for one in mine),
        refunded_minor=sum(one.refunded_minor for one in mine),
        refund_pending_minor=sum(one.pending_minor for one in mine),
    )


async def _amounts_asked(session: AsyncSession, facts: EventFacts) -> dict[UUID, tuple[int, str]]:
    if not facts.attempts:
        return {}
    table = ChargeAttempt
    statement = select(table.id, table.amount_minor, table.currency)
    found = await session.execute(statement.where(table.id.in_(facts.attempts)))
    return {id_: (amount_minor, currency) for id_, amount_minor, currency in found}


async def _captures(
    session: AsyncSession, events: Sequence[ProviderEvent], facts: EventFacts
) -> list[_Booked]:
    if not events:
        return []
    charge_ids = {one.provider_charge_id for event in events for one in captures_of(event)}
    invoice_ids = {invoice.id for invoice in facts.invoices.values()}
    statement = select(
        Payment.provider_charge_id,
        Payment.attempt_id,
        Payment.invoice_id,
        _refunded("succeeded"),
        _refunded("pending"),
    ).where(
        Payment.kind == "capture",
        Payment.provider == events[0].provider,
        Payment.account == events[0].account,
        or_(
            Payment.provider_charge_id.in_(charge_ids),
            Payment.attempt_id.in_(facts.attempts),
            Payment.invoice_id.in_(invoice_ids),
        ),
    )
    return [
        _Booked(charge_id, attempt_id, invoice_id, int(back), int(pending))
        for charge_id, attempt_id, invoice_id, back, pending in await session.execute(statement)
    ]


def _refunded(status: str) -> Any:
    total = func.coalesce(func.sum(Refund.amount_minor), 0)
    mine = Refund.payment_id == Payment.id, Refund.status == status
    return select(total).where(*mine).correlate(Payment).scalar_subquery()


async def _owners(
    session: AsyncSession, events: Sequence[ProviderEvent], facts: EventFacts
) -> list[Owner]:
    targets = [find_target(event, facts) for event in events]
    applications: dict[UUID, UUID] = {}
    wanted: dict[type[Subscription] | type[Purchase], set[UUID]] = defaultdict(set)
    for target in targets:
        if target is not None and target.subscription_id is not None:
            wanted[Subscription].add(target.subscription_id)
        elif target is not None and target.purchase_id is not None:
            wanted[Purchase].add(target.purchase_id)
    for table, ids in wanted.items():
        found = select(table.id, table.application_id).where(table.id.in_(ids))
        for id_, application_id in await session.execute(found):
            applications[id_] = application_id
    return [
        Owner()
        if target is None
        else Owner(
            applications.get(target.subscription_id or target.purchase_id or UUID(int=0)),
            target.subscription_id,
            target.purchase_id,
        )
        for target in targets
    ]


async def next_subscriptions(
    session: AsyncSession, provider: str, account: str, since: datetime, after: UUID, limit: int
) -> list[Subscription]:
    """Those that live, and those that ended since: the provider must not go on billing them."""
    table = Subscription
    lives = table.status.not_in(TERMINAL_STATUSES)
    statement = select(table).where(
        table.provider == provider,
        table.account == account,
        table.provider_subscription_id.is_not(None),
        table.version > 0,
        or_(lives, table.updated_at >= since),
        table.id > after,
    )
    return list(await session.scalars(statement.order_by(table.id).limit(limit)))


async def next_attempts(
    session: AsyncSession, provider: str, account: str, after: UUID, limit: int
) -> list[ChargeAttempt]:
    """Slips, transfers and pages that we still wait for."""
    table = ChargeAttempt
    statement = select(table).where(
        table.provider == provider,
        table.account == account,
        table.outcome.in_(OPEN_OUTCOMES),
        table.instrument.in_(PAID_BY_HAND),
        table.provider_object_id.is_not(None),
        table.id > after,
    )
    return list(await session.scalars(statement.order_by(table.id).limit(limit)))


async def next_captures(
    session: AsyncSession, provider: str, account: str, since: datetime, after: UUID, limit: int
) -> list[Payment]:
    table = Payment
    statement = select(table).where(
        table.provider == provider,
        table.account == account,
        table.kind == "capture",
        table.recorded_at >= since,
        table.id > after,
    )
    return list(await session.scalars(statement.order_by(table.id).limit(limit)))
