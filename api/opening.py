"""From a request to the terms of a subscription: everything that can be refused is refused here,
before a row or a workflow exists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Principal
from api.billing_policy import merge_policy
from api.changing import total_of
from api.clock import now
from api.countries import settle_country
from api.schemas import CreateSubscription
from api.tenancy import get_scoped, scoped
from models.calendar import BillingInterval
from models.commands import subscription_workflow_id
from models.errors import Conflict, CurrencyNotSupported, InstrumentNotSupported, InvalidRequest
from models.outcomes import Instrument, ProviderName
from models.routing import (
    Located,
    ProviderAbility,
    RoutingDecision,
    RoutingFacts,
    decide_route,
)
from models.states import SubscriptionStatus
from models.storage.tables import (
    Organization,
    PaymentMethod,
    PlanPrice,
    Subscription,
    SubscriptionPlan,
)
from models.subscription import SubscriptionTerms
from providers.registry import ProviderRegistry

DEFAULT_ACCOUNT = "default"
# OXXO and SPEI exist in Mexico and in pesos only.
PESO_INSTRUMENTS = frozenset({Instrument.OXXO, Instrument.SPEI})


@dataclass(frozen=True)
class Opening:
    """A subscription that has been accepted: its row is in the session, not yet committed."""

    row: Subscription
    terms: SubscriptionTerms


async def prepare_opening(
    session: AsyncSession,
    request: CreateSubscription,
    principal: Principal,
    providers: ProviderRegistry,
    subscription_id: UUID,
    hint: Located | None = None,
) -> Opening:
    """Validate and insert; with an id that was inserted before, what is there. `hint` is where the
    customer seems to be, for one who never said."""
    there = await session.get(Subscription, subscription_id)
    if there is not None:
        return Opening(there, SubscriptionTerms.model_validate(there.opening))
    terms = await _agree(session, request, principal, providers, subscription_id, hint)
    row = _row(terms, request)
    session.add(row)
    await session.flush()
    return Opening(row, terms)


async def _agree(
    session: AsyncSession,
    request: CreateSubscription,
    principal: Principal,
    providers: ProviderRegistry,
    subscription_id: UUID,
    hint: Located | None,
) -> SubscriptionTerms:
    organization = await get_scoped(session, Organization, request.organization_id, principal)
    plan = await _plan_on_sale(session, request.plan_id, principal)
    method = await _payment_method(session, request, principal)
    instrument = _instrument(request, method)
    settled = settle_country(organization, request.billing_address, hint)
    country = settled.country if settled else None
    owner = ProviderName(method.provider) if method else None
    abilities = providers.abilities()
    prices = await _prices(session, plan.id, request.billing_interval, principal)
    offered = payable_currencies(set(prices), owner, abilities)
    currency = choose_currency(country, instrument, offered)
    facts = RoutingFacts(
        country=country,
        instrument=instrument,
        currency=currency,
        force_provider=request.force_provider,
        payment_method_provider=owner,
        abilities=abilities,
    )
    require_candidate(decide_route(facts))
    return SubscriptionTerms(
        subscription_id=subscription_id,
        application_id=principal.application_id,
        organization_id=organization.id,
        plan_id=plan.id,
        plan_name=plan.name,
        billing_interval=request.billing_interval,
        amount_minor=total_of(prices[currency], request.quantity),
        quantity=request.quantity,
        currency=currency,
        instrument=instrument,
        payment_method_id=method.id if method else None,
        country=country,
        time_zone=organization.time_zone,
        trial_days=plan.trial_days if request.trial_days is None else request.trial_days,
        force_provider=request.force_provider,
        policy=merge_policy(plan.billing_policy),
    )


def payable_currencies(
    offered: set[str],
    owner: ProviderName | None,
    abilities: Mapping[ProviderName, ProviderAbility],
) -> set[str]:
    """Those that the provider of a stored payment method takes; all of them when it takes none, so that
    the refusal says which currency it is about."""
    ability = abilities.get(owner) if owner is not None else None
    if ability is None or ability.currencies is None:
        return offered
    return offered & ability.currencies or offered


def choose_currency(country: str | None, instrument: Instrument, offered: set[str]) -> str:
    """Pesos for Mexico and for its instruments; else dollars if the plan has them; else the only
    currency there is. Raises CurrencyNotSupported rather than guess."""
    if country == "MX" or instrument in PESO_INSTRUMENTS:
        wanted = "MXN"
    elif "USD" in offered or len(offered) != 1:
        wanted = "USD"
    else:
        (wanted,) = offered
    if wanted not in offered:
        raise CurrencyNotSupported(f"The plan has no price in {wanted} for this billing interval.")
    return wanted


def payment_method_types(ability: ProviderAbility, currency: str) -> list[Instrument]:
    """What a provider collects by in a currency, in the order of the vocabulary."""
    if ability.currencies is not None and currency not in ability.currencies:
        return []
    return [
        instrument
        for instrument in Instrument
        if instrument in ability.instruments
        and (currency == "MXN" or instrument not in PESO_INSTRUMENTS)
    ]


def choose_provider(
    providers: ProviderRegistry,
    located: Located | None,
    instrument: Instrument,
    forced: ProviderName | None,
) -> tuple[ProviderName, list[Instrument]]:
    """Who would collect from this customer, and everything by which it could."""
    country = located.country if located else None
    abilities = providers.abilities()
    currency = choose_currency(country, instrument, {"MXN", "USD"})
    facts = RoutingFacts(
        country=country,
        instrument=instrument,
        currency=currency,
        force_provider=forced,
        abilities=abilities,
    )
    chosen = require_candidate(decide_route(facts))
    return chosen, payment_method_types(abilities[chosen], currency)


def require_candidate(decision: RoutingDecision) -> ProviderName:
    """The provider that is asked first. Raises InstrumentNotSupported with every refusal in it."""
    if not decision.candidates:
        raise InstrumentNotSupported(
            "No payment provider can collect this way here: see errors.",
            errors=[
                {"provider": refusal.provider, "code": refusal.code, "message": refusal.detail}
                for refusal in decision.refusals
            ],
        )
    return decision.candidates[0]


async def _plan_on_sale(
    session: AsyncSession, plan_id: UUID, principal: Principal
) -> SubscriptionPlan:
    plan = await get_scoped(session, SubscriptionPlan, plan_id, principal)
    if not plan.is_active:
        raise Conflict("The plan is no longer on sale.", code="plan_not_active")
    return plan


async def _payment_method(
    session: AsyncSession, request: CreateSubscription, principal: Principal
) -> PaymentMethod | None:
    """The one that was named; else, for cards, the organization's default if it has one."""
    if request.payment_method_id is not None:
        return await usable_payment_method(
            session, request.payment_method_id, request.organization_id, principal
        )
    if request.payment_method_type not in {None, Instrument.CARD}:
        return None
    default = select(PaymentMethod).where(
        PaymentMethod.organization_id == request.organization_id,
        PaymentMethod.type == Instrument.CARD,
        PaymentMethod.status == "active",
        PaymentMethod.is_default,
    )
    if request.force_provider is not None:
        default = default.where(PaymentMethod.provider == request.force_provider)
    newest_first = default.order_by(PaymentMethod.id.desc()).limit(1)
    found: PaymentMethod | None = await session.scalar(scoped(newest_first, principal))
    return found


