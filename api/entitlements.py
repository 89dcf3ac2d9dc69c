"""What an organization may use now, read in one statement: an app asks this with every request of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Principal
from models.entitlements import Limit, Subscribed, features_of, limits_of
from models.errors import NotFound
from models.storage.tables import (
    Benefit,
    BenefitGrant,
    Organization,
    Subscription,
    SubscriptionPlan,
    UsageCounter,
)


@dataclass(frozen=True)
class Used:
    """A limit, and how much of it is gone in the current period."""

    limit: Limit
    used: int

    @property
    def left(self) -> int:
        return max(0, self.limit.limit - self.used)


@dataclass(frozen=True)
class Entitlements:
    subscribed: list[Subscribed]
    features: list[str]
    limits: dict[str, Limit]
    usage: dict[str, Used]
    benefits: list[dict[str, Any]]


async def read_entitlements(
    session: AsyncSession, principal: Principal, organization_id: UUID, at: datetime
) -> Entitlements:
    """Raises NotFound for an organization that is not the caller's."""
    rows = (await session.execute(_statement(principal, organization_id, at))).all()
    if not rows:
        raise NotFound("There is no organization with this id.")
    subscribed = [_subscribed(row) for row in rows if row.subscription_id is not None]
    limits = limits_of(subscribed)
    counted = {
        (name, datetime.fromisoformat(start)): int(quantity)
        for name, start, quantity in rows[0].counters or []
    }
    usage = {
        name: Used(limit, counted.get((name, limit.period_start), 0))
        for name, limit in limits.items()
    }
    return Entitlements(subscribed, features_of(subscribed), limits, usage, rows[0].benefits or [])


def _statement(principal: Principal, organization_id: UUID, at: datetime) -> Any:
    """Every subscription that gives access (`models.entitlements.gives_access`), one row each; the counters
    and the benefits, which are few, stand beside them. An organization without any has one row."""
    mine = Organization.application_id == principal.application_id
    row, plan = Subscription, SubscriptionPlan
    counter, benefit = UsageCounter, Benefit
    counters = (
        select(
            func.json_agg(
                func.json_build_array(counter.metric, counter.period_start, counter.quantity)
            )
        )
        .where(
            counter.organization_id == Organization.id,
            counter.period_start.in_(_period_starts(at)),
        )
        .scalar_subquery()
    )
    benefits = (
        select(
            func.json_agg(
                func.json_build_object(
                    "id", benefit.id,
                    "product_id", benefit.product_id,
                    "type", benefit.type,
                    "description", benefit.description,
                    "purchase_id", BenefitGrant.purchase_id,
                )
            )
        )
        .join(BenefitGrant, BenefitGrant.benefit_id == benefit.id)
        .where(BenefitGrant.organization_id == Organization.id, BenefitGrant.status == "granted")
        .correlate(Organization)
        .scalar_subquery()
    )  # fmt: skip
    return (
        select(
            row.id.label("subscription_id"),
            row.status,
            row.access_until,
            row.current_period_start,
            row.current_period_end,
            row.created_at,
            plan.id.label("plan_id"),
            plan.name.label("plan_name"),
            plan.features,
            plan.limits,
            counters.label("counters"),
            benefits.label("benefits"),
        )
        .select_from(Organization)
        .outerjoin(row, and_(row.organization_id == Organization.id, row.access_until > at))
        .outerjoin(plan, plan.id == row.plan_id)
        .where(Organization.id == organization_id, mine)
        .order_by(row.id)
    )


def _period_starts(at: datetime) -> Select[Any]:
    """The periods that count now; those of the past stay in the book."""
    start: ColumnElement[datetime] = func.coalesce(
        Subscription.current_period_start, Subscription.created_at
    )
    return (
        select(start)
        .where(Subscription.organization_id == Organization.id, Subscription.access_until > at)
        .correlate(Organization)
    )


def _subscribed(row: Any) -> Subscribed:
    return Subscribed(
        subscription_id=row.subscription_id,
        status=row.status,
        access_until=row.access_until,
        plan_id=row.plan_id,
        plan_name=row.plan_name,
        features=row.features,
        limits=row.limits,
        period_start=row.current_period_start or row.created_at,
        period_end=row.current_period_end,
    )
