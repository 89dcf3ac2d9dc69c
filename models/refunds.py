"""Where each minor unit of a capture is, and which captures a refund is taken from. Pure rules.

A capture pays its invoice (`applied`), the rest is spare. Spare money may become credit, and what goes
back is spare money first. Hence every part follows from four sums, in whatever order they grew:

    unapplied = max(0, amount - applied - credited - refunded)      kept in sight
    returned  = max(0, refunded - (amount - applied - credited))    no longer pays the invoice
    amount    = (applied - returned) + unapplied + credited + refunded
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID


class CaptureBalance(NamedTuple):
    """`refunded_minor` counts what went back and what is on its way (reserved)."""

    payment_id: UUID
    amount_minor: int
    applied_minor: int
    refunded_minor: int
    credited_minor: int
    occurred_at: datetime

    @property
    def spare_minor(self) -> int:
        return self.amount_minor - self.applied_minor - self.credited_minor

    @property
    def unapplied_minor(self) -> int:
        """Pays nothing, and nobody has decided about it yet."""
        return max(0, self.spare_minor - self.refunded_minor)

    @property
    def refundable_minor(self) -> int:
        """Credit was promised to the customer already: it cannot go back too."""
        return max(0, self.amount_minor - self.credited_minor - self.refunded_minor)

    def applied_part(self, settled_minor: int, amount_minor: int) -> int:
        """How much of a refund takes back what had paid the invoice; `settled_minor` went before it."""
        before = max(0, settled_minor - self.spare_minor)
        return max(0, settled_minor + amount_minor - self.spare_minor) - before


def divide_refund(
    amount_minor: int, balances: Sequence[CaptureBalance]
) -> list[tuple[CaptureBalance, int]]:
    """One part for each capture that has to give: the newest first, of equal ones the largest.

    The newest is the payment too many when something was paid twice. The parts sum to `amount_minor`
    or, when there is less, to all that is left.
    """
    parts: list[tuple[CaptureBalance, int]] = []
    rest = amount_minor
    for balance in sorted(balances, key=_newest_first):
        part = min(rest, balance.refundable_minor)
        if part > 0:
            parts.append((balance, part))
            rest -= part
    return parts


def _newest_first(balance: CaptureBalance) -> tuple[float, int, UUID]:
    return (-balance.occurred_at.timestamp(), -balance.refundable_minor, balance.payment_id)
