"""Cards, kept as tokens by the providers."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Principal, Reader, Scope, Writer
from api.clock import now
from api.context import ApiContext, Context
from api.countries import hint_of, settle_country
from api.idempotency import Answer, RunOnce
from api.lists import Created, PageAsked, newest
from api.openapi import accepted, problems
from api.opening import DEFAULT_ACCOUNT, choose_provider
from api.pagination import Page
from api.responses import PaymentMethodView
from api.schemas import AddPaymentMethod
from api.storing import payment_method_input
from api.tenancy import get_scoped
from models.commands import (
    AddPaymentMethodInput,
    DetachPaymentMethodInput,
    DetachPaymentMethodResult,
    PaymentMethodResult,
)
from models.errors import Conflict, InstrumentNotSupported, PaymentRefused
from models.outcomes import Instrument, ProviderName
from models.routing import Located
from models.storage.payment_methods import (
    can_take_over,
    default_method,
    make_default,
    subscriptions_charged_with,
)
from models.storage.tables import Organization, PaymentMethod
from providers.drafts import SetupDraft
from providers.failures import FailureKind, ProviderFailure
from providers.registry import ProviderRegistry

_log = structlog.get_logger("abono.api")

PaymentMethodStatus = Literal["pending", "active", "failed", "detached"]
READ_ONLY = "a key with the scope billing:write gets a client secret"
_ROUTING_CODES = ("payment_method_type_not_supported",)
_DELETING_CODES = (
    "payment_method_in_use",
    "payment_method_not_active",
    "provider_not_configured",
)

router = APIRouter(prefix="/payment-methods", tags=["Payment methods"])


@router.post(
    "",
    status_code=201,
    response_model=PaymentMethodView,
    responses=accepted(PaymentMethodView)
    | problems(401, 402, 403, 404, 409, 413, 422, 503, codes=_ROUTING_CODES),
    summary="Add a payment method",
)
async def add_payment_method(
    body: AddPaymentMethod,
    request: Request,
    context: Context,
    principal: Writer,
    once: RunOnce,
) -> JSONResponse:
    """`token` comes from the provider's browser library. 202 while the provider has not answered: the
    status is `pending` then."""
    hint = await hint_of(
        context,
        request,
        principal,
        organization_id=body.organization_id,
        address=body.billing_address,
    )

    async def prepare(session: AsyncSession, method_id: UUID) -> AddPaymentMethodInput:
        return await _prepare(session, body, principal, context.providers, method_id, hint)

    async def act(adding: AddPaymentMethodInput) -> Answer:
        result = await context.jobs.add_payment_method(adding)
        return await _answer(context, principal, adding.payment_method_id, result)

    return await once.run(context, principal.application_id, prepare, act)


async def _prepare(
    session: AsyncSession,
    body: AddPaymentMethod,
    principal: Principal,
    providers: ProviderRegistry,
    method_id: UUID,
    hint: Located | None,
) -> AddPaymentMethodInput:
    organization = await get_scoped(session, Organization, body.organization_id, principal)
    row = await session.get(PaymentMethod, method_id)
    if row is None:
        if body.type is not Instrument.CARD:
            raise InstrumentNotSupported(
                f"{body.type} is paid anew each time: there is nothing to store."
            )
        located = settle_country(organization, body.billing_address, hint)
        provider, _ = choose_provider(providers, located, body.type, body.provider)
        row = _row(body, principal, provider, method_id)
        session.add(row)
        await session.flush()
    return payment_method_input(row)


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
    asked: PageAsked,
    created: Created,
    organization_id: UUID | None = None,
    status: PaymentMethodStatus | None = None,
    provider: ProviderName | None = None,
    is_default: bool | None = None,
) -> Page[PaymentMethodView]:
    """Newest first, also those that failed or were removed."""
    filters = {
        PaymentMethod.organization_id: organization_id,
        PaymentMethod.status: status,
        PaymentMethod.provider: provider,
        PaymentMethod.is_default: is_default,
        PaymentMethod.created_at: created,
    }
    async with context.sessions() as session:
        found = await newest(session, PaymentMethod, principal, asked, filters)
    return found.page([PaymentMethodView.model_validate(row) for row in found.rows])


class SetupView(BaseModel):
    """What a front end needs for this customer. `client_secret` belongs to one customer's browser; where
    it is null, `detail` says why: most cards can be tokenised with the public key alone."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "provider": "stripe",
                    "public_key": "pk_live_51AbCd",
                    "payment_method_types": ["card"],
                    "client_secret": "seti_1AbCd_secret_EfGh",
                    "detail": None,
                }
            ]
        }
    )

    provider: ProviderName
    public_key: str | None
    payment_method_types: list[Instrument]
    client_secret: str | None
    detail: str | None


@router.get(
    "/setup",
    response_model=SetupView,
    responses=problems(401, 403, 404, 422, codes=_ROUTING_CODES),
    summary="Read what a front end needs to tokenise",
)
async def read_setup(
    request: Request,
    context: Context,
    principal: Reader,
    organization_id: UUID,
    payment_method_type: Instrument = Instrument.CARD,
    provider: ProviderName | None = None,
) -> SetupView:
    """The provider that would keep this customer's card, its public key, and for cards at Stripe a
    client secret with which the bank is asked what renewals cannot answer later. The secret stores a card,
    so a key that may only read gets none."""
    hint = await hint_of(context, request, principal, organization_id=organization_id, address=None)
    async with context.sessions() as session:
        organization = await get_scoped(session, Organization, organization_id, principal)
    located = settle_country(organization, None, hint)
    chosen, types = choose_provider(context.providers, located, payment_method_type, provider)
    if principal.may(Scope.BILLING_WRITE):
        client_secret, detail = await _client_secret(
            context.providers, chosen, payment_method_type, organization_id
        )
    else:
        client_secret, detail = None, READ_ONLY
    public_key = context.storefront.public_keys.get(chosen)
    if public_key is None and payment_method_type is Instrument.CARD:
        detail = f"{chosen} has no public key here: set it in the engine's environment"
    return SetupView(
        provider=chosen,
        public_key=public_key,
        payment_method_types=types,
        client_secret=client_secret,
        detail=detail,
    )


