"""Work beside subscriptions and purchases that takes longer than a request: each a workflow of its own.

What the database remembers (a payment method, a refund) is started by `ensure_...` again and again until
it runs; it runs once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

import structlog
from temporalio.client import (
    WithStartWorkflowOperation,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateHandle,
    WorkflowUpdateStage,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from api.temporal_calls import (
    START_TIMEOUT_SECONDS,
    TemporalAway,
    TemporalCalls,
    WorkflowGone,
    watched,
)
from models.commands import (
    TASK_QUEUE,
    AddPaymentMethodInput,
    BenefitChange,
    BenefitResult,
    DetachPaymentMethodInput,
    DetachPaymentMethodResult,
    DisputeInput,
    DisputeNews,
    PaymentMethodResult,
    ProviderEvents,
    RefundInput,
    RefundResult,
    benefit_workflow_id,
    detach_workflow_id,
    dispute_workflow_id,
    payment_method_workflow_id,
    refund_workflow_id,
)

NOT_BEGUN = "It was not begun. Send the request again."

_ALLOW_DUPLICATE = WorkflowIDReusePolicy.ALLOW_DUPLICATE
_REJECT_DUPLICATE = WorkflowIDReusePolicy.REJECT_DUPLICATE

_log = structlog.get_logger("abono.jobs")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class _Job(Generic[_Result]):
    workflow: str
    argument: object
    workflow_id: str
    summary: str
    result_type: type[_Result]


@dataclass(frozen=True)
class Jobs(TemporalCalls):
    async def add_payment_method(
        self, request: AddPaymentMethodInput
    ) -> PaymentMethodResult | None:
        """Have the provider take the instrument; None when that is not known in time."""
        return await self._run_once(_adding(request))

    async def ensure_payment_method(self, request: AddPaymentMethodInput) -> None:
        """Start the workflow unless it runs or has run. Raises TemporalAway."""
        await self._ensure(_adding(request))

    async def detach_payment_method(
        self, request: DetachPaymentMethodInput
    ) -> DetachPaymentMethodResult | None:
        """Have it forgotten here and at its provider; None when that goes on beyond our patience.

        Raises Unavailable when it cannot be said to have begun. Safe to repeat, also after it ended.
        """
        workflow_id = detach_workflow_id(request.payment_method_id)
        summary = f"Forget a payment method at {request.provider}"
        return await self._run(
            _Job(
                "DetachPaymentMethodWorkflow",
                request,
                workflow_id,
                summary,
                DetachPaymentMethodResult,
            )
        )

    async def refund(self, order: RefundInput) -> RefundResult | None:
        """Have a reserved refund carried out; None when that is not known in time."""
        return await self._run_once(_refunding(order))

    async def ensure_refund(self, order: RefundInput) -> None:
        """Start the workflow unless it runs or has run. Raises TemporalAway."""
        await self._ensure(_refunding(order))

    async def follow_late_payment(self, workflow_id: str, events: ProviderEvents) -> None:
        """Money or news for something that has ended. Raises TemporalAway."""
        summary = f"Late {events.events[0].event.event_type}"
        await self._ensure(_Job("LatePaymentWorkflow", events, workflow_id, summary, object))

    async def follow_dispute(self, workflow_id: str, request: DisputeInput) -> None:
        """A dispute is reported; whose it is, its workflow finds out. Raises TemporalAway."""
        summary = f"Dispute at {request.seen.provider}"
        await self._ensure(_Job("DisputeWorkflow", request, workflow_id, summary, DisputeNews))

    async def accept_dispute(self, dispute_id: UUID, request: DisputeInput) -> DisputeNews | None:
        """Have a dispute accepted; None when the provider has not answered yet: it goes on.

        Raises Unavailable when it cannot be said to have begun. Safe to repeat, also after it ended.
        """
        workflow_id = dispute_workflow_id(dispute_id)
        summary = f"Accept a dispute at {request.seen.provider}"
        return await self._run(_Job("DisputeWorkflow", request, workflow_id, summary, DisputeNews))

    async def change_benefit(self, change: BenefitChange) -> BenefitResult | None:
        """Have a benefit given or taken away; None when that goes on beyond our patience.

        Raises Unavailable when it cannot be said to have begun. Safe to repeat, also after it ended.
        """

        async def begin() -> WorkflowUpdateHandle[BenefitResult]:
            async with watched(_changing_benefit(change)) as operation:
                return await self.client.start_update_with_start_workflow(
                    "change",
                    change,
                    start_workflow_operation=operation,
                    wait_for_stage=WorkflowUpdateStage.ACCEPTED,
                    id=str(change.change_id),
                    result_type=BenefitResult,
                )

        return await self.carry_out(begin, NOT_BEGUN)

    async def _run(self, job: _Job[_Result]) -> _Result | None:
        """Started anew when it has ended: the caller may repeat it."""
        return await self.carry_out(lambda: self._start(job, _ALLOW_DUPLICATE), NOT_BEGUN)

    async def _run_once(self, job: _Job[_Result]) -> _Result | None:
        """Its row remembers it: it need not have begun now."""

        async def run() -> _Result:
            await self._start_once(job)
            handle = self.client.get_workflow_handle(job.workflow_id, result_type=job.result_type)
            result: _Result = await handle.result()
            return result

        try:
            return await self.within(self.wait_seconds, run)
        except (TemporalAway, WorkflowGone) as reason:
            _log.info("a job goes on later", workflow=job.workflow, reason=str(reason))
        except WorkflowFailureError:
            _log.error("a job failed", workflow_id=job.workflow_id)
        return None

    async def _ensure(self, job: _Job[_Result]) -> None:
        await self.within(START_TIMEOUT_SECONDS, lambda: self._start_once(job))

    async def _start_once(self, job: _Job[_Result]) -> None:
        try:
            await self._start(job, _REJECT_DUPLICATE)
        except WorkflowAlreadyStartedError:
            return

    async def _start(
        self, job: _Job[_Result], reuse: WorkflowIDReusePolicy
    ) -> WorkflowHandle[Any, _Result]:
        return await self.client.start_workflow(
            job.workflow,
            job.argument,
            id=job.workflow_id,
            task_queue=TASK_QUEUE,
            id_reuse_policy=reuse,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            result_type=job.result_type,
            static_summary=job.summary,
        )


def _adding(request: AddPaymentMethodInput) -> _Job[PaymentMethodResult]:
    workflow_id = payment_method_workflow_id(request.payment_method_id)
    summary = f"Add a {request.type} at {request.provider}"
    return _Job("PaymentMethodWorkflow", request, workflow_id, summary, PaymentMethodResult)


def _refunding(order: RefundInput) -> _Job[RefundResult]:
    workflow_id = refund_workflow_id(order.refund_id)
    summary = f"Refund at {order.provider}"
    return _Job("RefundWorkflow", order, workflow_id, summary, RefundResult)


def _changing_benefit(change: BenefitChange) -> WithStartWorkflowOperation[object, object]:
    return WithStartWorkflowOperation(
        "BenefitWorkflow",
        id=benefit_workflow_id(change.organization_id, change.benefit_id),
        task_queue=TASK_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=f"A benefit at {change.provider}",
    )
