"""Opening a subscription at Stripe: made so that nothing is charged by itself."""

from __future__ import annotations

from typing import cast

import stripe
from stripe.params import SubscriptionCreateParams

from providers.drafts import PlanDraft, PreparedSubscription, SubscriptionDraft
from providers.failures import FailureKind, NotOnSale, ProviderFailure
from providers.stripe import mapping
from providers.stripe.calls import calling, keyed, lean_answer
from providers.stripe.prices import difference

# More than a customer has tries within the day for which Stripe remembers a key.
SEARCH_MAX = 100
_ENDED = {"canceled", "incomplete_expired"}


class Openings:
    def __init__(self, client: stripe.StripeClient) -> None:
        self._client, self._v1 = client, client.v1

    async def prepare(self, draft: SubscriptionDraft) -> PreparedSubscription:
        """`default_incomplete` never charges by itself; only a trial starts without a payment.

        The price comes back with the answer, so comparing it costs no call. Nothing has been charged by
        then: what was opened with another price is canceled, and the draft refused.
        """
        made = await self._create(draft)
        wrong = difference(made.items.data[0].price, _plan_of(draft))
        if wrong is not None:
            await self._cancel(made.id)
            message = f"{draft.provider_plan_id} is {wrong}"
            raise NotOnSale(message, code="price_differs")
        to_pay = mapping.reference(made.latest_invoice) if made.status == "incomplete" else None
        return PreparedSubscription(provider_subscription_id=made.id, provider_invoice_id=to_pay)

    async def _create(self, draft: SubscriptionDraft) -> stripe.Subscription:
        params = _params(draft)
        try:
            with calling():
                key = keyed("subscription", draft.attempt_id)
                made = await lean_answer(self._client, "post", "/v1/subscriptions", params, key)
                return cast("stripe.Subscription", made)
        except ProviderFailure as failure:
            if failure.code != "idempotency_error":
                raise
        # This attempt was here before, with a price that has been replaced since.
        before = await self._find(draft)
        if before is not None:
            return before
        with calling():
            return await self._v1.subscriptions.create_async(
                params, keyed("subscription", f"{draft.attempt_id}:{draft.provider_plan_id}")
            )

    async def _find(self, draft: SubscriptionDraft) -> stripe.Subscription | None:
        with calling():
            theirs = await self._v1.subscriptions.list_async(
                {"customer": draft.provider_customer_id, "status": "all", "limit": SEARCH_MAX}
            )
        for one in theirs.data:
            ours = mapping.our(one.metadata, "attempt_id") == draft.attempt_id
            if ours and one.status not in _ENDED:
                return one
        return None

    async def _cancel(self, subscription_id: str) -> None:
        try:
            with calling(subscription_id):
                await self._v1.subscriptions.cancel_async(subscription_id)
        except ProviderFailure as failure:
            if failure.kind is not FailureKind.NOT_FOUND:  # Canceled already, by an earlier call.
                raise


def _plan_of(draft: SubscriptionDraft) -> PlanDraft:
    return PlanDraft(
        plan_id=draft.provider_plan_id,
        name=draft.plan_name,
        billing_interval=draft.billing_interval,
        amount_minor=draft.amount_minor // draft.quantity,
        currency=draft.currency,
    )


def _params(draft: SubscriptionDraft) -> SubscriptionCreateParams:
    params: SubscriptionCreateParams = {
        "customer": draft.provider_customer_id,
        "items": [{"price": draft.provider_plan_id, "quantity": draft.quantity}],
        "payment_behavior": "default_incomplete",
        "collection_method": "charge_automatically",
        # Paying with another card makes that the card of the next renewal.
        "payment_settings": {
            "save_default_payment_method": "on_subscription",
            "payment_method_types": ["card"],
        },
        "billing_mode": {"type": "flexible"},
        "metadata": {
            "subscription_id": draft.subscription_id,
            "invoice_id": draft.invoice_id,
            "attempt_id": draft.attempt_id,
            "organization_id": draft.organization_id,
        },
    }
    if draft.provider_payment_method_id is not None:
        params["default_payment_method"] = draft.provider_payment_method_id
    if draft.trial_end is not None:
        params["trial_end"] = int(draft.trial_end.timestamp())
    return params
