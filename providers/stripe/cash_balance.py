"""Transfers at Stripe: their money goes through a cash balance of the customer's.

Stripe gives it to the intents that wait, portion by portion. When an intent is canceled its portions go
back to the balance, where nobody would see them and any later intent could take them; what was sent too
much stays there, and so does what comes when nothing waits. So whoever reads a closed transfer sweeps the
balance: a payment of exactly what is free there, made for the same invoice, which succeeds at once. From
then on the money is a payment like any other, that is booked and can be refunded.

Refunds of transfers go to that balance, too: `cash_ledger` tells them apart, and they are never swept up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import stripe
from stripe.params import PaymentIntentConfirmParams, PaymentIntentCreateParams

from models.outcomes import FallbackReason
from models.snapshots import Capture
from providers.stripe import mapping
from providers.stripe.amounts import from_stripe
from providers.stripe.calls import keyed
from providers.stripe.cash_ledger import Move, free, left_by
from providers.stripe.failures import unknown

PAGE_SIZE_MAX = 100
# In the metadata of a sweeping intent: the transfer that it was made for.
SWEEPS = "sweeps"
_COPIED = ("subscription_id", "invoice_id", "organization_id")
_CLOSED = frozenset({"succeeded", "canceled"})
# A customer whose money moves between every two looks is looked at again later.
LOOKS_MAX = 5
BY_TRANSFER: PaymentIntentConfirmParams = {"payment_method_data": {"type": "customer_balance"}}

Moved = stripe.CustomerCashBalanceTransaction
Intents = Sequence[stripe.PaymentIntent]


class CashBalance:
    def __init__(self, client: stripe.StripeClient) -> None:
        self._v1 = client.v1

    async def portions(self, intent: stripe.PaymentIntent) -> tuple[list[Capture], int]:
        """What came for this transfer, portion by portion, and how much of it went back (minor units)."""
        if intent.status in _CLOSED:
            moves, sources = await self._swept(intent)
        elif _nothing_arrived(intent):
            return [], 0
        else:
            moves, sources = await self._movements(intent), [intent]
        ids = {source.id for source in sources}
        currency = str(intent.currency).upper()
        captures = [_portion(one, currency) for one in reversed(moves) if _applied_to(one) in ids]
        charges = [source.latest_charge for source in sources]
        back = sum(one.amount_refunded for one in charges if isinstance(one, stripe.Charge))
        return captures, from_stripe(back, currency)

    async def holder(self, customer_id: str) -> stripe.PaymentIntent | None:
        """The transfer of ours whose reading sweeps up what this customer sent; else the newest one."""
        intents = [one async for one in self._intents(customer_id, None)]
        newest = _newest(intents)
        if newest is None:
            return None
        owner_id = _owner(await self._movements(newest), intents)
        return next((one for one in intents if one.id == owner_id and _is_ours(one)), newest)

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

    async def _swept(
        self, intent: stripe.PaymentIntent
    ) -> tuple[list[Moved], list[stripe.PaymentIntent]]:
        """The balance's movements when nothing of this transfer's is left there, and the payments that
        took them: itself, when it succeeded, and those that swept up after it."""
        tried: set[str] = set()
        for _ in range(LOOKS_MAX):
            moves = await self._movements(intent)
            others = await self._others(intent, moves)
            if not await self._put_right(intent, moves, others, tried):
                swept = [one for one in others if _sweeps(one, intent, "succeeded")]
                return moves, swept + ([intent] if intent.status == "succeeded" else [])
        raise unknown("the cash balance keeps moving", intent.id, FallbackReason.API_ERROR)

    async def _put_right(
        self, intent: stripe.PaymentIntent, moves: list[Moved], others: Intents, tried: set[str]
    ) -> bool:
        """Whether something was done, so that all has to be read again."""
        stuck = [one for one in others if _sweeps(one, intent, "requires_action")]
        for one in stuck:
            await self._withdraw(one.id)
        if stuck:
            return True
        amount = _free(moves)
        if not amount or moves[0].id in tried or _owner(moves, others) != intent.id:
            return False
        tried.add(moves[0].id)
        await self._take(intent, moves[0], amount)
        return True

    async def _take(self, intent: stripe.PaymentIntent, last: Moved, amount: int) -> None:
        """May be repeated: the key is the balance's last movement, and what was taken is free no more. The
        balance itself decides between two that ask at once: the other's payment finds nothing there."""
        once = f"{last.id}:{intent.id}"
        made = await self._v1.payment_intents.create_async(
            _draft(intent, last.currency, amount), keyed("sweep", once)
        )
        if made.status == "requires_payment_method":
            made = await self._v1.payment_intents.confirm_async(
                made.id, BY_TRANSFER, keyed("sweep-confirm", once)
            )
        if made.status != "succeeded":
            # Another transfer of the customer waited for this money, and has it now.
            await self._withdraw(made.id)

    async def _withdraw(self, sweep_id: str) -> None:
        """A sweep that waits would take the customer's next transfer."""
        try:
            await self._v1.payment_intents.cancel_async(sweep_id)
        except stripe.InvalidRequestError:
            # It cannot be canceled any more: paid or canceled since, which the next reading tells.
            return

    async def _movements(self, intent: stripe.PaymentIntent) -> list[Moved]:
        """Newest first, back to when the intent was made: no older one can be its own. When something lies
        in the balance, all of them: only the whole story tells whose it is."""
        moves: list[Moved] = []
        async for moved in self._transactions(intent):
            newest = moves[0] if moves else moved
            if moved.created < intent.created and newest.ending_balance <= 0:
                break
            moves.append(moved)
        return moves

    async def _others(
        self, intent: stripe.PaymentIntent, moves: list[Moved]
    ) -> list[stripe.PaymentIntent]:
        """The customer's intents, as far as the movements say that they matter; newest first."""
        customer_id = mapping.reference(intent.customer) or ""
        if _free(moves):
            return [one async for one in self._intents(customer_id, None)]
        if all(_party(moved) in {None, intent.id} for moved in moves):
            return []
        return [one async for one in self._intents(customer_id, intent.created)]

    async def _intents(
        self, customer_id: str, since: int | None
    ) -> AsyncIterator[stripe.PaymentIntent]:
        page = await self._v1.payment_intents.list_async(
            {
                "customer": customer_id,
                "limit": PAGE_SIZE_MAX,
                "expand": ["data.latest_charge"],
            }
        )
        async for found in page.auto_paging_iter():
            if since is not None and found.created < since:
                return
            yield found

    async def _transactions(self, intent: stripe.PaymentIntent) -> AsyncIterator[Moved]:
        """Newest first; each currency has a balance of its own."""
        customer_id = mapping.reference(intent.customer)
        if customer_id is None:
            return
        page = await self._v1.customers.cash_balance_transactions.list_async(
            customer_id, {"limit": PAGE_SIZE_MAX}
        )
        async for moved in page.auto_paging_iter():
            if moved.currency == intent.currency:
                yield moved


