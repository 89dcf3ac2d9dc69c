"""Payments that customers have taken back through the bank."""

from __future__ import annotations

from abc import ABC, abstractmethod
from uuid import UUID

from pydantic import AwareDatetime, BaseModel
from temporalio import activity

from models.commands import DisputeInput, DisputeNews
from models.snapshots import DisputeSnapshot


class DisputeRecord(BaseModel, frozen=True):
    """Write down how a dispute stands."""

    seen: DisputeSnapshot
    account: str
    event_id: UUID | None = None
    at: AwareDatetime


class DisputeCalls(ABC):
    """Remote activities about disputes, on the queue of the provider that has them."""

    @activity.defn(name="read_dispute")
    @abstractmethod
    async def read_dispute(self, request: DisputeInput) -> DisputeSnapshot: ...

    @activity.defn(name="accept_dispute")
    @abstractmethod
    async def accept_dispute(self, request: DisputeInput) -> DisputeSnapshot: ...


class DisputeRecords(ABC):
    """What becomes of a dispute in our books."""

    @activity.defn(name="record_dispute")
    @abstractmethod
    async def record_dispute(self, record: DisputeRecord) -> DisputeNews | None: ...
