"""What our tables know about a batch of provider events: a handful of queries, however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import case, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from models.events import EventKind, ProviderEvent
from models.ids import our_id
from models.outcomes import Instrument, OutcomeClass
from models.snapshots import Capture
from models.storage.tables import ChargeAttempt, Invoice, Payment, ProviderCustomer, Subscription


class ProviderKey(NamedTuple):
    """An object of a provider: its id means something within one account only."""

    provider: str
    account: str
    object_id: str


@dataclass(frozen=True)
class DueEvent:
    """An inbox row that has been claimed; `tries` counts this one."""

    id: UUID
    event: ProviderEvent
    tries: int
    received_at: datetime


class AttemptFact(NamedTuple):
    id: UUID
    subscription_id: UUID | None  # None where it is not a subscription that is paid for.
    provider: str
    account: str
    instrument: str
    outcome: str
    provider_object_id: str | None
    purchase_id: UUID | None = None


class InvoiceFact(NamedTuple):
    id: UUID
    subscription_id: UUID | None  # None where it is not a subscription that is paid for.
    status: str
    amount_refunded_minor: int


class SubscriptionFact(NamedTuple):
    id: UUID
    status: str
    provider_subscription_id: str | None
    current_period_end: datetime | None
    cancel_at_period_end: bool


@dataclass
class EventFacts:
    attempts: dict[UUID, AttemptFact] = field(default_factory=dict)
    attempts_by_object: dict[ProviderKey, AttemptFact] = field(default_factory=dict)
    invoices: dict[ProviderKey, InvoiceFact] = field(default_factory=dict)
    subscriptions: dict[UUID, SubscriptionFact] = field(default_factory=dict)
    subscriptions_by_object: dict[ProviderKey, SubscriptionFact] = field(default_factory=dict)
    captures: set[ProviderKey] = field(default_factory=set)
    refunded_minor_by_attempt: dict[UUID, int] = field(default_factory=dict)


def key_of(event: ProviderEvent, object_id: str) -> ProviderKey:
    return ProviderKey(event.provider.value, event.account, object_id)


def captures_of(event: ProviderEvent) -> list[Capture]:
    if event.payment is not None:
        return event.payment.captures
    return event.invoice.captures if event.invoice is not None else []


async def name_payments(
    session: AsyncSession, events: Sequence[ProviderEvent]
) -> list[ProviderEvent]:
    """Money that came from a customer names the customer alone: it is looked for at the latest transfer
    that the customer was shown. Any other event stays as it is."""
    keys = {key_of(e, e.provider_customer_id) for e in events if e.provider_customer_id}
    if not keys:
        return list(events)
    attempt, customer = ChargeAttempt, ProviderCustomer
    # By the provider's key, which one organization of one application has: no tenant is named.
    statement = (
        select(
            customer.provider,
            customer.account,
            customer.provider_customer_id,
            attempt.id,
            attempt.provider_object_id,
        )
        .join(Invoice, Invoice.organization_id == customer.organization_id)
        .join(attempt, attempt.invoice_id == Invoice.id)
        .where(
            _is_one_of(customer, customer.provider_customer_id, keys),
            attempt.provider == customer.provider,
            attempt.account == customer.account,
            attempt.instrument == Instrument.SPEI,
            attempt.provider_object_id.is_not(None),
            attempt.outcome != OutcomeClass.NOT_ATTEMPTED,
        )
        .order_by(attempt.started_at, attempt.id)
    )
    latest = {_leading_key(row): row[3:] for row in await session.execute(statement)}
    return [_named(event, latest) for event in events]


def _named(event: ProviderEvent, latest: dict[ProviderKey, Any]) -> ProviderEvent:
    if event.provider_customer_id is None:
        return event
    found = latest.get(key_of(event, event.provider_customer_id))
    if found is None:
        return event
    attempt_id, payment_id = found
    return event.model_copy(
        update={"attempt_id": str(attempt_id), "provider_payment_id": payment_id}
    )


async def load_facts(session: AsyncSession, events: list[ProviderEvent]) -> EventFacts:
    facts = EventFacts()
    await _load_attempts(session, events, facts)
    await _load_invoices(session, events, facts)
    await _load_subscriptions(session, events, facts)
    await _load_captures(session, events, facts)
    return facts


async def _load_attempts(
    session: AsyncSession, events: list[ProviderEvent], facts: EventFacts
) -> None:
    ids = {found for event in events if (found := our_id(event.attempt_id))}
    keys = {key_of(e, e.provider_payment_id) for e in events if e.provider_payment_id}
    table = ChargeAttempt
    statement = select(
        table.id,
        table.subscription_id,
        table.provider,
        table.account,
        table.instrument,
        table.outcome,
        table.provider_object_id,
        table.purchase_id,
    )
    matches = [table.id.in_(ids)] if ids else []
    if keys:
        matches.append(_is_one_of(table, table.provider_object_id, keys))
    if not matches:
        return
    # Oldest first, so that the newest try wins where a provider's object served several.
    statement = statement.where(or_(*matches)).order_by(table.started_at)
    for row in await session.execute(statement):
        attempt = AttemptFact(*row)
        facts.attempts[attempt.id] = attempt
        if attempt.provider_object_id is not None:
            key = ProviderKey(attempt.provider, attempt.account, attempt.provider_object_id)
            facts.attempts_by_object[key] = attempt


async def _load_invoices(
    session: AsyncSession, events: list[ProviderEvent], facts: EventFacts
) -> None:
    keys = {key_of(e, e.provider_invoice_id) for e in events if e.provider_invoice_id}
    if not keys:
        return
    table = Invoice
    statement = select(
        table.provider,
        table.account,
        table.provider_invoice_id,
        table.id,
        table.subscription_id,
        table.status,
        table.amount_refunded_minor,
    ).where(_is_one_of(table, table.provider_invoice_id, keys))
    for row in await session.execute(statement):
        facts.invoices[_leading_key(row)] = InvoiceFact(*row[3:])


async def _load_subscriptions(
    session: AsyncSession, events: list[ProviderEvent], facts: EventFacts
) -> None:
    """Only of events that no attempt or invoice leads on from, or that are about the subscription."""
    open_events = [
        event
        for event in events
        if event.kind is EventKind.SUBSCRIPTION or not _leads_on(event, facts)
    ]
    ids = {found for event in open_events if (found := our_id(event.subscription_id))}
    keys = {
        key_of(e, e.provider_subscription_id) for e in open_events if e.provider_subscription_id
    }
    table = Subscription
    matches = [table.id.in_(ids)] if ids else []
    if keys:
        matches.append(_is_one_of(table, table.provider_subscription_id, keys))
    if not matches:
        return
    statement = select(
        table.provider,
        table.account,
        table.provider_subscription_id,
        table.id,
        table.status,
        table.provider_subscription_id,
        table.current_period_end,
        table.cancel_at_period_end,
    ).where(or_(*matches))
    for row in await session.execute(statement):
        subscription = SubscriptionFact(*row[3:])
        facts.subscriptions[subscription.id] = subscription
        if subscription.provider_subscription_id is not None:
            facts.subscriptions_by_object[_leading_key(row)] = subscription


def _leads_on(event: ProviderEvent, facts: EventFacts) -> bool:
    attempt_id = our_id(event.attempt_id)
    if attempt_id in facts.attempts:
        return True
    payment, invoice = event.provider_payment_id, event.provider_invoice_id
    return (payment is not None and key_of(event, payment) in facts.attempts_by_object) or (
        invoice is not None and key_of(event, invoice) in facts.invoices
    )


async def _load_captures(
    session: AsyncSession, events: list[ProviderEvent], facts: EventFacts
) -> None:
    keys = {key_of(event, c.provider_charge_id) for event in events for c in captures_of(event)}
    keys |= {
        key_of(event, event.provider_charge_id) for event in events if event.provider_charge_id
    }
    if not keys:
        return
    table = Payment
    statement = select(table.provider, table.account, table.provider_charge_id).where(
        table.kind == "capture", _is_one_of(table, table.provider_charge_id, keys)
    )
    facts.captures = {_leading_key(row) for row in await session.execute(statement)}
    if not facts.captures or not facts.attempts:
        return
    back = case((table.kind == "refund", table.amount_minor), else_=-table.amount_minor)
    refunds = (
        select(table.attempt_id, func.sum(back))
        .where(table.kind.in_(("refund", "refund_reversal")), table.attempt_id.in_(facts.attempts))
        .group_by(table.attempt_id)
    )
    for attempt_id, refunded_minor in await session.execute(refunds):
        if attempt_id is not None:
            facts.refunded_minor_by_attempt[attempt_id] = int(refunded_minor)


def _is_one_of(table: Any, object_id: Any, keys: Iterable[ProviderKey]) -> Any:
    return tuple_(table.provider, table.account, object_id).in_([tuple(key) for key in keys])


def _leading_key(row: Any) -> ProviderKey:
    return ProviderKey(row[0], row[1], row[2])
