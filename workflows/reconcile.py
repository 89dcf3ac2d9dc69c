"""Holds a provider's books against ours, and has what differs put right by those whom it concerns."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.reconcile_signatures import (
        BeginRun,
        EndRun,
        ReconcileCalls,
        ReconcileRecords,
        RunStep,
    )
    from models.commands import PROVIDER_TASK_QUEUES
    from models.outcomes import ProviderName
    from models.reconcile import ReconcileInput, ReconcileReport
    from workflows.options import ATTEMPT_TIMEOUT, HEARTBEAT_TIMEOUT, RECORD_TIMEOUT

# A page of a hundred objects each: more is left to the next run, which goes on where this one stood.
STEPS_MAX = 500
# A provider that is away for longer than these (some ten minutes) is for the next run.
STEP_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=2),
    maximum_interval=timedelta(minutes=2),
    maximum_attempts=8,
)
REASON_LENGTH_MAX = 200
# Owners answer within a second; one whose Temporal or provider is slow within a minute.
LOOK_AFTER_SECONDS = (1, 1, 2, 3, 5, 8, 10, 15, 15)


@workflow.defn
class ReconcileWorkflow:
    """Id `reconcile/{provider}`."""

    @workflow.run
    async def run(self, request: ReconcileInput) -> ReconcileReport:
        run_id = workflow.uuid7()
        await workflow.execute_activity_method(
            ReconcileRecords.begin_reconcile,
            BeginRun(run_id=run_id, request=request, at=workflow.now()),
            start_to_close_timeout=RECORD_TIMEOUT,
            summary="go on where the last run was done",
        )
        step = RunStep(run_id=run_id, provider=request.provider)
        stopped_by = await self._compare(step)
        if not request.dry_run:
            await self._wait_for_repairs(step)
        report: ReconcileReport = await workflow.execute_activity_method(
            ReconcileRecords.end_reconcile,
            EndRun(
                run_id=run_id,
                complete=stopped_by is None,
                at=workflow.now(),
                stopped_by=stopped_by,
            ),
            start_to_close_timeout=RECORD_TIMEOUT,
            summary="sum up",
        )
        return report

    async def _compare(self, step: RunStep) -> str | None:
        """Page by page. Why not to the end, or None: a limit was reached, or the provider does not answer."""
        for number in range(STEPS_MAX):
            try:
                done = await workflow.execute_activity_method(
                    ReconcileCalls.reconcile_step,
                    step,
                    task_queue=PROVIDER_TASK_QUEUES[step.provider],
                    start_to_close_timeout=ATTEMPT_TIMEOUT,
                    heartbeat_timeout=HEARTBEAT_TIMEOUT,
                    retry_policy=STEP_RETRY,
                    summary=f"compare, part {number + 1}",
                )
            except ActivityError as error:
                workflow.logger.warning("reconciliation stops: the provider does not answer")
                return _reason(step.provider, error)
            if done:
                return None
        return f"more than {STEPS_MAX} pages"

    async def _wait_for_repairs(self, step: RunStep) -> None:
        for seconds in LOOK_AFTER_SECONDS:
            waiting: int = await workflow.execute_activity_method(
                ReconcileRecords.settle_reconcile,
                step.run_id,
                start_to_close_timeout=RECORD_TIMEOUT,
                summary="is it repaired",
            )
            if waiting == 0:
                return
            await workflow.sleep(seconds)


def _reason(provider: ProviderName, error: ActivityError) -> str:
    """In words for a person. A failure's message is the adapter's, which knows no secret."""
    cause = error.cause
    if isinstance(cause, ApplicationError):
        return f"{provider}: {cause.type}: {cause.message}"[:REASON_LENGTH_MAX]
    return f"{provider} does not answer"
