"""Refunds that had gone and came back: the bank could not place the money, so the customer still has paid.

Whoever tells of it is not believed: the provider is asked about each refund that our books call done. One
that somebody made at the provider's dashboard is known here by its sum alone, and is taken for the one that
failed when it has its amount, and as much is missing from the provider's total.
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select

from activities.money_seen import MoneySeen
from activities.provider_calls import retryable
from activities.refund_book import FAILED, SUCCEEDED, RefundBook
from models.events import ProviderEvent
from models.storage.engine import Sessions
from models.storage.tables import Payment, Refund
from providers.failures import FailureKind, ProviderFailure
from providers.protocol import PaymentProvider

UNNAMED = ":"  # In the names that we give to what the provider did not name.
NO_CODE = "refund_failed"


class FailedLater(NamedTuple):
    refund_id: UUID
    code: str


async def failed_later(
    sessions: Sessions, provider: PaymentProvider, event: ProviderEvent, seen: MoneySeen
) -> list[FailedLater]:
    """The refunds of what was `seen` that our books call done and that the provider calls failed."""
    rows = await _done(sessions, event, seen)
    missing_minor = sum(row.amount_minor for row in rows) - seen.amount_refunded_minor
    told = event.failed_refund
    if told is None and missing_minor <= 0:
        return []
    found = []
    for row in rows:
        code = await _code_of(provider, seen, row)
        if code is not None:
            found.append(FailedLater(row.id, code))
            missing_minor -= row.amount_minor
    named = told is not None and any(
        row.provider_refund_id == told.provider_refund_id for row in rows
    )
    if told is None or named or missing_minor < told.amount_minor:
        return found
    alike = [row for row in rows if _is_unnamed(row) and row.amount_minor == told.amount_minor]
    return [*found, *(FailedLater(row.id, told.failure_code or NO_CODE) for row in alike[-1:])]


async def reverse(book: RefundBook, failed: list[FailedLater], rows: dict[UUID, Refund]) -> int:
    """Minor units that are the invoice's again. `rows` are locked with their invoice."""
    reversed_minor = 0
    for one in failed:
        row = rows.get(one.refund_id)
        if row is not None and row.status == SUCCEEDED:
            await book.reversed(row, one.code)
            reversed_minor += row.amount_minor
    return reversed_minor


async def _done(sessions: Sessions, event: ProviderEvent, seen: MoneySeen) -> list[Refund]:
    mine = select(Refund).join(Payment, Payment.id == Refund.payment_id)
    statement = mine.where(
        Payment.provider == event.provider,
        Payment.account == event.account,
        Payment.provider_charge_id.in_([one.provider_charge_id for one in seen.captures]),
        Refund.status == SUCCEEDED,
    )
    async with sessions() as session:
        return list(await session.scalars(statement.order_by(Refund.id)))


async def _code_of(provider: PaymentProvider, seen: MoneySeen, row: Refund) -> str | None:
    """Why it failed; None as long as it has not."""
    if row.provider_refund_id is None or _is_unnamed(row):
        return None
    try:
        found = await provider.get_refund(seen.object.object_id, row.provider_refund_id)
    except ProviderFailure as failure:
        if failure.kind in {FailureKind.NOT_FOUND, FailureKind.REJECTED}:
            return None
        raise retryable(failure) from None
    return (found.failure_code or NO_CODE) if found.status == FAILED else None


def _is_unnamed(row: Refund) -> bool:
    return UNNAMED in (row.provider_refund_id or "")
