"""The activities of reconciliation as its workflow sees them: names and types, no code behind them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict
from temporalio import activity

from models.outcomes import ProviderName
from models.reconcile import ReconcileInput, ReconcileReport


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True)


class BeginRun(_Message):
    """`run_id` is the same for every repetition."""

    run_id: UUID
    request: ReconcileInput
    at: AwareDatetime


class RunStep(_Message):
    run_id: UUID
    provider: ProviderName


class EndRun(_Message):
    run_id: UUID
    complete: bool  # False: stopped by a limit, or by a provider that does not answer.
    at: AwareDatetime
    stopped_by: str | None = None  # Why it is not complete, for people.


class ReconcileCalls(ABC):
    """Remote activities on the queue of the provider."""

    @activity.defn(name="reconcile_step")
    @abstractmethod
    async def reconcile_step(self, step: RunStep) -> bool:
        """Compare the next page, or the next few rows; True when there is nothing left to compare."""


class ReconcileRecords(ABC):
    """What is known of a run: the database alone."""

    @activity.defn(name="begin_reconcile")
    @abstractmethod
    async def begin_reconcile(self, beginning: BeginRun) -> None: ...

    @activity.defn(name="settle_reconcile")
    @abstractmethod
    async def settle_reconcile(self, run_id: UUID) -> int:
        """Look again at what was found; how many are told and not written down yet."""

    @activity.defn(name="end_reconcile")
    @abstractmethod
    async def end_reconcile(self, ending: EndRun) -> ReconcileReport: ...
