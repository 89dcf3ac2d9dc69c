"""A provider event for a subscription or a purchase that has ended: never dropped, never forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.signatures import InboxRecords, LateMoney, PurchaseCalls, PurchaseNews
    from models.commands import PROVIDER_TASK_QUEUES, InboxEvent, ProviderEvents
    from models.outcomes import ProviderName
    from models.purchase import PurchaseStatus
    from workflows.options import ATTEMPT_TIMEOUT, READ_RETRY, RECORD_RETRY

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
            for news in news_by_provider(UUID(owner), theirs, workflow.now()):
                await follow_purchase(news)


def news_by_provider(
    purchase_id: UUID, events: Sequence[InboxEvent], at: datetime
) -> list[PurchaseNews]:
    """Each provider is asked about its own."""
    by_provider: dict[ProviderName, list[InboxEvent]] = {}
    for event in events:
        by_provider.setdefault(event.event.provider, []).append(event)
    return [
        PurchaseNews(purchase_id=purchase_id, provider=provider, events=theirs, at=at)
        for provider, theirs in by_provider.items()
    ]


async def follow_purchase(news: PurchaseNews) -> PurchaseStatus:
    """Read what moved and write it down; however long the provider is away."""
    status: PurchaseStatus = await workflow.execute_activity_method(
        PurchaseCalls.follow_purchase,
        news,
        task_queue=PROVIDER_TASK_QUEUES[news.provider],
        start_to_close_timeout=ATTEMPT_TIMEOUT,
        retry_policy=READ_RETRY,
        summary="read what moved after the purchase had ended",
    )
    return status
