"""Disputes: a card payment that the customer has taken back through the bank."""

from __future__ import annotations

from typing import Any

import stripe

from models.outcomes import ProviderName
from models.snapshots import DisputeSnapshot, DisputeStatus
from providers.failures import FailureKind, ProviderFailure
from providers.stripe import mapping
from providers.stripe.amounts import from_stripe
from providers.stripe.calls import calling

# An inquiry (`warning_…`) that is closed never took any money: nothing was lost. Words that Stripe may
# add are open until it says how they ended.
_CLOSED: dict[str, DisputeStatus] = {
    "won": DisputeStatus.WON,
    "warning_closed": DisputeStatus.WON,
    "prevented": DisputeStatus.WON,
    "lost": DisputeStatus.LOST,
}


class Disputes:
    def __init__(self, client: stripe.StripeClient) -> None:
        self._v1 = client.v1

    async def get(self, dispute_id: str) -> DisputeSnapshot:
        with calling(dispute_id):
            found = await self._v1.disputes.retrieve_async(dispute_id)
            return snapshot(found, await self._invoices_of(_intent_of(found)))

    async def listed(self, params: Any) -> tuple[list[DisputeSnapshot], str | None]:
        """A page as Stripe's list gives it, and after what the next one begins."""
        page = await self._v1.disputes.list_async(params)
        seen = [snapshot(one, await self._invoices_of(_intent_of(one))) for one in page.data]
        return seen, page.data[-1].id if page.has_more and page.data else None

    async def accept(self, dispute_id: str) -> DisputeSnapshot:
        """Closing is for good, and Stripe refuses it for what is closed: then how it stands is the answer."""
        try:
            with calling(dispute_id):
                await self._v1.disputes.close_async(dispute_id)
        except ProviderFailure as failure:
            if failure.kind is not FailureKind.REJECTED:
                raise
            found = await self.get(dispute_id)
            if found.status is DisputeStatus.OPEN:
                raise
            return found
        return await self.get(dispute_id)

    async def _invoices_of(self, intent_id: str | None) -> list[str]:
        """The invoices that the payment paid: a subscription's money is known by its invoice's id."""
        if intent_id is None:
            return []
        listed = await self._v1.invoice_payments.list_async(
            {"payment": {"type": "payment_intent", "payment_intent": intent_id}}
        )
        references = (mapping.reference(payment.invoice) for payment in listed.data)
        return [reference for reference in references if reference is not None]


def _intent_of(found: stripe.Dispute) -> str | None:
    return mapping.reference(found.payment_intent)


@mapping.readable
def snapshot(found: stripe.Dispute, invoice_ids: list[str]) -> DisputeSnapshot:
    currency = found.currency.upper()
    charge_id, intent_id = mapping.reference(found.charge), mapping.reference(found.payment_intent)
    due_by = getattr(getattr(found, "evidence_details", None), "due_by", None)
    return DisputeSnapshot(
        provider=ProviderName.STRIPE,
        provider_dispute_id=found.id,
        status=_CLOSED.get(str(found.status), DisputeStatus.OPEN),
        provider_charge_ids=[one for one in (charge_id, *invoice_ids) if one is not None],
        provider_payment_id=intent_id,
        amount_minor=from_stripe(found.amount, currency),
        currency=currency,
        withdrawn=any(one.amount < 0 for one in found.balance_transactions),
        reason=found.reason,
        evidence_due_at=None if due_by is None else mapping.instant(due_by),
        opened_at=mapping.instant(found.created),
    )
