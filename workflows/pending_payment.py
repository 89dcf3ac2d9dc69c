"""One voucher, transfer or hosted page, from its issue to paid, expired or void."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from activities.results import of_payment
    from activities.signatures.attempts import (
        AttemptResult,
        IssuePayment,
        PendingPaymentResult,
        ProviderCalls,
        SettleAttempt,
    )
    from activities.signatures.records import Acknowledgement, InboxRecords
    from models import explaining_payments
    from models.commands import InboxEvent, ProviderEvents, resolve_workflow_id
    from models.events import ProviderEvent
    from models.outcomes import Instrument, OutcomeClass
    from models.projections import AppliedEvent
    from models.snapshots import PaymentSnapshot, PaymentStatus
    from workflows.options import (
        call_attempt,
        call_payment,
        call_write,
        provider_attributes,
        refusal_of,
    )
    from workflows.resolve_attempt import ResolveAttemptWorkflow

# A provider that still says "pending" after expiry and grace is asked again this often (cash at Stripe
# is confirmed by the next business day), and after the last look the voucher is voided.
LOOK_AGAIN = timedelta(hours=6)
# A transfer is there within minutes or was never sent, so its deadline is ours to enforce at once.
LOOKS_AFTER_EXPIRY_MAX = {
    Instrument.OXXO: 12,
    Instrument.SPEI: 1,
    Instrument.CARD: 1,
    # Whoever chose cash on the page has days to pay, and not every page can be closed from outside.
    Instrument.CHECKOUT: 12,
}


@workflow.defn
class PendingPaymentWorkflow:
    """Id `payment/{attempt_id}`: the customer's slip as a life of its own.

    Money is believed when a verified event says so; anything else (expired, canceled, unclear) is read
    from the provider first, because a customer may pay in the very last minute.
    """

    @workflow.init
    def __init__(self, request: IssuePayment) -> None:
        self._request = request
        self._events: list[InboxEvent] = []
        self._seen: set[UUID] = set()
        self._considered: list[InboxEvent] = []  # What the result takes into account.
        self._void_requested = False
        self._expires_at = request.expires_at

    @workflow.run
    async def run(self, request: IssuePayment) -> PendingPaymentResult:
        workflow.set_current_details(explaining_payments.issuing(self._slip))
        result = await self._collect(request)
        workflow.set_current_details(explaining_payments.ended(result.attempt.outcome))
        return result

    async def _collect(self, request: IssuePayment) -> PendingPaymentResult:
        attempt = await call_attempt(
            ProviderCalls.issue_payment,
            request,
            f"issue {request.terms.instrument} at {request.provider}",
        )
        if attempt.outcome is OutcomeClass.UNKNOWN:
            await self._tell_overdue(attempt)
            attempt = await self._resolve()
        if attempt.outcome is not OutcomeClass.PENDING or attempt.payment is None:
            return PendingPaymentResult(attempt=attempt)
        if request.somebody_waits:
            await self._tell_parent("payment_issued", attempt)
        final = await self._wait_for_customer(attempt.payment)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return PendingPaymentResult(
            attempt=of_payment(request.attempt_id, final),
            event_ids=[event.id for event in self._considered],
        )

    @workflow.signal
    def provider_events(self, batch: ProviderEvents) -> None:
        self._events += [event for event in batch.events if event.id not in self._seen]
        self._seen.update(event.id for event in batch.events)

    @workflow.signal
    def void(self) -> None:
        """The invoice is no longer wanted this way: make sure that it cannot be paid any more."""
        self._void_requested = True

    @workflow.query
    def explain(self) -> str:
        return workflow.get_current_details()

    @property
    def _slip(self) -> explaining_payments.Slip:
        request, invoice = self._request, self._request.invoice
        return explaining_payments.Slip(
            request.terms.instrument,
            request.provider,
            invoice.amount_minor - invoice.amount_paid_minor,
            invoice.currency,
        )

    async def _wait_for_customer(self, issued: PaymentSnapshot) -> PaymentSnapshot:
        expires_at = self._expires_at = issued.expires_at or self._request.expires_at
        look_at = expires_at + timedelta(seconds=self._request.expiry_grace_seconds)
        looks_left = LOOKS_AFTER_EXPIRY_MAX[self._request.terms.instrument]
        overdue = False
        while True:
            await self._wait_until(look_at, "look whether it was paid after all")
            if self._void_requested:
                return await self._void(issued)
            paid = self._paid_by_events()
            if paid is not None:
                self._consider_events()
                return paid
            snapshot = await self._read(issued)
            if snapshot is None:
                look_at = workflow.now() + LOOK_AGAIN
                continue
            await self._acknowledge_considered()
            if snapshot.status is not PaymentStatus.PENDING:
                return snapshot
            now = workflow.now()
            if now >= look_at:
                looks_left -= 1
                if looks_left <= 0:
                    return await self._void(issued)
                if not overdue:
                    overdue = True
                    await self._tell_overdue(of_payment(self._request.attempt_id, snapshot))
                look_at = now + LOOK_AGAIN

    async def _wait_until(self, at: datetime, what: str) -> None:
        workflow.set_current_details(
            explaining_payments.waiting(
                self._slip, expires_at=self._expires_at, look_at=at, what=what
            )
        )
        seconds = (at - workflow.now()).total_seconds()
        try:
            await workflow.wait_condition(
                lambda: bool(self._events) or self._void_requested,
                timeout=max(0.0, seconds),
                timeout_summary=what,
            )
        except TimeoutError:
            return

    def _paid_by_events(self) -> PaymentSnapshot | None:
        """The snapshot of a verified event that says that it was paid, when no other event may know more:
        who pays twice within a minute is told of by two."""
        for event in self._events:
            payment = event.event.payment
            if (
                payment is not None
                and payment.status is PaymentStatus.SUCCEEDED
                and payment.captures
                and all(_is_told_by(payment, other.event) for other in self._events)
            ):
                return payment
        return None

    def _consider_events(self) -> None:
        """What came so far is in what is asked or believed next. What comes later is not: the inbox sends
        it to the subscription when this workflow has ended."""
        self._considered += self._events
        self._events = []

    async def _read(self, issued: PaymentSnapshot) -> PaymentSnapshot | None:
        """None when its provider refuses: it knew the payment once, and will again."""
        self._consider_events()
        try:
            return await call_payment(
                ProviderCalls.read_payment,
                issued.provider,
                issued.provider_payment_id,
                "read the payment before anything is believed of it",
            )
        except ActivityError as error:
            workflow.logger.warning("%s refuses: %s", issued.provider, refusal_of(error))
            return None

    async def _void(self, issued: PaymentSnapshot) -> PaymentSnapshot:
        workflow.set_current_details(explaining_payments.VOIDING)
        while True:
            self._consider_events()
            try:
                return await call_payment(
                    ProviderCalls.void_payment,
                    issued.provider,
                    issued.provider_payment_id,
                    "void it, unless the customer was faster",
                )
            except ActivityError as error:
                workflow.logger.warning("%s refuses: %s", issued.provider, refusal_of(error))
            await workflow.sleep(LOOK_AGAIN, summary="ask again to void it")

    async def _resolve(self) -> AttemptResult:
        request = self._request
        result: AttemptResult = await workflow.execute_child_workflow(
            ResolveAttemptWorkflow.run,
            SettleAttempt(attempt_id=request.attempt_id, provider=request.provider),
            id=resolve_workflow_id(request.attempt_id),
            parent_close_policy=ParentClosePolicy.ABANDON,
            search_attributes=provider_attributes(request.provider),
            static_summary=f"what became of an attempt at {request.provider}",
        )
        return result

    async def _acknowledge_considered(self) -> None:
        """They told nothing that the reading did not tell: the inbox need not send them again."""
        if not self._considered:
            return
        acknowledged = [
            AppliedEvent(id=event.id, disposition="read_back") for event in self._considered
        ]
        self._considered = []
        await call_write(
            InboxRecords.acknowledge,
            Acknowledgement(events=acknowledged, at=workflow.now()),
            "acknowledge webhooks",
        )

    async def _tell_overdue(self, attempt: AttemptResult) -> None:
        """A subscription counts on the end that it was promised; a purchase waits as long as it takes."""
        if self._request.terms.purchase_id is None:
            await self._tell_parent("payment_overdue", attempt)

    async def _tell_parent(self, signal: str, attempt: AttemptResult | None) -> None:
        parent = workflow.info().parent
        if parent is None:
            return
        handle = workflow.get_external_workflow_handle(parent.workflow_id)
        try:
            await handle.signal(signal, attempt)
        except FailureError:
            # The parent has ended; the result of this workflow is what counts.
            workflow.logger.info("the parent is gone, %s was not told", signal)


def _is_told_by(payment: PaymentSnapshot, event: ProviderEvent) -> bool:
    """Whether the payment, as far as it is known, contains all that the event can tell."""
    told = {capture.provider_charge_id for capture in payment.captures}
    if event.payment is not None:
        return told.issuperset(capture.provider_charge_id for capture in event.payment.captures)
    return event.provider_charge_id in told
