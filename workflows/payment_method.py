"""Hands a browser's token to its provider, however long the provider takes."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.signatures import ClosePaymentMethod, PaymentMethodCalls
    from models.commands import (
        PROVIDER_TASK_QUEUES,
        AddPaymentMethodInput,
        PaymentMethodResult,
    )
    from workflows.options import READ_RETRY, READ_TIMEOUT

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
