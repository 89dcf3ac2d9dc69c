"""What the organization holds, listed: orders, refunds by their order, and subscriptions."""

from __future__ import annotations

from datetime import datetime, timedelta

from models.reconcile import Listing
from models.snapshots import PaymentStatus
from providers.polar import PolarProvider
from tests.providers.polar.drafts import AMOUNT_MINOR, Buyer, paid_page, refund_draft
from tests.sandbox.polar.world import World

HOUR = timedelta(hours=1)


async def test_orders_and_what_went_back_of_them(
    world: World, provider: PolarProvider, buyer: Buyer
) -> None:
    paid = await paid_page(provider, world, buyer)
    [order] = world.all("orders")
    made = datetime.fromisoformat(order["created_at"])

    page = await provider.lists.page(Listing.PAYMENTS, made - HOUR, None)
    [one] = page.items
    assert (one.object_id, one.amount_refunded_minor, page.next_cursor) == (order["id"], 0, None)
    assert one.event.payment is not None
    assert one.event.payment.status is PaymentStatus.SUCCEEDED
    assert one.event.payment.captures == paid.captures
    assert one.event.attempt_id == "att_1"
    assert (await provider.lists.page(Listing.PAYMENTS, made + HOUR, None)).items == []

    await provider.refund(refund_draft(paid.provider_payment_id, amount_minor=AMOUNT_MINOR // 2))
    [back] = (await provider.lists.page(Listing.REFUNDS, made - HOUR, None)).items
    assert (back.object_id, back.amount_refunded_minor) == (order["id"], AMOUNT_MINOR // 2)
    assert (await provider.lists.page(Listing.REFUNDS, made + 2 * HOUR, None)).items == []
    assert (await provider.lists.page(Listing.SUBSCRIPTIONS, made, None)).items == []
