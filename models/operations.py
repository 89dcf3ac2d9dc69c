"""What an operator may have done by hand: each says who and why, for the audit log."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from models.commands import Command
from models.outcomes import OutcomeClass, ProviderName


class OperatorCommand(Command):
    """`reason` is the operator's own sentence."""

    reason: str


class RetryNow(OperatorCommand):
    """Update `retry_now`: collect the open invoice now instead of at its next moment."""


class ReissueVoucher(OperatorCommand):
    """Update `reissue_voucher`: void the slip that is out, then have another one issued."""


class MarkPaid(OperatorCommand):
    """Update `mark_paid`: money that no provider saw (a deposit, a cheque) pays the open invoice.

    `reference` is what finds it in the bank's books; an invoice takes each reference once.
    """

    amount_minor: int
    currency: str
    reference: str
    received_at: AwareDatetime


class Declaration(StrEnum):
    """What an operator saw in the provider's own panel."""

    NOT_EXECUTED = "not_executed"
    SUCCEEDED = "succeeded"


class AskNow(OperatorCommand):
    """Update `ask_now` of the workflow that resolves an unknown outcome: ask the provider at once."""


class Declare(OperatorCommand):
    """Update `declare`: as `ask_now`, and should the provider not answer, take the operator's word that
    nothing was executed. Success is only believed of an object that can be read: `provider_object_id`."""

    declared: Declaration
    provider_object_id: str | None = None


class DecidedBy(StrEnum):
    PROVIDER = "provider"
    OPERATOR = "operator"
    NOBODY = "nobody"


class Resolution(BaseModel):
    """What is known after an operator's question. `detail` is a sentence for the operator."""

    model_config = ConfigDict(frozen=True)

    attempt_id: UUID
    provider: ProviderName
    outcome: OutcomeClass
    decided_by: DecidedBy
    detail: str
