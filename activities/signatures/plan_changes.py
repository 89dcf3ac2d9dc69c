"""A change of the plan at the provider: collected, and made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from uuid import UUID

from pydantic import AwareDatetime, BaseModel
from temporalio import activity

from activities.signatures.attempts import AttemptRequest, AttemptResult
from models.outcomes import ProviderName
from models.snapshots import SubscriptionSnapshot
from models.subscription import SubscriptionTerms


class CollectChange(AttemptRequest):
    """Charge what a change of the plan costs: the invoice's own lines. `terms` are those that hold
    until it is paid."""

    terms: SubscriptionTerms
    provider_customer_id: str


class ChangeProviderSubscription(BaseModel, frozen=True):
    """Make the provider's subscription what `terms` say; repeated until it is. `restart`: a new period
    begins, paid for already. `begins_at`: the provider makes it so by itself when the period ends then.
    `credit_minor` is taken off the next renewal."""

    provider: ProviderName
    change_id: UUID
    terms: SubscriptionTerms
    provider_customer_id: str
    provider_subscription_id: str
    restart: bool = False
    begins_at: AwareDatetime | None = None
    credit_minor: int = 0


class PlanChangeCalls(ABC):
    """Remote activities about the plan of a subscription, on the same queues."""

    @activity.defn(name="collect_change")
    @abstractmethod
    async def collect_change(self, request: CollectChange) -> AttemptResult: ...

    @activity.defn(name="change_provider_subscription")
    @abstractmethod
    async def change_provider_subscription(
        self, request: ChangeProviderSubscription
    ) -> SubscriptionSnapshot: ...
