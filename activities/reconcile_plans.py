"""The last part of a run: whether our prices can still be sold at the provider, before a customer asks.

The one thing that reconciliation puts right itself: a price is no subscription's state, so it has no
owner who could be told.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert

from activities.plans import ProviderPlans, RememberedPrice
from models.ids import derived_id
from models.money import Money
from models.reconcile import Drift, FindingStatus
from models.storage.engine import Sessions
from models.storage.tables import ReconciliationFinding, ReconciliationRun
from providers.protocol import PaymentProvider

# Each costs two calls at the most, one after the other.
PRICES_PER_STEP = 10


class PriceCheck:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._plans = ProviderPlans(sessions)

    async def step(
        self, provider: PaymentProvider, run: ReconciliationRun, cursor: str | None, at: datetime
    ) -> str | None:
        """Where the next step begins; None when all were looked at. Raises ProviderFailure."""
        after = UUID(cursor) if cursor else UUID(int=0)
        prices = await self._plans.remembered(provider, after, PRICES_PER_STEP)
        for price in prices:
            why = await provider.why_not_on_sale(price.draft, price.provider_plan_id)
            if why is None:
                continue
            if not run.dry_run:
                await self._plans.replace(provider, price)
            await self._report(run, price, why, at)
        return str(prices[-1].id) if len(prices) == PRICES_PER_STEP else None

    async def _report(
        self, run: ReconciliationRun, price: RememberedPrice, why: str, at: datetime
    ) -> None:
        finding, draft = ReconciliationFinding, price.draft
        amount = Money(amount_minor=draft.amount_minor, currency=draft.currency)
        news = {
            "run_id": run.id,
            "status": FindingStatus.FOUND if run.dry_run else FindingStatus.REPAIRED,
            "found_at": at,
            "settled_at": None if run.dry_run else at,
        }
        statement = insert(finding).values(
            id=derived_id(run.id, f"{Drift.NOT_ON_SALE}:{price.provider_plan_id}", run.started_at),
            dry_run=run.dry_run,
            provider=run.provider,
            account=run.account,
            kind=Drift.NOT_ON_SALE,
            object_id=price.provider_plan_id,
            application_id=price.application_id,
            theirs=why,
            ours=f"{draft.name} {draft.billing_interval}, {amount}",
            listed={},
            **news,
        )
        if run.dry_run:
            statement = statement.on_conflict_do_nothing()
        else:
            statement = statement.on_conflict_do_update(
                index_elements=["provider", "account", "kind", "object_id", "theirs"],
                index_where=~finding.dry_run,
                set_=news,
            )
        async with self._sessions.begin() as session:
            await session.execute(statement)
