"""What is written about a step, and what becomes of events that change nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from uuid import UUID

from pydantic import AwareDatetime, BaseModel
from temporalio import activity

from models.outcomes import Instrument, ProviderName
from models.projections import AppliedEvent, ProjectionBatch
from models.purchase import PurchaseBatch, Terms
from models.routing import RoutingDecision


class RouteRequest(BaseModel, frozen=True):
    terms: Terms


class Acknowledgement(BaseModel, frozen=True):
    """Inbox rows that a workflow has dealt with, although nothing changed."""

    events: list[AppliedEvent]
    at: AwareDatetime


class AttemptQuestion(BaseModel, frozen=True):
    """By our id, or by what the provider calls the payment: not every event carries ours."""

    attempt_id: UUID | None = None
    provider: ProviderName | None = None
    provider_payment_id: str | None = None


class AttemptFacts(BaseModel, frozen=True):
    """What the ledgers know of an attempt: for money that arrives after its workflow has ended."""

    attempt_id: UUID
    invoice_id: UUID
    provider: ProviderName
    instrument: Instrument
    amount_minor: int
    currency: str
    started_at: AwareDatetime
    known_charge_ids: list[str]
    invoice_status: str | None = None


class Records(ABC):
    """Local activities: PostgreSQL only."""

    @activity.defn(name="record")
    @abstractmethod
    async def record(self, batch: ProjectionBatch) -> None: ...

    @activity.defn(name="record_purchase")
    @abstractmethod
    async def record_purchase(self, batch: PurchaseBatch) -> None: ...

    @activity.defn(name="choose_route")
    @abstractmethod
    async def choose_route(self, request: RouteRequest) -> RoutingDecision: ...


class InboxRecords(ABC):
    """What becomes of events that change no subscription by themselves."""

    @activity.defn(name="acknowledge")
    @abstractmethod
    async def acknowledge(self, acknowledgement: Acknowledgement) -> None: ...

    @activity.defn(name="find_attempt")
    @abstractmethod
    async def find_attempt(self, question: AttemptQuestion) -> AttemptFacts | None: ...
