"""A dispute: read at its provider, written down, and told to the subscription that it is about."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from activities.signatures.disputes import DisputeCalls, DisputeRecord, DisputeRecords
    from activities.signatures.records import Acknowledgement, InboxRecords
    from models.commands import (
        PROVIDER_TASK_QUEUES,
        DisputeInput,
        DisputeNews,
        subscription_workflow_id,
    )
    from models.projections import AppliedEvent
    from models.snapshots import DisputeSnapshot
    from workflows.options import READ_RETRY, READ_TIMEOUT, call_write

# A payment that we have not heard of may be on its way to us: its webhook, or the look of its workflow.
PATIENCE: tuple[timedelta, ...] = (
    timedelta(minutes=1),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(hours=24),
)


@workflow.defn
class DisputeWorkflow:
    """Id `dispute/{inbox row}`, or `dispute/{dispute}` of one that an operator accepts. What the
    subscription makes of it is decided there, by its plan's rule; one that is over, and a purchase,
    only have it recorded."""

    @workflow.run
    async def run(self, request: DisputeInput) -> DisputeNews:
        try:
            seen = await self._seen(request)
        except ActivityError as error:
            cause = error.cause
            if not request.accept or not isinstance(cause, ApplicationError):
                raise
            return DisputeNews(refusal=cause.message)
        news = await self._record(request, seen)
        for wait in PATIENCE if request.event_id is not None else ():
            if news is not None:
                break
            await workflow.sleep(wait, summary="look for the disputed payment again")
            news = await self._record(request, seen)
        if news is None:
            await self._not_ours(request)
            return DisputeNews()
        if news.subscription_id is not None:
            await self._tell(news)
        return news

    async def _seen(self, request: DisputeInput) -> DisputeSnapshot:
        method = DisputeCalls.accept_dispute if request.accept else DisputeCalls.read_dispute
        wanted = "accept" if request.accept else "read"
        seen: DisputeSnapshot = await workflow.execute_activity_method(
            method,
            request,
            task_queue=PROVIDER_TASK_QUEUES[request.seen.provider],
            start_to_close_timeout=READ_TIMEOUT,
            retry_policy=READ_RETRY,
            summary=f"{wanted} the dispute at {request.seen.provider}",
        )
        return seen

    async def _record(self, request: DisputeInput, seen: DisputeSnapshot) -> DisputeNews | None:
        record = DisputeRecord(
            seen=seen, account=request.account, event_id=request.event_id, at=workflow.now()
        )
        news: DisputeNews | None = await call_write(
            DisputeRecords.record_dispute, record, f"write down that it is {seen.status}"
        )
        return news

    async def _not_ours(self, request: DisputeInput) -> None:
        if request.event_id is None:
            return
        event = AppliedEvent(id=request.event_id, disposition="not_ours")
        await call_write(
            InboxRecords.acknowledge,
            Acknowledgement(events=[event], at=workflow.now()),
            "no payment of ours is disputed",
        )

    async def _tell(self, news: DisputeNews) -> None:
        if news.subscription_id is None:
            return
        subscription = workflow.get_external_workflow_handle(
            subscription_workflow_id(news.subscription_id)
        )
        try:
            await subscription.signal("dispute_changed", news)
        except FailureError:
            workflow.logger.info("the subscription is over; the dispute is recorded")
