"""Cards, kept as tokens by the providers."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Principal, Reader, Writer
from api.clock import now
from api.commands import Commands
from api.context import ApiContext, Context
from api.idempotency import Answer, RunOnce
from api.openapi import accepted, problems
from api.opening import DEFAULT_ACCOUNT, country_of, require_candidate
from api.pagination import Cursor, Limit, Page, decode_cursor, page, split_page
from api.responses import PaymentMethodView
from api.schemas import AddPaymentMethod
from api.storing import payment_method_input
from api.tenancy import get_scoped, scoped
from models.commands import AddPaymentMethodInput, PaymentMethodResult
from models.errors import InstrumentNotSupported, PaymentRefused
from models.outcomes import Instrument, ProviderName
from models.routing import RoutingFacts, decide_route
from models.storage.tables import Organization, PaymentMethod
from providers.registry import ProviderRegistry

router = APIRouter(prefix="/payment-methods", tags=["Payment methods"])


@router.post(
    "",
    status_code=201,
    response_model=PaymentMethodView,
    responses=accepted(PaymentMethodView) | problems(401, 402, 403, 404, 409, 413, 422, 503),
    summary="Add a payment method",
)
async def add_payment_method(
    body: AddPaymentMethod, context: Context, principal: Writer, once: RunOnce
) -> JSONResponse:
    async def prepare(session: AsyncSession, method_id: UUID) -> AddPaymentMethodInput:
        return await _prepare(session, body, principal, context.providers, method_id)

    async def act(request: AddPaymentMethodInput) -> Answer:
        commands = Commands(context.temporal, context.response_wait_seconds)
        result = await commands.add_payment_method(request)
        return await _answer(context, principal, request.payment_method_id, result)

    return await once.run(context, principal.application_id, prepare, act)


async def _prepare(
    session: AsyncSession,
    body: AddPaymentMethod,
    principal: Principal,
    providers: ProviderRegistry,
    method_id: UUID,
) -> AddPaymentMethodInput:
    organization = await get_scoped(session, Organization, body.organization_id, principal)
    row = await session.get(PaymentMethod, method_id)
    if row is None:
        row = _row(body, principal, _choose_provider(body, organization, providers), method_id)
        session.add(row)
        await session.flush()
    return payment_method_input(row)


def _choose_provider(
    body: AddPaymentMethod, organization: Organization, providers: ProviderRegistry
) -> ProviderName:
    """The one that was named, else the one that routing would ask first."""
    if body.type is not Instrument.CARD:
        raise InstrumentNotSupported(
            f"{body.type} is paid anew each time: there is nothing to store."
        )
    country = country_of(organization)
    if body.billing_address is not None:
        country = body.billing_address.country
    facts = RoutingFacts(
        country=country,
        instrument=body.type,
        currency="MXN" if country == "MX" else "USD",
        force_provider=body.provider,
        abilities=providers.abilities(),
    )
    return require_candidate(decide_route(facts))


def _row(
    body: AddPaymentMethod, principal: Principal, provider: ProviderName, method_id: UUID
) -> PaymentMethod:
    moment = now()
    address = body.billing_address
    return PaymentMethod(
        id=method_id,
        application_id=principal.application_id,
        organization_id=body.organization_id,
        provider=provider.value,
        account=DEFAULT_ACCOUNT,
        type=body.type.value,
        status="pending",
        setup_token=body.token,
        billing_address=address.model_dump(mode="json") if address else None,
        # The wish; the workflow makes it the only default once the provider has said yes.
        is_default=body.set_as_default,
        created_at=moment,
        updated_at=moment,
    )


async def _answer(
    context: ApiContext,
    principal: Principal,
    method_id: UUID,
    result: PaymentMethodResult | None,
) -> Answer:
    async with context.sessions() as session:
        row = await get_scoped(session, PaymentMethod, method_id, principal)
    if row.status == "failed" or (result is not None and result.status == "failed"):
        raise PaymentRefused(
            (result.failure_message if result else None) or "The provider refused it.",
            errors=[_refusal(row, result)],
        )
    body = PaymentMethodView.model_validate(row).model_dump(mode="json")
    return Answer(201 if row.status == "active" else 202, body)


def _refusal(row: PaymentMethod, result: PaymentMethodResult | None) -> dict[str, Any]:
    code = (result.failure_code if result else None) or row.failure_code or "declined"
    return {"field": "token", "code": code, "payment_method_id": str(row.id)}


@router.get(
    "",
    response_model=Page[PaymentMethodView],
    responses=problems(401, 403, 422),
    summary="List payment methods",
)
async def list_payment_methods(
    context: Context,
    principal: Reader,
    organization_id: UUID | None = None,
    provider: ProviderName | None = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Page[PaymentMethodView]:
    statement = scoped(select(PaymentMethod), principal)
    if organization_id is not None:
        statement = statement.where(PaymentMethod.organization_id == organization_id)
    if provider is not None:
        statement = statement.where(PaymentMethod.provider == provider)
    if cursor is not None:
        statement = statement.where(PaymentMethod.id < decode_cursor(cursor, UUID))
    statement = statement.order_by(PaymentMethod.id.desc()).limit(limit + 1)
    async with context.sessions() as session:
        rows, more = split_page((await session.scalars(statement)).all(), limit)
    views = [PaymentMethodView.model_validate(row) for row in rows]
    return page(views, more, rows[-1].id if rows else None)


@router.get(
    "/{payment_method_id}",
    response_model=PaymentMethodView,
    responses=problems(401, 403, 404),
    summary="Read a payment method",
)
async def read_payment_method(
    payment_method_id: UUID, context: Context, principal: Reader
) -> PaymentMethodView:
    async with context.sessions() as session:
        row = await get_scoped(session, PaymentMethod, payment_method_id, principal)
    return PaymentMethodView.model_validate(row)
