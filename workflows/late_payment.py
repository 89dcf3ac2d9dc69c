"""Money that no living workflow waits for: it came after the end, or it went back. Never dropped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.signatures.money import MoneyCalls, MoneyFollowed, MoneyNews
    from activities.signatures.shop import PurchaseCalls, PurchaseNews
    from models.commands import PROVIDER_TASK_QUEUES, InboxEvent, ProviderEvents
    from models.outcomes import ProviderName
    from models.purchase import PurchaseStatus
    from workflows.options import ATTEMPT_TIMEOUT, READ_RETRY
    from workflows.refund import start_refund


@workflow.defn
class LatePaymentWorkflow:
    """Id `late/{inbox row}`. Money that came is booked as unapplied and dealt with by rule; money that
    went back is booked as a refund, whether the subscription has ended or not."""

    @workflow.run
    async def run(self, events: ProviderEvents) -> None:
        await self._book_purchases(events)
        others = [event for event in events.events if event.event.purchase_id is None]
        for provider in dict.fromkeys(event.event.provider for event in others):
            theirs = [event for event in others if event.event.provider is provider]
            followed: MoneyFollowed = await workflow.execute_activity_method(
                MoneyCalls.follow_money,
                MoneyNews(provider=provider, events=theirs, at=workflow.now()),
                task_queue=PROVIDER_TASK_QUEUES[provider],
                start_to_close_timeout=ATTEMPT_TIMEOUT,
                retry_policy=READ_RETRY,
                summary="read what moved and write it down",
            )
            for refund in followed.refunds:
                await start_refund(refund)

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
