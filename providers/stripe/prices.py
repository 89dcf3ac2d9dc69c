"""What Stripe calls our plans: one product for each, and one price for each amount that was ever sold.

A price never changes there; people archive it, or its product, in Stripe's panel. An archived price stays
archived (whoever did it had a reason, and running subscriptions go on with it): another takes its place
and its lookup key. An archived product is put back, for our own plan says whether it is on sale.
"""

from __future__ import annotations

from typing import Literal

import stripe
from stripe.params import PriceCreateParams

from models.calendar import BillingInterval
from models.money import Money
from providers.drafts import PlanDraft
from providers.failures import FailureKind, ProviderFailure
from providers.stripe.amounts import from_stripe, to_stripe
from providers.stripe.calls import calling, keyed

INTERVAL: dict[BillingInterval, Literal["month", "year"]] = {
    BillingInterval.MONTHLY: "month",
    BillingInterval.YEARLY: "year",
}


class Prices:
    def __init__(self, client: stripe.StripeClient) -> None:
        self._v1 = client.v1

    async def ensure(self, draft: PlanDraft, replaces: str | None) -> str:
        """The lookup key says the amount, so a new amount is a new price. With `replaces` nothing that
        is remembered of earlier calls is believed."""
        if replaces is not None:
            await put_on_sale(self._v1, draft.plan_id, draft.name, "plan_id")
        lookup_key = _lookup_key(draft)
        with calling(draft.plan_id):
            known = await self._v1.prices.list_async(
                {"lookup_keys": [lookup_key], "active": True, "limit": 1}
            )
            if known.data and difference(known.data[0], draft) is None:
                return known.data[0].id
            if replaces is None:
                await self._ensure_product(draft)
            # Stripe answers a key with what it made then, so what takes another's place has its own.
            key = lookup_key if replaces is None else f"{lookup_key}:{replaces}"
            made = await self._v1.prices.create_async(
                _params(draft, lookup_key), keyed("price", key)
            )
            return made.id

    async def why_not_on_sale(self, draft: PlanDraft, price_id: str) -> str | None:
        """For people, in a word or three; None when it can be sold as the draft says."""
        try:
            with calling(price_id):
                price = await self._v1.prices.retrieve_async(price_id)
                product = await self._v1.products.retrieve_async(str(price.product))
        except ProviderFailure as failure:
            if failure.kind is not FailureKind.NOT_FOUND:
                raise
            return "gone"
        if not price.active:
            return "archived"
        if not product.active:
            return "archived product"
        return difference(price, draft)

    async def _ensure_product(self, draft: PlanDraft) -> None:
        try:
            await self._v1.products.create_async(
                {"id": draft.plan_id, "name": draft.name, "metadata": {"plan_id": draft.plan_id}},
                keyed("product", draft.plan_id),
            )
        except stripe.IdempotencyError:
            # Made before under another name; the price is what bills.
            return
        except stripe.InvalidRequestError as error:
            if error.code != "resource_already_exists":
                raise


async def put_on_sale(v1: stripe.V1Services, product_id: str, name: str, our_key: str) -> None:
    """Take a product out of the archive; make it again when it is gone."""
    try:
        with calling(product_id):
            await v1.products.update_async(product_id, {"active": True})
    except ProviderFailure as failure:
        if failure.kind is not FailureKind.NOT_FOUND:
            raise
        with calling(product_id):
            await v1.products.create_async(
                {"id": product_id, "name": name, "metadata": {our_key: product_id}}
            )


def difference(price: stripe.Price, draft: PlanDraft) -> str | None:
    """What the price says, where it is not what the draft says: `249.00 MXN a month`."""
    currency, interval = price.currency.upper(), _interval(price)
    wanted = to_stripe(draft.amount_minor, draft.currency), draft.currency
    if (price.unit_amount, currency, interval) == (*wanted, INTERVAL[draft.billing_interval]):
        return None
    if price.unit_amount is None:
        return "no fixed amount"
    amount = Money(amount_minor=from_stripe(price.unit_amount, currency), currency=currency)
    return f"{amount} a {interval}"


def _interval(price: stripe.Price) -> str | None:
    if price.recurring is None:
        return None
    count = price.recurring.interval_count
    return price.recurring.interval if count == 1 else f"{count} {price.recurring.interval}s"


def _lookup_key(draft: PlanDraft) -> str:
    interval = INTERVAL[draft.billing_interval]
    return f"{draft.plan_id}:{interval}:{draft.currency}:{draft.amount_minor}"


def _params(draft: PlanDraft, lookup_key: str) -> PriceCreateParams:
    return {
        "product": draft.plan_id,
        "currency": draft.currency.lower(),
        "unit_amount": to_stripe(draft.amount_minor, draft.currency),
        "recurring": {"interval": INTERVAL[draft.billing_interval]},
        "lookup_key": lookup_key,
        "transfer_lookup_key": True,
        "metadata": {"plan_id": draft.plan_id},
    }
