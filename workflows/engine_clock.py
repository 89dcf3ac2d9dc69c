"""The engine's own billing clock: cash vouchers and bank transfers.

Nobody else bills here. The workflow makes the invoice some days before the period, has a voucher or
CLABE issued, waits for the customer, issues another one, and at last gives up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import FailureError
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from activities.results import still_unknown
    from activities.signatures import (
        AttemptFacts,
        AttemptQuestion,
        AttemptResult,
        InboxRecords,
        IssuePayment,
        PendingPaymentResult,
        ProviderCalls,
    )
    from models.calendar import BillingPeriod, period
    from models.commands import (
        ChangePlan,
        InboxEvent,
        Pause,
        SetPaymentMethod,
        payment_workflow_id,
    )
    from models.ids import our_id
    from models.moments import Step, paid_until
    from models.outcomes import Instrument, OutcomeClass, ProviderName
    from models.plan_change import period_line
    from models.settlement import settle
    from models.snapshots import Capture, PaymentSnapshot
    from models.states import InvoiceStatus, SubscriptionEvent, SubscriptionStatus
    from models.subscription import OpenInvoice
    from workflows import dunning, pausing
    from workflows.changing import EngineChanges
    from workflows.collecting import (
        choose_route,
        give_up,
        new_invoice,
        resolve,
        seconds,
        try_elsewhere,
    )
    from workflows.desk import ENGINE_ACTOR, Desk, paid_at
    from workflows.options import RECORD_RETRY, RECORD_TIMEOUT, call_payment, slip_attributes
    from workflows.pending_payment import PendingPaymentWorkflow


class EngineClock:
    """Steps of a subscription that the engine bills."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._payment: PendingPaymentResult | None = None  # Ended, not yet dealt with.
        self._running: asyncio.Task[None] | None = None
        self._handle: (
            workflow.ChildWorkflowHandle[PendingPaymentWorkflow, PendingPaymentResult] | None
        )
        self._handle = None
        self._collecting: OpenInvoice | None = None  # What the running payment is for.
        self._issued = False
        self._changes = EngineChanges(desk, self)

    @property
    def deaf(self) -> bool:
        return False

    @property
    def answered(self) -> bool:
        """Whether a caller can be told something: what to pay, or that nothing is on its way."""
        return self._issued or not self.busy

    @property
    def busy(self) -> bool:
        return self._handle is not None

    @property
    def has_news(self) -> bool:
        return self._payment is not None

    async def open(self) -> None:
        desk, now = self._desk, workflow.now()
        desk.state.created_at = now
        desk.state.payment_method_id = desk.terms.payment_method_id
        await choose_route(desk)
        if desk.terms.trial_days:
            trial_end = desk.terms.trial_end(now)
            desk.state.trial_end = desk.state.anchor_at = trial_end
            desk.state.period_number = -1
            desk.state.current_period_start, desk.state.current_period_end = now, trial_end
            desk.move(SubscriptionEvent.TRIAL_STARTED)
        else:
            new_invoice(desk, due_at=now, first=True, amount_minor=desk.terms.amount_minor)
            await self.collect()
        desk.state.opened = True
        desk.touch()

    async def act(self, step: Step) -> None:
        desk, invoice = self._desk, self._desk.state.invoice
        if step is Step.OPEN_INVOICE and invoice is not None:
            await self._end_change()
        elif step is Step.OPEN_INVOICE:
            self._roll()
            await self._open_renewal()
        elif step is Step.TRY_AGAIN and invoice is not None:
            invoice.next_try_at = None
            await self.collect()
        elif step is Step.PAST_DUE:
            desk.move(SubscriptionEvent.PAYMENT_FAILED)
        elif step is Step.APPLY_CHANGE:
            self._changes.apply_scheduled()
        elif step is Step.END:
            await self.cancel(immediately=True, actor=ENGINE_ACTOR)
        elif step is Step.PAUSE:
            pausing.take_effect(desk, ENGINE_ACTOR)
        elif step is Step.RESUME:
            await self.end_pause(ENGINE_ACTOR)

    async def hear(self, events: list[InboxEvent]) -> None:
        """Only what the payment's own workflow could not hear any more: it had ended."""
        for inbox_event in events:
            disposition = "nothing_new"
            event = inbox_event.event
            if self._is_running(event.attempt_id):
                # The dispatcher found the payment's own workflow closed: its result is on its way
                # and says the same. Without it a punctual payment would be booked as a late one.
                await workflow.wait_condition(lambda: self.has_news)
                await self.take_news()
            payment = event.payment
            if payment is None and event.provider_payment_id is not None:
                # It tells that something moved, and not what.
                payment = await call_payment(
                    ProviderCalls.read_payment,
                    event.provider,
                    event.provider_payment_id,
                    "read the payment that an event is about",
                )
            if payment is not None:
                facts = await self._attempt_facts(our_id(event.attempt_id), payment)
                if facts is not None and await self._late_payment(facts, payment):
                    disposition = "late_payment"
            self._desk.acknowledge([inbox_event.id], disposition)

    def _is_running(self, attempt_id: str | None) -> bool:
        running = self._collecting.attempt_id if self._collecting and self.busy else None
        return running is not None and str(running) == attempt_id

    async def cancel(self, *, immediately: bool, actor: str) -> None:
        desk, state = self._desk, self._desk.state
        desk.audit(actor, "cancel", {}, {"immediately": immediately})
        if not immediately and paid_until(state) is not None:
            state.cancel_at_period_end = True
            desk.emit("subscription.cancel_scheduled")
        else:
            if state.invoice is not None:
                desk.invoice(state.invoice, InvoiceStatus.VOID)
            state.cancel_at_period_end = False
            desk.move(SubscriptionEvent.CANCELED, actor)
        if self._handle is not None:
            await self.void_running()
        elif desk.over:
            state.invoice = None

    async def void_running(self) -> None:
        """The running slip must not be paid any more. It may have ended by itself a moment ago: then
        its result, on its way, is what counts."""
        if self._handle is None:
            return
        try:
            await self._handle.signal(PendingPaymentWorkflow.void)
        except FailureError:
            workflow.logger.info("the payment had ended before it could be voided")

    async def resume(self, actor: str) -> None:
        desk = self._desk
        desk.state.cancel_at_period_end = False
        desk.audit(actor, "resume", {"cancel_at_period_end": True}, {"cancel_at_period_end": False})
        desk.emit("subscription.cancel_unscheduled")

    async def pause(self, command: Pause) -> None:
        """A slip that is out for a coming period is voided. Should the customer be faster, it is paid: see
        `take_news`."""
        pausing.refuse_pause(self._desk, command, busy=False)
        pausing.begin(self._desk, command)
        await self.void_running()

    async def end_pause(self, actor: str) -> None:
        desk, state = self._desk, self._desk.state
        if state.status is not SubscriptionStatus.PAUSED:
            pausing.unschedule(desk, actor)
        elif pausing.still_paid(state):
            if state.current_period_end is not None and state.current_period_end <= workflow.now():
                self._roll()
            pausing.leave(desk, SubscriptionEvent.RESUMED, actor)
        else:
            await self._begin_anew(actor)

    async def _begin_anew(self, actor: str) -> None:
        """A period from now on, with an anchor of its own. An invoice that was paid in part is its."""
        desk, state, now = self._desk, self._desk.state, workflow.now()
        state.anchor_at = now
        following = self._period(0)
        invoice = state.invoice
        if invoice is None:
            amount_minor = desk.terms.amount_minor
            invoice = new_invoice(desk, due_at=now, first=False, amount_minor=amount_minor)
        invoice.due_at = now
        invoice.period_number = following.number
        invoice.period_start, invoice.period_end = following.start, following.end
        desk.invoice(invoice, InvoiceStatus.PENDING)
        pausing.leave(desk, SubscriptionEvent.RESUMED_UNPAID, actor)
        if not self.busy:
            await desk.commit()
            await self.collect()

    async def set_payment_method(self, command: SetPaymentMethod) -> None:
        raise pausing.conflict(f"the subscription is paid by {self._desk.terms.instrument}")

    async def retry(self, actor: str) -> None:
        desk, invoice = self._desk, self._desk.state.invoice
        desk.audit(actor, "retry", {}, {})
        if invoice is not None and not self.busy:
            invoice.next_try_at = None
            await self.collect()

    async def place_credit(self) -> None:
        """The next invoice is made here, of the credit that there is then."""

    async def change(self, command: ChangePlan) -> bool:
        return await self._changes.make(command)

    async def _end_change(self) -> None:
        """The renewal is due and a change was not paid: its slip is voided, and then it lapses."""
        if self.busy:
            await self.void_running()
        else:
            self._changes.lapse()

    async def take_news(self) -> None:
        """A voucher or transfer has ended; decide what follows."""
        news, self._payment = self._payment, None
        if news is None:
            return
        desk, attempt = self._desk, news.attempt
        invoice = self._take_money(news)
        if invoice is None:
            return
        if desk.over or (desk.state.cancel_at_period_end and not invoice.for_change):
            desk.invoice(invoice, InvoiceStatus.VOID)
            desk.state.invoice = None
        elif desk.state.is_held and not invoice.for_change:
            self._put_aside(invoice)
        elif attempt.outcome is OutcomeClass.NOT_ATTEMPTED:
            if try_elsewhere(desk, invoice, attempt):
                await desk.commit()
                await self.collect()
            elif invoice.next_try_at is None and invoice.for_change:
                self._changes.lapse()
            elif invoice.next_try_at is None:
                dunning.end_collection(desk, invoice)
        elif invoice.for_change:
            self._changes.lapse()
        else:
            await self._reissue(invoice)

    def _take_money(self, news: PendingPaymentResult) -> OpenInvoice | None:
        """Close the attempt and book what came. The invoice, when what follows is still to be decided."""
        self._handle = None
        desk, attempt, collecting = self._desk, news.attempt, self._collecting
        if collecting is None:
            return None
        desk.acknowledge(news.event_ids, "applied")
        desk.close_attempt(collecting, attempt)
        invoice = desk.state.invoice
        if invoice is None or invoice.invoice_id != collecting.invoice_id:
            self._keep_in_sight(collecting, attempt)
            return None
        if attempt.outcome is OutcomeClass.SUCCEEDED and attempt.payment is not None:
            self._book(invoice, attempt.attempt_id, attempt.provider, attempt.payment)
            return None
        return invoice

    async def close_slip(self) -> None:
        """Void the running slip and wait for what it came to. Should the customer have been faster, the
        money is booked as ever; otherwise the invoice stays open with nothing on its way."""
        if self._handle is None:
            return
        await self.void_running()
        await workflow.wait_condition(lambda: self.has_news)
        news, self._payment = self._payment, None
        if news is not None:
            self._take_money(news)
        # The ledger has to know that the slip is closed before anything else begins.
        await self._desk.commit()

    async def issue_another(self) -> None:
        """One more slip for the open invoice, on top of those that the policy allows."""
        invoice = self._desk.state.invoice
        if invoice is None:
            return
        invoice.next_try_at = None
        invoice.candidate = 0
        invoice.vouchers_issued = max(0, invoice.vouchers_issued - 1)
        await self.collect()

    def book_outside(self, capture: Capture) -> None:
        """Money that no provider saw pays the open invoice."""
        desk, invoice = self._desk, self._desk.state.invoice
        if invoice is None:
            return
        paid_minor = invoice.amount_paid_minor
        settlement = settle(invoice.amount_minor, paid_minor, invoice.currency, [capture])
        invoice.amount_paid_minor = settlement.amount_paid_minor
        desk.outside_payment(invoice.invoice_id, capture)
        self._go_on(invoice, [capture])

    def hear_issued(self, attempt: AttemptResult) -> None:
        """The customer has something to pay now."""
        if self._collecting is not None and self._collecting.attempt_id == attempt.attempt_id:
            self._issued = True

    def hear_overdue(self, attempt: AttemptResult) -> None:
        """The slip will not come to its end when it should: nothing waits for that any more."""
        invoice = self._desk.state.invoice
        if invoice is not None and invoice.attempt_id == attempt.attempt_id:
            invoice.ends_at = None

    def _keep_in_sight(self, collecting: OpenInvoice, attempt: AttemptResult) -> None:
        """The slip was paid although its invoice was settled in another way: unapplied money."""
        if attempt.payment is not None:
            captures = self._desk.uncounted(attempt.payment.captures)
            settlement = settle(0, 0, collecting.currency, captures)
            self._desk.payments(
                collecting.invoice_id, attempt.attempt_id, attempt.provider, settlement
            )

    def _put_aside(self, invoice: OpenInvoice) -> None:
        """What was paid of it already stays its, for the period after the pause."""
        if invoice.amount_paid_minor == 0:
            self._desk.invoice(invoice, InvoiceStatus.VOID)
            self._desk.state.invoice = None

    async def _reissue(self, invoice: OpenInvoice) -> None:
        desk = self._desk
        if invoice.outdated:
            invoice.vouchers_issued -= 1
            self._changes.renew_price(invoice)
            await desk.commit()
            await self.collect()
            return
        desk.emit("payment.expired", invoice_id=str(invoice.invoice_id))
        if invoice.vouchers_issued >= desk.terms.policy.vouchers_max:
            dunning.end_collection(desk, invoice)
            return
        invoice.candidate = 0
        # The ledger has to know that the old slip is closed before it lets the next one begin.
        await desk.commit()
        await self.collect()

    async def _open_renewal(self) -> None:
        desk, state = self._desk, self._desk.state
        following = self._changes.following(self._period(state.period_number + 1))
        invoice = new_invoice(
            desk, due_at=following.start, first=False, amount_minor=desk.terms.amount_minor
        )
        self._changes.price(invoice, following)
        await self.collect()

    async def collect(self) -> None:
        """Have a voucher or transfer issued by the candidate whose turn it is."""
        desk, invoice = self._desk, self._desk.state.invoice
        if invoice is None:
            return
        if invoice.amount_minor == invoice.amount_paid_minor and not invoice.first:
            self._settle(invoice, workflow.now())
            return
        if not desk.state.candidates:
            give_up(desk, invoice)
            return
        provider = desk.state.candidates[invoice.candidate]
        attempt_id = workflow.uuid7()
        invoice.attempt_id = attempt_id
        invoice.vouchers_issued += 1
        dunning.count_try(invoice, workflow.now())
        desk.state.provider = provider
        desk.touch()
        self._issued = False
        self._collecting = invoice
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
        self._running = asyncio.create_task(self._follow(attempt_id))

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
            self._payment = await handle
        except FailureError:
            provider = self._desk.state.candidates[invoice.candidate]
            attempt = await resolve(still_unknown(attempt_id, provider))
            self._payment = PendingPaymentResult(attempt=attempt)

    def _book(
        self,
        invoice: OpenInvoice,
        attempt_id: UUID,
        provider: ProviderName,
        payment: PaymentSnapshot,
    ) -> None:
        """Apply the money that a provider has told of."""
        desk, state = self._desk, self._desk.state
        owed = 0 if desk.over else invoice.amount_minor
        captures = desk.uncounted(payment.captures)
        settlement = settle(owed, invoice.amount_paid_minor, invoice.currency, captures)
        invoice.amount_paid_minor = settlement.amount_paid_minor
        desk.payments(invoice.invoice_id, attempt_id, provider, settlement)
        if desk.over:
            desk.invoice(invoice, InvoiceStatus.VOID)
            state.invoice = None
            return
        self._go_on(invoice, captures)

    def _go_on(self, invoice: OpenInvoice, captures: Sequence[Capture]) -> None:
        """Money was applied: an invoice that is paid in full moves the subscription on."""
        desk = self._desk
        if invoice.amount_paid_minor < invoice.amount_minor:
            # Paid in part: the next moment is another slip, for the rest.
            desk.invoice(invoice, InvoiceStatus.PENDING)
            return
        self._settle(invoice, paid_at(workflow.now(), captures))

    def _settle(self, invoice: OpenInvoice, when: datetime) -> None:
        """Nothing is lacking any more: what the invoice was for begins, or goes on."""
        desk, state = self._desk, self._desk.state
        if invoice.for_change:
            self._changes.paid(invoice, when)
            return
        if invoice.first:
            state.anchor_at = state.anchor_at or max(when, state.created_at or when)
        covered = self._covered(invoice, when)
        invoice.period_start, invoice.period_end = covered.start, covered.end
        if invoice.first and not invoice.lines:
            invoice.lines = [period_line(desk.terms.offer, covered.start, covered.end)]
        desk.invoice(invoice, InvoiceStatus.PAID, paid_at=when)
        state.invoice = None
        self._extend(covered, invoice.amount_minor - invoice.credit_change_minor)
        if invoice.outdated:
            self._changes.overtaken(invoice, covered)
        dunning.recover(desk)
        desk.move(SubscriptionEvent.PAYMENT_SUCCEEDED)
        desk.emit("invoice.paid", invoice_id=str(invoice.invoice_id))

    def _extend(self, covered: BillingPeriod, amount_minor: int) -> None:
        """The paid period becomes the current one, now or when it begins."""
        state = self._desk.state
        state.period_number = covered.number
        if state.current_period_end is None or covered.start <= workflow.now():
            state.current_period_start, state.current_period_end = covered.start, covered.end
            state.paid_ahead_until = state.ahead_amount_minor = None
            state.period_amount_minor = amount_minor
        else:
            state.paid_ahead_until = covered.end
            state.ahead_amount_minor = amount_minor

    def _roll(self) -> None:
        """A period that was paid ahead has begun."""
        state = self._desk.state
        if state.paid_ahead_until is not None:
            state.current_period_start = state.current_period_end
            state.current_period_end = state.paid_ahead_until
            state.period_amount_minor = state.ahead_amount_minor
            state.paid_ahead_until = state.ahead_amount_minor = None
            self._desk.touch()

    def _period(self, number: int) -> BillingPeriod:
        terms, state = self._desk.terms, self._desk.state
        anchor: datetime = state.anchor_at or workflow.now()
        return period(anchor, terms.time_zone, terms.billing_interval, number)

    def _covered(self, invoice: OpenInvoice, paid: datetime) -> BillingPeriod:
        """The period that the invoice is for. Who was paused for want of money pays for the period in
        which he pays: those that he was not served in are not billed."""
        start, end = invoice.period_start, invoice.period_end
        covered = self._period(invoice.period_number)
        if not invoice.first and start is not None and end is not None:
            covered = BillingPeriod(number=invoice.period_number, start=start, end=end)
        while self._desk.state.suspended_at is not None and covered.end <= paid:
            covered = self._period(covered.number + 1)
        return covered

    async def _attempt_facts(
        self, attempt_id: UUID | None, payment: PaymentSnapshot
    ) -> AttemptFacts | None:
        facts: AttemptFacts | None = await workflow.execute_local_activity_method(
            InboxRecords.find_attempt,
            AttemptQuestion(
                attempt_id=attempt_id,
                provider=payment.provider,
                provider_payment_id=payment.provider_payment_id,
            ),
            start_to_close_timeout=RECORD_TIMEOUT,
            retry_policy=RECORD_RETRY,
            summary="which invoice was this money for",
        )
        return facts

    async def _late_payment(self, facts: AttemptFacts, payment: PaymentSnapshot) -> bool:
        """Money for a slip that was already given up. It pays its invoice if that is still open
        (then the slip that replaced it is voided); otherwise it stays in sight as unapplied."""
        desk, invoice = self._desk, self._desk.state.invoice
        known = set(facts.known_charge_ids)
        new = [c for c in desk.uncounted(payment.captures) if c.provider_charge_id not in known]
        if not new:
            return False
        if invoice is not None and invoice.invoice_id == facts.invoice_id:
            desk.attempt(
                facts.attempt_id,
                invoice,
                OutcomeClass.SUCCEEDED,
                provider=facts.provider,
                reason="paid_late",
                provider_object_id=payment.provider_payment_id,
            )
            self._book(invoice, facts.attempt_id, facts.provider, payment)
            await self.void_running()
        else:
            settlement = settle(0, 0, facts.currency, new)
            desk.payments(facts.invoice_id, facts.attempt_id, facts.provider, settlement)
        return True
