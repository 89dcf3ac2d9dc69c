"""One refund, from its row to the money's return. The row was written, and its amount reserved, before."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from activities.signatures.money import MoneyCalls
    from models.commands import (
        PROVIDER_TASK_QUEUES,
        RefundInput,
        RefundResult,
        refund_workflow_id,
    )
    from workflows.options import ATTEMPT_TIMEOUT, HEARTBEAT_TIMEOUT, READ_RETRY

# A provider that has taken the order and not yet paid it out (bank transfers take days) is asked again.
LOOKS = (timedelta(minutes=1), timedelta(hours=1), timedelta(hours=12))


@workflow.defn
class RefundWorkflow:
    """Id `refund/{refund_id}`. However long the provider is away, and however often an answer is lost:
    the money goes back once, or it is written down that it cannot."""

    @workflow.run
    async def run(self, order: RefundInput) -> RefundResult:
        looked = 0
        while True:
            workflow.set_current_details(f"Asking {order.provider} to pay the money back.")
            result: RefundResult = await workflow.execute_activity_method(
                MoneyCalls.send_refund,
                order,
                task_queue=PROVIDER_TASK_QUEUES[order.provider],
                start_to_close_timeout=ATTEMPT_TIMEOUT,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                retry_policy=READ_RETRY,
                summary=f"refund at {order.provider}",
            )
            if result.status != "pending":
                return result
            pause = LOOKS[min(looked, len(LOOKS) - 1)]
            workflow.set_current_details(
                f"{order.provider} has the refund; asked again in {pause}."
            )
            await workflow.sleep(pause, summary="ask whether the refund was paid out")
            looked += 1


async def start_refund(order: RefundInput) -> None:
    """As a child that outlives whoever ordered it."""
    await workflow.start_child_workflow(
        RefundWorkflow.run,
        order,
        id=refund_workflow_id(order.refund_id),
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        parent_close_policy=ParentClosePolicy.ABANDON,
        static_summary=f"refund at {order.provider}",
    )