async def usable_payment_method(
    session: AsyncSession, payment_method_id: UUID, organization_id: UUID, principal: Principal
) -> PaymentMethod:
    """An active method of this organization; another organization's looks like none at all."""
    method = await get_scoped(session, PaymentMethod, payment_method_id, principal)
    if method.organization_id != organization_id:
        raise InvalidRequest(
            "The payment method belongs to another organization.",
            errors=[_about_method("belongs to another organization")],
        )
    if method.status != "active":
        raise Conflict(
            f"The payment method is {method.status}.",
            code="payment_method_not_active",
            errors=[_about_method(f"is {method.status}")],
        )
    return method


def _about_method(message: str) -> dict[str, str]:
    return {"field": "payment_method_id", "code": "invalid", "message": message}


def _instrument(request: CreateSubscription, method: PaymentMethod | None) -> Instrument:
    if method is None:
        return request.payment_method_type or Instrument.CARD
    instrument = Instrument(method.type)
    if request.payment_method_type not in {None, instrument}:
        raise InvalidRequest(
            f"The payment method is of the type {instrument}.",
            errors=[
                {
                    "field": "payment_method_type",
                    "code": "invalid",
                    "message": f"should be {instrument}, or left out",
                }
            ],
        )
    return instrument


async def _prices(
    session: AsyncSession, plan_id: UUID, interval: BillingInterval, principal: Principal
) -> dict[str, int]:
    statement = select(PlanPrice).where(
        PlanPrice.plan_id == plan_id, PlanPrice.billing_interval == interval
    )
    rows = await session.scalars(scoped(statement, principal))
    return {row.currency: row.amount_minor for row in rows}


def _row(terms: SubscriptionTerms, request: CreateSubscription) -> Subscription:
    moment = now()
    return Subscription(
        id=terms.subscription_id,
        application_id=terms.application_id,
        organization_id=terms.organization_id,
        plan_id=terms.plan_id,
        version=0,
        opening=terms.model_dump(mode="json"),
        workflow_id=subscription_workflow_id(terms.subscription_id),
        status=SubscriptionStatus.INCOMPLETE,
        account=DEFAULT_ACCOUNT,
        billing_interval=terms.billing_interval,
        payment_method_type=terms.instrument,
        payment_method_id=terms.payment_method_id,
        currency=terms.currency,
        amount_minor=terms.amount_minor,
        quantity=terms.quantity,
        time_zone=terms.time_zone,
        cancel_at_period_end=False,
        metadata_=dict(request.metadata),
        created_at=moment,
        updated_at=moment,
    )
