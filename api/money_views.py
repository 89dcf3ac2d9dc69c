"""Refunds and unapplied money, as they are asked for and answered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

REASON_LENGTH_MAX = 200
_AMOUNT_MAX = 10**15


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RefundRequest(_Body):
    """Without `amount_minor`: everything that is left. `reason`: your words; `duplicate`, `fraudulent` and
    `requested_by_customer` are passed on to the provider."""

    amount_minor: int | None = Field(default=None, gt=0, le=_AMOUNT_MAX, examples=[19900])
    reason: str | None = Field(
        default=None, max_length=REASON_LENGTH_MAX, examples=["requested_by_customer"]
    )


class CreditRequest(_Body):
    """Without `amount_minor`: all that is left of the payment."""

    amount_minor: int | None = Field(default=None, gt=0, le=_AMOUNT_MAX, examples=[19900])


class RefundView(BaseModel):
    """`status`: pending (its amount is reserved), succeeded or failed; `failure_code` says why.
    `payment_id` is the capture that it gives back. `actor`: who ordered it, here or at the provider."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    organization_id: UUID
    subscription_id: UUID | None
    purchase_id: UUID | None
    invoice_id: UUID
    payment_id: UUID
    provider: str
    provider_refund_id: str | None
    amount_minor: int
    currency: str
    reason: str | None
    status: str
    failure_code: str | None
    actor: str
    created_at: datetime
    updated_at: datetime


class RefundAnswer(BaseModel):
    """What one request gives back: money that came in several payments goes back in several refunds.
    `status` is pending as long as one of them is, failed when one failed."""

    invoice_id: UUID
    amount_minor: int
    currency: str
    status: str
    refunds: list[RefundView]


class UnappliedPaymentView(BaseModel):
    """Money that pays no invoice. `case` says how it came to that and `rule` what its plan does about it;
    `unapplied_minor` is what is left to refund or to credit."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "payment_id": "01890a5d-ac96-774b-bcce-b302099a8070",
                    "organization_id": "01890a5d-ac96-774b-bcce-b302099a8057",
                    "subscription_id": "01890a5d-ac96-774b-bcce-b302099a8060",
                    "purchase_id": None,
                    "invoice_id": "01890a5d-ac96-774b-bcce-b302099a8061",
                    "provider": "conekta",
                    "amount_minor": 19900,
                    "applied_minor": 0,
                    "refunded_minor": 0,
                    "credited_minor": 0,
                    "unapplied_minor": 19900,
                    "currency": "MXN",
                    "case": "after_end",
                    "rule": "hold",
                    "occurred_at": "2026-11-22T18:00:00Z",
                }
            ]
        }
    )

    payment_id: UUID
    organization_id: UUID
    subscription_id: UUID | None
    purchase_id: UUID | None
    invoice_id: UUID
    provider: str
    amount_minor: int
    applied_minor: int
    refunded_minor: int
    credited_minor: int
    unapplied_minor: int
    currency: str
    case: str
    rule: str
    occurred_at: datetime


def refund_answer(views: Sequence[RefundView]) -> RefundAnswer:
    statuses = {view.status for view in views}
    worst = next(one for one in ("pending", "failed", "succeeded") if one in statuses)
    return RefundAnswer(
        invoice_id=views[0].invoice_id,
        amount_minor=sum(view.amount_minor for view in views),
        currency=views[0].currency,
        status=worst,
        refunds=list(views),
    )
