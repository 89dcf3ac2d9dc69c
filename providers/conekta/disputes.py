"""Chargebacks: a card payment that the customer has taken back through the bank."""

from __future__ import annotations

from datetime import UTC, datetime

from models.outcomes import ProviderName
from models.snapshots import DisputeSnapshot, DisputeStatus
from providers.conekta.client import ConektaClient
from providers.conekta.mapping import ConektaChargeback, ConektaOrder
from providers.conekta.orders import read_order

# `covered`: Conekta bears it, the merchant keeps the money. Any other word is a step on the way.
_CLOSED: dict[str, DisputeStatus] = {
    "won": DisputeStatus.WON,
    "covered": DisputeStatus.WON,
    "lost": DisputeStatus.LOST,
}


async def read(client: ConektaClient, seen: DisputeSnapshot) -> DisputeSnapshot:
    """A chargeback has no address of its own: its order tells, where it is known which one that is."""
    if seen.provider_payment_id is None:
        return seen
    order = await read_order(client, seen.provider_payment_id)
    found = of_order(order, seen.opened_at)
    is_this = found is not None and found.provider_dispute_id == seen.provider_dispute_id
    return found if found is not None and is_this else seen


def snapshot(
    found: ConektaChargeback, seen_at: datetime, order: ConektaOrder | None = None
) -> DisputeSnapshot:
    """`order` is the disputed one, where the event is about it: it says that the money was taken."""
    due_by, opened_at = _time(found.evidence_due_by), _time(found.created_at)
    return DisputeSnapshot(
        provider=ProviderName.CONEKTA,
        provider_dispute_id=found.id,
        status=_CLOSED.get(found.status or "", DisputeStatus.OPEN),
        provider_charge_ids=[found.charge_id] if found.charge_id else [],
        provider_payment_id=order.id if order is not None else None,
        withdrawn=order is not None and order.payment_status == "charged_back",
        reason=found.reason,
        evidence_due_at=due_by,
        opened_at=opened_at or seen_at,
    )


def of_order(order: ConektaOrder, seen_at: datetime) -> DisputeSnapshot | None:
    """The chargeback of an order that was charged back; None where it does not say."""
    for charge in order.charge_list:
        if charge.chargeback is not None:
            found = charge.chargeback.model_copy(update={"charge_id": charge.id})
            return snapshot(found, seen_at, order)
    return None


def _time(unix_seconds: int | None) -> datetime | None:
    return None if unix_seconds is None else datetime.fromtimestamp(unix_seconds, UTC)
