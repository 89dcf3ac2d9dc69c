"""The attempts ledger: written before a provider is called, and again when its answer is known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningInsert

from activities.outbox import tell_about
from activities.reminders import schedule_reminder
from activities.signatures.attempts import AttemptRequest, AttemptResult, IssuePayment
from activities.statements import begin_attempt, finish_attempt, name_object
from models.outcomes import OPEN_OUTCOMES, OutcomeClass
from models.projections import InvoiceProjection, ReminderKind
from models.storage.engine import Sessions
from models.storage.tables import ChargeAttempt, Subscription


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
            if await session.scalar(*self._beginning(request)) is not None:
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

    def _beginning(self, request: AttemptRequest) -> tuple[ReturningInsert[UUID], dict[str, Any]]:
        terms, billed = request.terms, request.invoice
        invoice = {
            **invoice_values(billed),
            "application_id": terms.application_id,
            "organization_id": terms.organization_id,
            "subscription_id": terms.subscription_id,
            "purchase_id": terms.purchase_id,
            "account": self._account,
        }
        attempt = {
            "id": request.attempt_id,
            "application_id": terms.application_id,
            "subscription_id": terms.subscription_id,
            "purchase_id": terms.purchase_id,
            "invoice_id": billed.id,
            "provider": request.provider,
            "account": self._account,
            "instrument": terms.instrument,
            "amount_minor": billed.amount_minor - billed.amount_paid_minor,
            "currency": billed.currency,
            "outcome": OutcomeClass.UNKNOWN,
            "started_at": request.started_at,
        }
        prefixed = {f"of_invoice_{name}": value for name, value in invoice.items()}
        return begin_attempt(tuple(invoice)), {**prefixed, **attempt}

    async def find(self, attempt_id: UUID) -> ChargeAttempt | None:
        async with self._sessions() as session:
            return await self._find(session, attempt_id)

    async def name_object(self, attempt_id: UUID, provider_object_id: str) -> bool:
        """Remember what was prepared, before it is made payable: the key to every later question.

        Only one run may name it, and only while nobody has settled the attempt: the others get False
        and must not commit anything.
        """
        async with self._sessions() as session:
            values = {"attempt_id": attempt_id, "provider_object_id": provider_object_id}
            named = await session.scalar(name_object(), values)
        return named is not None

    async def finish(self, result: AttemptResult, at: datetime) -> None:
        """Write the outcome. An attempt that is settled already keeps what it has: the workflow's own
        transaction may have been faster, and a trigger guards the order of outcomes."""
        issued = result.outcome is OutcomeClass.PENDING and result.payment is not None
        action = result.next_action.model_dump(mode="json") if result.next_action else None
        values = {
            "attempt_id": result.attempt_id,
            "named": result.provider_object_id,
            "outcome": result.outcome,
            "reason": result.reason,
            "next_action": action,
            "finished_at": None if result.outcome in OPEN_OUTCOMES else at,
        }
        async with self._sessions.begin() if issued else self._sessions() as session:
            if issued:
                await _lock_subscription(session, result.attempt_id)
            finishing = finish_attempt(result.outcome, OPEN_OUTCOMES)
            written = await session.execute(finishing, values)
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


def invoice_values(invoice: InvoiceProjection) -> dict[str, Any]:
    """The columns of a new row: nothing was refunded of what did not exist before."""
    return {
        **invoice.model_dump(exclude={"lines"}),
        "lines": [line.model_dump(mode="json") for line in invoice.lines],
        "amount_refunded_minor": invoice.amount_refunded_minor or 0,
    }
