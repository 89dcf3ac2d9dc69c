"""Plans as the API shows them, with their prices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Principal
from api.responses import PlanPriceView, PlanView
from api.tenancy import scoped
from models.storage.tables import PlanPrice, SubscriptionPlan


async def prices_of(
    session: AsyncSession, plan_ids: list[UUID], principal: Principal
) -> dict[UUID, list[PlanPrice]]:
    statement = select(PlanPrice).where(PlanPrice.plan_id.in_(plan_ids)).order_by(PlanPrice.id)
    by_plan: dict[UUID, list[PlanPrice]] = defaultdict(list)
    for row in await session.scalars(scoped(statement, principal)):
        by_plan[row.plan_id].append(row)
    return by_plan


def plan_view(plan: SubscriptionPlan, prices: Sequence[PlanPrice]) -> PlanView:
    by_provider: dict[str, dict[str, str]] = defaultdict(dict)
    for price in prices:
        for provider, provider_plan_id in price.provider_plan_ids.items():
            kind = f"{price.currency}/{price.billing_interval}"
            by_provider[provider][kind] = provider_plan_id
    own = {
        name: getattr(plan, name)
        for name in PlanView.model_fields
        if name not in {"prices", "provider_plan_ids"}
    }
    return PlanView(
        **own,
        prices=[PlanPriceView.model_validate(price) for price in prices],
        provider_plan_ids=dict(by_provider),
    )
