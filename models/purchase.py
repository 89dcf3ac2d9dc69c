"""A purchase as its workflow knows it: what was agreed, what it is, and what one step changed."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from models.outcomes import Instrument, ProviderName
from models.projections import ChangeBatch
from models.subscription import SubscriptionTerms


class PurchaseStatus(StrEnum):
    PENDING = "pending"
    PAID = "paid"
    EXPIRED = "expired"
    REFUNDED = "refunded"
    FAILED = "failed"


PURCHASE_ENDS = frozenset(PurchaseStatus) - {PurchaseStatus.PENDING}


class PurchaseTerms(BaseModel):
    """What was agreed when the purchase was opened. No personal data: where the customer sits stays
    in the row, where the activity that opens the page looks it up."""

    model_config = ConfigDict(frozen=True)

    purchase_id: UUID
    application_id: UUID
    organization_id: UUID
    product_id: UUID
    product_name: str
    amount_minor: int
    currency: str
    success_url: str
    country: str | None = None

    @property
    def subscription_id(self) -> None:
        return None

    @property
    def instrument(self) -> Instrument:
        return Instrument.CHECKOUT

    @property
    def description(self) -> str:
        return self.product_name


# What a try at collecting money may be for: both say who pays, for what, and by which instrument.
Terms = SubscriptionTerms | PurchaseTerms


class PurchaseProjection(BaseModel):
    """The purchase row as the workflow sees it at `version`."""

    id: UUID
    version: int
    status: PurchaseStatus
    provider: ProviderName | None
    paid_at: AwareDatetime | None


class BenefitsDue(BaseModel):
    """A paid purchase entitles to its product's benefits; `error_code` says why they have to wait."""

    product_id: UUID
    provider: ProviderName
    error_code: str | None = None


class PurchaseBatch(ChangeBatch):
    """All that one step of a purchase changed, for one transaction (invariant 5)."""

    purchase: PurchaseProjection
    benefits: BenefitsDue | None = None

    @property
    def owner(self) -> dict[str, UUID]:
        return {"application_id": self.application_id, "purchase_id": self.purchase.id}

    @property
    def version(self) -> int:
        return self.purchase.version


# Who hands out what was bought. A fallback sells the same product, but its benefits stay waiting.
BENEFIT_PROVIDERS = frozenset({ProviderName.POLAR})
NO_BENEFITS_HERE = "provider_grants_no_benefits"
