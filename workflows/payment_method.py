"""Hands a browser's token to its provider, and has a provider forget a stored instrument."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.signatures.payment_methods import ClosePaymentMethod, PaymentMethodCalls
    from models.commands import (
        PROVIDER_TASK_QUEUES,
        AddPaymentMethodInput,
        DetachPaymentMethodInput,
        DetachPaymentMethodResult,
        PaymentMethodResult,
    )
    from workflows.options import ATTEMPT_TIMEOUT, READ_RETRY, READ_TIMEOUT

# Browser tokens live about ten minutes (Conekta) and are single use: later is never.
TOKEN_LIFETIME = timedelta(minutes=10)


@workflow.defn
class PaymentMethodWorkflow:
    """Id `payment-method/{id}`. The row tells the result; it never stays `pending`."""

    @workflow.run
    async def run(self, request: AddPaymentMethodInput) -> PaymentMethodResult:
        try:
            result: PaymentMethodResult = await workflow.execute_activity_method(
                PaymentMethodCalls.add_payment_method,
                request,
                task_queue=PROVIDER_TASK_QUEUES[request.provider],
                start_to_close_timeout=READ_TIMEOUT,
                schedule_to_close_timeout=TOKEN_LIFETIME,
                retry_policy=READ_RETRY,
                summary=f"store a {request.type} at {request.provider}",
            )
            return result
        except ActivityError:
            await workflow.execute_activity_method(
                PaymentMethodCalls.close_payment_method,
                ClosePaymentMethod(request=request, failure_code="provider_unavailable"),
                task_queue=PROVIDER_TASK_QUEUES[request.provider],
                start_to_close_timeout=READ_TIMEOUT,
                retry_policy=READ_RETRY,
                summary="the provider stayed away: write the failure down",
            )
            return PaymentMethodResult(status="failed", failure_code="provider_unavailable")


@workflow.defn
class DetachPaymentMethodWorkflow:
    """Id `payment-method/{id}/detach`. First nobody here uses it any more, then the provider forgets
    it, however long that takes."""

    @workflow.run
    async def run(self, request: DetachPaymentMethodInput) -> DetachPaymentMethodResult:
        queue = PROVIDER_TASK_QUEUES[request.provider]
        released: DetachPaymentMethodResult = await workflow.execute_activity_method(
            PaymentMethodCalls.release_payment_method,
            request,
            task_queue=queue,
            start_to_close_timeout=ATTEMPT_TIMEOUT,
            retry_policy=READ_RETRY,
            summary="let nothing be charged with it any more",
        )
        if released.status != "detached":
            return released
        try:
            await workflow.execute_activity_method(
                PaymentMethodCalls.forget_payment_method,
                request,
                task_queue=queue,
                start_to_close_timeout=READ_TIMEOUT,
                retry_policy=READ_RETRY,
                summary=f"have {request.provider} forget it",
            )
        except ActivityError:
            # The provider keeps it and says so for good. Nothing of ours will ever charge it.
            workflow.logger.warning("the provider refuses to forget a payment method")
            return released.model_copy(update={"failure_code": "kept_by_provider"})
        return released
