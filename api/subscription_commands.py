"""Commands to a subscription's workflow, the same way for applications and operators."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Principal
from api.context import ApiContext
from api.idempotency import Answer, Once
from api.opening import usable_payment_method
from api.subscription_views import subscription_view
from api.temporal_calls import WorkflowGone
from api.tenancy import get_scoped
from models.commands import Command, CommandResult, RetryPayment, SetPaymentMethod
from models.errors import Conflict
from models.states import TERMINAL_STATUSES
from models.storage.tables import Subscription

Prepared = tuple[Subscription, Command]


async def carry_out(
    context: ApiContext,
    principal: Principal,
    once: Once,
    subscription_id: UUID,
    name: str,
    command: Command,
    check: Callable[[AsyncSession, Subscription], Awaitable[None]] | None = None,
) -> JSONResponse:
    """Once for an Idempotency-Key. Raises Conflict with what the workflow refuses it for; `check` may
    refuse it before, for what only the ledgers know."""

    async def prepare(session: AsyncSession, _: UUID) -> Prepared:
        row = await get_scoped(session, Subscription, subscription_id, principal)
        chosen = command if isinstance(command, RetryPayment | SetPaymentMethod) else None
        if chosen is not None and chosen.payment_method_id is not None:
            await usable_payment_method(
                session, chosen.payment_method_id, row.organization_id, principal
            )
        if check is not None:
            await check(session, row)
        return row, command

    return await send_prepared(context, principal, once, name, prepare)


async def send_prepared(
    context: ApiContext,
    principal: Principal,
    once: Once,
    name: str,
    prepare: Callable[[AsyncSession, UUID], Awaitable[Prepared]],
) -> JSONResponse:
    """As `carry_out`, for a command that is made of what the database says."""

    async def act(prepared: Prepared) -> Answer:
        row, command = prepared
        update_id = update_id_of(name, principal, once.key)
        try:
            result = await context.commands.send(row.workflow_id, name, command, update_id)
        except WorkflowGone as gone:
            raise Conflict(why_gone(row, gone)) from None
        return await answer_with(context, principal, row.id, result, settled_status=200)

    return await once.run(context, principal.application_id, prepare, act)


def update_id_of(name: str, principal: Principal, key: str | None) -> str:
    """Temporal answers a repeated id with the first result, so the caller's key makes a good one; an
    application cannot meet another's."""
    return f"{name}/{principal.application_id}/{key}" if key else f"{name}/{uuid4()}"


def why_gone(row: Subscription, gone: WorkflowGone) -> str:
    if row.status in TERMINAL_STATUSES:
        return f"The subscription is {row.status}: it takes no more commands."
    if gone.completed:
        return "The subscription has ended: it takes no more commands."
    return "The subscription is still being opened: try again in a moment."


async def answer_with(
    context: ApiContext,
    principal: Principal,
    subscription_id: UUID,
    result: CommandResult | None,
    *,
    settled_status: int,
) -> Answer:
    """The subscription as it is now: 202 while the outcome is not known."""
    async with context.sessions() as session:
        row = await get_scoped(session, Subscription, subscription_id, principal)
        view = await subscription_view(session, row, principal)
    settled = result is not None and result.settled
    return Answer(settled_status if settled else 202, view.model_dump(mode="json"))