def _free(newest_first: Sequence[Moved]) -> int:
    if not newest_first or newest_first[0].ending_balance <= 0:
        return 0
    return min(free([_move(one) for one in reversed(newest_first)]), newest_first[0].ending_balance)


def _owner(moves: Sequence[Moved], intents: Intents) -> str | None:
    """The transfer that what is free belongs to: the one that left it there, else the newest of ours."""
    sweeps = {one.id for one in intents if mapping.our(one.metadata, SWEEPS) is not None}
    left = left_by([_move(one) for one in moves], sweeps)
    if left is not None:
        return left
    newest = _newest(intents)
    return None if newest is None else newest.id


def _newest(intents: Intents) -> stripe.PaymentIntent | None:
    """One that was never confirmed was never shown to the customer."""
    return next((one for one in intents if _is_ours(one) and one.payment_method is not None), None)


def _is_ours(intent: stripe.PaymentIntent) -> bool:
    return (
        mapping.is_transfer(intent)
        and mapping.our(intent.metadata, "attempt_id") is not None
        and mapping.our(intent.metadata, SWEEPS) is None
    )


def _sweeps(one: stripe.PaymentIntent, intent: stripe.PaymentIntent, status: str) -> bool:
    return mapping.our(one.metadata, SWEEPS) == intent.id and one.status == status


def _draft(intent: stripe.PaymentIntent, currency: str, amount: int) -> PaymentIntentCreateParams:
    ours = {name: mapping.our(intent.metadata, name) for name in _COPIED}
    return {
        "amount": amount,
        "currency": currency,
        "customer": mapping.reference(intent.customer) or "",
        "description": "Transfer that paid no invoice in full",
        "allowed_payment_method_types": ["customer_balance"],
        "metadata": {**{k: v for k, v in ours.items() if v is not None}, SWEEPS: intent.id},
    }


def _applied_to(moved: Moved) -> str | None:
    applied = getattr(moved, "applied_to_payment", None)
    return mapping.reference(applied.payment_intent) if applied else None


def _party(moved: Moved) -> str | None:
    """The payment that the money went to, or came back from when it was canceled."""
    unapplied = getattr(moved, "unapplied_from_payment", None)
    back_from = mapping.reference(unapplied.payment_intent) if unapplied else None
    return _applied_to(moved) or back_from


def _move(moved: Moved) -> Move:
    return Move(moved.type, moved.net_amount, _party(moved))


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
