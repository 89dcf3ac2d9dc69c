"""An attempt whose answer was lost: ask the provider until it is known what happened."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.signatures import AttemptResult, SettleAttempt
    from models.outcomes import OutcomeClass
    from workflows.options import call_settle

# Soon, because a customer may be waiting; then patiently, because nothing else may start meanwhile.
WAITS = (
    timedelta(seconds=5),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(hours=1),
)
WAIT_THEN = timedelta(days=1)


@workflow.defn
class ResolveAttemptWorkflow:
    """Id `resolve/{attempt_id}`. Ends with any outcome but `unknown`: what happened was adopted, or
    what had half happened was undone."""

    @workflow.run
    async def run(self, request: SettleAttempt) -> AttemptResult:
        looks = 0
        while True:
            wait = WAITS[looks] if looks < len(WAITS) else WAIT_THEN
            looks += 1
            workflow.set_current_details(
                f"{request.provider} did not answer an attempt to collect money. "
                f"Look {looks} is in {wait}; until it is known, nothing new starts."
            )
            await workflow.sleep(wait, summary=f"look {looks} at {request.provider}")
            result = await call_settle(request)
            if result.outcome is not OutcomeClass.UNKNOWN:
                workflow.set_current_details(f"Known after look {looks}: {result.outcome}.")
                return result
