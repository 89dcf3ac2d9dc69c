"""A plan of its own for each attempt: the one thing about a subscription that carries a word of ours.

Conekta's subscriptions take no reference and no idempotency key, but a plan's id is ours to choose.
Making the plan twice is refused, nothing can be charged for a plan alone, and a subscription that came
of a lost answer is found by its plan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.calendar import BillingInterval
from providers.conekta import mapping
from providers.conekta.client import ConektaClient, Sdk
from providers.conekta.mapping import Tolerant
from providers.drafts import SubscriptionDraft
from providers.failures import FailureKind, ProviderFailure

if TYPE_CHECKING:
    import urllib3

_PREFIX = "abono"
_INTERVAL = {BillingInterval.MONTHLY: "month", BillingInterval.YEARLY: "year"}
# The engine retries, not Conekta, but Conekta's own retries cannot be switched off: three are the fewest.
# 48 hours is the shortest wait between them and no longest is documented, so they begin when the engine's
# usual fifteen days are over and the subscription is canceled. Should one happen, it is followed.
MAX_RETRIES = 3
RETRY_DELAY_HOURS = 16 * 24


class ConektaPlan(Tolerant):
    id: str
    amount: int | None = None
    currency: str | None = None
    interval: str | None = None
    frequency: int | None = None

    @property
    def price(self) -> tuple[int | None, str | None, str | None, int | None]:
        return self.amount, self.currency, self.interval, self.frequency


def plan_id_of(draft: SubscriptionDraft) -> str:
    """The subscription's id is in it for the people who read Conekta's panel."""
    return f"{_PREFIX}_{draft.subscription_id}_{draft.attempt_id}"


def is_plan_id(id_: str) -> bool:
    """Whether it stands for a subscription that Conekta has not named yet."""
    return id_.startswith(f"{_PREFIX}_")


class Plans:
    def __init__(self, client: ConektaClient) -> None:
        self._client = client

    async def ensure(self, draft: SubscriptionDraft, *, retry: bool) -> str:
        plan_id = plan_id_of(draft)
        if retry and (found := await self.find(plan_id)) is not None:
            return _check(found, draft)
        try:
            await self._create(plan_id, draft)
        except ProviderFailure as failure:
            # How Conekta says that there is such a plan already is not documented: look.
            if failure.kind is not FailureKind.REJECTED:
                raise
            found = await self.find(plan_id)
            if found is None:
                raise
            return _check(found, draft)
        return plan_id

    async def find(self, plan_id: str) -> ConektaPlan | None:
        def send(sdk: Sdk) -> urllib3.HTTPResponse:
            return sdk.plans.get_plan_without_preload_content(plan_id, **sdk.options)

        try:
            answer = await self._client.call("plans.retrieve", send)
        except ProviderFailure as failure:
            if failure.kind is not FailureKind.NOT_FOUND:
                raise
            return None
        return mapping.read(ConektaPlan, "plans.retrieve", answer.body)

    async def delete(self, plan_id: str) -> None:
        """One that is gone already is fine."""

        def send(sdk: Sdk) -> urllib3.HTTPResponse:
            return sdk.plans.delete_plan_without_preload_content(plan_id, **sdk.options)

        try:
            await self._client.call("plans.delete", send)
        except ProviderFailure as failure:
            if failure.kind is not FailureKind.NOT_FOUND:
                raise

    async def _create(self, plan_id: str, draft: SubscriptionDraft) -> None:
        def send(sdk: Sdk) -> urllib3.HTTPResponse:
            import conekta

            plan = conekta.PlanRequest(
                id=plan_id,
                name=draft.plan_name,
                amount=draft.amount_minor,
                currency=draft.currency,
                interval=_INTERVAL[draft.billing_interval],
                frequency=1,
                max_retries=MAX_RETRIES,
                retry_delay_hours=RETRY_DELAY_HOURS,
            )
            return sdk.plans.create_plan_without_preload_content(plan, **sdk.options)

        await self._client.call("plans.create", send)


def _check(found: ConektaPlan, draft: SubscriptionDraft) -> str:
    """The plan of an earlier try says the same price, or it is not that plan."""
    wanted = (draft.amount_minor, draft.currency, _INTERVAL[draft.billing_interval], 1)
    if found.price != wanted:
        message = f"the plan {found.id} is there already with another price"
        raise ProviderFailure(FailureKind.REJECTED, message, code="plan_mismatch")
    return found.id
