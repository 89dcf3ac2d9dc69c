"""An attempt at a subscription that its provider bills: opened, or its open invoice charged again.

One at a time. What its end means for the subscription is the clock's to decide.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.results import SubscriptionIds
    from activities.signatures.attempts import (
        AttemptRequest,
        AttemptResult,
        OpenProviderSubscription,
        ProviderCalls,
        RetryInvoice,
    )
    from models.outcomes import OutcomeClass
    from models.states import InvoiceStatus
    from models.subscription import OpenInvoice
    from workflows import dunning
    from workflows.collecting import give_up, resolve
    from workflows.desk import Desk
    from workflows.options import call_attempt


class ProviderAttempts:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._ended: AttemptResult | None = None  # Not yet dealt with.
        self._running: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        return self._running is not None

    @property
    def ended(self) -> bool:
        """It came to its end; `take_end` tells how."""
        return self._ended is not None

    def take_end(self) -> AttemptResult | None:
        """How the attempt ended, once."""
        ended, self._ended = self._ended, None
        self._running = None
        return ended

    def open_subscription(self, invoice: OpenInvoice) -> None:
        desk = self._desk
        if not desk.state.candidates:
            give_up(desk, invoice)
            return
        request = OpenProviderSubscription(
            **self.attempt_fields(invoice), trial_end=self._trial_end_to_come()
        )
        self.start(
            ProviderCalls.open_provider_subscription,
            request,
            f"open the subscription at {request.provider}",
        )

    def _trial_end_to_come(self) -> datetime | None:
        end: datetime | None = self._desk.state.trial_end
        return end if end is not None and end > workflow.now() else None

    def collect(self, invoice: OpenInvoice) -> None:
        if invoice.provider_invoice_id is None:
            self.open_subscription(invoice)
            return
        request = RetryInvoice(
            **self.attempt_fields(invoice), provider_invoice_id=invoice.provider_invoice_id
        )
        self.start(ProviderCalls.retry_invoice, request, "charge the open invoice again")

    def attempt_fields(self, invoice: OpenInvoice) -> dict[str, Any]:
        state = self._desk.state
        state.provider = state.candidates[invoice.candidate]
        invoice.attempt_id = workflow.uuid7()
        dunning.count_try(invoice, workflow.now())
        self._desk.touch()
        return {
            "attempt_id": invoice.attempt_id,
            "provider": state.provider,
            "terms": self._desk.terms,
            "invoice": self._desk.invoice_row(invoice, InvoiceStatus.PENDING),
            "started_at": workflow.now(),
            "payment_method_id": state.payment_method_id,
        }

    def start(self, method: Any, request: AttemptRequest, summary: str) -> None:
        async def run() -> None:
            result = await call_attempt(method, request, summary)
            if result.outcome is OutcomeClass.UNKNOWN:
                self._desk.set_doubt(result.provider)
                result = await resolve(result)
                self._desk.set_doubt(None)
            self._ended = result

        self._running = asyncio.create_task(run())

    def remember_ids(self, invoice: OpenInvoice, attempt: AttemptResult) -> None:
        if attempt.outcome is OutcomeClass.NOT_ATTEMPTED or attempt.provider_object_id is None:
            return
        state = self._desk.state
        if "/" in attempt.provider_object_id:
            ids = SubscriptionIds.unpack(attempt.provider_object_id)
            state.provider_customer_id = ids.provider_customer_id
            state.provider_subscription_id = ids.provider_subscription_id
            invoice.provider_invoice_id = ids.provider_invoice_id or invoice.provider_invoice_id
        if attempt.subscription is not None:
            # What was prepared may have another id than what came of it.
            state.provider_subscription_id = attempt.subscription.provider_subscription_id
        if attempt.invoice is not None:
            invoice.provider_invoice_id = attempt.invoice.provider_invoice_id
