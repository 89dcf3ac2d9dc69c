"""Transfers at Stripe: their money goes through a cash balance of the customer's.

Stripe gives it to the intents that wait, portion by portion. When an intent is canceled its portions go
back to the balance, where nobody would see them and any later intent could take them; and what was sent
too much stays there. So a closed transfer, and a paid one as soon as it is read, sweeps the balance: a
payment of exactly what is there, made for the same invoice, which succeeds at once. From then on the money
is a payment like any other, that is booked and can be refunded.

Refunds of transfers go to that balance, too: money that was given back is never swept up by a paid one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import stripe
from stripe.params import PaymentIntentConfirmParams, PaymentIntentCreateParams

from models.snapshots import Capture
from providers.stripe import mapping
from providers.stripe.amounts import from_stripe
from providers.stripe.calls import calling, keyed

PAGE_SIZE_MAX = 100
# In the metadata of a sweeping intent: the transfer that it was made for.
SWEEPS = "sweeps"
_COPIED = ("subscription_id", "invoice_id", "organization_id")
BY_TRANSFER: PaymentIntentConfirmParams = {"payment_method_data": {"type": "customer_balance"}}


class CashBalance:
    def __init__(self, client: stripe.StripeClient) -> None:
        self._v1 = client.v1

    async def portions(self, intent: stripe.PaymentIntent) -> tuple[list[Capture], int]:
        """What came for this transfer, portion by portion, and how much of it went back (minor units)."""
        sources = [intent]
        if intent.status == "canceled":
            sources = [one async for one in self._sweeping(intent)]
        elif _nothing_arrived(intent):
            return [], 0
        moves = await self._since(intent) if sources else []
        if intent.status == "succeeded" and moves:
            if _has_surplus(intent, moves):
                await self._take(intent, moves[0])
                moves = await self._since(intent)
            if any(_applied_to(moved) not in {None, intent.id} for moved in moves):
                sources += [one async for one in self._sweeping(intent)]
        ids = {source.id for source in sources}
        currency = str(intent.currency).upper()
        captures = [_portion(one, currency) for one in reversed(moves) if _applied_to(one) in ids]
        charges = [source.latest_charge for source in sources]
        back = sum(one.amount_refunded for one in charges if isinstance(one, stripe.Charge))
        return captures, from_stripe(back, currency)

    async def sweep(self, intent_id: str) -> None:
        """Turn what lies in the balance into a payment. May be repeated: the key is the balance's last
        movement, and after a sweep there is nothing left."""
        with calling(intent_id):
            intent = await self._v1.payment_intents.retrieve_async(intent_id)
            if intent.status != "canceled" or not mapping.is_transfer(intent):
                return
            last = await anext(self._transactions(intent), None)
            if last is not None and last.ending_balance > 0:
                await self._take(intent, last)

    async def _take(
        self, intent: stripe.PaymentIntent, last: stripe.CustomerCashBalanceTransaction
    ) -> None:
        made = await self._v1.payment_intents.create_async(
            _draft(intent, last), keyed("sweep", last.id)
        )
        if made.status == "requires_payment_method":
            made = await self._v1.payment_intents.confirm_async(
                made.id, BY_TRANSFER, keyed("sweep-confirm", last.id)
            )
        if made.status != "succeeded":
            # Another transfer of the customer waited for this money, and has it now.
            await self._v1.payment_intents.cancel_async(made.id)

    async def _since(
        self, intent: stripe.PaymentIntent
    ) -> list[stripe.CustomerCashBalanceTransaction]:
        """The balance's movements since the intent was made, newest first: no older one can be its own."""
        moves = []
        async for moved in self._transactions(intent):
            if moved.created < intent.created:
                break
            moves.append(moved)
        return moves

    async def intent_behind(self, intent_id: str, charge_id: str | None) -> str:
        """The intent that a portion was given to, for whoever wants to refund it: the transfer itself, or
        the payment that swept up after it."""
        if charge_id is None or not charge_id.startswith("ccsbtxn_"):
            return intent_id
        intent = await self._v1.payment_intents.retrieve_async(intent_id)
        async for moved in self._transactions(intent):
            if moved.id == charge_id:
                return _applied_to(moved) or intent_id
        return intent_id

    async def _sweeping(self, intent: stripe.PaymentIntent) -> AsyncIterator[stripe.PaymentIntent]:
        customer_id = mapping.reference(intent.customer) or ""
        page = await self._v1.payment_intents.list_async(
            {
                "customer": customer_id,
                "limit": PAGE_SIZE_MAX,
                "expand": ["data.latest_charge"],
            }
        )
        async for found in page.auto_paging_iter():
            if found.created < intent.created:
                return
            if mapping.our(found.metadata, SWEEPS) == intent.id and found.status == "succeeded":
                yield found

    async def _transactions(
        self, intent: stripe.PaymentIntent
    ) -> AsyncIterator[stripe.CustomerCashBalanceTransaction]:
        """Newest first."""
        customer_id = mapping.reference(intent.customer)
        if customer_id is None:
            return
        page = await self._v1.customers.cash_balance_transactions.list_async(
            customer_id, {"limit": PAGE_SIZE_MAX}
        )
        async for moved in page.auto_paging_iter():
            yield moved


def _has_surplus(
    intent: stripe.PaymentIntent, moves: list[stripe.CustomerCashBalanceTransaction]
) -> bool:
    """Whether what lies there came with this transfer: it was the last that took anything, and nothing was
    given back since it was made."""
    given_back = any(moved.type == "refunded_from_payment" for moved in moves)
    taken_by = next((one for one in map(_applied_to, moves) if one is not None), None)
    return moves[0].ending_balance > 0 and taken_by == intent.id and not given_back


def _draft(
    intent: stripe.PaymentIntent, last: stripe.CustomerCashBalanceTransaction
) -> PaymentIntentCreateParams:
    ours = {name: mapping.our(intent.metadata, name) for name in _COPIED}
    return {
        "amount": last.ending_balance,
        "currency": last.currency,
        "customer": mapping.reference(intent.customer) or "",
        "description": "Transfer that paid no invoice in full",
        "allowed_payment_method_types": ["customer_balance"],
        "metadata": {**{k: v for k, v in ours.items() if v is not None}, SWEEPS: intent.id},
    }


def _applied_to(moved: stripe.CustomerCashBalanceTransaction) -> str | None:
    applied = getattr(moved, "applied_to_payment", None)
    return mapping.reference(applied.payment_intent) if applied else None


def _nothing_arrived(intent: stripe.PaymentIntent) -> bool:
    action = intent.next_action
    details = action.display_bank_transfer_instructions if action else None
    if details is None:
        return intent.status in {"requires_payment_method", "requires_confirmation"}
    return details.amount_remaining == intent.amount


def _portion(moved: stripe.CustomerCashBalanceTransaction, currency: str) -> Capture:
    return Capture(
        provider_charge_id=moved.id,
        amount_minor=from_stripe(-moved.net_amount, currency),
        currency=currency,
        captured_at=mapping.instant(moved.created),
    )
