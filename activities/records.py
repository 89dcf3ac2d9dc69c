"""What a workflow decided, written in one transaction per step."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.ledger import invoice_values
from activities.outbox import tell
from activities.reminders import schedule_reminder
from activities.signatures.records import Records, RouteRequest
from activities.spare_money import write_spare_money
from activities.statements import (
    acknowledge,
    finish_attempt,
    insert_new,
    upsert_invoice,
    write_newer,
)
from models.outcomes import DEFAULT_ACCOUNT, ProviderName
from models.projections import (
    AppliedEvent,
    ChangeBatch,
    ProjectionBatch,
    SubscriptionProjection,
)
from models.purchase import PurchaseBatch, PurchaseProjection, PurchaseTerms, Terms
from models.routing import RoutingDecision, RoutingFacts, TransactionType, decide_route
from models.storage.engine import Sessions
from models.storage.tables import (
    AuditEntry,
    Base,
    Benefit,
    BenefitGrant,
    ChargeAttempt,
    FallbackEvent,
    Payment,
    PaymentMethod,
    Purchase,
    Subscription,
    new_id,
)
from models.subscription import SubscriptionTerms
from providers.registry import ProviderRegistry

_KEEPER = select(PaymentMethod.provider).where(
    PaymentMethod.id == bindparam("method"),
    PaymentMethod.application_id == bindparam("application"),
)


class RecordActivities(Records):
    """PostgreSQL only, idempotent, a few milliseconds."""

    def __init__(self, sessions: Sessions, providers: ProviderRegistry) -> None:
        self._sessions = sessions
        self._providers = providers

    @activity.defn(name="record")
    async def record(self, batch: ProjectionBatch) -> None:
        """Apply the batch unless this version, or a newer one, is there already.

        Row, audit entry, outbound event, ledgers and the inbox's `applied_at` commit together
        (invariant 5), so a batch that was applied is recognised by the row's version alone.
        The decision is in the workflow's history before: no other batch has the same version.
        """
        async with self._sessions.begin() as session:
            if await _write_subscription(session, batch):
                await _write_changes(session, batch)
                await write_spare_money(session, batch)

    @activity.defn(name="record_purchase")
    async def record_purchase(self, batch: PurchaseBatch) -> None:
        """As `record`, for a purchase."""
        async with self._sessions.begin() as session:
            if await _write_purchase(session, batch):
                await _write_changes(session, batch)
                await _entitle(session, batch)

    @activity.defn(name="choose_route")
    async def choose_route(self, request: RouteRequest) -> RoutingDecision:
        """Decide from what this worker is configured for; pure rules, recorded as a result."""
        return decide_route(await self._facts(request.terms))

    async def _facts(self, terms: Terms) -> RoutingFacts:
        if isinstance(terms, PurchaseTerms):
            return RoutingFacts(
                transaction_type=TransactionType.PURCHASE,
                country=terms.country,
                instrument=terms.instrument,
                currency=terms.currency,
                abilities=self._providers.abilities(TransactionType.PURCHASE),
            )
        return RoutingFacts(
            country=terms.country,
            instrument=terms.instrument,
            currency=terms.currency,
            force_provider=terms.force_provider,
            payment_method_provider=await self._owner(terms),
            abilities=self._providers.abilities(),
        )

    async def _owner(self, terms: SubscriptionTerms) -> ProviderName | None:
        """Which provider keeps the stored card, if one was named."""
        if terms.payment_method_id is None:
            return None
        async with self._sessions() as session:
            which = {"method": terms.payment_method_id, "application": terms.application_id}
            name = await session.scalar(_KEEPER, which)
        return None if name is None else ProviderName(name)


async def _write_subscription(session: AsyncSession, batch: ProjectionBatch) -> bool:
    return await _write_newer(session, Subscription, batch.subscription, batch)


async def _write_purchase(session: AsyncSession, batch: PurchaseBatch) -> bool:
    return await _write_newer(session, Purchase, batch.purchase, batch)


async def _write_newer(
    session: AsyncSession,
    table: type[Subscription] | type[Purchase],
    row: SubscriptionProjection | PurchaseProjection,
    batch: ChangeBatch,
) -> bool:
    values = {**row.model_dump(exclude={"id"}), "updated_at": batch.recorded_at}
    which = {"row_id": row.id, "row_version": row.version}
    written = await session.execute(write_newer(table), {**values, **which})
    return written.first() is not None


async def _write_changes(session: AsyncSession, batch: ChangeBatch) -> None:
    await _write_invoices(session, batch)
    await _write_attempts(session, batch)
    await _write_ledgers(session, batch)
    await write_applied(session, batch.applied_events, batch.recorded_at)


async def _entitle(session: AsyncSession, batch: PurchaseBatch) -> None:
    """One row for each benefit that was paid for. What the organization has already stays as it is;
    what it had once is waited for again."""
    due = batch.benefits
    if due is None:
        return
    benefit_ids = await session.scalars(
        select(Benefit.id).where(
            Benefit.product_id == due.product_id, Benefit.application_id == batch.application_id
        )
    )
    for benefit_id in benefit_ids:
        statement = insert(BenefitGrant).values(
            id=new_id(),
            organization_id=batch.organization_id,
            benefit_id=benefit_id,
            provider=due.provider,
            status="waiting",
            error_code=due.error_code,
            updated_at=batch.recorded_at,
            **batch.owner,
        )
        names = ("purchase_id", "provider", "status", "error_code", "updated_at")
        await session.execute(
            statement.on_conflict_do_update(
                index_elements=[BenefitGrant.organization_id, BenefitGrant.benefit_id],
                set_={name: statement.excluded[name] for name in names},
                where=BenefitGrant.status == "revoked",
            )
        )


async def _write_invoices(session: AsyncSession, batch: ChangeBatch) -> None:
    for invoice in batch.invoices:
        values = {
            **invoice_values(invoice),
            **batch.owner,
            "organization_id": batch.organization_id,
            "account": DEFAULT_ACCOUNT,
        }
        changed = [
            name
            for name, value in invoice.model_dump(exclude={"id", "invoice_date"}).items()
            if value is not None and value != []
        ]
        await session.execute(upsert_invoice(tuple(changed)), values)


async def _write_attempts(session: AsyncSession, batch: ChangeBatch) -> None:
    for attempt in batch.attempts:
        values = {
            "attempt_id": attempt.id,
            "named": None,
            "outcome": attempt.outcome,
            "reason": attempt.reason,
            "finished_at": attempt.finished_at,
            "next_action": None,
        }
        updated = await session.execute(finish_attempt(attempt.outcome), values)
        if updated.first() is None:
            # A try that the provider made by its own clock has no row yet.
            await _insert_new(
                session,
                ChargeAttempt,
                [{**attempt.model_dump(), **batch.owner, "account": DEFAULT_ACCOUNT}],
            )


async def _write_ledgers(session: AsyncSession, batch: ChangeBatch) -> None:
    owner = batch.owner
    # The provider's own id is unique: money heard of twice is counted once.
    booked = {**owner, "account": DEFAULT_ACCOUNT, "recorded_at": batch.recorded_at}
    payments = [{**payment.model_dump(), **booked} for payment in batch.payments]
    await _insert_new(session, Payment, payments)
    fallbacks = [{**fallback.model_dump(), **owner} for fallback in batch.fallbacks]
    await _insert_new(session, FallbackEvent, fallbacks)
    done = {**owner, "version": batch.version, "at": batch.recorded_at}
    await _insert_new(
        session, AuditEntry, [{**entry.model_dump(), **done} for entry in batch.audit]
    )
    # Its row was written first, so it is locked.
    await tell(session, batch.outbound, **owner, at=batch.recorded_at, locked=True)
    for reminder in batch.reminders:
        await schedule_reminder(
            session,
            id_=reminder.id,
            application_id=batch.application_id,
            subscription_id=owner.get("subscription_id"),
            kind=reminder.kind,
            due_at=reminder.due_at,
            valid_for=reminder.valid_for,
        )


async def write_applied(session: AsyncSession, events: list[AppliedEvent], at: datetime) -> None:
    """In the inbox: what a workflow has dealt with, in one statement."""
    if events:
        ids, said = [event.id for event in events], [event.disposition for event in events]
        await session.execute(acknowledge(), {"at": at, "ids": ids, "said": said})


async def _insert_new(session: AsyncSession, table: type[Base], rows: list[dict[str, Any]]) -> None:
    """All in one round trip."""
    if rows:
        await session.execute(insert_new(table), rows)
