"""Hosted pages: Checkout Sessions for one payment, by whatever the account has switched on.

The session decides what is open; once the customer has finished, the PaymentIntent below it knows about
the money (a voucher chosen on the page is paid days later). Payloads of sessions name no charge, so a
webhook about money says "look" and the session is read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import stripe
from stripe.params.checkout import SessionCreateParams, SessionCreateParamsLineItemPriceData

from models.outcomes import FallbackReason, ProviderName, Redirect
from models.snapshots import PaymentSnapshot, PaymentStatus, RefundSnapshot
from providers.drafts import CheckoutDraft, ProductDraft, RefundDraft
from providers.failures import FailureKind, ProviderFailure
from providers.stripe import mapping
from providers.stripe.amounts import from_stripe, to_stripe
from providers.stripe.calls import calling, keyed, read_back
from providers.stripe.payments import Payments
from providers.stripe.prices import put_on_sale

SESSION_PREFIX = "cs_"
# The mark on the PaymentIntent of a page: while the page is open, a declined card on it decides nothing.
HOSTED = "hosted"
# What Stripe lets a session live; its own default is the longest.
LIFETIME_MIN = timedelta(minutes=30)
LIFETIME_MAX = timedelta(hours=24)

Result = TypeVar("Result")


class Checkouts:
    def __init__(self, client: stripe.StripeClient, payments: Payments) -> None:
        self._v1 = client.v1
        self._payments = payments

    async def ensure_product(self, draft: ProductDraft, replaces: str | None) -> str:
        """The product's id is ours; its price is said anew by each session."""
        if replaces is not None:
            await put_on_sale(self._v1, draft.product_id, draft.name, "product_id")
            return draft.product_id
        try:
            with calling(draft.product_id):
                made = await self._v1.products.create_async(
                    {
                        "id": draft.product_id,
                        "name": draft.name,
                        "metadata": {"product_id": draft.product_id},
                    },
                    keyed("sold_product", draft.product_id),
                )
        except ProviderFailure as failure:
            # Made before, perhaps under another name.
            if failure.code not in {"resource_already_exists", "idempotency_error"}:
                raise
            return draft.product_id
        return made.id

    async def create(self, draft: CheckoutDraft) -> PaymentSnapshot:
        made = await _not_attempted(lambda: self._create(draft))
        with calling(made.id):
            return open_page(made)

    async def get(self, session_id: str) -> PaymentSnapshot:
        session = await self._read(session_id)
        intent_id = mapping.reference(session.payment_intent)
        if session.status != "complete" or intent_id is None:
            with calling(session_id):
                return open_page(session)
        paid = await self._payments.get(intent_id)
        return paid.model_copy(update={"provider_payment_id": session_id})

    async def cancel(self, session_id: str) -> PaymentSnapshot:
        """Expire the page; one that was finished with a voucher has that voucher voided."""
        try:
            with calling(session_id):
                await self._v1.checkout.sessions.expire_async(
                    session_id, {}, keyed("expire", session_id)
                )
        except ProviderFailure as failure:
            if failure.kind is not FailureKind.REJECTED:
                raise
            found = await self.get(session_id)
            if found.status is not PaymentStatus.PENDING:
                return found
            intent_id = await self._intent_of(session_id)
            if intent_id is None:
                raise
            await self._payments.cancel(intent_id)
        return await read_back(self.get(session_id), session_id)

    async def refund(self, draft: RefundDraft) -> RefundSnapshot:
        intent_id = await self._intent_of(draft.provider_payment_id)
        if intent_id is None:
            raise ProviderFailure(
                FailureKind.REJECTED,
                "nobody has paid on this page",
                code="not_paid",
                provider_object_id=draft.provider_payment_id,
            )
        return await self._payments.refund(
            draft.model_copy(update={"provider_payment_id": intent_id})
        )

    async def _intent_of(self, session_id: str) -> str | None:
        """The PaymentIntent below the page; none before the customer began to pay."""
        session = await self._read(session_id)
        return mapping.reference(session.payment_intent)

    async def _create(self, draft: CheckoutDraft) -> stripe.checkout.Session:
        metadata = _metadata(draft)
        params: SessionCreateParams = {
            "mode": "payment",
            "customer": draft.provider_customer_id,
            "client_reference_id": draft.attempt_id,
            "line_items": [{"quantity": 1, "price_data": _price(draft)}],
            "success_url": draft.success_url,
            "metadata": metadata,
            "payment_intent_data": {
                "description": draft.description,
                "metadata": {**metadata, HOSTED: "true"},
            },
        }
        if LIFETIME_MIN <= draft.expires_at - datetime.now(UTC) <= LIFETIME_MAX:
            params["expires_at"] = int(draft.expires_at.timestamp())
        with calling():
            return await self._v1.checkout.sessions.create_async(
                params, keyed("checkout", draft.attempt_id)
            )

    async def _read(self, session_id: str) -> stripe.checkout.Session:
        with calling(session_id):
            return await self._v1.checkout.sessions.retrieve_async(session_id)


@mapping.readable
def open_page(session: stripe.checkout.Session) -> PaymentSnapshot:
    """What a session says by itself, which is all while nobody has paid."""
    currency = str(session.currency).upper()
    expires_at = mapping.instant(session.expires_at)
    expired = session.status == "expired"
    action = None
    if not expired and session.url is not None:
        action = Redirect(url=session.url, expires_at=expires_at)
    return PaymentSnapshot(
        provider=ProviderName.STRIPE,
        provider_payment_id=session.id,
        status=PaymentStatus.EXPIRED if expired else PaymentStatus.PENDING,
        amount_minor=from_stripe(int(session.amount_total or 0), currency),
        currency=currency,
        expires_at=expires_at,
        next_action=action,
        attempt_id=mapping.our(session.metadata, "attempt_id"),
    )


async def _not_attempted(call: Callable[[], Awaitable[Result]]) -> Result:
    """A page whose address got lost cannot be paid by anybody, so nothing was attempted."""
    try:
        return await call()
    except ProviderFailure as failure:
        if failure.kind is not FailureKind.UNKNOWN:
            raise
        raise ProviderFailure(
            FailureKind.UNAVAILABLE,
            f"no page, or one that nobody can find: {failure.message}",
            code=failure.code,
            fallback_reason=failure.fallback_reason or FallbackReason.API_ERROR,
            request_id=failure.request_id,
            retry_after_seconds=failure.retry_after_seconds,
        ) from None


def _price(draft: CheckoutDraft) -> SessionCreateParamsLineItemPriceData:
    """The amount is the draft's, whatever a price object of the product once said."""
    price: SessionCreateParamsLineItemPriceData = {
        "currency": draft.currency.lower(),
        "unit_amount": to_stripe(draft.amount_minor, draft.currency),
    }
    if draft.provider_product_id is not None:
        price["product"] = draft.provider_product_id
    else:
        price["product_data"] = {"name": draft.description}
    return price


def _metadata(draft: CheckoutDraft) -> dict[str, str]:
    ours = {
        "attempt_id": draft.attempt_id,
        "invoice_id": draft.invoice_id,
        "organization_id": draft.organization_id,
        "subscription_id": draft.subscription_id,
        "purchase_id": draft.purchase_id,
    }
    return {name: value for name, value in ours.items() if value is not None}
