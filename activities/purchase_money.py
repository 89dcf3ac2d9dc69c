"""The money of a purchase after its end: refunds, and what was paid on another page."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.benefits import read_grants
from activities.outbox import tell
from activities.provider_calls import retryable
from activities.refund_book import RefundBook
from activities.signatures.shop import PurchaseCalls, PurchaseNews
from models.commands import InboxEvent
from models.ids import derived_id, our_id
from models.outcomes import DEFAULT_ACCOUNT
from models.projections import OutboundProjection
from models.purchase import BENEFIT_PROVIDERS, PurchaseStatus
from models.snapshots import Capture, PaymentSnapshot
from models.storage.engine import Sessions
from models.storage.tables import (
    AuditEntry,
    ChargeAttempt,
    Invoice,
    Payment,
    Purchase,
    WebhookEvent,
    new_id,
)
from providers.failures import FailureKind, ProviderFailure
from providers.registry import ProviderRegistry

UNAPPLIED, REFUNDED = "unapplied_money", "refunded"
# Nothing in it that the ledgers did not know.
OVER = "purchase_is_over"


class PurchaseActivities(PurchaseCalls):
    """The provider is asked, whatever the event says: a webhook is a hint, and totals are its truth."""

    def __init__(self, sessions: Sessions, providers: ProviderRegistry) -> None:
        self._sessions = sessions
        self._providers = providers

    @activity.defn(name="follow_purchase")
    async def follow_purchase(self, news: PurchaseNews) -> PurchaseStatus:
        """Write down what the ledgers do not know yet, and acknowledge the events. Safe to repeat."""
        seen = await self._look(news)
        async with self._sessions.begin() as session:
            purchase = await _locked(session, news.purchase_id)
            found = OVER
            for attempt_id, snapshot in seen:
                attempt = await session.get(ChargeAttempt, attempt_id) if attempt_id else None
                book = _Book(session, news, purchase, attempt)
                if await book.captures(snapshot.captures):
                    found = UNAPPLIED
                if await book.refunds(snapshot):
                    found = REFUNDED
            await _acknowledge(session, news, found)
            status = PurchaseStatus(purchase.status)
        if status is PurchaseStatus.REFUNDED and news.provider in BENEFIT_PROVIDERS:
            await self._read_benefits(news, purchase)
        return status

    async def _look(self, news: PurchaseNews) -> list[tuple[UUID | None, PaymentSnapshot]]:
        """Each payment that the news are about, once, with the attempt that it belongs to."""
        asked: dict[str, tuple[UUID | None, PaymentSnapshot | None]] = {}
        for event in news.events:
            said = event.event.payment
            attempt_id, payment_id = await self._payment_of(news, event)
            if payment_id is not None:
                asked[payment_id] = (attempt_id, said)
        if news.attempt_id is not None:
            async with self._sessions() as session:
                attempt = await session.get_one(ChargeAttempt, news.attempt_id)
            if attempt.provider_object_id is not None:
                asked.setdefault(attempt.provider_object_id, (attempt.id, None))
        found = []
        for payment_id, (attempt_id, said) in asked.items():
            snapshot = _together(await self._read(news, payment_id), said)
            if snapshot is not None:
                found.append((attempt_id, snapshot))
        return found

    async def _payment_of(
        self, news: PurchaseNews, inbox_event: InboxEvent
    ) -> tuple[UUID | None, str | None]:
        """By our own attempt, which knows the page that counts; else as the event says."""
        event = inbox_event.event
        attempt_id = our_id(event.attempt_id)
        async with self._sessions() as session:
            attempt = await session.scalar(
                select(ChargeAttempt).where(
                    ChargeAttempt.id == attempt_id,
                    ChargeAttempt.purchase_id == news.purchase_id,
                    ChargeAttempt.provider == news.provider,
                )
            )
        said = event.payment.provider_payment_id if event.payment else event.provider_payment_id
        if attempt is None:
            return None, said
        return attempt.id, attempt.provider_object_id or said

    async def _read(self, news: PurchaseNews, payment_id: str) -> PaymentSnapshot | None:
        """None when the provider does not know it: then the event's word has to do."""
        provider = self._providers.get(news.provider)
        if provider is None:
            return None
        try:
            return await provider.get_payment(payment_id)
        except ProviderFailure as failure:
            if failure.kind in {FailureKind.NOT_FOUND, FailureKind.REJECTED}:
                return None
            raise retryable(failure) from None

    async def _read_benefits(self, news: PurchaseNews, purchase: Purchase) -> None:
        """A refund in full takes them away; this looks in case the provider's word of it is lost."""
        provider = self._providers.get(news.provider)
        if provider is None:
            return
        try:
            await read_grants(
                self._sessions, provider, purchase.application_id, purchase.organization_id
            )
        except ProviderFailure as failure:
            if failure.kind not in {FailureKind.NOT_FOUND, FailureKind.REJECTED}:
                raise retryable(failure) from None


