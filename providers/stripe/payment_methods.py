"""Cards at Stripe: attached to a customer, forgotten, and set up in a browser."""

from __future__ import annotations

import stripe

from models.outcomes import FallbackReason, Instrument
from models.snapshots import PaymentMethodSnapshot
from providers.drafts import AttachPaymentMethod, SetupDraft
from providers.failures import FailureKind, ProviderFailure
from providers.stripe import mapping
from providers.stripe.calls import calling, keyed
from providers.stripe.failures import unknown, unsupported


class PaymentMethods:
    def __init__(self, client: stripe.StripeClient) -> None:
        self._v1 = client.v1

    async def attach(self, request: AttachPaymentMethod) -> PaymentMethodSnapshot:
        if request.type is not Instrument.CARD:
            raise unsupported(f"{request.type} has no instrument that could be stored")
        with calling():
            method_id = request.token
            if method_id.startswith("tok_"):
                made = await self._v1.payment_methods.create_async(
                    {"type": "card", "card": {"token": request.token}},
                    keyed("payment_method", request.payment_method_id),
                )
                method_id = made.id
            attached = await self._v1.payment_methods.attach_async(
                method_id,
                {"customer": request.provider_customer_id},
                keyed("attach", request.payment_method_id),
            )
            return mapping.payment_method(attached, request.provider_customer_id)

    async def detach(self, method_id: str) -> None:
        try:
            with calling(method_id):
                await self._v1.payment_methods.detach_async(
                    method_id, {}, keyed("detach", method_id)
                )
        except ProviderFailure as failure:
            if failure.kind is FailureKind.NOT_FOUND:
                return
            if failure.kind is not FailureKind.REJECTED:
                raise
            with calling(method_id):
                found = await self._v1.payment_methods.retrieve_async(method_id)
            if found.customer is not None:
                raise

    async def create_setup(self, draft: SetupDraft) -> str:
        """A SetupIntent without a customer: the card is attached when its token is posted, as any
        other. `off_session` has the bank ask now what renewals could not answer later."""
        with calling():
            made = await self._v1.setup_intents.create_async(
                {
                    "usage": "off_session",
                    "allowed_payment_method_types": ["card"],
                    "metadata": {"organization_id": draft.organization_id},
                }
            )
        if made.client_secret is None:
            raise unknown(
                "a SetupIntent without a client secret", made.id, FallbackReason.API_ERROR
            )
        return made.client_secret
