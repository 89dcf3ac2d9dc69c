"""The slip that is out for an invoice of the engine's clock: a voucher or a transfer.

There is one at a time, with a workflow of its own, which is started, followed and voided here. What its
end means for the subscription is the clock's to decide.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import FailureError
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from activities.results import still_unknown
    from activities.signatures.attempts import AttemptResult, IssuePayment, PendingPaymentResult
    from models.commands import payment_workflow_id
    from models.outcomes import Instrument
    from models.states import InvoiceStatus
    from models.subscription import OpenInvoice
    from workflows import dunning
    from workflows.collecting import resolve, seconds
    from workflows.desk import Desk
    from workflows.options import slip_attributes
    from workflows.pending_payment import PendingPaymentWorkflow

SlipHandle = workflow.ChildWorkflowHandle[PendingPaymentWorkflow, PendingPaymentResult]


class EngineSlips:
    """Issues the slip, follows it, voids it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._ended: PendingPaymentResult | None = None  # Not yet dealt with.
        self._following: asyncio.Task[None] | None = None
        self._handle: SlipHandle | None = None
        self._invoice: OpenInvoice | None = None  # What the slip is for.
        self._issued = False

    @property
    def out(self) -> bool:
        return self._handle is not None

    @property
    def ended(self) -> bool:
        """It came to its end; `take_end` tells how."""
        return self._ended is not None

    @property
    def answered(self) -> bool:
        """Whether a caller can be told something: what to pay, or that nothing is on its way."""
        return self._issued or not self.out

    def is_out_as(self, attempt_id: str | None) -> bool:
        running = self._invoice.attempt_id if self._invoice and self.out else None
        return running is not None and str(running) == attempt_id

    async def issue(self, invoice: OpenInvoice) -> None:
        """Have a voucher or transfer issued by the candidate whose turn it is."""
        desk = self._desk
        provider = desk.state.candidates[invoice.candidate]
        attempt_id = workflow.uuid7()
        invoice.attempt_id = attempt_id
        invoice.vouchers_issued += 1
        dunning.count_try(invoice, workflow.now())
        desk.state.provider = provider
        desk.touch()
        self._issued = False
        self._invoice = invoice
        request = self._request(invoice, attempt_id)
        invoice.ends_at = request.expires_at + desk.terms.policy.expiry_grace
        self._handle = await workflow.start_child_workflow(
            PendingPaymentWorkflow.run,
            request,
            id=payment_workflow_id(attempt_id),
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            parent_close_policy=ParentClosePolicy.ABANDON,
            search_attributes=slip_attributes(request),
            static_summary=f"{desk.terms.instrument} at {provider}, voucher {invoice.vouchers_issued}",
        )
        self._following = asyncio.create_task(self._follow(attempt_id))

    def _request(self, invoice: OpenInvoice, attempt_id: UUID) -> IssuePayment:
        desk, now = self._desk, workflow.now()
        policy = desk.terms.policy
        transfer = desk.terms.instrument is Instrument.SPEI
        expires_at = now + (policy.transfer_lifetime if transfer else policy.voucher_lifetime)
        if invoice.for_change:
            expires_at = min(expires_at, invoice.due_at)
        return IssuePayment(
            attempt_id=attempt_id,
            provider=desk.state.candidates[invoice.candidate],
            terms=desk.terms,
            invoice=desk.invoice_row(invoice, InvoiceStatus.PENDING),
            started_at=now,
            expires_at=expires_at,
            remind_at=expires_at - policy.reminder_before_expiry,
            expiry_grace_seconds=seconds(policy.expiry_grace),
            # Its update's handler is still running: answer it as soon as there is something to pay.
            somebody_waits=not workflow.all_handlers_finished(),
        )

    async def _follow(self, attempt_id: UUID) -> None:
        """Wait for the payment's workflow; should it be terminated, ask what became of the attempt."""
        handle, invoice = self._handle, self._desk.state.invoice
        if handle is None or invoice is None:
            return
        try:
            self._ended = await handle
        except FailureError:
            provider = self._desk.state.candidates[invoice.candidate]
            attempt = await resolve(still_unknown(attempt_id, provider))
            self._ended = PendingPaymentResult(attempt=attempt)

    def hear_issued(self, attempt: AttemptResult) -> None:
        """The customer has something to pay now."""
        if self._invoice is not None and self._invoice.attempt_id == attempt.attempt_id:
            self._issued = True

    def hear_overdue(self, attempt: AttemptResult) -> None:
        """The slip will not come to its end when it should: nothing waits for that any more."""
        invoice = self._desk.state.invoice
        if invoice is not None and invoice.attempt_id == attempt.attempt_id:
            invoice.ends_at = None

    async def void(self) -> None:
        """It must not be paid any more. It may have ended by itself a moment ago: then its result, on
        its way, is what counts."""
        if self._handle is None:
            return
        try:
            await self._handle.signal(PendingPaymentWorkflow.void)
        except FailureError:
            workflow.logger.info("the payment had ended before it could be voided")

    def take_end(self) -> PendingPaymentResult | None:
        """How the slip ended, once."""
        ended, self._ended = self._ended, None
        return ended

    def put_away(self) -> OpenInvoice | None:
        """No slip is out any more. The invoice that it was for."""
        self._handle = None
        return self._invoice
