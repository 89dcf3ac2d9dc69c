"""Our prices as a provider knows them: made on first use, remembered, and replaced when they cannot be sold.

Somebody archives a price in the provider's panel, and what we remember of it is worth nothing. Asking
before each use would cost every charge a call, so nobody asks: the provider's refusal tells, at once and for
nothing, and the reconciliation looks before a customer has to wait for the repair. A repair makes another
price. The old one is not touched, for subscriptions may be running with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, select, update

from models.calendar import BillingInterval
from models.storage.engine import Sessions
from models.storage.tables import PlanPrice, SubscriptionPlan
from models.subscription import SubscriptionTerms
from providers.drafts import PlanDraft
from providers.failures import NotOnSale
from providers.protocol import PaymentProvider

_Answer = TypeVar("_Answer")


# Built once: every opening looks.
_KNOWN_AS = select(PlanPrice.provider_plan_ids).where(
    PlanPrice.plan_id == bindparam("plan"),
    PlanPrice.application_id == bindparam("application"),
    PlanPrice.currency == bindparam("sold_in"),
    PlanPrice.billing_interval == bindparam("every"),
    PlanPrice.amount_minor == bindparam("unit_minor"),
)


class RememberedPrice(NamedTuple):
    """A price of ours that is on sale, and what a provider calls it."""

    id: UUID
    application_id: UUID
    draft: PlanDraft
    provider_plan_id: str


class ProviderPlans:
    """Every query names the application: an id from elsewhere finds nothing."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def ensure(self, provider: PaymentProvider, terms: SubscriptionTerms) -> str:
        """The provider's price or plan for these terms, made on first use. Raises ProviderFailure.

        It is kept beside our price only while the price is what the terms say: a subscription keeps
        the amount it was opened with.
        """
        values = {
            "plan": terms.plan_id,
            "application": terms.application_id,
            "sold_in": terms.currency,
            "every": terms.billing_interval,
            "unit_minor": _unit_minor(terms),
        }
        async with self._sessions() as session:
            known = await session.scalar(_KNOWN_AS, values)
        account = account_of(provider)
        if known and account in known:
            return known[account]
        return await self._make(provider, _draft(terms), _of_terms(terms), replaces=None)

    async def using(
        self,
        provider: PaymentProvider,
        terms: SubscriptionTerms,
        act: Callable[[str], Awaitable[_Answer]],
    ) -> _Answer:
        """`act` with the provider's plan; once more with another one when that cannot be sold."""
        plan_id = await self.ensure(provider, terms)
        try:
            return await act(plan_id)
        except NotOnSale:
            draft = _draft(terms)
            if await provider.why_not_on_sale(draft, plan_id) is None:
                raise  # It is another thing that the provider refuses; a new plan would not help.
        return await act(await self._make(provider, draft, _of_terms(terms), replaces=plan_id))

    async def remembered(
        self, provider: PaymentProvider, after: UUID, limit: int
    ) -> list[RememberedPrice]:
        """Prices on sale that this account has a name for, in the order of their ids."""
        account = account_of(provider)
        statement = (
            select(PlanPrice, SubscriptionPlan.name)
            .join(SubscriptionPlan, SubscriptionPlan.id == PlanPrice.plan_id)
            .where(
                SubscriptionPlan.is_active,
                PlanPrice.provider_plan_ids.has_key(account),
                PlanPrice.id > after,
            )
            .order_by(PlanPrice.id)
            .limit(limit)
        )
        async with self._sessions() as session:
            rows = (await session.execute(statement)).all()
        return [
            RememberedPrice(
                row.id, row.application_id, _draft_of(row, name), row.provider_plan_ids[account]
            )
            for row, name in rows
        ]

    async def replace(self, provider: PaymentProvider, price: RememberedPrice) -> str:
        mine = (
            PlanPrice.id == price.id,
            PlanPrice.application_id == price.application_id,
            PlanPrice.amount_minor == price.draft.amount_minor,
        )
        return await self._make(provider, price.draft, mine, replaces=price.provider_plan_id)

    async def _make(
        self,
        provider: PaymentProvider,
        draft: PlanDraft,
        where: tuple[ColumnElement[bool], ...],
        *,
        replaces: str | None,
    ) -> str:
        made = await provider.ensure_plan(draft, replaces=replaces)
        names = PlanPrice.provider_plan_ids.op("||")({account_of(provider): made})
        async with self._sessions.begin() as session:
            await session.execute(update(PlanPrice).where(*where).values(provider_plan_ids=names))
        return made


def account_of(provider: PaymentProvider) -> str:
    """How what belongs to one account of a provider is marked in our rows."""
    return f"{provider.name}:{provider.account}"


def _of_terms(terms: SubscriptionTerms) -> tuple[ColumnElement[bool], ...]:
    return (
        PlanPrice.plan_id == terms.plan_id,
        PlanPrice.application_id == terms.application_id,
        PlanPrice.currency == terms.currency,
        PlanPrice.billing_interval == terms.billing_interval,
        PlanPrice.amount_minor == _unit_minor(terms),
    )


def _unit_minor(terms: SubscriptionTerms) -> int:
    return terms.amount_minor // terms.quantity


def _draft(terms: SubscriptionTerms) -> PlanDraft:
    return PlanDraft(
        plan_id=str(terms.plan_id),
        name=terms.plan_name,
        billing_interval=terms.billing_interval,
        amount_minor=_unit_minor(terms),
        currency=terms.currency,
    )


def _draft_of(row: PlanPrice, name: str) -> PlanDraft:
    return PlanDraft(
        plan_id=str(row.plan_id),
        name=name,
        billing_interval=BillingInterval(row.billing_interval),
        amount_minor=row.amount_minor,
        currency=row.currency,
    )
