"""A benefit given to an organization, or taken away, without a sale."""

from __future__ import annotations

import asyncio

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.signatures.shop import BenefitCalls
    from models.commands import PROVIDER_TASK_QUEUES, BenefitChange, BenefitResult
    from workflows.options import ATTEMPT_TIMEOUT, READ_RETRY


@workflow.defn
class BenefitWorkflow:
    """Id `benefit/{organization}/{benefit}`: one change after the other, in the order in which they came,
    however long the provider takes. It ends when none is left and starts again with the next."""

    @workflow.init
    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._asked = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self._asked)
        await workflow.wait_condition(workflow.all_handlers_finished)

    @workflow.update
    async def change(self, change: BenefitChange) -> BenefitResult:
        self._asked = True
        wanted = "give" if change.granted else "take away"
        async with self._turn:
            result: BenefitResult = await workflow.execute_activity_method(
                BenefitCalls.change_benefit,
                change,
                task_queue=PROVIDER_TASK_QUEUES[change.provider],
                start_to_close_timeout=ATTEMPT_TIMEOUT,
                retry_policy=READ_RETRY,
                summary=f"have {change.provider} {wanted} a benefit",
            )
        return result