def _together(read: PaymentSnapshot | None, said: PaymentSnapshot | None) -> PaymentSnapshot | None:
    """What was read, with the money that a verified event told of beside it."""
    if read is None or said is None:
        return read or said
    known = {capture.provider_charge_id for capture in read.captures}
    more = [capture for capture in said.captures if capture.provider_charge_id not in known]
    return read.model_copy(update={"captures": [*read.captures, *more]})


class _Book:
    """Writes what is new of one payment, in the transaction that has the purchase locked."""

    def __init__(
        self,
        session: AsyncSession,
        news: PurchaseNews,
        purchase: Purchase,
        attempt: ChargeAttempt | None,
    ) -> None:
        self._session = session
        self._news = news
        self._purchase = purchase
        self._attempt = attempt

    async def captures(self, captures: Sequence[Capture]) -> int:
        """Minor units that were not known before: the purchase did not ask for them (any more)."""
        invoice = await self._invoice()
        booked, charge_ids = 0, []
        for capture in captures:
            inserted = await self._insert(invoice, capture.provider_charge_id, "capture",
                                          capture.amount_minor, 0, capture)  # fmt: skip
            if inserted:
                booked += capture.amount_minor
                charge_ids.append(capture.provider_charge_id)
        if booked:
            told = {"invoice_id": str(invoice.id), "unapplied_minor": booked}
            self._audit("payment.unapplied", {}, told)
            await self._tell(
                "payment.unapplied",
                ",".join(charge_ids),
                invoice_id=str(invoice.id),
                amount_minor=booked,
                currency=captures[0].currency,
            )
        return booked

    async def refunds(self, snapshot: PaymentSnapshot) -> int:
        """Minor units that went back without our knowing. Of money that paid nothing they come first."""
        if not snapshot.captures or not snapshot.amount_refunded_minor:
            return 0
        charge_ids = [capture.provider_charge_id for capture in snapshot.captures]
        ours = list(
            await self._session.scalars(
                select(Payment).where(
                    Payment.purchase_id == self._purchase.id,
                    Payment.provider == self._news.provider,
                    Payment.kind == "capture",
                    Payment.provider_charge_id.in_(charge_ids),
                )
            )
        )
        book = RefundBook(self._session, await self._invoice(), self._news.at)
        return await book.seen(ours, snapshot.amount_refunded_minor)

    async def _invoice(self) -> Invoice:
        statement = select(Invoice).where(Invoice.purchase_id == self._purchase.id)
        return (await self._session.scalars(statement.with_for_update())).one()

    async def _insert(
        self,
        invoice: Invoice,
        provider_charge_id: str,
        kind: str,
        amount_minor: int,
        applied_minor: int,
        of: Capture,
    ) -> bool:
        """Into the ledger; False when it is there."""
        values = {
            "id": new_id(),
            "application_id": invoice.application_id,
            "purchase_id": self._purchase.id,
            "invoice_id": invoice.id,
            "attempt_id": self._attempt.id if self._attempt else None,
            "provider": self._news.provider,
            "account": DEFAULT_ACCOUNT,
            "provider_charge_id": provider_charge_id,
            "kind": kind,
            "amount_minor": amount_minor,
            "applied_minor": applied_minor,
            "currency": of.currency,
            "occurred_at": of.captured_at if kind == "capture" else self._news.at,
            "recorded_at": self._news.at,
        }
        statement = insert(Payment).values(values).on_conflict_do_nothing()
        return await self._session.scalar(statement.returning(Payment.id)) is not None

    def _audit(self, action: str, before: dict[str, object], after: dict[str, object]) -> None:
        self._session.add(
            AuditEntry(
                application_id=self._purchase.application_id,
                purchase_id=self._purchase.id,
                version=self._purchase.version,
                actor=f"provider:{self._news.provider}",
                action=action,
                before=before,
                after=after,
                at=self._news.at,
            )
        )

    async def _tell(self, type_: str, name: str, **data: object) -> None:
        purchase = self._purchase
        await self._session.flush()
        await tell(
            self._session,
            [
                OutboundProjection(
                    id=derived_id(purchase.id, f"{type_}:{name}", self._news.at),
                    type=type_,
                    data={
                        "purchase_id": str(purchase.id),
                        "organization_id": str(purchase.organization_id),
                        "status": purchase.status,
                        **data,
                    },
                )
            ],
            application_id=purchase.application_id,
            purchase_id=purchase.id,
            at=self._news.at,
        )


async def _locked(session: AsyncSession, purchase_id: UUID) -> Purchase:
    statement = select(Purchase).where(Purchase.id == purchase_id).with_for_update()
    return (await session.scalars(statement)).one()


async def _acknowledge(session: AsyncSession, news: PurchaseNews, disposition: str) -> None:
    ids = [event.id for event in news.events]
    await session.execute(
        update(WebhookEvent)
        .where(WebhookEvent.id.in_(ids), WebhookEvent.applied_at.is_(None))
        .values(applied_at=news.at, disposition=disposition, last_error=None)
    )
