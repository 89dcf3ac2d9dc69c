"""What an operator looks at and does by hand. Every action needs a reason and stands in the audit log."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Operator, Principal
from api.clock import now
from api.context import ApiContext, Context
from api.idempotency import Answer, Once, RunOnce
from api.invoice_views import AttemptView
from api.openapi import accepted, problems
from api.operator_schemas import (
    MarkPaidRequest,
    OperatorAction,
    OperatorAttemptView,
    ResolutionView,
    ResolveRequest,
)
from api.pagination import Cursor, Limit, Page, newest_first, page, split_page
from api.responses import SubscriptionView
from api.subscription_commands import carry_out, update_id_of
from api.temporal_calls import WorkflowGone
from api.tenancy import get_scoped, scoped
from models.commands import resolve_workflow_id
from models.errors import Conflict
from models.operations import (
    AskNow,
    DecidedBy,
    Declare,
    MarkPaid,
    OperatorCommand,
    ReissueVoucher,
    Resolution,
    RetryNow,
)
from models.outcomes import OutcomeClass, ProviderName
from models.storage.tables import ChargeAttempt, Subscription

router = APIRouter(prefix="/operator", tags=["Operator"])

_RESPONSES = accepted(SubscriptionView) | problems(401, 403, 404, 409, 413, 422, 503)
_RESOLVE_RESPONSES = accepted(ResolutionView) | problems(401, 403, 404, 409, 413, 422, 503)


@router.post(
    "/subscriptions/{subscription_id}/retry",
    response_model=SubscriptionView,
    responses=_RESPONSES,
    summary="Collect the open invoice now",
)
async def retry_now(
    subscription_id: UUID,
    body: OperatorAction,
    context: Context,
    principal: Operator,
    once: RunOnce,
) -> JSONResponse:
    """Instead of at its next moment. Refused while a payment is on its way."""
    command = RetryNow(actor=principal.actor, reason=body.reason)
    return await carry_out(context, principal, once, subscription_id, "retry_now", command)


@router.post(
    "/subscriptions/{subscription_id}/reissue-voucher",
    response_model=SubscriptionView,
    responses=_RESPONSES,
    summary="Replace the voucher or transfer order by a new one",
)
async def reissue_voucher(
    subscription_id: UUID,
    body: OperatorAction,
    context: Context,
    principal: Operator,
    once: RunOnce,
) -> JSONResponse:
    """The one that is out is voided at its provider first. If the customer was faster, it counts as paid
    and none is issued."""
    command = ReissueVoucher(actor=principal.actor, reason=body.reason)
    return await carry_out(
        context, principal, once, subscription_id, "reissue_voucher", command, _refuse_in_doubt
    )


@router.post(
    "/subscriptions/{subscription_id}/mark-paid",
    response_model=SubscriptionView,
    responses=_RESPONSES,
    summary="Book money that came in outside of the providers",
)
async def mark_paid(
    subscription_id: UUID,
    body: MarkPaidRequest,
    context: Context,
    principal: Operator,
    once: RunOnce,
) -> JSONResponse:
    """Pays the open invoice, in full or in part; what is out to be paid is voided first. Only where
    Abono bills: a card subscription's invoice is closed in its provider's panel."""
    command = MarkPaid(actor=principal.actor, **body.model_dump())
    return await carry_out(
        context, principal, once, subscription_id, "mark_paid", command, _refuse_in_doubt
    )


async def _refuse_in_doubt(session: AsyncSession, row: Subscription) -> None:
    """A slip of which nobody knows whether it exists cannot be voided: the action would wait, and
    everything else behind it."""
    if await session.scalar(_unknown_attempts(row).limit(1)) is not None:
        raise Conflict("The outcome of an attempt is not known: resolve it first.")


def _unknown_attempts(row: Subscription) -> Select[ChargeAttempt]:
    return select(ChargeAttempt).where(
        ChargeAttempt.application_id == row.application_id,
        ChargeAttempt.subscription_id == row.id,
        ChargeAttempt.outcome == OutcomeClass.UNKNOWN,
    )


@router.post(
    "/subscriptions/{subscription_id}/resolve",
    response_model=ResolutionView,
    responses=_RESOLVE_RESPONSES,
    summary="Have an unknown outcome asked for now, or declare it",
)
async def resolve(
    subscription_id: UUID,
    body: ResolveRequest,
    context: Context,
    principal: Operator,
    once: RunOnce,
) -> JSONResponse:
    """The provider's word counts before a declaration. While it does not answer, `not_executed` is taken
    on the operator's word; a success is only believed of an object that can be read."""

    async def prepare(session: AsyncSession, _: UUID) -> ChargeAttempt:
        row = await get_scoped(session, Subscription, subscription_id, principal)
        attempt = await session.scalar(scoped(_unknown_attempts(row), principal).limit(1))
        if attempt is None:
            raise Conflict("No attempt of this subscription has an unknown outcome.")
        return attempt

    async def act(attempt: ChargeAttempt) -> Answer:
        return await _resolve(context, principal, once, attempt, body)

    return await once.run(context, principal.application_id, prepare, act)


async def _resolve(
    context: ApiContext,
    principal: Principal,
    once: Once,
    attempt: ChargeAttempt,
    body: ResolveRequest,
) -> Answer:
    name, command = _question(body, principal)
    try:
        resolution = await context.commands.ask(
            resolve_workflow_id(attempt.id),
            name,
            command,
            update_id_of(name, principal, once.key),
            Resolution,
        )
    except WorkflowGone:
        raise Conflict(
            "The attempt is still on its way, or was resolved a moment ago: look again."
        ) from None
    if resolution is None:
        resolution = Resolution(
            attempt_id=attempt.id,
            provider=ProviderName(attempt.provider),
            outcome=OutcomeClass.UNKNOWN,
            decided_by=DecidedBy.NOBODY,
            detail="The provider is being asked; the timeline tells what it says.",
        )
    known = resolution.outcome is not OutcomeClass.UNKNOWN
    view = ResolutionView.of(resolution)
    return Answer(200 if known else 202, view.model_dump(mode="json"))


def _question(body: ResolveRequest, principal: Principal) -> tuple[str, OperatorCommand]:
    if body.declared is None:
        return "ask_now", AskNow(actor=principal.actor, reason=body.reason)
    return "declare", Declare(
        actor=principal.actor,
        reason=body.reason,
        declared=body.declared,
        provider_object_id=body.provider_object_id,
    )


@router.get(
    "/attempts",
    response_model=Page[OperatorAttemptView],
    responses=problems(401, 403, 422),
    summary="List attempts by outcome",
)
async def list_attempts(
    context: Context,
    principal: Operator,
    outcome: OutcomeClass = OutcomeClass.UNKNOWN,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Page[OperatorAttemptView]:
    """Those whose outcome is unknown unless asked for others: money may have moved, nobody has said so."""
    statement = scoped(select(ChargeAttempt), principal).where(ChargeAttempt.outcome == outcome)
    statement = newest_first(statement, ChargeAttempt.id, cursor, limit)
    async with context.sessions() as session:
        rows, more = split_page((await session.scalars(statement)).all(), limit)
    return page([_attempt_view(row) for row in rows], more, rows[-1].id if rows else None)


def _attempt_view(row: ChargeAttempt) -> OperatorAttemptView:
    age = now() - row.started_at
    return OperatorAttemptView(
        **AttemptView.model_validate(row).model_dump(),
        subscription_id=row.subscription_id,
        purchase_id=row.purchase_id,
        invoice_id=row.invoice_id,
        age_seconds=max(0, int(age.total_seconds())),
    )
