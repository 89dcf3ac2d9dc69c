"""The attempts ledger: written before a provider is called, and again when its answer is known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncSession

from activities.outbox import tell_about
from activities.reminders import schedule_reminder
from activities.signatures.attempts import AttemptRequest, AttemptResult, IssuePayment
from models.outcomes import OPEN_OUTCOMES, OUTCOME_TRANSITIONS, OutcomeClass
from models.projections import InvoiceProjection, ReminderKind
from models.purchase import Terms
from models.storage.engine import Sessions
from models.storage.tables import ChargeAttempt, Invoice, Subscription


@dataclass(frozen=True)
class Beginning:
    """`fresh`: this call wrote the attempt. `blocked`: another attempt at the invoice is still open,
    so this one must not start. Otherwise an earlier run of the activity got this far."""

    fresh: bool
    blocked: bool = False
    outcome: OutcomeClass = OutcomeClass.UNKNOWN
    provider_object_id: str | None = None
    reason: str | None = None


class Ledger:
    def __init__(self, sessions: Sessions, account: str = "default") -> None:
        self._sessions = sessions
        self._account = account

    async def begin(self, request: AttemptRequest) -> Beginning:
        """Write the attempt as `unknown`, which is what it is from this moment on.

        The partial unique index lets one open attempt per invoice through (invariant 1), whoever
        asks and however many workers run.
        """
        reminds = isinstance(request, IssuePayment) and request.remind_at is not None
        async with self._sessions.begin() if reminds else self._sessions() as session:
            if await session.scalar(self._insert(request)) is not None:
                await _remind_later(session, request)
                return Beginning(fresh=True)
            known = await self._find(session, request.attempt_id)
        if known is None:
            return Beginning(fresh=False, blocked=True)
        return Beginning(
            fresh=False,
            outcome=OutcomeClass(known.outcome),
            provider_object_id=known.provider_object_id,
            reason=known.reason,
        )

    def _insert(self, request: AttemptRequest) -> Any:
        """The attempt and, unless it is there, its invoice: one statement, so both or neither."""
        invoice = new_invoice(request.terms, request.invoice, self._account)
        return (
            insert(ChargeAttempt)
            .values(
                id=request.attempt_id,
                application_id=request.terms.application_id,
                subscription_id=request.terms.subscription_id,
                purchase_id=request.terms.purchase_id,
                invoice_id=request.invoice.id,
                provider=request.provider,
                account=self._account,
                instrument=request.terms.instrument,
                amount_minor=request.invoice.amount_minor - request.invoice.amount_paid_minor,
                currency=request.invoice.currency,
                outcome=OutcomeClass.UNKNOWN,
                started_at=request.started_at,
            )
            .on_conflict_do_nothing()
            .returning(ChargeAttempt.id)
            .add_cte(invoice.cte("invoice"))
        )

    async def find(self, attempt_id: UUID) -> ChargeAttempt | None:
        async with self._sessions() as session:
            return await self._find(session, attempt_id)

    async def name_object(self, attempt_id: UUID, provider_object_id: str) -> bool:
        """Remember what was prepared, before it is made payable: the key to every later question.

        Only one run may name it, and only while nobody has settled the attempt: the others get False
        and must not commit anything.
        """
        async with self._sessions() as session:
            named = await session.scalar(
                update(ChargeAttempt)
                .where(
                    ChargeAttempt.id == attempt_id,
                    ChargeAttempt.outcome == OutcomeClass.UNKNOWN,
                    ChargeAttempt.provider_object_id.is_(None),
                )
                .values(provider_object_id=provider_object_id)
                .returning(ChargeAttempt.id)
            )
        return named is not None

    async def finish(self, result: AttemptResult, at: datetime) -> None:
        """Write the outcome. An attempt that is settled already keeps what it has: the workflow's own
        transaction may have been faster, and a trigger guards the order of outcomes."""
        action = result.next_action.model_dump(mode="json") if result.next_action else None
        before = [
            outcome for outcome in OPEN_OUTCOMES if result.outcome in OUTCOME_TRANSITIONS[outcome]
        ]
        issued = result.outcome is OutcomeClass.PENDING and result.payment is not None
        async with self._sessions.begin() if issued else self._sessions() as session:
            if issued:
                await _lock_subscription(session, result.attempt_id)
            written = await session.execute(
                update(ChargeAttempt)
                .where(
                    ChargeAttempt.id == result.attempt_id,
                    ChargeAttempt.outcome.in_(before),
                )
                .values(
                    outcome=result.outcome,
                    reason=result.reason,
                    # What was prepared is never forgotten: it is the key to every later question.
                    provider_object_id=func.coalesce(
                        result.provider_object_id, ChargeAttempt.provider_object_id
                    ),
                    next_action=action,
                    finished_at=None if result.outcome in OPEN_OUTCOMES else at,
                )
                .returning(ChargeAttempt.subscription_id, ChargeAttempt.invoice_id)
            )
            row = written.first()
            if row is not None and row.subscription_id is not None and issued:
                # There is something to pay now; with the outcome, so that it is told exactly once.
                await tell_about(
                    session,
                    row.subscription_id,
                    "payment.issued",
                    {"invoice_id": str(row.invoice_id)},
                    at,
                )

    async def _find(self, session: AsyncSession, attempt_id: UUID) -> ChargeAttempt | None:
        return await session.scalar(select(ChargeAttempt).where(ChargeAttempt.id == attempt_id))


async def _lock_subscription(session: AsyncSession, attempt_id: UUID) -> None:
    """In the order in which the workflow's own transaction takes its locks: the subscription first."""
    theirs = select(ChargeAttempt.subscription_id).where(ChargeAttempt.id == attempt_id)
    await session.execute(
        select(Subscription.id)
        .where(Subscription.id == theirs.scalar_subquery())
        .with_for_update(key_share=True)
    )


async def _remind_later(session: AsyncSession, request: AttemptRequest) -> None:
    if isinstance(request, IssuePayment) and request.remind_at is not None:
        await schedule_reminder(
            session,
            id_=request.attempt_id,
            application_id=request.terms.application_id,
            subscription_id=request.terms.subscription_id,
            kind=ReminderKind.PAYMENT,
            due_at=request.remind_at,
            attempt_id=request.attempt_id,
        )


def new_invoice(terms: Terms, invoice: InvoiceProjection, account: str) -> Insert:
    """Makes sure that the invoice exists; one that does is left alone."""
    return (
        insert(Invoice)
        .values(
            **invoice_values(invoice),
            application_id=terms.application_id,
            organization_id=terms.organization_id,
            subscription_id=terms.subscription_id,
            purchase_id=terms.purchase_id,
            account=account,
        )
        .on_conflict_do_nothing(index_elements=[Invoice.id])
    )


def invoice_values(invoice: InvoiceProjection) -> dict[str, Any]:
    """The columns of a new row: nothing was refunded of what did not exist before."""
    return {
        **invoice.model_dump(exclude={"lines"}),
        "lines": [line.model_dump(mode="json") for line in invoice.lines],
        "amount_refunded_minor": invoice.amount_refunded_minor or 0,
    }
