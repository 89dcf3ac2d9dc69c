"""How money that arrived is divided: what pays the invoice, and what stays in sight unapplied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from models.snapshots import Capture


class Settlement(NamedTuple):
    """`applied` pairs each capture with the part of it that pays the invoice (0 for none)."""

    applied: list[tuple[Capture, int]]
    amount_paid_minor: int

    @property
    def unapplied_minor(self) -> int:
        return sum(capture.amount_minor - part for capture, part in self.applied)


def settle(
    amount_minor: int, already_paid_minor: int, currency: str, captures: Sequence[Capture]
) -> Settlement:
    """Apply captures, oldest first, to what the invoice still lacks.

    Money in another currency never pays an invoice; it is unapplied as a whole. The parts always sum
    to the captures, and the invoice is never paid more than its amount.
    """
    paid = already_paid_minor
    applied: list[tuple[Capture, int]] = []
    for capture in sorted(captures, key=lambda one: (one.captured_at, one.provider_charge_id)):
        lacking = max(0, amount_minor - paid)
        part = min(lacking, capture.amount_minor) if capture.currency == currency else 0
        paid += part
        applied.append((capture, part))
    return Settlement(applied, paid)
