"""Money that goes back, or came when nobody waited for it: the provider is asked, the ledgers follow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.late_money import book_late, owner_is_over
from activities.money_seen import (
    MoneyObject,
    MoneySeen,
    invoice_paid_by,
    object_of_capture,
    object_of_event,
    object_of_refund,
    read,
    read_totals,
    said_by,
)
from activities.provider_calls import heartbeat, retryable, server_time
from activities.refund_book import FAILED, PENDING, SUCCEEDED, RefundBook, lock_invoice
from activities.refund_reversals import FailedLater, failed_later, reverse
from activities.signatures.money import MoneyCalls, MoneyFollowed, MoneyNews
from models.commands import InboxEvent, RefundInput, RefundResult
from models.ids import our_id
from models.outcomes import ProviderName
from models.snapshots import Capture
from models.storage.engine import Sessions
from models.storage.tables import Invoice, Payment, Refund, WebhookEvent
from providers.drafts import RefundDraft
from providers.failures import FailureKind, ProviderFailure
from providers.protocol import PaymentProvider
from providers.registry import ProviderRegistry

REFUNDED, REVERSED, UNAPPLIED, NOTHING_NEW, NOT_OURS = (
    "refunded",
    "refund_reversed",
    "unapplied_money",
    "nothing_new",
    "not_ours",
)
# Nothing in it that the ledgers did not know, for a subscription that has ended.
OVER = "subscription_is_over"
REFUSALS = frozenset(
    {FailureKind.DECLINED, FailureKind.REJECTED, FailureKind.NOT_FOUND, FailureKind.UNSUPPORTED}
)
# Stripe forgets idempotency keys after 24 h: from here on its totals are looked at before it is asked.
KEYS_HOLD = timedelta(hours=20)
# A provider tells of a refund before the workflow has written the capture: it is a step behind.
BEHIND, BEHIND_DELAY = "behind", timedelta(seconds=30)
BEHIND_MAX = timedelta(hours=24)


class MoneyActivities(MoneyCalls):
    def __init__(self, sessions: Sessions, providers: ProviderRegistry) -> None:
        self._sessions = sessions
        self._providers = providers

    @activity.defn(name="send_refund")
    async def send_refund(self, order: RefundInput) -> RefundResult:
        """Have a reserved refund carried out, and write down what came of it. Safe to repeat: adapters
        look for what an earlier try made, by key, by reference or by the sums."""
        async with self._sessions() as session:
            refund = await session.get_one(Refund, order.refund_id)
            if refund.status != PENDING:
                return RefundResult(status=refund.status, failure_code=refund.failure_code)
            where = await object_of_capture(session, refund.payment_id)
            charge_id = (await session.get_one(Payment, refund.payment_id)).provider_charge_id
            siblings = await _siblings(session, refund.payment_id)
            await _wait_for_turn(session, refund, siblings)
            already = await _succeeded(session, siblings)
        provider = self._providers.get(order.provider)
        if provider is None or where is None:
            code = "provider_not_configured" if provider is None else "no_provider_payment"
            return await self._fail(refund, code)
        draft = RefundDraft(
            refund_id=str(refund.id),
            provider_payment_id=where.object_id,
            amount_minor=refund.amount_minor,
            currency=refund.currency,
            reason=refund.reason or "requested_by_customer",
            already_refunded_minor=already,
            provider_charge_id=charge_id,
            provider_refund_id=refund.provider_refund_id,
        )
        try:
            async with heartbeat():
                result = await self._send(provider, refund, draft, where, already)
        except ProviderFailure as failure:
            if failure.code == "refund_mismatch":
                await self._explain(provider, refund, where, already)
                raise retryable(
                    ProviderFailure(FailureKind.UNKNOWN, failure.message, code=failure.code)
                ) from None
            if failure.kind not in REFUSALS:
                raise retryable(failure) from None
            result = await self._fail(refund, failure.code or str(failure.kind))
        await self._catch_up(provider, refund, where)
        return result

    async def _catch_up(
        self, provider: PaymentProvider, refund: Refund, where: MoneyObject
    ) -> None:
        """While ours was on its way, a refund that somebody made at the provider could hide behind it."""
        try:
            seen = await read_totals(provider, where)
        except ProviderFailure as failure:
            activity.logger.info("totals were not read after a refund: %s", failure.kind)
            return
        async with self._sessions.begin() as session:
            book, _ = await _locked(session, refund)
            captures = await _known(session, refund.provider, refund.account, seen.captures)
            await book.seen(captures, seen.amount_refunded_minor)

    async def _send(
        self,
        provider: PaymentProvider,
        refund: Refund,
        draft: RefundDraft,
        where: MoneyObject,
        already: int,
    ) -> RefundResult:
        is_made = refund.provider_refund_id is not None
        if not is_made and server_time() - refund.created_at > KEYS_HOLD:
            seen = await read_totals(provider, where)
            if seen.amount_refunded_minor - already >= refund.amount_minor:
                return await self._succeed(refund, f"{where.object_id}:refund:{refund.id}")
        made = await provider.refund(draft)
        if made.status == FAILED:
            return await self._fail(refund, "refund_failed")
        if made.status == PENDING:
            return await self._wait_for(refund, made.provider_refund_id)
        return await self._succeed(refund, made.provider_refund_id)

    async def _succeed(self, refund: Refund, provider_refund_id: str) -> RefundResult:
        async with self._sessions.begin() as session:
            book, row = await _locked(session, refund)
            if row.status == PENDING:
                await book.succeeded(row, provider_refund_id)
            return RefundResult(status=row.status, failure_code=row.failure_code)

    async def _wait_for(self, refund: Refund, provider_refund_id: str) -> RefundResult:
        """The provider has the order and will say later whether the money arrived."""
        async with self._sessions.begin() as session:
            _, row = await _locked(session, refund)
            if row.status == PENDING:
                row.provider_refund_id = provider_refund_id
            return RefundResult(status=row.status, failure_code=row.failure_code)

    async def _fail(self, refund: Refund, code: str) -> RefundResult:
        async with self._sessions.begin() as session:
            book, row = await _locked(session, refund)
            if row.status == PENDING:
                await book.failed(row, code)
            return RefundResult(status=row.status, failure_code=row.failure_code)

    async def _explain(
        self, provider: PaymentProvider, refund: Refund, where: MoneyObject, already: int
    ) -> None:
        """The provider paid back another amount than we know of: somebody used its dashboard. That is
        written down first. Less than our refund cannot hold it; more may, and then it does."""
        seen = await read_totals(provider, where)
        holds_ours = seen.amount_refunded_minor - already >= refund.amount_minor
        async with self._sessions.begin() as session:
            book, _ = await _locked(session, refund)
            captures = await _known(session, refund.provider, refund.account, seen.captures)
            await book.seen(
                captures, seen.amount_refunded_minor, but=None if holds_ours else refund.id
            )

    @activity.defn(name="follow_money")
    async def follow_money(self, news: MoneyNews) -> MoneyFollowed:
        """Write down what the ledgers do not know yet, and acknowledge the events. Safe to repeat."""
        provider = self._providers.get(news.provider)
        if provider is None:
            raise ApplicationError(f"{news.provider} is not configured", type="not_configured")
        refunds: list[RefundInput] = []
        for event in news.events:
            seen = await self._look(provider, event)
            failed = []
            if seen is not None and seen.captures:
                failed = await failed_later(self._sessions, provider, event.event, seen)
            async with self._sessions.begin() as session:
                disposition = await self._book(session, news, event, seen, refunds, failed)
                await _acknowledge(session, event, disposition, news)
        return MoneyFollowed(refunds=refunds)

    async def _look(self, provider: PaymentProvider, inbox: InboxEvent) -> MoneySeen | None:
        """The totals of what the event is about; its own word where the provider cannot be asked."""
        event = inbox.event
        async with self._sessions() as session:
            where = await object_of_refund(session, event) or await object_of_event(session, inbox)
        if where is None and event.provider_payment_id is not None:
            invoice_id = await invoice_paid_by(provider, event.provider_payment_id)
            where = MoneyObject(invoice_id, by_hand=False) if invoice_id else None
        if where is None:
            return said_by(inbox)
        return await read(provider, where, inbox)

    async def _book(
        self,
        session: AsyncSession,
        news: MoneyNews,
        inbox: InboxEvent,
        seen: MoneySeen | None,
        refunds: list[RefundInput],
        failed: list[FailedLater],
    ) -> str:
        event, disposition = inbox.event, NOTHING_NEW
        owner = our_id(event.subscription_id)
        over = owner is not None and await owner_is_over(session, owner)
        if over:
            disposition = OVER
        if seen is None or not seen.captures:
            return NOT_OURS if seen is None and owner is None else disposition
        if over and owner is not None:
            late = await book_late(session, inbox, seen.captures, owner, news.at)
            refunds += late.refunds
            if late.booked_minor:
                disposition = UNAPPLIED
        captures = await _known(session, news.provider, event.account, seen.captures)
        if not captures:
            return await _behind(session, inbox, seen, news)
        invoice = await lock_invoice(session, captures[0].invoice_id)
        book = RefundBook(session, invoice, news.at)
        rows = {one.refund_id: await session.get_one(Refund, one.refund_id) for one in failed}
        if await reverse(book, failed, rows):
            disposition = REVERSED
        elif await book.seen(captures, seen.amount_refunded_minor):
            disposition = REFUNDED
        return disposition


async def _locked(session: AsyncSession, refund: Refund) -> tuple[RefundBook, Refund]:
    invoice = await lock_invoice(session, refund.invoice_id)
    row = await session.get_one(Refund, refund.id, populate_existing=True)
    return RefundBook(session, invoice, server_time()), row


async def _siblings(session: AsyncSession, payment_id: UUID) -> list[UUID]:
    """The captures of the same payment at the provider: its totals are theirs together."""
    capture = await session.get_one(Payment, payment_id)
    same = select(Payment.id).where(
        Payment.kind == "capture",
        Payment.invoice_id == capture.invoice_id,
        Payment.provider == capture.provider,
        Payment.attempt_id == capture.attempt_id
        if capture.attempt_id
        else Payment.attempt_id.is_(None),
    )
    return list(await session.scalars(same))


async def _wait_for_turn(session: AsyncSession, refund: Refund, siblings: Sequence[UUID]) -> None:
    """One at a time for each payment: a provider without keys tells them apart by the sums alone."""
    before = await session.scalar(
        select(func.count()).where(
            Refund.payment_id.in_(siblings), Refund.status == PENDING, Refund.id < refund.id
        )
    )
    if before:
        raise ApplicationError(
            "an earlier refund of this payment is on its way", type="waits_for_its_turn"
        )


async def _succeeded(session: AsyncSession, siblings: Sequence[UUID]) -> int:
    total = await session.scalar(
        select(func.coalesce(func.sum(Refund.amount_minor), 0)).where(
            Refund.payment_id.in_(siblings), Refund.status == SUCCEEDED
        )
    )
    return int(total or 0)


async def _known(
    session: AsyncSession,
    provider: ProviderName | str,
    account: str,
    captures: Sequence[Capture],
) -> list[Payment]:
    statement = select(Payment).where(
        Payment.provider == provider,
        Payment.account == account,
        Payment.kind == "capture",
        Payment.provider_charge_id.in_([one.provider_charge_id for one in captures]),
    )
    return list(await session.scalars(statement.order_by(Payment.id)))


async def _behind(
    session: AsyncSession, inbox: InboxEvent, seen: MoneySeen, news: MoneyNews
) -> str:
    """The money is not in our books. Where it is ours, a living workflow is about to write it: then this
    comes again."""
    is_ours = seen.object.by_hand or await session.scalar(
        select(Invoice.id).where(
            Invoice.provider == news.provider,
            Invoice.account == inbox.event.account,
            Invoice.provider_invoice_id == seen.object.object_id,
        )
    )
    if is_ours and seen.amount_refunded_minor and server_time() - news.at < BEHIND_MAX:
        raise ApplicationError(
            "the capture is not written yet", type=BEHIND, next_retry_delay=BEHIND_DELAY
        )
    return NOTHING_NEW if is_ours else NOT_OURS


async def _acknowledge(
    session: AsyncSession, inbox: InboxEvent, disposition: str, news: MoneyNews
) -> None:
    await session.execute(
        update(WebhookEvent)
        .where(WebhookEvent.id == inbox.id, WebhookEvent.applied_at.is_(None))
        .values(applied_at=news.at, disposition=disposition, last_error=None)
    )
