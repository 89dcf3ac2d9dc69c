"""The payment providers: what each can do, and how each is doing."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api import clock
from api.auth import Administrator, Reader
from api.context import ApiContext, Context
from api.idempotency import Answer, RunOnce
from api.openapi import problems
from api.pagination import Page, page
from models.breaker import BreakerState, Health, end_pause
from models.outcomes import DEFAULT_ACCOUNT, Instrument, ProviderName
from models.routing import TransactionType
from models.storage.providers import ProviderHealth, health_of
from models.storage.tables import AuditEntry, new_id
from providers.capabilities import Capabilities, Capability

router = APIRouter(prefix="/providers", tags=["Routing"])


class BreakerView(BaseModel):
    """One account's circuit breaker, which all workers share. `open`: nobody asks, the next provider
    stands in. `half_open`: the next call is a probe, its answer closes it. `failures` is how many calls
    in a row had no good answer; `next_probe_at` is null when everybody may ask."""

    account: str
    state: BreakerState
    open_since: datetime | None
    failures: int
    last_failure_at: datetime | None
    last_reason: str | None
    next_probe_at: datetime | None


class ProviderView(BaseModel):
    """A row of the capability matrix. `currencies` null: every currency of the account. A provider
    that is not configured is shown with what it could do. `breakers`: one for each account."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "conekta",
                    "configured": True,
                    "currencies": ["MXN"],
                    "payment_method_types": ["card", "oxxo", "spei"],
                    "capabilities": ["cash_voucher", "bank_transfer"],
                    "refusals": {"hosted_checkout": "Conekta's pages are not used here."},
                    "breakers": [
                        {
                            "account": "default",
                            "state": "open",
                            "open_since": "2026-11-22T18:00:00Z",
                            "failures": 5,
                            "last_failure_at": "2026-11-22T18:00:00Z",
                            "last_reason": "http_503",
                            "next_probe_at": "2026-11-22T18:00:30Z",
                        }
                    ],
                }
            ]
        }
    )

    name: ProviderName
    configured: bool
    currencies: list[str] | None
    payment_method_types: list[Instrument]
    capabilities: list[Capability]
    refusals: dict[Capability, str]
    breakers: list[BreakerView]


@router.get(
    "",
    response_model=Page[ProviderView],
    responses=problems(401, 403),
    summary="List payment providers, what they can do and how they are doing",
)
async def list_providers(context: Context, _: Reader) -> Page[ProviderView]:
    """Also those without a key here, with what they could do."""
    async with context.sessions() as session:
        rows = (
            await session.scalars(select(ProviderHealth).order_by(ProviderHealth.account))
        ).all()
    views = []
    for name in ProviderName:
        health = {row.account: health_of(row) for row in rows if row.provider == name}
        views.append(await _provider_view(context, name, health))
    return page(views, has_more=False, position=None)


@router.post(
    "/{name}/breaker/reset",
    response_model=BreakerView,
    responses=problems(401, 403, 404, 409, 413, 422),
    summary="Let the next call to a provider through",
)
async def reset_breaker(
    name: ProviderName, context: Context, principal: Administrator, once: RunOnce
) -> JSONResponse:
    """For whoever knows that the provider is back: its open circuit becomes half-open, so that the next
    call probes at once. Should that fail, it opens again. A closed circuit stays closed."""

    async def prepare(session: AsyncSession, _: UUID) -> Answer:
        now = clock.now()
        row = await session.scalar(
            select(ProviderHealth)
            .where(ProviderHealth.provider == name, ProviderHealth.account == DEFAULT_ACCOUNT)
            .with_for_update()
        )
        before, after = health_of(row), end_pause(health_of(row), now)
        if row is not None:
            row.opened_at, row.probe_until = after.opened_at, after.probe_until
        session.add(
            AuditEntry(
                id=new_id(),
                application_id=principal.application_id,
                version=0,
                actor=principal.actor,
                action="provider.breaker_reset",
                before={"provider": name, "state": before.state(now)},
                after={"provider": name, "state": after.state(now)},
                at=now,
            )
        )
        view = _breaker_view(DEFAULT_ACCOUNT, after, now)
        return Answer(200, view.model_dump(mode="json"))

    return await once.create(context, principal.application_id, prepare)


def _breaker_view(account: str, health: Health, now: datetime) -> BreakerView:
    return BreakerView(
        account=account,
        state=health.state(now),
        open_since=health.open_since,
        failures=health.failures,
        last_failure_at=health.last_failure_at,
        last_reason=health.last_reason,
        next_probe_at=health.next_probe_at(),
    )


async def _provider_view(
    context: ApiContext, name: ProviderName, health: Mapping[str, Health]
) -> ProviderView:
    provider = context.providers.get(name)
    if provider is not None:
        capabilities = provider.capabilities
        health = {provider.account: Health(), **health}
    else:
        # Importing an adapter takes its SDK along, which takes a moment the first time.
        capabilities = await asyncio.to_thread(_capabilities_without_key, name)
    instruments = {
        instrument
        for transaction_type in TransactionType
        for instrument in context.providers.abilities(transaction_type)[name].instruments
    }
    currencies = capabilities.currencies
    now = clock.now()
    return ProviderView(
        name=name,
        configured=provider is not None,
        currencies=sorted(currencies) if currencies is not None else None,
        payment_method_types=[each for each in Instrument if each in instruments],
        capabilities=[each for each in Capability if each in capabilities.supports],
        refusals=capabilities.refusals,
        breakers=[_breaker_view(account, each, now) for account, each in sorted(health.items())],
    )


def _capabilities_without_key(name: ProviderName) -> Capabilities:
    module: Any = importlib.import_module(f"providers.{name}.capabilities")
    capabilities: Capabilities = module.CAPABILITIES
    return capabilities
