"""Who would collect, and why: asked without anything happening."""

from __future__ import annotations

import asyncio
import importlib
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, IPvAnyAddress
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Principal, Reader
from api.context import ApiContext, Context
from api.countries import hint_of, settle_country
from api.idempotency import Answer, RunOnce
from api.openapi import problems
from api.opening import choose_currency, payable_currencies, payment_method_types
from api.pagination import Page, page
from api.schemas import PreviewRouting
from api.tenancy import get_scoped
from models.outcomes import Instrument, ProviderName
from models.routing import (
    CountrySource,
    Located,
    Refusal,
    RoutingFacts,
    TransactionType,
    decide_route,
)
from models.storage.tables import Organization, PaymentMethod
from providers.protocol import Capabilities, Capability

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


class ProviderView(BaseModel):
    """A row of the capability matrix. `currencies` null: every currency of the account. A provider
    that is not configured is shown with what it could do."""

    name: ProviderName
    configured: bool
    currencies: list[str] | None
    payment_method_types: list[Instrument]
    capabilities: list[Capability]
    refusals: dict[Capability, str]


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
    "/providers",
    response_model=Page[ProviderView],
    responses=problems(401, 403),
    summary="List payment providers and what they can do",
)
async def list_providers(context: Context, _: Reader) -> Page[ProviderView]:
    views = [await _provider_view(context, name) for name in ProviderName]
    return page(views, has_more=False, position=None)


async def _provider_view(context: ApiContext, name: ProviderName) -> ProviderView:
    provider = context.providers.get(name)
    if provider is not None:
        capabilities = provider.capabilities
    else:
        # Importing an adapter takes its SDK along, which takes a moment the first time.
        capabilities = await asyncio.to_thread(_capabilities_without_key, name)
    instruments = {
        instrument
        for transaction_type in TransactionType
        for instrument in context.providers.abilities(transaction_type)[name].instruments
    }
    currencies = capabilities.currencies
    return ProviderView(
        name=name,
        configured=provider is not None,
        currencies=sorted(currencies) if currencies is not None else None,
        payment_method_types=[each for each in Instrument if each in instruments],
        capabilities=[each for each in Capability if each in capabilities.supports],
        refusals=capabilities.refusals,
    )


def _capabilities_without_key(name: ProviderName) -> Capabilities:
    module: Any = importlib.import_module(f"providers.{name}.capabilities")
    capabilities: Capabilities = module.CAPABILITIES
    return capabilities
