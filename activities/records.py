"""What a workflow decided, written in one transaction per step."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.ledger import invoice_values
from activities.signatures import Records, RouteRequest
from models.outcomes import OUTCOME_TRANSITIONS, OutcomeClass, ProviderName
from models.routing import RoutingDecision, RoutingFacts, decide_route
from models.storage.engine import Sessions
from models.storage.tables import (
    AuditEntry,
    Base,
    ChargeAttempt,
    FallbackEvent,
    Invoice,
    OutboundEvent,
    Payment,
    PaymentMethod,
    Subscription,
    WebhookEvent,
)
from models.subscription import AppliedEvent, ProjectionBatch
from providers.registry import ProviderRegistry

ACCOUNT = "default"
# PostgreSQL channel on which API replicas hear that there is something to tell an app.
OUTBOUND_CHANNEL = "abono_outbound"


class RecordActivities(Records):
    """Local activities: PostgreSQL only, idempotent, a few milliseconds."""

    def __init__(self, sessions: Sessions, providers: ProviderRegistry) -> None:
        self._sessions = sessions
        self._providers = providers

    @activity.defn(name="record")
    async def record(self, batch: ProjectionBatch) -> None:
        """Apply the batch unless this version, or a newer one, is there already.

        Row, audit entry, outbound event, ledgers and the inbox's `applied_at` commit together
        (invariant 5), so a batch that was applied is recognised by the row's version alone.
        """
        async with self._sessions.begin() as session:
            if not await _write_subscription(session, batch):
                return
            await _write_invoices(session, batch)
            await _write_attempts(session, batch)
            await _write_ledgers(session, batch)
            await _acknowledge(session, batch.applied_events, batch)

    @activity.defn(name="choose_route")
    async def choose_route(self, request: RouteRequest) -> RoutingDecision:
        """Decide from what this worker is configured for; pure rules, recorded as a result."""
        terms = request.terms
        return decide_route(
            RoutingFacts(
                country=terms.country,
                instrument=terms.instrument,
                currency=terms.currency,
                force_provider=terms.force_provider,
                payment_method_provider=await self._owner(terms.payment_method_id),
                abilities=self._providers.abilities(),
            )
        )

    async def _owner(self, payment_method_id: UUID | None) -> ProviderName | None:
        if payment_method_id is None:
            return None
        async with self._sessions() as session:
            name = await session.scalar(
                select(PaymentMethod.provider).where(PaymentMethod.id == payment_method_id)
            )
        return None if name is None else ProviderName(name)


async def _write_subscription(session: AsyncSession, batch: ProjectionBatch) -> bool:
    row = batch.subscription
    written = await session.execute(
        update(Subscription)
        .where(Subscription.id == row.id, Subscription.version < row.version)
        .values(**row.model_dump(exclude={"id"}), updated_at=batch.recorded_at)
        .returning(Subscription.id)
    )
    return written.first() is not None


async def _write_invoices(session: AsyncSession, batch: ProjectionBatch) -> None:
    for invoice in batch.invoices:
        values = {
            **invoice_values(invoice),
            "application_id": batch.application_id,
            "organization_id": batch.organization_id,
            "subscription_id": batch.subscription.id,
            "account": ACCOUNT,
        }
        statement = insert(Invoice).values(values)
        changed = {
            name: statement.excluded[name]
            for name, value in invoice.model_dump(exclude={"id", "invoice_date"}).items()
            if value is not None
        }
        await session.execute(
            statement.on_conflict_do_update(index_elements=[Invoice.id], set_=changed)
        )


async def _write_attempts(session: AsyncSession, batch: ProjectionBatch) -> None:
    for attempt in batch.attempts:
        before = [
            outcome for outcome in OutcomeClass if attempt.outcome in OUTCOME_TRANSITIONS[outcome]
        ]
        updated = await session.execute(
            update(ChargeAttempt)
            .where(ChargeAttempt.id == attempt.id, ChargeAttempt.outcome.in_(before))
            .values(
                outcome=attempt.outcome,
                reason=attempt.reason,
                finished_at=attempt.finished_at,
                next_action=None,
            )
            .returning(ChargeAttempt.id)
        )
        if updated.first() is None:
            # A try that the provider made by its own clock has no row yet.
            await _insert_new(
                session,
                ChargeAttempt,
                {
                    **attempt.model_dump(),
                    "application_id": batch.application_id,
                    "subscription_id": batch.subscription.id,
                    "account": ACCOUNT,
                },
            )


async def _write_ledgers(session: AsyncSession, batch: ProjectionBatch) -> None:
    owner = {
        "application_id": batch.application_id,
        "subscription_id": batch.subscription.id,
    }
    for payment in batch.payments:
        # The provider's own id is unique: money heard of twice is counted once.
        values = {**payment.model_dump(), **owner, "account": ACCOUNT}
        await _insert_new(session, Payment, {**values, "recorded_at": batch.recorded_at})
    for fallback in batch.fallbacks:
        await _insert_new(session, FallbackEvent, {**fallback.model_dump(), **owner})
    for entry in batch.audit:
        values = {**entry.model_dump(), **owner, "version": batch.subscription.version}
        await _insert_new(session, AuditEntry, {**values, "at": batch.recorded_at})
    for event in batch.outbound:
        values = {**event.model_dump(), **owner, "created_at": batch.recorded_at}
        await _insert_new(session, OutboundEvent, values)
    if batch.outbound:
        await session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": OUTBOUND_CHANNEL})


async def _acknowledge(
    session: AsyncSession, events: list[AppliedEvent], batch: ProjectionBatch
) -> None:
    for event in events:
        await session.execute(
            update(WebhookEvent)
            .where(WebhookEvent.id == event.id, WebhookEvent.applied_at.is_(None))
            .values(applied_at=batch.recorded_at, disposition=event.disposition, last_error=None)
        )


async def _insert_new(session: AsyncSession, table: type[Base], values: dict[str, Any]) -> None:
    await session.execute(insert(table).values(values).on_conflict_do_nothing())
