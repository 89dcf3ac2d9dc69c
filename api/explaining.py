"""Why a subscription is in its state: its workflow is asked, and when nobody answers, its row.

An ended one whose workflow Temporal has forgotten is explained from the row in the same words.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ValidationError
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Principal
from api.context import ApiContext
from api.tenancy import scoped
from models import explaining
from models.explaining import Doubt, Situation
from models.moments import SUMMARY_BY_STEP, Moment, Step
from models.outcomes import OPEN_OUTCOMES, OutcomeClass, ProviderName
from models.snapshots import Decline
from models.states import InvoiceStatus, SubscriptionStatus
from models.storage.tables import ChargeAttempt, Invoice, Subscription
from models.subscription import BillingClock, OpenInvoice, SubscriptionState, SubscriptionTerms

# A person waits, and the row says nearly the same.
QUERY_SECONDS = 2.0


class NextStep(BaseModel):
    """What happens next by itself, and when; both null when it waits for somebody."""

    what: str | None
    at: datetime | None


class NowView(BaseModel):
    """`why` is Markdown for people. `told_by`: `workflow`, or `row` when Temporal did not answer."""

    status: str
    since: datetime | None
    why: str
    told_by: str


async def explain_now(context: ApiContext, row: Subscription, principal: Principal) -> NowView:
    """No connection to the database is held while the workflow is asked."""
    text = await context.commands.query_text(row.workflow_id, "explain", QUERY_SECONDS)
    async with context.sessions() as session:
        return await _explain(session, row, text, principal)


async def _explain(
    session: AsyncSession, row: Subscription, text: str | None, principal: Principal
) -> NowView:
    attempt = await _open_attempt(session, row, principal)
    told_by = "row" if text is None else "workflow"
    situation = await _situation_of(session, row, attempt, principal)
    if text is None:
        text = str(explaining.explain(situation)) if situation else f"It is {row.status}."
    elif attempt is not None and attempt.outcome == OutcomeClass.UNKNOWN:
        # A slip's own workflow asks; the subscription's knows only that it is on its way.
        began = explaining.at(attempt.started_at)
        text += (
            f"\n\nUnknown: the answer of {attempt.provider} to the attempt of {began} was lost,"
            " and it is being asked."
        )
    began_at = explaining.since(situation.state) if situation else None
    return NowView(status=row.status, since=began_at, why=text, told_by=told_by)


def next_of(row: Subscription) -> NextStep:
    if row.next_step is None or row.next_step not in set(Step):
        return NextStep(what=None, at=None)
    return NextStep(what=SUMMARY_BY_STEP[Step(row.next_step)], at=row.next_step_at)


async def _open_attempt(
    session: AsyncSession, row: Subscription, principal: Principal
) -> ChargeAttempt | None:
    statement = select(ChargeAttempt).where(
        ChargeAttempt.subscription_id == row.id, ChargeAttempt.outcome.in_(OPEN_OUTCOMES)
    )
    found: ChargeAttempt | None = await session.scalar(scoped(statement, principal).limit(1))
    return found


async def _situation_of(
    session: AsyncSession,
    row: Subscription,
    attempt: ChargeAttempt | None,
    principal: Principal,
) -> Situation | None:
    """None for a row whose terms cannot be read."""
    try:
        terms = SubscriptionTerms.model_validate(row.opening)
    except ValidationError:
        return None
    state = SubscriptionState(
        status=SubscriptionStatus(row.status),
        opened=row.version > 0,
        provider=ProviderName(row.provider) if row.provider else None,
        created_at=row.created_at,
        current_period_start=row.current_period_start,
        current_period_end=row.current_period_end,
        paid_ahead_until=row.paid_ahead_until,
        trial_end=row.trial_end,
        cancel_at_period_end=row.cancel_at_period_end,
        canceled_at=row.canceled_at,
        access_until=row.access_until,
        past_due_since=await _past_due_since(session, row, principal),
        invoice=await _open_invoice(session, row, attempt, terms, principal),
    )
    moment = None
    if row.next_step in set(Step) and row.next_step_at is not None:
        moment = Moment(row.next_step_at, Step(row.next_step))
    doubt = None
    if attempt is not None and attempt.outcome == OutcomeClass.UNKNOWN:
        doubt = Doubt(ProviderName(attempt.provider), attempt.started_at)
    return Situation(terms, state, moment, busy=attempt is not None, doubt=doubt)


async def _open_invoice(
    session: AsyncSession,
    row: Subscription,
    attempt: ChargeAttempt | None,
    terms: SubscriptionTerms,
    principal: Principal,
) -> OpenInvoice | None:
    pending = (
        select(Invoice)
        .where(Invoice.subscription_id == row.id, Invoice.status == InvoiceStatus.PENDING)
        .order_by(Invoice.id.desc())
        .limit(1)
    )
    bill = await session.scalar(scoped(pending, principal))
    if bill is None:
        return None
    counted = await session.execute(
        select(ChargeAttempt.outcome, func.count())
        .where(
            ChargeAttempt.invoice_id == bill.id,
            ChargeAttempt.application_id == principal.application_id,
        )
        .group_by(ChargeAttempt.outcome)
    )
    counts: dict[str, int] = {row[0]: row[1] for row in counted}
    return OpenInvoice(
        invoice_id=bill.id,
        amount_minor=bill.amount_minor,
        amount_paid_minor=bill.amount_paid_minor,
        currency=bill.currency,
        due_at=bill.due_date,
        created_at=bill.invoice_date,
        attempt_id=attempt.id if attempt else None,
        vouchers_issued=sum(counts.values()),
        # A slip that closed without money is no refusal.
        declines=counts.get(OutcomeClass.DECLINED, 0)
        if terms.clock is BillingClock.PROVIDER
        else 0,
        provider_failures=counts.get(OutcomeClass.NOT_ATTEMPTED, 0),
        next_try_at=row.next_step_at if row.next_step == Step.TRY_AGAIN else None,
        last_decline=_last_decline(row),
    )


def _last_decline(row: Subscription) -> Decline | None:
    told = (row.collection or {}).get("last_decline")
    return Decline(decline_class=told["class"], code=told["code"]) if told else None


async def _past_due_since(
    session: AsyncSession, row: Subscription, principal: Principal
) -> datetime | None:
    if row.status != SubscriptionStatus.PAST_DUE:
        return None
    due = (
        select(Invoice.due_date)
        .where(
            Invoice.subscription_id == row.id,
            Invoice.status == InvoiceStatus.PENDING,
            Invoice.application_id == principal.application_id,
        )
        .order_by(Invoice.id.desc())
        .limit(1)
    )
    return await session.scalar(due)
