"""The engine's own billing clock: cash vouchers and bank transfers.

Nobody else bills here. The workflow makes the invoice some days before the period, has a voucher or
CLABE issued, waits for the customer, issues another one, and at last gives up.
"""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.signatures.attempts import AttemptResult
    from models.commands import ChangePlan, InboxEvent, Pause, SetPaymentMethod
    from models.moments import Step, paid_until
    from models.outcomes import OutcomeClass
    from models.snapshots import Capture
    from models.states import InvoiceStatus, SubscriptionEvent, SubscriptionStatus
    from models.subscription import OpenInvoice
    from workflows import dunning, pausing
    from workflows.changing import EngineChanges
    from workflows.collecting import choose_route, give_up, new_invoice, try_elsewhere
    from workflows.desk import Desk
    from workflows.engine_money import EngineMoney
    from workflows.engine_periods import EnginePeriods
    from workflows.engine_slips import EngineSlips
    from workflows.step_changes import ENGINE_ACTOR


class EngineClock:
    """Steps of a subscription that the engine bills."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._slips = EngineSlips(desk)
        self._periods = EnginePeriods(desk)
        self._changes = EngineChanges(desk, self)
        self._money = EngineMoney(desk, self._slips, self._periods, self._changes)

    @property
    def deaf(self) -> bool:
        return False

    @property
    def answered(self) -> bool:
        return self._slips.answered

    @property
    def busy(self) -> bool:
        return self._slips.out

    @property
    def has_news(self) -> bool:
        return self._slips.ended

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
            self._periods.roll()
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
            if self._slips.is_out_as(inbox_event.event.attempt_id):
                # The dispatcher found the payment's own workflow closed: its result is on its way
                # and says the same. Without it a punctual payment would be booked as a late one.
                await workflow.wait_condition(lambda: self.has_news)
                await self.take_news()
            late = await self._money.hear(inbox_event.event)
            self._desk.acknowledge([inbox_event.id], "late_payment" if late else "nothing_new")

    def refused(self, reason: str) -> None:
        """Only what webhooks tell is asked here, and they are sent again."""
        workflow.logger.warning("webhooks are left for later: %s", reason)

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
        if self.busy:
            await self.void_running()
        elif desk.over:
            state.invoice = None

    async def void_running(self) -> None:
        await self._slips.void()

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
                self._periods.roll()
            pausing.leave(desk, SubscriptionEvent.RESUMED, actor)
        else:
            await self._begin_anew(actor)

    async def _begin_anew(self, actor: str) -> None:
        """A period from now on, with an anchor of its own. An invoice that was paid in part is its."""
        desk, now, invoice = self._desk, workflow.now(), self._desk.state.invoice
        if invoice is None:
            amount_minor = desk.terms.amount_minor
            invoice = new_invoice(desk, due_at=now, first=False, amount_minor=amount_minor)
        self._periods.anew(invoice)
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
        news = self._slips.take_end()
        if news is None:
            return
        desk, attempt = self._desk, news.attempt
        invoice = self._money.take(news)
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

    async def close_slip(self) -> None:
        """Void the running slip and wait for what it came to. Should the customer have been faster, the
        money is booked as ever; otherwise the invoice stays open with nothing on its way."""
        if not self.busy:
            return
        await self.void_running()
        await workflow.wait_condition(lambda: self.has_news)
        news = self._slips.take_end()
        if news is not None:
            self._money.take(news)
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
        self._money.book_outside(capture)

    def hear_issued(self, attempt: AttemptResult) -> None:
        self._slips.hear_issued(attempt)

    def hear_overdue(self, attempt: AttemptResult) -> None:
        self._slips.hear_overdue(attempt)

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
        following = self._changes.following(self._periods.number(state.period_number + 1))
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
            self._money.settle(invoice, workflow.now())
            return
        if not desk.state.candidates:
            give_up(desk, invoice)
            return
        await self._slips.issue(invoice)
