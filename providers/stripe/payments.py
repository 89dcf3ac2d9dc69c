"""One-off payments: OXXO vouchers and SPEI transfers as PaymentIntents; refunds."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Literal

import stripe
from stripe.params import (
    PaymentIntentConfirmParams,
    PaymentIntentCreateParams,
    PaymentIntentCreateParamsPaymentMethodOptions,
    RefundCreateParams,
)

from models.outcomes import FallbackReason, Instrument
from models.snapshots import Capture, PaymentSnapshot, PaymentStatus, RefundSnapshot
from providers.drafts import PaymentDraft, RefundDraft
from providers.failures import FailureKind, ProviderFailure
from providers.stripe import mapping
from providers.stripe.amounts import from_stripe, to_stripe
from providers.stripe.calls import calling, keyed, read_back, was_replayed
from providers.stripe.capabilities import NO_CASH_REFUND
from providers.stripe.cash_balance import BY_TRANSFER, CashBalance
from providers.stripe.failures import unsupported

STRIPE_TYPE_BY_INSTRUMENT: dict[Instrument, Literal["oxxo", "customer_balance"]] = {
    Instrument.OXXO: "oxxo",
    Instrument.SPEI: "customer_balance",
}
VOUCHER_DAYS_MAX = 7
REASONS = {"duplicate", "fraudulent", "requested_by_customer"}
PAGE_SIZE_MAX = 100


class Payments:
    def __init__(self, client: stripe.StripeClient) -> None:
        self._v1 = client.v1
        self._cash_balance = CashBalance(client)

    async def prepare(self, draft: PaymentDraft) -> str:
        """A PaymentIntent that is not confirmed: there is no voucher and no CLABE yet."""
        wanted = _stripe_type(draft)
        params: PaymentIntentCreateParams = {
            "amount": to_stripe(draft.amount_minor, draft.currency),
            "currency": draft.currency.lower(),
            "customer": draft.provider_customer_id,
            "description": draft.description,
            "allowed_payment_method_types": [wanted],
            "payment_method_options": _options(draft),
            "metadata": _metadata(draft),
        }
        with calling():
            made = await self._v1.payment_intents.create_async(
                params, keyed("payment", draft.attempt_id)
            )
        # The filter drops silently what the account has not switched on.
        if wanted not in made.payment_method_types:
            raise ProviderFailure(
                FailureKind.MISCONFIGURED,
                f"{wanted} is not switched on for this Stripe account and currency",
                code="payment_method_type_not_enabled",
                fallback_reason=FallbackReason.PROVIDER_NOT_CONFIGURED,
                provider_object_id=made.id,
            )
        return made.id

    async def commit(self, draft: PaymentDraft, payment_id: str) -> PaymentSnapshot:
        params = _confirmation(draft)
        try:
            with calling(payment_id):
                confirmed = await self._v1.payment_intents.confirm_async(
                    payment_id, params, keyed("confirm", draft.attempt_id)
                )
        except ProviderFailure as failure:
            if failure.kind is not FailureKind.REJECTED:
                raise
            # Perhaps it was confirmed before and the key is forgotten: then it is no failure.
            found = await read_back(self.get(payment_id), payment_id)
            if found.status is PaymentStatus.PREPARED:
                raise
            return found
        if was_replayed(confirmed) or confirmed.status != "requires_action":
            return await read_back(self.get(payment_id), payment_id)
        return await read_back(self.snapshot(confirmed), payment_id)

    async def get(self, payment_id: str) -> PaymentSnapshot:
        with calling(payment_id):
            intent = await self._v1.payment_intents.retrieve_async(
                payment_id, {"expand": ["latest_charge"]}
            )
        return await self.snapshot(intent)

    async def cancel(self, payment_id: str) -> PaymentSnapshot:
        """Cancel, then read: an old answer under the key could hide money that came later. Reading makes a
        transfer's money that it did not need a payment of its own: see `cash_balance`."""
        try:
            with calling(payment_id):
                await self._v1.payment_intents.cancel_async(
                    payment_id, {}, keyed("cancel", payment_id)
                )
        except ProviderFailure as failure:
            if failure.kind is not FailureKind.REJECTED:
                raise
            found = await self.get(payment_id)
            if found.status not in {PaymentStatus.CANCELED, PaymentStatus.SUCCEEDED}:
                raise
        return await read_back(self.get(payment_id), payment_id)

    async def refund(self, draft: RefundDraft) -> RefundSnapshot:
        """`provider_payment_id` may be an intent, a charge, or an invoice (whose payment is looked
        up: an invoice's money is known to the engine by the invoice's id)."""
        if draft.provider_refund_id is not None:
            return await self.get_refund(draft.provider_refund_id)
        params: RefundCreateParams = {
            "amount": to_stripe(draft.amount_minor, draft.currency),
            "reason": "requested_by_customer",
            "metadata": {"refund_id": draft.refund_id},
        }
        if draft.reason in REASONS:
            params["reason"] = draft.reason
        target = draft.provider_payment_id
        if target.startswith("in_"):
            target = await self._intent_of_invoice(target)
        if target.startswith("pi_"):
            with calling(target):
                target = await self._cash_balance.intent_behind(target, draft.provider_charge_id)
            params["payment_intent"] = target
        else:
            params["charge"] = target
        try:
            with calling(target):
                made = await self._v1.refunds.create_async(params, keyed("refund", draft.refund_id))
                return mapping.refund(made)
        except ProviderFailure as failure:
            if failure.kind is FailureKind.REJECTED and await self._is_cash(target):
                raise unsupported(NO_CASH_REFUND, target) from None
            raise

    async def get_refund(self, refund_id: str) -> RefundSnapshot:
        with calling(refund_id):
            return mapping.refund(await self._v1.refunds.retrieve_async(refund_id))

    async def holder_of(self, customer_id: str) -> stripe.PaymentIntent | None:
        """For this package alone: the transfer that a customer's unclaimed money belongs to."""
        with calling():
            return await self._cash_balance.holder(customer_id)

    async def intent_with_charge(self, intent_id: str) -> stripe.PaymentIntent:
        """For this package alone: snapshots are what leaves it."""
        with calling(intent_id):
            return await self._v1.payment_intents.retrieve_async(
                intent_id, {"expand": ["latest_charge"]}
            )

    async def snapshot(self, intent: stripe.PaymentIntent) -> PaymentSnapshot:
        """The whole truth about an intent, with every payment that arrived for it."""
        with calling(intent.id):
            if mapping.is_transfer(intent):
                captures, refunded_minor = await self._cash_balance.portions(intent)
            else:
                captures, refunded_minor = await self._charges(intent)
            return mapping.payment(intent, captures, refunded_minor)

    async def _charges(self, intent: stripe.PaymentIntent) -> tuple[list[Capture], int]:
        """A voucher can be paid twice, and the intent names only its latest charge."""
        if intent.latest_charge is None:
            return [], 0
        page = await self._v1.charges.list_async(
            {"payment_intent": intent.id, "limit": PAGE_SIZE_MAX}
        )
        paid = [charge for charge in page.data if charge.paid]
        currency = str(intent.currency).upper()
        refunded = from_stripe(sum(charge.amount_refunded for charge in paid), currency)
        return [mapping.capture_of_charge(charge) for charge in reversed(paid)], refunded

    async def _is_cash(self, target: str) -> bool:
        if not target.startswith("pi_"):
            return False
        with calling(target):
            intent = await self._v1.payment_intents.retrieve_async(target)
            return list(intent.payment_method_types) == ["oxxo"]

    async def _intent_of_invoice(self, invoice_id: str) -> str:
        with calling(invoice_id):
            found = await self._v1.invoices.retrieve_async(invoice_id, {"expand": ["payments"]})
        intent_id = paid_intent_of(found)
        if intent_id is None:
            raise ProviderFailure(
                FailureKind.REJECTED, "the invoice has no payment", provider_object_id=invoice_id
            )
        return intent_id


