"""Reading the provider's side of a comparison: a page of a list, or objects that our rows name."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from activities import reconcile_ours
from activities.money_seen import MoneyObject, object_of_capture, read_totals
from activities.reconcile_disputes import OpenDispute, next_disputes
from models.events import EventKind
from models.reconcile import OUR_PRICES, Listed, Listing, OurRows
from models.snapshots import InvoiceSnapshot
from models.storage.engine import Sessions
from models.storage.tables import ChargeAttempt, Payment, ReconciliationRun, Subscription
from providers.capabilities import Capability
from providers.failures import FailureKind, ProviderFailure
from providers.listed import listed
from providers.protocol import PaymentProvider

# Rows of ours per activity: each costs a call, one after the other, and a second or so at the most.
ROWS_PER_STEP = 10
NEVER = UUID(int=0)

Answer = TypeVar("Answer")


class Page(NamedTuple):
    """What one step compares, and where the next one begins; None when this part is done."""

    items: list[Listed]
    next_cursor: str | None


def parts(provider: PaymentProvider) -> list[str]:
    """What a run looks at, in this order: our own rows first, because a repair there explains most of
    what the lists show. Disputes come last: by then the money that they are about is booked."""
    sells = Capability.CARD_SUBSCRIPTION in provider.capabilities.supports
    disputes = [OurRows.DISPUTES, *({Listing.DISPUTES} & {*provider.lists.kinds})]
    before = [part for part in (*OurRows, *provider.lists.kinds) if part not in disputes]
    return [*before, *([OUR_PRICES] if sells else []), *disputes]


async def read_part(
    sessions: Sessions,
    provider: PaymentProvider,
    run: ReconciliationRun,
    part: str,
    cursor: str | None,
) -> Page:
    """Raises ProviderFailure."""
    if part in set(OurRows):
        return await _Rows(sessions, provider, run.since).read(OurRows(part), cursor)
    page = await provider.lists.page(Listing(part), run.since, cursor)
    return Page(page.items, page.next_cursor)


class _Rows:
    def __init__(self, sessions: Sessions, provider: PaymentProvider, since: datetime) -> None:
        self._sessions = sessions
        self._provider = provider
        self._since = since

    async def read(self, rows: OurRows, cursor: str | None) -> Page:
        after = UUID(cursor) if cursor else NEVER
        whose = str(self._provider.name), self._provider.account
        items: list[Listed] = []
        last: UUID | None = None
        if rows is OurRows.SUBSCRIPTIONS:
            async with self._sessions() as session:
                mine = await reconcile_ours.next_subscriptions(
                    session, *whose, self._since, after, ROWS_PER_STEP
                )
            for row in mine:
                items += await self._subscription(row)
            last = mine[-1].id if len(mine) == ROWS_PER_STEP else None
        elif rows is OurRows.DISPUTES:
            async with self._sessions() as session:
                open_ones = await next_disputes(session, *whose, after, ROWS_PER_STEP)
            items = [await self._dispute(one) for one in open_ones]
            last = open_ones[-1].id if len(open_ones) == ROWS_PER_STEP else None
        elif rows is OurRows.ATTEMPTS:
            async with self._sessions() as session:
                waiting = await reconcile_ours.next_attempts(session, *whose, after, ROWS_PER_STEP)
            items = [await self._attempt(attempt) for attempt in waiting]
            last = waiting[-1].id if len(waiting) == ROWS_PER_STEP else None
        else:
            async with self._sessions() as session:
                booked = await reconcile_ours.next_captures(
                    session, *whose, self._since, after, ROWS_PER_STEP
                )
                objects = await _objects(session, booked)
            items = [await self._capture(where, charges) for where, charges in objects.items()]
            last = booked[-1].id if len(booked) == ROWS_PER_STEP else None
        return Page(items, str(last) if last else None)

    async def _subscription(self, row: Subscription) -> list[Listed]:
        """The subscription, and its latest invoice beside it: money has an invoice's name."""
        known_as = row.provider_subscription_id or ""
        found = await self._or_none(
            self._provider.get_subscription(row.provider_customer_id or "", known_as)
        )
        facts: dict[str, Any] = {
            "kind": EventKind.SUBSCRIPTION,
            "subscription_id": str(row.id),
            "provider_subscription_id": known_as,
        }
        if found is None:
            return [
                self._listed(Listing.SUBSCRIPTIONS, known_as, row.created_at, facts, known=False)
            ]
        facts["subscription"] = found.model_copy(update={"latest_invoice": None})
        seen = [self._listed(Listing.SUBSCRIPTIONS, known_as, found.current_period_start, facts)]
        if found.latest_invoice is not None:
            seen.append(self._invoice(found.latest_invoice, row))
        return seen

    def _invoice(self, invoice: InvoiceSnapshot, row: Subscription) -> Listed:
        facts = {
            "kind": EventKind.INVOICE,
            "subscription_id": str(row.id),
            "provider_subscription_id": row.provider_subscription_id,
            "provider_invoice_id": invoice.provider_invoice_id,
            "invoice": invoice,
        }
        return self._listed(
            Listing.INVOICES, invoice.provider_invoice_id, invoice.created_at, facts
        )

    async def _attempt(self, attempt: ChargeAttempt) -> Listed:
        known_as = attempt.provider_object_id or ""
        found = await self._or_none(self._provider.get_payment(known_as))
        facts = {
            "kind": EventKind.PAYMENT,
            "attempt_id": str(attempt.id),
            "provider_payment_id": known_as,
            "payment": found,
        }
        return self._listed(
            Listing.PAYMENTS, known_as, attempt.started_at, facts, known=found is not None
        )

    async def _capture(self, where: MoneyObject, charges: list[Payment]) -> Listed:
        """Totals of the object that the captures belong to. One that it does not have is unknown there."""
        seen = await self._or_none(read_totals(self._provider, where))
        there = {capture.provider_charge_id for capture in seen.captures} if seen else set()
        name = "provider_payment_id" if where.by_hand else "provider_invoice_id"
        facts = {"kind": EventKind.LOOK, name: where.object_id}
        return self._listed(
            Listing.PAYMENTS,
            where.object_id,
            charges[0].occurred_at,
            facts,
            known=all(charge.provider_charge_id in there for charge in charges),
            amount_refunded_minor=seen.amount_refunded_minor if seen else None,
        )

    async def _dispute(self, ours: OpenDispute) -> Listed:
        found = await self._or_none(self._provider.get_dispute(ours.seen))
        facts = {"kind": EventKind.DISPUTE, "dispute": found or ours.seen}
        known_as, at = ours.seen.provider_dispute_id, ours.seen.opened_at
        return self._listed(Listing.DISPUTES, known_as, at, facts, known=found is not None)

    async def _or_none(self, asking: Awaitable[Answer]) -> Answer | None:
        """None when the provider says that there is no such object."""
        try:
            return await asking
        except ProviderFailure as failure:
            if failure.kind is not FailureKind.NOT_FOUND:
                raise
            return None

    def _listed(
        self,
        listing: Listing,
        object_id: str,
        at: datetime,
        facts: dict[str, Any],
        *,
        known: bool = True,
        amount_refunded_minor: int | None = None,
    ) -> Listed:
        provider = self._provider
        made = listed(
            provider.name,
            provider.account,
            listing,
            object_id,
            at,
            facts,
            amount_refunded_minor=amount_refunded_minor,
        )
        return made if known else made.model_copy(update={"is_known": False})


async def _objects(
    session: AsyncSession, captures: list[Payment]
) -> dict[MoneyObject, list[Payment]]:
    """The provider's objects behind the captures, each once."""
    found: dict[MoneyObject, list[Payment]] = {}
    for capture in captures:
        where = await object_of_capture(session, capture.id)
        if where is not None:
            found.setdefault(where, []).append(capture)
    return found
