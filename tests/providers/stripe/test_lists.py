"""What the account holds, listed: each object as the event that its webhook would have brought."""

from __future__ import annotations

from datetime import timedelta

from models.events import EventKind
from models.outcomes import Instrument, PayVoucher
from models.reconcile import Listed, Listing
from providers.drafts import RefundDraft
from tests.providers.stripe.conftest import Stage
from tests.providers.stripe.test_transfers import asked, transfer_of

HOUR = timedelta(hours=1)


async def listed(stage: Stage, listing: Listing, since: timedelta = -HOUR) -> list[Listed]:
    page = await stage.provider.lists.page(listing, stage.now() + since, None)
    assert page.next_cursor is None
    return page.items


async def test_payments_with_their_money_and_our_ids(stage: Stage) -> None:
    draft, snapshot = await asked(stage)
    await stage.control(f"payments/{transfer_of(snapshot).clabe}/pay")
    voucher = await stage.payment_draft(Instrument.OXXO)
    issued = await stage.provider.commit_payment(
        voucher, await stage.provider.prepare_payment(voucher)
    )
    assert isinstance(issued.next_action, PayVoucher)

    waiting, paid = await listed(stage, Listing.PAYMENTS)

    assert waiting.event.attempt_id == voucher.attempt_id
    assert waiting.event.payment == issued
    assert paid.event.attempt_id == draft.attempt_id
    assert paid.event.payment == await stage.provider.get_payment(snapshot.provider_payment_id)
    await stage.advance(hours=2)
    assert await listed(stage, Listing.PAYMENTS) == [], "older than asked for"


async def test_a_page_goes_on_after_its_cursor(stage: Stage) -> None:
    made = [(await asked(stage))[1].provider_payment_id for _ in range(3)]
    page = await stage.provider.lists.page(Listing.PAYMENTS, stage.now() - HOUR, made[-1])
    assert [one.object_id for one in page.items] == made[-2::-1]


async def test_a_refund_tells_all_that_went_back_of_its_payment(stage: Stage) -> None:
    _, snapshot = await asked(stage)
    await stage.control(f"payments/{transfer_of(snapshot).clabe}/pay")
    for amount_minor in (500, 700):
        refund = RefundDraft(
            refund_id=stage.next_id("refund"),
            provider_payment_id=snapshot.provider_payment_id,
            amount_minor=amount_minor,
            currency="MXN",
            reason="requested_by_customer",
            already_refunded_minor=0,
        )
        await stage.provider.refund(refund)
    for one in await listed(stage, Listing.REFUNDS):
        assert one.amount_refunded_minor == 1200
        assert (one.event.kind, one.event.money_back) == (EventKind.LOOK, True)
        assert one.event.provider_payment_id == snapshot.provider_payment_id
