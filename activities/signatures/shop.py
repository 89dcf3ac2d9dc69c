"""What was bought once, and the benefits that it gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from uuid import UUID

from pydantic import AwareDatetime, BaseModel
from temporalio import activity

from models.commands import BenefitChange, BenefitResult, InboxEvent
from models.outcomes import ProviderName
from models.purchase import PurchaseStatus


class BenefitCheck(BaseModel, frozen=True):
    """Ask the provider which of a purchase's benefits have arrived by now."""

    application_id: UUID
    organization_id: UUID
    product_id: UUID
    provider: ProviderName


class PurchaseNews(BaseModel, frozen=True):
    """Something moved at this provider after the purchase had come to its end: `events`, or what was
    seen of `attempt_id` when it ended."""

    purchase_id: UUID
    provider: ProviderName
    events: list[InboxEvent] = []
    attempt_id: UUID | None = None
    at: AwareDatetime


class BenefitCalls(ABC):
    """Remote activities about what was bought, on the same queues."""

    @activity.defn(name="check_benefits")
    @abstractmethod
    async def check_benefits(self, check: BenefitCheck) -> int: ...

    @activity.defn(name="change_benefit")
    @abstractmethod
    async def change_benefit(self, change: BenefitChange) -> BenefitResult: ...


class PurchaseCalls(ABC):
    """Remote activities about the money of a purchase that has come to its end, on the same queues."""

    @activity.defn(name="follow_purchase")
    @abstractmethod
    async def follow_purchase(self, news: PurchaseNews) -> PurchaseStatus: ...
