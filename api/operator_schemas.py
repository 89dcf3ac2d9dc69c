"""What operators send, and what they are told."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from api.invoice_views import AttemptView
from api.problems import CombinationError
from api.schemas import AMOUNT_MINOR_MAX, Currency, Moment, Name
from models.operations import DecidedBy, Declaration, Resolution
from models.outcomes import OutcomeClass

REASON = "The customer lost the slip; ticket 8412."

Reason = Annotated[
    str,
    # The pattern says in the API's description that blanks at either end do not count.
    StringConstraints(strip_whitespace=True, min_length=3, max_length=500, pattern=r"\S[\s\S]+\S"),
    Field(description="Why, in a sentence: it stands in the audit log."),
]


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"reason": REASON, **values}]},
    )


class OperatorAction(BaseModel):
    """The audit log keeps the reason beside the key that acted."""

    model_config = _example()

    reason: Reason


class MarkPaidRequest(OperatorAction):
    """`reference` finds the money in the bank's books; an invoice takes each reference once."""

    model_config = _example(
        amount_minor=19900,
        currency="MXN",
        reference="BBVA deposit 0042",
        received_at="2026-11-22T18:00:00Z",
    )

    amount_minor: int = Field(ge=1, le=AMOUNT_MINOR_MAX)
    currency: Currency
    reference: Name
    received_at: Moment


class ResolveRequest(OperatorAction):
    """Without `declared` the provider is asked now. `declared` is what its panel shows; a success names
    the provider's object, which is read before it is believed."""

    model_config = _example(declared="not_executed")

    declared: Declaration | None = None
    provider_object_id: Name | None = None

    @model_validator(mode="after")
    def _object_of_a_success(self) -> ResolveRequest:
        if (self.declared is Declaration.SUCCEEDED) is not (self.provider_object_id is not None):
            raise CombinationError(
                "provider_object_id goes with a declared success, and only with that"
            )
        return self


class ResolutionView(BaseModel):
    """`outcome` `unknown`: nobody knows yet, and the provider goes on being asked. `decided_by`:
    `provider`, `operator` (whose word was taken while the provider is away) or `nobody`."""

    model_config = ConfigDict(from_attributes=True)

    attempt_id: UUID
    provider: str
    outcome: OutcomeClass
    decided_by: DecidedBy
    detail: str

    @classmethod
    def of(cls, resolution: Resolution) -> ResolutionView:
        return cls.model_validate(resolution)


class OperatorAttemptView(AttemptView):
    """An attempt with what it was for. `age_seconds` counts from its start."""

    subscription_id: UUID | None
    purchase_id: UUID | None
    invoice_id: UUID
    age_seconds: int


class InboxEventView(BaseModel):
    """A webhook as it was received, without what was in it. `state`: `applied`; `failed` when delivering
    it left a `last_error`; else `unapplied`."""

    id: UUID
    provider: str
    provider_event_id: str
    event_type: str
    state: str
    disposition: str | None
    workflow_id: str | None
    tries: int
    last_error: str | None
    received_at: datetime
    applied_at: datetime | None
    next_try_at: datetime | None