async def _client_secret(
    providers: ProviderRegistry, name: ProviderName, instrument: Instrument, organization_id: UUID
) -> tuple[str | None, str | None]:
    """The secret, or why there is none. A provider that is away is no reason to fail."""
    if instrument is not Instrument.CARD:
        return None, f"{instrument} is paid anew each time: there is nothing to tokenise"
    provider = providers.get(name)
    if provider is None:
        return None, f"{name} has no API key here"
    try:
        return await provider.create_setup(SetupDraft(organization_id=str(organization_id))), None
    except ProviderFailure as failure:
        if failure.kind is FailureKind.UNSUPPORTED:
            return None, failure.message
        _log.warning("no client secret", provider=name, kind=failure.kind)
        return None, f"{name} did not answer: tokenise with the public key alone"


@router.get(
    "/{payment_method_id}",
    response_model=PaymentMethodView,
    responses=problems(401, 403, 404),
    summary="Read a payment method",
)
async def read_payment_method(
    payment_method_id: UUID, context: Context, principal: Reader
) -> PaymentMethodView:
    """`status` is `pending` until the provider has answered."""
    async with context.sessions() as session:
        row = await get_scoped(session, PaymentMethod, payment_method_id, principal)
    return PaymentMethodView.model_validate(row)


@router.post(
    "/{payment_method_id}/default",
    response_model=PaymentMethodView,
    responses=problems(401, 403, 404, 409, 413, 422, codes=("payment_method_not_active",)),
    summary="Make a payment method the default",
)
async def make_payment_method_default(
    payment_method_id: UUID, context: Context, principal: Writer, once: RunOnce
) -> JSONResponse:
    """For the subscriptions that are opened from now on. Running ones keep what they are charged
    with, until that is deleted."""

    async def prepare(session: AsyncSession, _: UUID) -> Answer:
        row = await get_scoped(session, PaymentMethod, payment_method_id, principal)
        if row.status != "active":
            raise Conflict(f"The payment method is {row.status}.", code="payment_method_not_active")
        await make_default(session, principal.application_id, row.organization_id, row.id, now())
        await session.refresh(row)
        view = PaymentMethodView.model_validate(row)
        return Answer(200, view.model_dump(mode="json"))

    return await once.create(context, principal.application_id, prepare)


class DetachedPaymentMethodView(PaymentMethodView):
    """`replaced_by` is the default that took over `subscription_ids`, when it was still charged."""

    replaced_by: UUID | None = None
    subscription_ids: list[UUID] = Field(default_factory=list)


@router.delete(
    "/{payment_method_id}",
    response_model=DetachedPaymentMethodView,
    responses=accepted(DetachedPaymentMethodView)
    | problems(401, 403, 404, 409, 503, codes=_DELETING_CODES),
    summary="Delete a payment method",
)
async def delete_payment_method(
    payment_method_id: UUID, context: Context, principal: Writer, once: RunOnce
) -> JSONResponse:
    """Nothing is charged with it any more, and its provider forgets it: 202 while the provider does not
    answer. While a live subscription is charged with it, that takes another default at the same
    provider, which takes over; else 409. Repeating it is fine."""

    async def prepare(session: AsyncSession, _: UUID) -> PaymentMethod:
        row = await get_scoped(session, PaymentMethod, payment_method_id, principal)
        if row.status == "pending":
            raise Conflict(
                "The payment method is still being stored: try again in a moment.",
                code="payment_method_not_active",
            )
        await _refuse_if_needed(session, row)
        return row

    async def act(row: PaymentMethod) -> Answer:
        wanted = DetachPaymentMethodInput(
            payment_method_id=row.id,
            application_id=row.application_id,
            organization_id=row.organization_id,
            provider=ProviderName(row.provider),
        )
        result = await context.jobs.detach_payment_method(wanted)
        return await _detached(context, principal, payment_method_id, result)

    return await once.run(context, principal.application_id, prepare, act)


async def _refuse_if_needed(session: AsyncSession, row: PaymentMethod) -> None:
    charged = await subscriptions_charged_with(session, row)
    default = await default_method(session, row.application_id, row.organization_id)
    if charged and not can_take_over(row, default):
        raise _in_use([subscription.id for subscription in charged])


def _in_use(subscription_ids: list[UUID]) -> Conflict:
    return Conflict(
        "A live subscription is charged with it. Make another payment method at the same provider the"
        " default first: it takes over. Or cancel the subscription.",
        code="payment_method_in_use",
        errors=[
            {"code": "payment_method_in_use", "subscription_id": str(subscription_id)}
            for subscription_id in subscription_ids
        ],
    )


async def _detached(
    context: ApiContext,
    principal: Principal,
    method_id: UUID,
    result: DetachPaymentMethodResult | None,
) -> Answer:
    if result is not None and result.status == "in_use":
        raise _in_use(result.subscription_ids)
    if result is not None and result.status != "detached":
        raise Conflict(
            "Its provider is not configured here and could not be told.",
            code=result.failure_code,
        )
    async with context.sessions() as session:
        row = await get_scoped(session, PaymentMethod, method_id, principal)
    view = DetachedPaymentMethodView.model_validate(row)
    if result is not None:
        view.replaced_by, view.subscription_ids = result.replaced_by, result.subscription_ids
    return Answer(202 if result is None else 200, view.model_dump(mode="json"))
