"""A plan's billing policy as it is sent, kept and shown: only what differs from the engine's own.

Numbers with their unit in the name, each within bounds; the engine works with
`models.billing_policy.BillingPolicy`, into which they are merged when a subscription is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.problems import CombinationError
from models.billing_policy import BillingPolicy, OnDispute, OnUnpaid, SpareMoneyAction

RETRIES_MAX = 12  # Below what any card network allows in 30 days (Visa: 15 tries).
RETRY_AFTER_DAYS_MAX = 30
WINDOW_DAYS_MAX = 90


def _whole(least: int, most: int) -> Any:
    return Field(strict=True, ge=least, le=most)


class BillingPolicyInput(BaseModel):
    """How a plan's subscriptions are collected. What is left out is the engine's own: retries after 3, 5 and
    6 days, 15 days until it gives up, 7 days of access after a missed payment, up to 3 vouchers."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "retry_after_days": [2, 3, 5],
                    "past_due_window_days": 14,
                    "access_grace_days": 3,
                    "on_unpaid": "pause",
                    "on_dispute": "cancel_at_period_end",
                }
            ]
        },
    )

    retry_after_days: (
        Annotated[
            tuple[Annotated[int, _whole(1, RETRY_AFTER_DAYS_MAX)], ...],
            Field(
                max_length=RETRIES_MAX,
                description="Days from one soft decline to the next try; a hard decline is never retried",
            ),
        ]
        | None
    ) = None
    past_due_window_days: (
        Annotated[
            int,
            Field(
                strict=True,
                ge=1,
                le=WINDOW_DAYS_MAX,
                description="From the missed payment to `on_unpaid`; left out: a day after the last retry",
            ),
        ]
        | None
    ) = None
    access_grace_days: (
        Annotated[
            int,
            Field(
                strict=True,
                ge=0,
                le=WINDOW_DAYS_MAX,
                description="How long access outlives what was paid, once a payment is missed",
            ),
        ]
        | None
    ) = None
    on_unpaid: OnUnpaid | None = None
    on_dispute: OnDispute | None = None
    spare_money: Annotated[
        SpareMoneyAction | None,
        Field(description="What becomes of money that pays nothing, while the subscription runs"),
    ] = None
    late_money: Annotated[
        SpareMoneyAction | None,
        Field(description="What becomes of money that comes after the end; credit means hold"),
    ] = None
    lead_days: (
        Annotated[
            int,
            Field(
                strict=True,
                ge=0,
                le=14,
                description="How long before its period a voucher or CLABE is issued",
            ),
        ]
        | None
    ) = None
    voucher_lifetime_days: Annotated[int, _whole(1, 7)] | None = None  # Stripe's OXXO: 7 at most.
    transfer_lifetime_hours: Annotated[int, _whole(1, 30 * 24)] | None = None
    vouchers_max: (
        Annotated[
            int, Field(strict=True, ge=1, le=10, description="Vouchers or CLABEs for one invoice")
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _fits_together(self) -> BillingPolicyInput:
        policy = merge_policy(self.stored())
        if timedelta(days=sum(policy.retry_after_days)) >= policy.past_due_window:
            raise CombinationError(
                "past_due_window_days: should be longer than all of retry_after_days together"
            )
        if policy.access_grace > policy.past_due_window:
            raise CombinationError(
                "access_grace_days: should not be longer than past_due_window_days"
            )
        return self

    def stored(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_none=True)


_AS_THEY_ARE = (
    "retry_after_days",
    "on_unpaid",
    "on_dispute",
    "spare_money",
    "late_money",
    "vouchers_max",
)


def merge_policy(kept: Mapping[str, Any]) -> BillingPolicy:
    """The engine's policy with what a plan keeps of its own; `kept` was validated when it came."""
    own = dict(kept)
    changes: dict[str, Any] = {name: own[name] for name in _AS_THEY_ARE if name in own}
    for name, field, unit in _DURATIONS:
        if name in own:
            changes[field] = timedelta(**{unit: own[name]})
    policy = BillingPolicy.model_validate(changes)
    if "past_due_window_days" in own:
        return policy
    # As the engine's own: a day after the last retry, and not before access ends.
    window = max(timedelta(days=sum(policy.retry_after_days) + 1), policy.access_grace)
    return policy.model_copy(update={"past_due_window": window})


_DURATIONS: tuple[tuple[str, str, str], ...] = (
    ("past_due_window_days", "past_due_window", "days"),
    ("access_grace_days", "access_grace", "days"),
    ("lead_days", "lead", "days"),
    ("voucher_lifetime_days", "voucher_lifetime", "days"),
    ("transfer_lifetime_hours", "transfer_lifetime", "hours"),
)
