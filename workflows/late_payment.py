"""A provider event for a subscription whose workflow has ended: never dropped, never forgotten."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.signatures import InboxRecords, LateMoney
    from models.commands import ProviderEvents
    from workflows.options import RECORD_RETRY

# Not bound to one workflow task: the database may be away, and this workflow has nothing else to do.
TIMEOUT = timedelta(seconds=30)


@workflow.defn
class LatePaymentWorkflow:
    """Id `late/{inbox row}`. Money is booked as unapplied and shown to an operator."""

    @workflow.run
    async def run(self, events: ProviderEvents) -> None:
        await self._book_purchases(events)
        owners = {event.event.subscription_id for event in events.events} - {None}
        for owner in sorted(str(owner) for owner in owners):
            theirs = [event for event in events.events if event.event.subscription_id == owner]
            await workflow.execute_activity_method(
                InboxRecords.record_late_money,
                LateMoney(
                    subscription_id=UUID(owner),
                    events=ProviderEvents(events=theirs),
                    at=workflow.now(),
                ),
                start_to_close_timeout=TIMEOUT,
                retry_policy=RECORD_RETRY,
                summary="book money that came after the end",
            )

    async def _book_purchases(self, events: ProviderEvents) -> None:
        owners = {event.event.purchase_id for event in events.events} - {None}
        for owner in sorted(str(owner) for owner in owners):
            theirs = [event for event in events.events if event.event.purchase_id == owner]
            await workflow.execute_activity_method(
                InboxRecords.record_late_money,
                LateMoney(
                    purchase_id=UUID(owner),
                    events=ProviderEvents(events=theirs),
                    at=workflow.now(),
                ),
                start_to_close_timeout=TIMEOUT,
                retry_policy=RECORD_RETRY,
                summary="book money that came after the end of a purchase",
            )