def paid_intent_of(invoice: stripe.Invoice) -> str | None:
    """The intent that paid (or shall pay) an invoice whose `payments` are expanded."""
    payments = getattr(invoice, "payments", None)
    rows = [] if payments is None else list(payments.data)
    rows.sort(key=lambda row: (row.status != "paid", not row.is_default))
    found = (mapping.reference(getattr(row.payment, "payment_intent", None)) for row in rows)
    return next((intent_id for intent_id in found if intent_id is not None), None)


def voucher_days(draft: PaymentDraft) -> int:
    """Stripe counts vouchers in whole days; rounded up, so that none dies before our deadline."""
    days = math.ceil((draft.expires_at - draft.created_at) / timedelta(days=1))
    return min(max(days, 1), VOUCHER_DAYS_MAX)


def _stripe_type(draft: PaymentDraft) -> Literal["oxxo", "customer_balance"]:
    wanted = STRIPE_TYPE_BY_INSTRUMENT.get(draft.instrument)
    if wanted is None:
        raise unsupported(f"no one-off payments by {draft.instrument} through Stripe")
    if draft.currency != "MXN":
        raise unsupported(f"{draft.instrument} is for MXN, not {draft.currency}")
    return wanted


def _metadata(draft: PaymentDraft) -> dict[str, str]:
    metadata = {
        "invoice_id": draft.invoice_id,
        "attempt_id": draft.attempt_id,
        "organization_id": draft.organization_id,
        # A CLABE has no end at Stripe: this is where the deadline is read from again.
        "expires_at": draft.expires_at.isoformat(),
    }
    if draft.subscription_id is not None:
        metadata["subscription_id"] = draft.subscription_id
    return metadata


def _options(draft: PaymentDraft) -> PaymentIntentCreateParamsPaymentMethodOptions:
    if draft.instrument is Instrument.OXXO:
        return {"oxxo": {"expires_after_days": voucher_days(draft)}}
    return {
        "customer_balance": {
            "funding_type": "bank_transfer",
            "bank_transfer": {"type": "mx_bank_transfer"},
        }
    }


def _confirmation(draft: PaymentDraft) -> PaymentIntentConfirmParams:
    if _stripe_type(draft) == "customer_balance":
        return BY_TRANSFER
    return {
        "payment_method_data": {
            "type": "oxxo",
            "billing_details": {
                "name": _first_and_last_name(draft.customer_name),
                "email": draft.customer_email,
            },
        }
    }


def _first_and_last_name(name: str) -> str:
    """OXXO wants two names of two letters; a company of one word gives its word twice."""
    words = name.split()
    if len(words) >= 2 and min(len(words[0]), len(words[-1])) >= 2:
        return name
    joined = "".join(words)
    return f"{joined} {joined}"
