"""What it costs to change a plan in the middle of a period: integers, by the second, half up.

The unused part of what was paid is credited and the rest of the period at the new price is charged,
each as a line of an invoice. The lines always sum to what is to be collected: when they would come to
less than nothing, a last line moves the difference into the customer's credit. Pure: the preview, the
invoice and the tests all come from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from models.calendar import BillingInterval, BillingPeriod


class Proration(StrEnum):
    """When a change takes effect, and what becomes of the period that is paid."""

    PRORATE = "prorate"  # Now; the difference is settled by the second.
    NONE = "none"  # Now; the new price counts from the next period.
    NEXT_PERIOD = "next_period"  # With the next period.


class LineKind(StrEnum):
    PERIOD = "period"  # A whole period.
    UNUSED_TIME = "unused_time"  # What was paid and is not used: negative.
    REMAINING_TIME = "remaining_time"  # The rest of the period at the new price.
    CREDIT_APPLIED = "credit_applied"  # Earlier credit that pays: negative.
    CREDIT_GRANTED = "credit_granted"  # What is left over, kept as credit for coming invoices.


class InvoiceLine(BaseModel):
    model_config = ConfigDict(frozen=True)

    kind: LineKind
    description: str
    quantity: int = 1
    amount_minor: int
    period_start: AwareDatetime | None = None
    period_end: AwareDatetime | None = None


class Offer(BaseModel):
    """What is sold each period. `amount_minor` is for the whole quantity."""

    model_config = ConfigDict(frozen=True)

    plan_id: UUID
    plan_name: str
    billing_interval: BillingInterval
    quantity: int = 1
    amount_minor: int

    def same_as(self, other: Offer) -> bool:
        """Whether it is the same sale; a plan may have been renamed meanwhile."""
        return self == other.model_copy(update={"plan_name": self.plan_name})

    @property
    def title(self) -> str:
        return self.plan_name if self.quantity == 1 else f"{self.quantity} × {self.plan_name}"


class PaidPeriod(BaseModel):
    """A period that is paid, at the price that it is paid at."""

    model_config = ConfigDict(frozen=True)

    start: AwareDatetime
    end: AwareDatetime
    amount_minor: int


class Settled(NamedTuple):
    """Lines that sum to `amount_due_minor`, which is never negative. `credit_change_minor` is what the
    customer's credit grows by; negative when credit pays."""

    lines: list[InvoiceLine]
    amount_due_minor: int
    credit_change_minor: int


def share(amount_minor: int, part: int, whole: int) -> int:
    """`amount_minor` × `part` / `whole`, half up to the minor unit; never more than the amount."""
    if not 0 <= part <= whole or whole == 0 or amount_minor < 0:
        raise ValueError("a share needs 0 <= part <= whole, something to divide and no debt")
    return (2 * amount_minor * part + whole) // (2 * whole)


def remaining_of(period: PaidPeriod, now: datetime) -> tuple[int, int]:
    """Seconds that are left of the period, and all of its seconds."""
    start, end = _second(period.start), _second(period.end)
    return min(max(end - max(_second(now), start), 0), end - start), end - start


def lines_within(
    paid: Sequence[PaidPeriod], old: Offer, new: Offer, now: datetime
) -> list[InvoiceLine]:
    """The same periods go on at another price: each unused part credited and charged anew."""
    lines = unused_lines(paid, old, now)
    for period in paid:
        left, whole = remaining_of(period, now)
        if left:
            lines.append(
                _line(
                    LineKind.REMAINING_TIME,
                    f"Remaining time on {new.title}",
                    new,
                    share(new.amount_minor, left, whole),
                    max(now, period.start),
                    period.end,
                )
            )
    return lines


def lines_anew(
    paid: Sequence[PaidPeriod], old: Offer, new: Offer, now: datetime, following: BillingPeriod
) -> list[InvoiceLine]:
    """Another interval: a new period begins at once and is charged in full."""
    return [*unused_lines(paid, old, now), period_line(new, following.start, following.end)]


def unused_lines(paid: Sequence[PaidPeriod], old: Offer, now: datetime) -> list[InvoiceLine]:
    lines = []
    for period in paid:
        left, whole = remaining_of(period, now)
        unused_minor = share(period.amount_minor, left, whole) if left else 0
        if unused_minor:
            description = f"Unused time on {old.title}"
            start = max(now, period.start)
            lines.append(
                _line(LineKind.UNUSED_TIME, description, old, -unused_minor, start, period.end)
            )
    return lines


def period_line(offer: Offer, start: datetime | None, end: datetime | None) -> InvoiceLine:
    return _line(LineKind.PERIOD, offer.title, offer, offer.amount_minor, start, end)


def settle_lines(lines: Sequence[InvoiceLine], credit_minor: int) -> Settled:
    """Let credit pay what is owed, or keep as credit what is owed to the customer."""
    net = sum(line.amount_minor for line in lines)
    settled = list(lines)
    if net < 0:
        settled.append(_credit(LineKind.CREDIT_GRANTED, "Kept as credit", -net))
        return Settled(settled, 0, -net)
    applied = min(net, max(credit_minor, 0))
    if applied:
        settled.append(_credit(LineKind.CREDIT_APPLIED, "Paid with credit", -applied))
    return Settled(settled, net - applied, -applied)


def _line(
    kind: LineKind,
    description: str,
    offer: Offer,
    amount_minor: int,
    start: datetime | None,
    end: datetime | None,
) -> InvoiceLine:
    return InvoiceLine(
        kind=kind,
        description=description,
        quantity=offer.quantity,
        amount_minor=amount_minor,
        period_start=start,
        period_end=end,
    )


def _credit(kind: LineKind, description: str, amount_minor: int) -> InvoiceLine:
    return InvoiceLine(kind=kind, description=description, amount_minor=amount_minor)


def _second(moment: datetime) -> int:
    """Whole seconds: what the providers count in, and what two callers can agree on."""
    return int(moment.timestamp())
