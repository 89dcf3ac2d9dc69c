"""The rules for spare and late money of subscriptions, where no workflow of theirs lives to say."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from models.billing_policy import BillingPolicy
from models.storage.tables import Subscription, SubscriptionPlan

# Stored by a plan as the policy has them; everything else of it is about collecting, which is over.
MONEY_SETTINGS = ("spare_money", "late_money")


async def money_policies(
    session: AsyncSession, owners: Collection[Subscription]
) -> dict[UUID, BillingPolicy]:
    """By subscription: what was agreed when it was opened, or with the plan that it was changed to."""
    changed = {one.plan_id for one in owners if _is_changed(one)}
    plans: dict[UUID, dict[str, Any]] = {}
    if changed:
        statement = select(SubscriptionPlan).where(SubscriptionPlan.id.in_(changed))
        plans = {one.id: dict(one.billing_policy) for one in await session.scalars(statement)}
    return {
        one.id: _of_plan(plans[one.plan_id]) if _is_changed(one) else _of_opening(one)
        for one in owners
    }


def _is_changed(owner: Subscription) -> bool:
    opened_with: str | None = owner.opening.get("plan_id")
    return opened_with is not None and opened_with != str(owner.plan_id)


def _of_opening(owner: Subscription) -> BillingPolicy:
    return BillingPolicy.model_validate(owner.opening.get("policy", {}))


def _of_plan(kept: dict[str, Any]) -> BillingPolicy:
    named = {name: kept[name] for name in MONEY_SETTINGS if name in kept}
    return BillingPolicy.model_validate(named)
