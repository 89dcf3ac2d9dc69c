"""Subscriptions: opened, commanded and read here; decided about in their workflows."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Reader, Writer
from api.changing import prepare_change
from api.clock import now
from api.context import Context
from api.countries import hint_of
from api.expanding import EXPAND_CODES, Expander, ExpandSubscription, SubscriptionDetail
from api.idempotency import Answer, RunOnce
from api.lists import Created, PageAsked, newest
from api.openapi import accepted, problems
from api.opening import Opening, prepare_opening
from api.pagination import Page
from api.responses import ChangePreview, SubscriptionView
from api.schemas import (
    ChangeSubscription,
    CreateSubscription,
    PauseRequest,
    RetryPaymentRequest,
    SetPaymentMethodRequest,
)
from api.subscription_commands import answer_with, carry_out, send_prepared, why_gone
from api.subscription_views import preview_view, subscription_views
from api.temporal_calls import WorkflowGone
from api.tenancy import get_scoped
from models.commands import (
    Cancel,
    ChangePlan,
    Command,
    Pause,
    Resume,
    RetryPayment,
    SetPaymentMethod,
)
from models.errors import Conflict
from models.outcomes import ProviderName
from models.states import SubscriptionStatus
from models.storage.tables import Subscription

router = APIRouter(prefix="/subscriptions", tags=["Subscriptions"])

_CHANGE_CODES = ("plan_not_active", "currency_not_supported", "change_not_supported")
_OPENING_CODES = (
    "plan_not_active",
    "payment_method_not_active",
    "currency_not_supported",
    "payment_method_type_not_supported",
)
_CHARGING_RESPONSES = accepted(SubscriptionView) | problems(
    401, 403, 404, 409, 413, 422, 503, codes=("payment_method_not_active",)
)
_COMMAND_RESPONSES = accepted(SubscriptionView) | problems(401, 403, 404, 409, 413, 422, 503)


@router.post(
    "",
    status_code=201,
    response_model=SubscriptionView,
    responses=accepted(SubscriptionView)
    | problems(401, 403, 404, 409, 413, 422, 503, codes=_OPENING_CODES),
    summary="Open a subscription",
)
async def open_subscription(
    body: CreateSubscription,
    request: Request,
    context: Context,
    principal: Writer,
    once: RunOnce,
) -> JSONResponse:
    """201 when the first step is known (paid, trialing, or a voucher to pay), 202 when it is not yet."""

    hint = await hint_of(
        context,
        request,
        principal,
        organization_id=body.organization_id,
        address=body.billing_address,
        ip_address=body.ip_address,
    )

    async def prepare(session: AsyncSession, subscription_id: UUID) -> Opening:
        return await prepare_opening(
            session, body, principal, context.providers, subscription_id, hint
        )

    async def act(opening: Opening) -> Answer:
        result = await context.commands.open(opening.terms, principal.actor)
        return await answer_with(context, principal, opening.row.id, result, settled_status=201)

    return await once.run(context, principal.application_id, prepare, act)


@router.get(
    "",
    response_model=Page[SubscriptionDetail],
    responses=problems(401, 403, 422, codes=EXPAND_CODES),
    summary="List subscriptions",
)
async def list_subscriptions(
    context: Context,
    principal: Reader,
    asked: PageAsked,
    created: Created,
    expand: ExpandSubscription,
    organization_id: UUID | None = None,
    plan_id: UUID | None = None,
    status: SubscriptionStatus | None = None,
    provider: ProviderName | None = None,
) -> Page[SubscriptionDetail]:
    """Newest first."""
    filters = {
        Subscription.organization_id: organization_id,
        Subscription.plan_id: plan_id,
        Subscription.status: status,
        Subscription.provider: provider,
        Subscription.created_at: created,
    }
    async with context.sessions() as session:
        found = await newest(session, Subscription, principal, asked, filters)
        views = await subscription_views(session, found.rows, principal)
        return found.page(await Expander(session, principal, expand).subscriptions(views))


@router.get(
    "/{subscription_id}",
    response_model=SubscriptionDetail,
    responses=problems(401, 403, 404, 422, codes=EXPAND_CODES),
    summary="Read a subscription",
)
async def read_subscription(
    subscription_id: UUID, context: Context, principal: Reader, expand: ExpandSubscription
) -> SubscriptionDetail:
    """As its workflow wrote it last; `next_action` is what the customer has to do."""
    async with context.sessions() as session:
        row = await get_scoped(session, Subscription, subscription_id, principal)
        views = await subscription_views(session, [row], principal)
        return (await Expander(session, principal, expand).subscriptions(views))[0]


@router.patch(
    "/{subscription_id}",
    response_model=SubscriptionView,
    responses=accepted(SubscriptionView)
    | problems(401, 402, 403, 404, 409, 413, 422, 503, codes=_CHANGE_CODES),
    summary="Change the plan, the interval or the quantity",
)
async def change_subscription(
    subscription_id: UUID,
    body: ChangeSubscription,
    context: Context,
    principal: Writer,
    once: RunOnce,
) -> JSONResponse:
    """What has to be paid is collected first: by card at once, else by a slip (see `next_action`)."""

    async def prepare(session: AsyncSession, _: UUID) -> tuple[Subscription, Command]:
        row = await get_scoped(session, Subscription, subscription_id, principal)
        return row, await prepare_change(session, row, body, principal, context.providers)

    return await send_prepared(context, principal, once, "change", prepare)


@router.post(
    "/{subscription_id}/preview",
    response_model=ChangePreview,
    responses=problems(401, 403, 404, 409, 413, 422, 503, codes=_CHANGE_CODES),
    summary="Preview a change",
)
async def preview_change(
    subscription_id: UUID,
    body: ChangeSubscription,
    context: Context,
    principal: Reader,
    once: RunOnce,
) -> JSONResponse:
    """Changes nothing. Send its `at` as `proration_date` to have the change cost exactly this."""

    async def prepare(session: AsyncSession, _: UUID) -> tuple[Subscription, ChangePlan]:
        row = await get_scoped(session, Subscription, subscription_id, principal)
        return row, await prepare_change(session, row, body, principal, context.providers)

    async def act(prepared: tuple[Subscription, ChangePlan]) -> Answer:
        row, change = prepared
        at = change.at or now().replace(microsecond=0)
        try:
            found = await context.commands.preview(
                row.workflow_id, change.model_copy(update={"at": at})
            )
        except WorkflowGone as gone:
            raise Conflict(why_gone(row, gone)) from None
        return Answer(200, preview_view(row, change, found).model_dump(mode="json"))

    return await once.run(context, principal.application_id, prepare, act)


@router.post(
    "/{subscription_id}/cancel",
    response_model=SubscriptionView,
    responses=_COMMAND_RESPONSES,
    summary="Cancel a subscription",
)
async def cancel_subscription(
    subscription_id: UUID,
    context: Context,
    principal: Writer,
    once: RunOnce,
    cancel_immediately: bool = False,
) -> JSONResponse:
    """At the end of the paid period, or at once with `cancel_immediately=true`."""
    command = Cancel(actor=principal.actor, immediately=cancel_immediately)
    return await carry_out(context, principal, once, subscription_id, "cancel", command)


@router.post(
    "/{subscription_id}/resume",
    response_model=SubscriptionView,
    responses=_COMMAND_RESPONSES,
    summary="Have a subscription go on",
)
async def resume_subscription(
    subscription_id: UUID, context: Context, principal: Writer, once: RunOnce
) -> JSONResponse:
    """Takes back a scheduled cancellation and a scheduled pause, and ends a pause. When what was paid for
    is over, a new period begins and is collected at once."""
    command = Resume(actor=principal.actor)
    return await carry_out(context, principal, once, subscription_id, "resume", command)


@router.post(
    "/{subscription_id}/pause",
    response_model=SubscriptionView,
    responses=_COMMAND_RESPONSES,
    summary="Pause a subscription",
)
async def pause_subscription(
    subscription_id: UUID,
    context: Context,
    principal: Writer,
    once: RunOnce,
    body: Annotated[PauseRequest | None, Body()] = None,
) -> JSONResponse:
    """Nothing is invoiced or charged until it is resumed; what was paid for can be used to its end.
    Repeated, it sets `resume_at` anew."""
    asked = body or PauseRequest()
    command = Pause(actor=principal.actor, at=asked.at, resume_at=asked.resume_at)
    return await carry_out(context, principal, once, subscription_id, "pause", command)


@router.post(
    "/{subscription_id}/payment-method",
    response_model=SubscriptionView,
    responses=_CHARGING_RESPONSES,
    summary="Charge another stored payment method from now on",
)
async def set_payment_method(
    subscription_id: UUID,
    context: Context,
    principal: Writer,
    once: RunOnce,
    body: SetPaymentMethodRequest,
) -> JSONResponse:
    """In a trial nothing is charged before its end; an open invoice that is past due is charged at once."""
    command = SetPaymentMethod(actor=principal.actor, payment_method_id=body.payment_method_id)
    return await carry_out(context, principal, once, subscription_id, "set_payment_method", command)


@router.post(
    "/{subscription_id}/retry",
    response_model=SubscriptionView,
    responses=_CHARGING_RESPONSES,
    summary="Charge the open invoice now",
)
async def retry_payment(
    subscription_id: UUID,
    context: Context,
    principal: Writer,
    once: RunOnce,
    body: Annotated[RetryPaymentRequest | None, Body()] = None,
) -> JSONResponse:
    """Optionally with another stored payment method."""
    method_id = body.payment_method_id if body else None
    command = RetryPayment(actor=principal.actor, payment_method_id=method_id)
    return await carry_out(context, principal, once, subscription_id, "retry_payment", command)
