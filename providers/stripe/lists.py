"""What a Stripe account holds: payments, invoices, refunds, disputes and subscriptions, newest first.

Stripe filters by the time of making only, so a later change of an old object shows in another list: a
refund is an object of its own, and who paid late or cancelled is asked about row by row.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar, cast

import stripe

from models.events import EventKind
from models.outcomes import ProviderName
from models.reconcile import Listed, ListedPage, Listing
from providers.listed import listed
from providers.stripe import mapping
from providers.stripe.amounts import from_stripe
from providers.stripe.calls import calling
from providers.stripe.cash_balance import SWEEPS
from providers.stripe.cash_ledger import FUNDED
from providers.stripe.checkout import HOSTED
from providers.stripe.disputes import Disputes
from providers.stripe.payments import PAGE_SIZE_MAX, Payments
from providers.stripe.webhooks import about_invoice, about_subscription

# Each costs a call more: which invoice the disputed payment paid.
DISPUTES_PER_PAGE = 10
MONEY_CAME = "customer_cash_balance_transaction.created"

Found = TypeVar("Found", bound=stripe.StripeObject)
FindInvoice = Callable[[str], Awaitable[str | None]]


class StripeLists:
    kinds = (
        Listing.SUBSCRIPTIONS,
        Listing.PAYMENTS,
        Listing.TRANSFERS_RECEIVED,
        Listing.INVOICES,
        Listing.REFUNDS,
        Listing.DISPUTES,
    )

    def __init__(
        self,
        client: stripe.StripeClient,
        payments: Payments,
        disputes: Disputes,
        find_invoice: FindInvoice,
        account: str,
    ) -> None:
        self._v1 = client.v1
        self._payments = payments
        self._disputes = disputes
        self._find_invoice = find_invoice
        self._account = account

    async def page(self, listing: Listing, since: datetime, cursor: str | None) -> ListedPage:
        made: Any = {"limit": PAGE_SIZE_MAX, "created": {"gte": int(since.timestamp())}}
        if cursor is not None:
            made["starting_after"] = cursor
        with calling():
            if listing is Listing.PAYMENTS:
                return await self._each(
                    await self._v1.payment_intents.list_async(made), self._payment
                )
            if listing is Listing.TRANSFERS_RECEIVED:
                return await self._received({**made, "type": MONEY_CAME})
            if listing is Listing.INVOICES:
                return await self._each(await self._v1.invoices.list_async(made), self._invoice)
            if listing is Listing.REFUNDS:
                expanded: Any = {**made, "expand": ["data.charge"]}
                return await self._each(await self._v1.refunds.list_async(expanded), self._refund)
            if listing is Listing.DISPUTES:
                return await self._disputed({**made, "limit": DISPUTES_PER_PAGE})
            # All that live, whenever they were made: one that should be over may be old.
            del made["created"]
            return await self._each(
                await self._v1.subscriptions.list_async(made), self._subscription
            )

    async def _each(
        self,
        page: stripe.ListObject[Found],
        read: Callable[[Found], Awaitable[Listed | None]],
    ) -> ListedPage:
        items = [one for found in page.data if (one := await read(found)) is not None]
        last = page.data[-1] if page.has_more and page.data else None
        return ListedPage(items=items, next_cursor=None if last is None else last["id"])

    async def _payment(self, intent: stripe.PaymentIntent) -> Listed | None:
        """An invoice's payment shows with its invoice, a hosted page's with its page, and one that swept
        up after a transfer with the transfer."""
        attempt_id = mapping.our(intent.metadata, "attempt_id")
        if any(mapping.our(intent.metadata, name) is not None for name in (HOSTED, SWEEPS)):
            return None
        if attempt_id is None and await self._is_anothers(intent):
            return None
        facts = {
            "kind": EventKind.PAYMENT,
            "attempt_id": attempt_id,
            "subscription_id": mapping.our(intent.metadata, "subscription_id"),
            "provider_payment_id": intent.id,
            "payment": await self._payments.snapshot(intent),
        }
        return self._listed(Listing.PAYMENTS, intent.id, intent.created, facts, intent.livemode)

    async def _received(self, params: Any) -> ListedPage:
        """Each customer whose bank sent money, once a page: by the transfer that it is counted for. Stripe
        keeps events for 30 days."""
        page = await self._v1.events.list_async(params)
        whose = {
            mapping.reference(moved.customer)
            for event in page.data
            if (moved := cast("stripe.CustomerCashBalanceTransaction", event.data.object)).type
            == FUNDED
        }
        items = []
        for customer_id in sorted(whose - {None}, key=str):
            holder = await self._payments.holder_of(str(customer_id))
            if holder is not None and (one := await self._payment(holder)) is not None:
                items.append(one)
        last = page.data[-1].id if page.has_more and page.data else None
        return ListedPage(items=items, next_cursor=last)

    async def _is_anothers(self, intent: stripe.PaymentIntent) -> bool:
        """Nothing to report: no money, or money of an invoice."""
        return intent.status != "succeeded" or await self._find_invoice(intent.id) is not None

    async def _invoice(self, found: stripe.Invoice) -> Listed | None:
        if found.status in {"draft", None}:
            return None
        facts = about_invoice(found)
        return self._listed(Listing.INVOICES, str(found.id), found.created, facts, found.livemode)

    async def _refund(self, found: stripe.Refund) -> Listed | None:
        """By its payment, with all that went back of it."""
        intent_id = mapping.reference(found.payment_intent)
        charge = found.charge
        if intent_id is None or not isinstance(charge, stripe.Charge):
            return None
        attempt_id = mapping.our(charge.metadata, "attempt_id")
        intent_id = mapping.our(charge.metadata, SWEEPS) or intent_id
        facts = {
            "kind": EventKind.LOOK,
            "money_back": True,
            "attempt_id": attempt_id,
            "subscription_id": mapping.our(charge.metadata, "subscription_id"),
            "provider_payment_id": intent_id,
            "provider_invoice_id": None if attempt_id else await self._find_invoice(intent_id),
        }
        return self._listed(
            Listing.REFUNDS,
            intent_id,
            found.created,
            facts,
            charge.livemode,
            amount_refunded_minor=from_stripe(charge.amount_refunded, charge.currency.upper()),
        )

    async def _disputed(self, params: Any) -> ListedPage:
        found, following = await self._disputes.listed(params)
        items = [
            listed(
                ProviderName.STRIPE,
                self._account,
                Listing.DISPUTES,
                one.provider_dispute_id,
                one.opened_at,
                {"kind": EventKind.DISPUTE, "dispute": one},
            )
            for one in found
        ]
        return ListedPage(items=items, next_cursor=following)

    async def _subscription(self, found: stripe.Subscription) -> Listed | None:
        facts = about_subscription(found)
        return self._listed(Listing.SUBSCRIPTIONS, found.id, found.created, facts, found.livemode)

    def _listed(
        self,
        listing: Listing,
        object_id: str,
        created: int,
        facts: dict[str, Any],
        livemode: bool,
        *,
        amount_refunded_minor: int | None = None,
    ) -> Listed:
        return listed(
            ProviderName.STRIPE,
            self._account,
            listing,
            object_id,
            mapping.instant(created),
            facts,
            livemode=livemode,
            amount_refunded_minor=amount_refunded_minor,
        )
