"""Money as its provider knows it: which object of theirs it belongs to, and the totals of that object."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from activities.provider_calls import retryable
from models.commands import InboxEvent
from models.events import ProviderEvent
from models.ids import our_id
from models.outcomes import PAID_BY_HAND, Instrument
from models.snapshots import Capture
from models.storage.tables import ChargeAttempt, Invoice, Payment, Refund
from providers.failures import FailureKind, ProviderFailure
from providers.protocol import PaymentProvider


class MoneyObject(NamedTuple):
    """What is read at the provider, and refunded there: a single payment, or an invoice of its clock."""

    object_id: str
    by_hand: bool


@dataclass(frozen=True)
class MoneySeen:
    """The provider's totals at one moment."""

    captures: list[Capture]
    amount_refunded_minor: int
    object: MoneyObject


async def read_totals(provider: PaymentProvider, where: MoneyObject) -> MoneySeen:
    if where.by_hand:
        payment = await provider.get_payment(where.object_id)
        return MoneySeen(payment.captures, payment.amount_refunded_minor, where)
    invoice = await provider.get_invoice(where.object_id)
    return MoneySeen(invoice.captures, invoice.amount_refunded_minor, where)


async def read(
    provider: PaymentProvider, where: MoneyObject, inbox: InboxEvent
) -> MoneySeen | None:
    """What was read, with the money that a verified event told of beside it."""
    said = said_by(inbox)
    try:
        seen = await read_totals(provider, where)
    except ProviderFailure as failure:
        if failure.kind not in {FailureKind.NOT_FOUND, FailureKind.REJECTED}:
            raise retryable(failure) from None
        return said
    if said is None:
        return seen
    known = {capture.provider_charge_id for capture in seen.captures}
    more = [capture for capture in said.captures if capture.provider_charge_id not in known]
    return replace(seen, captures=[*seen.captures, *more])


def said_by(inbox: InboxEvent) -> MoneySeen | None:
    """The event's own word, where the provider does not know what it is about."""
    payment, invoice = inbox.event.payment, inbox.event.invoice
    if payment is not None:
        where = MoneyObject(payment.provider_payment_id, by_hand=True)
        return MoneySeen(payment.captures, payment.amount_refunded_minor, where)
    if invoice is not None:
        where = MoneyObject(invoice.provider_invoice_id, by_hand=False)
        return MoneySeen(invoice.captures, invoice.amount_refunded_minor, where)
    return None


async def invoice_paid_by(provider: PaymentProvider, payment_id: str) -> str | None:
    try:
        return await provider.find_invoice(payment_id)
    except ProviderFailure as failure:
        if failure.kind in {FailureKind.NOT_FOUND, FailureKind.REJECTED}:
            return None
        raise retryable(failure) from None


async def object_of_capture(session: AsyncSession, payment_id: UUID) -> MoneyObject | None:
    capture = await session.get_one(Payment, payment_id)
    attempt = await session.get(ChargeAttempt, capture.attempt_id) if capture.attempt_id else None
    if attempt is not None and Instrument(attempt.instrument) in PAID_BY_HAND:
        return _by_hand(attempt)
    invoice = await session.get_one(Invoice, capture.invoice_id)
    if invoice.provider_invoice_id is None or invoice.provider != capture.provider:
        return None
    return MoneyObject(invoice.provider_invoice_id, by_hand=False)


def _by_hand(attempt: ChargeAttempt) -> MoneyObject | None:
    object_id = attempt.provider_object_id
    return None if object_id is None else MoneyObject(object_id, by_hand=True)


async def object_of_refund(session: AsyncSession, event: ProviderEvent) -> MoneyObject | None:
    """What a refund of ours that the event names was taken from."""
    if event.failed_refund is None:
        return None
    capture_id = await session.scalar(
        select(Refund.payment_id).where(
            Refund.provider == event.provider,
            Refund.account == event.account,
            Refund.provider_refund_id == event.failed_refund.provider_refund_id,
        )
    )
    return None if capture_id is None else await object_of_capture(session, capture_id)


async def object_of_event(session: AsyncSession, inbox: InboxEvent) -> MoneyObject | None:
    """By our own rows of this provider, whatever the metadata says."""
    event = inbox.event
    ours = select(ChargeAttempt).where(
        ChargeAttempt.provider == event.provider, ChargeAttempt.account == event.account
    )
    attempt_id = our_id(event.attempt_id)
    attempt = await session.scalar(ours.where(ChargeAttempt.id == attempt_id))
    if attempt is None and event.provider_payment_id is not None:
        by_object = ChargeAttempt.provider_object_id == event.provider_payment_id
        attempt = await session.scalar(
            ours.where(by_object).order_by(ChargeAttempt.started_at.desc()).limit(1)
        )
    if attempt is not None and Instrument(attempt.instrument) in PAID_BY_HAND:
        return _by_hand(attempt)
    known_as = event.provider_invoice_id or event.provider_payment_id
    invoice = await session.scalar(
        select(Invoice).where(
            Invoice.provider == event.provider,
            Invoice.account == event.account,
            Invoice.provider_invoice_id == known_as,
        )
    )
    if invoice is None or invoice.provider_invoice_id is None:
        return None
    return MoneyObject(invoice.provider_invoice_id, by_hand=False)
