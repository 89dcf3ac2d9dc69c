"""Faults that a person or a test switches on, per provider and operation."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class FaultMode(StrEnum):
    DOWN = "down"  # 503 without effect.
    ERROR = "error"  # 500 without effect.
    GONE = "gone"  # 404 without effect: a key of another account, a version that is spoken no more.
    RATE_LIMIT = "rate_limit"  # 429; `seconds` becomes Retry-After.
    SLOW = "slow"  # Does its work after `seconds` (5 by default).
    APPLIED_THEN_TIMEOUT = "applied_then_timeout"  # Done, but the answer never comes.
    APPLIED_THEN_ERROR = "applied_then_error"  # Done, but the answer is a 500.
    DECLINE = "decline"  # The instrument is refused.


class Fault(BaseModel):
    """`operation` is `*` or a name such as `orders.create`; `count` None lasts until it is deleted."""

    model_config = ConfigDict(extra="forbid")

    provider: str
    operation: str = "*"
    mode: FaultMode
    count: int | None = Field(None, ge=1)
    seconds: float | None = Field(None, ge=0)


class Faults:
    def __init__(self) -> None:
        self.active: list[Fault] = []
        self.hit: Counter[str] = Counter()  # How many calls each mode has met.

    def add(self, fault: Fault) -> None:
        self.active.append(fault)

    def clear(self) -> None:
        self.active.clear()

    def take(self, provider: str, operation: str) -> Fault | None:
        """The first fault that is meant for this call; a counted one is used up by it."""
        for fault in self.active:
            if fault.provider not in {provider, "*"} or fault.operation not in {operation, "*"}:
                continue
            self.hit[fault.mode] += 1
            if fault.count is not None:
                fault.count -= 1
                if fault.count == 0:
                    self.active.remove(fault)
            return fault
        return None
