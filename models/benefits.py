"""Whether somebody has a benefit, out of everything that a provider said about it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from models.snapshots import GrantSnapshot


class GrantStatus(StrEnum):
    WAITING = (
        "waiting"  # Paid for or asked for; the provider or the customer has still to do something.
    )
    GRANTED = "granted"
    REVOKED = "revoked"


# In the course of one grant. Two words of the same moment: the later of these is the later word.
_COURSE = (GrantStatus.WAITING, GrantStatus.GRANTED, GrantStatus.REVOKED)
# The same benefit may come from several purchases: access ends only with the last of its grants.
_BEST_FIRST = (GrantStatus.GRANTED, GrantStatus.WAITING, GrantStatus.REVOKED)


class HeardGrant(BaseModel):
    """The latest that a provider said of one grant."""

    model_config = ConfigDict(frozen=True)

    status: GrantStatus
    error_code: str | None = None
    changed_at: AwareDatetime | None = None

    @classmethod
    def of(cls, grant: GrantSnapshot) -> HeardGrant:
        status = GrantStatus.WAITING
        if grant.is_granted:
            status = GrantStatus.GRANTED
        elif grant.is_revoked:
            status = GrantStatus.REVOKED
        return cls(status=status, error_code=grant.error_code, changed_at=grant.changed_at)

    def is_news_after(self, known: HeardGrant | None) -> bool:
        """By the provider's own clock; without its word on when, what is heard last counts."""
        if known is None:
            return True
        if self.changed_at is None or known.changed_at is None:
            return self != known
        if self.changed_at != known.changed_at:
            return self.changed_at > known.changed_at
        return _COURSE.index(self.status) > _COURSE.index(known.status)


def best_of(heard: Mapping[str, HeardGrant]) -> tuple[str, HeardGrant]:
    """The grant that decides, with the provider's id of it; there has to be one."""
    return min(heard.items(), key=lambda one: (_BEST_FIRST.index(one[1].status), one[0]))


def read_heard(stored: Mapping[str, Any]) -> dict[str, HeardGrant]:
    return {grant_id: HeardGrant.model_validate(one) for grant_id, one in stored.items()}
