"""A subscription that runs at its provider: paused, resumed, charged to another card."""

from __future__ import annotations

from abc import ABC, abstractmethod
from uuid import UUID

from pydantic import BaseModel
from temporalio import activity

from models.outcomes import ProviderName
from models.snapshots import SubscriptionSnapshot
from models.subscription import SubscriptionTerms


class SubscriptionReference(BaseModel, frozen=True):
    provider: ProviderName
    provider_customer_id: str
    provider_subscription_id: str
    at_period_end: bool = False
    unpaid: bool = False  # Paused because nobody paid, not because somebody asked for it.


class ResumeReference(SubscriptionReference):
    """`resume_id` names this end of a pause, however often it is asked for."""

    new_period: bool
    resume_id: UUID


class ChangePaymentMethod(SubscriptionReference):
    """Charge the coming periods with another stored instrument."""

    terms: SubscriptionTerms
    payment_method_id: UUID


class SubscriptionCalls(ABC):
    """Remote activities about a subscription that runs at its provider, on the same queues."""

    @activity.defn(name="pause_subscription")
    @abstractmethod
    async def pause_subscription(
        self, reference: SubscriptionReference
    ) -> SubscriptionSnapshot: ...

    @activity.defn(name="resume_subscription")
    @abstractmethod
    async def resume_subscription(self, reference: ResumeReference) -> SubscriptionSnapshot: ...

    @activity.defn(name="change_payment_method")
    @abstractmethod
    async def change_payment_method(self, change: ChangePaymentMethod) -> None: ...
