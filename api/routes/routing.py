"""Who would collect, and why: asked without anything happening. And who stood in for whom."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, IPvAnyAddress
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Principal, Reader
from api.context import ApiContext, Context
from api.countries import hint_of, settle_country
from api.idempotency import Answer, RunOnce
from api.lists import PageAsked, Span, newest
from api.openapi import problems
from api.opening import choose_currency, payable_currencies, payment_method_types
from api.pagination import Page
from api.schemas import Moment, PreviewRouting
from api.tenancy import get_scoped
from models.outcomes import FallbackReason, Instrument, ProviderName
from models.routing import (
    CountrySource,
    Located,
    Refusal,
    RoutingFacts,
    TransactionType,
    decide_route,
)
from models.storage.tables import FallbackEvent, Organization, PaymentMethod

router = APIRouter(tags=["Routing"])


class RoutingDecisionView(BaseModel):
    """`provider` is asked first and null when nobody can collect: `refused` says why. `fallback` is who
    is asked when it fails. `payment_method_types`: all that it could collect by in this currency."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "provider": "conekta",
                    "currency": "MXN",
                    "payment_method_types": ["oxxo", "spei"],
                    "rule": "mexico",
                    "country": "MX",
                    "country_source": "ipapi.co",
                    "candidates": ["conekta", "stripe"],
                    "refused": [],
                    "fallback": "stripe",
                }
            ]
        }
    )

    provider: ProviderName | None
    currency: str
    payment_method_types: list[Instrument]
    rule: str
    country: str | None
    country_source: CountrySource | None
    candidates: list[ProviderName]
    refused: list[Refusal]
    fallback: ProviderName | None


class LocationView(BaseModel):
    """`country` is null for addresses that nobody outside can know (private, reserved), and when no
    source knows or answers. `ip_address` null: the request named none and no trusted proxy did."""

    ip_address: str | None
    country: str | None
    country_source: CountrySource | None


class FallbackEventView(BaseModel):
    """One provider could not, another one was asked. `reason`: provider_not_configured, api_error,
    timeout or unavailable."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "01890a5d-ac96-774b-bcce-b302099a8063",
                    "attempted_provider": "conekta",
                    "fallback_provider": "stripe",
                    "reason": "unavailable",
                    "timestamp": "2026-11-22T18:00:00Z",
                    "subscription_id": "01890a5d-ac96-774b-bcce-b302099a8060",
                    "purchase_id": None,
                    "invoice_id": "01890a5d-ac96-774b-bcce-b302099a8061",
                }
            ]
        },
    )

    id: UUID
    attempted_provider: ProviderName
    fallback_provider: ProviderName
    reason: FallbackReason
    timestamp: datetime
    subscription_id: UUID | None
    purchase_id: UUID | None
    invoice_id: UUID | None


@router.post(
    "/routing/preview",
    response_model=RoutingDecisionView,
    responses=problems(401, 403, 404, 409, 413, 422),
    summary="Preview a routing decision",
)
async def preview_routing(
    body: PreviewRouting, request: Request, context: Context, principal: Reader, once: RunOnce
) -> JSONResponse:
    """Nothing is made anywhere. Opening a subscription decides by the same rules; a provider that
    fails then is stood in for by the next candidate."""
    hint = await hint_of(
        context,
        request,
        principal,
        organization_id=body.organization_id,
        address=body.billing_address,
        ip_address=body.ip_address,
    )

    async def prepare(session: AsyncSession, _: UUID) -> Answer:
        view = await _preview(session, body, context, principal, hint)
        return Answer(200, view.model_dump(mode="json"))

    return await once.create(context, principal.application_id, prepare)


async def _preview(
    session: AsyncSession,
    body: PreviewRouting,
    context: ApiContext,
    principal: Principal,
    hint: Located | None,
) -> RoutingDecisionView:
    organization = method = None
    if body.organization_id is not None:
        organization = await get_scoped(session, Organization, body.organization_id, principal)
    if body.payment_method_id is not None:
        method = await get_scoped(session, PaymentMethod, body.payment_method_id, principal)
    located = settle_country(organization, body.billing_address, hint)
    return _decide(body, context, located, method)


def _decide(
    body: PreviewRouting,
    context: ApiContext,
    located: Located | None,
    method: PaymentMethod | None,
) -> RoutingDecisionView:
    abilities = context.providers.abilities(body.transaction_type)
    country = located.country if located else None
    instrument = _instrument(body, method)
    owner = ProviderName(method.provider) if method else None
    offered = payable_currencies({"MXN", "USD"}, owner, abilities)
    currency = body.currency or choose_currency(country, instrument, offered)
    decision = decide_route(
        RoutingFacts(
            transaction_type=body.transaction_type,
            country=country,
            instrument=instrument,
            currency=currency,
            force_provider=body.force_provider,
            payment_method_provider=owner,
            abilities=abilities,
        )
    )
    first, second = [*decision.candidates, None, None][:2]
    return RoutingDecisionView(
        provider=first,
        currency=currency,
        payment_method_types=payment_method_types(abilities[first], currency) if first else [],
        rule=decision.rule,
        country=country,
        country_source=located.source if located else None,
        candidates=decision.candidates,
        refused=decision.refusals,
        fallback=second,
    )


def _instrument(body: PreviewRouting, method: PaymentMethod | None) -> Instrument:
    if method is not None:
        return Instrument(method.type)
    asked = body.payment_method_type or Instrument.CARD
    if body.transaction_type is TransactionType.PURCHASE and asked is Instrument.CARD:
        return Instrument.CHECKOUT  # Cards are used on the provider's page there.
    return asked


@router.get(
    "/routing/geolocation",
    response_model=LocationView,
    responses=problems(401, 403, 422),
    summary="Find the country of an IP address",
)
async def locate(
    request: Request,
    context: Context,
    _: Reader,
    ip_address: Annotated[IPvAnyAddress | None, Query(examples=["187.141.0.1"])] = None,
) -> LocationView:
    """Without `ip_address`, of the customer whom a trusted proxy names in `X-Forwarded-For`."""
    storefront = context.storefront
    ip = str(ip_address) if ip_address is not None else storefront.customer_address(request)
    located = await storefront.geolocator.country_of(ip) if ip is not None else None
    return LocationView(
        ip_address=ip,
        country=located.country if located else None,
        country_source=located.source if located else None,
    )


@router.get(
    "/routing/fallbacks",
    response_model=Page[FallbackEventView],
    responses=problems(401, 403, 422),
    summary="List fallbacks",
)
async def list_fallbacks(
    context: Context,
    principal: Reader,
    asked: PageAsked,
    attempted_provider: ProviderName | None = None,
    fallback_provider: ProviderName | None = None,
    reason: FallbackReason | None = None,
    since: Annotated[Moment | None, Query(description="From this time on.")] = None,
) -> Page[FallbackEventView]:
    """Newest first."""
    filters = {
        FallbackEvent.attempted_provider: attempted_provider,
        FallbackEvent.fallback_provider: fallback_provider,
        FallbackEvent.reason: reason,
        FallbackEvent.timestamp: Span(since, None),
    }
    async with context.sessions() as session:
        found = await newest(session, FallbackEvent, principal, asked, filters)
    return found.page([FallbackEventView.model_validate(row) for row in found.rows])
