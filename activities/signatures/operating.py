"""What operators ask for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from uuid import UUID

from pydantic import AwareDatetime, BaseModel
from temporalio import activity

from activities.signatures.attempts import AttemptResult
from models.outcomes import ProviderName


class NoteAction(BaseModel, frozen=True):
    """An audit entry of what an operator had done about an attempt. `id` is the entry's."""

    id: UUID
    attempt_id: UUID
    actor: str
    action: str
    after: dict[str, str | None]
    at: AwareDatetime


class CheckDeclaration(BaseModel, frozen=True):
    """An operator says that the attempt succeeded as this object of the provider."""

    attempt_id: UUID
    provider: ProviderName
    provider_object_id: str


class DeclarationCheck(BaseModel, frozen=True):
    """`result` when the object is this attempt's and was paid; otherwise `refusal` says why not."""

    result: AttemptResult | None = None
    refusal: str = ""


class OperatorRecords(ABC):
    """Local activities: what operators did."""

    @activity.defn(name="note_action")
    @abstractmethod
    async def note_action(self, note: NoteAction) -> None: ...


class OperatorCalls(ABC):
    """Remote activities that an operator asked for, on the queue of the provider that they name."""

    @activity.defn(name="check_declaration")
    @abstractmethod
    async def check_declaration(self, check: CheckDeclaration) -> DeclarationCheck: ...
