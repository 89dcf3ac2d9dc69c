"""One subscription, one workflow, for its whole life."""

from __future__ import annotations

import asyncio
from uuid import UUID

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.signatures.attempts import AttemptResult
    from activities.signatures.records import Acknowledgement, InboxRecords
    from models.commands import (
        Cancel,
        Command,
        CommandResult,
        CreditUnapplied,
        DisputeNews,
        InboxEvent,
        Open,
        Pause,
        ProviderEvents,
        Resume,
        RetryPayment,
        SetPaymentMethod,
        SubscriptionInput,
    )
    from models.explaining import Situation, explain
    from models.moments import Moment
    from models.projections import AppliedEvent
    from models.states import SubscriptionStatus
    from models.subscription import BillingClock, SubscriptionState
    from workflows import pausing, trialing
    from workflows.answering import forget_old_answers
    from workflows.change_updates import ChangeUpdates
    from workflows.collecting import BillingClockSteps
    from workflows.crediting import credit_unapplied
    from workflows.desk import Desk
    from workflows.disputes import answer_dispute
    from workflows.dunning import customer_acts, may_try_from
    from workflows.engine_clock import EngineClock
    from workflows.operating import OperatorUpdates, conflict
    from workflows.options import call_write, refusal_of, search_attributes
    from workflows.provider_clock import ProviderClock

# A due moment that acting did not remove would spin the loop: it is tried again this much later.
STUCK_SECONDS = 60.0
RETRYABLE_STATUSES = frozenset({SubscriptionStatus.INCOMPLETE, SubscriptionStatus.PAST_DUE})


@workflow.defn
class SubscriptionWorkflow(OperatorUpdates, ChangeUpdates):
    """Id `subscription/{id}`. Commands are Updates, provider facts are Signals.

    One loop: wait for a command, an event, the end of an attempt or the next due moment; decide with
    pure rules; act through activities; record. Whoever acts holds the lock, so steps never interleave.
    At the end of a period's work the workflow continues as new and waits with a fresh history.
    """

    @workflow.init
    def __init__(self, start: SubscriptionInput) -> None:
        self._desk = Desk(start.terms, start.state)
        self._clock: BillingClockSteps = (
            EngineClock(self._desk)
            if start.terms.clock is BillingClock.ENGINE
            else ProviderClock(self._desk)
        )
        self._desk.on_doubt = lambda: workflow.set_current_details(self.explain())
        self._lock = asyncio.Lock()
        self._events: list[InboxEvent] = []
        self._applied_before: list[UUID] = []
        self._worked = False
        self._acted_on: Moment | None = None

    @workflow.run
    async def run(self, start: SubscriptionInput) -> SubscriptionStatus:
        if not self._desk.state.opened:
            async with self._lock:
                await self._clock.open()
                if not self._begins:
                    await self._desk.commit()
            self._worked = True
        while not (self._desk.over and not self._clock.busy):
            if self._may_continue_as_new():
                # A command that waited for the lock may begin something that only this loop brings to its
                # end, and wait for that: it comes first.
                await workflow.wait_condition(
                    lambda: workflow.all_handlers_finished() or not self._may_continue_as_new()
                )
                if self._may_continue_as_new() and workflow.all_handlers_finished():
                    self._continue_as_new()
            await self._wait()
            async with self._lock:
                await self._step()
                await self._desk.commit()
        await workflow.wait_condition(workflow.all_handlers_finished)
        await self._finish_events()
        self._desk.show_attributes()
        workflow.set_current_details(self.explain())
        return self._desk.state.status

    # Commands --------------------------------------------------------------------------------

    @workflow.update
    async def open(self, command: Open) -> CommandResult:
        """Answers as soon as the caller can be told what to pay, or that it is paid."""
        return await self._when_answered()

    @workflow.update
    async def cancel(self, command: Cancel) -> CommandResult:
        async with self._lock:
            if not self._desk.over:
                immediately = command.immediately or pausing.has_lapsed(self._desk.state)
                await self._clock.cancel(immediately=immediately, actor=command.actor)
                await self._desk.commit()
                self._worked = True
            return self._result()

    @cancel.validator
    def _may_cancel(self, command: Cancel) -> None:
        self._refuse_when_over(command)
        if self._desk.state.cancel_at_period_end and not command.immediately:
            raise conflict("the subscription already ends with its period")

    @workflow.update
    async def resume(self, command: Resume) -> CommandResult:
        state = self._desk.state
        async with self._lock:
            held = state.is_held and not self._desk.over
            if not self._desk.over and state.cancel_at_period_end:
                await self._clock.resume(command.actor)
            if held:
                await self._clock.end_pause(command.actor)
            await self._desk.commit()
            self._worked = True
            if not held:
                return self._result()
        return await self._when_answered()

    @resume.validator
    def _may_resume(self, command: Resume) -> None:
        self._refuse_when_over(command)
        state = self._desk.state
        canceled = state.cancel_at_period_end or state.cancel_requested
        if not (canceled or state.is_held):
            raise conflict("the subscription has no cancellation or pause to take back")
        if self._clock.deaf:
            raise conflict("a payment is on its way: try again in a moment")

    @workflow.update
    async def pause(self, command: Pause) -> CommandResult:
        async with self._lock:
            self._refuse_when_over(command)
            await self._clock.pause(command)
            await self._desk.commit()
            self._worked = True
            return self._result()

    @pause.validator
    def _may_pause(self, command: Pause) -> None:
        self._refuse_when_over(command)
        pausing.refuse_pause(self._desk, command, busy=self._clock.deaf)

    @workflow.update
    async def set_payment_method(self, command: SetPaymentMethod) -> CommandResult:
        async with self._lock:
            self._refuse_when_over(command)
            await self._clock.set_payment_method(command)
            await self._desk.commit()
            self._worked = True
        return await self._when_answered()

    @set_payment_method.validator
    def _may_set_payment_method(self, command: SetPaymentMethod) -> None:
        self._refuse_when_over(command)
        if self._desk.terms.clock is BillingClock.ENGINE:
            raise conflict(f"the subscription is paid by {self._desk.terms.instrument}")
        if self._desk.state.status is SubscriptionStatus.INCOMPLETE:
            raise conflict("the first payment is open: retry it with another payment method")
        if self._clock.busy:
            raise conflict("a payment is on its way: try again in a moment")

    @workflow.update
    async def retry_payment(self, command: RetryPayment) -> CommandResult:
        async with self._lock:
            self._may_retry(command)
            if command.payment_method_id is not None:
                self._desk.state.payment_method_id = command.payment_method_id
            customer_acts(self._desk, brought_method=command.payment_method_id is not None)
            await self._clock.retry(command.actor)
            await self._desk.commit()
        return await self._when_answered()

    @retry_payment.validator
    def _may_retry(self, command: RetryPayment) -> None:
        self._refuse_when_over(command)
        state = self._desk.state
        collectable = state.status in RETRYABLE_STATUSES or state.suspended_at is not None
        if not collectable or state.invoice is None:
            raise conflict("the subscription has no unpaid invoice to collect")
        allowed = may_try_from(self._desk)
        if allowed is not None:
            raise conflict(f"card networks allow no more tries before {allowed:%Y-%m-%d %H:%M} UTC")
        if self._clock.busy:
            raise conflict("a payment for the invoice is already on its way")
        if trialing.needs_card(self._desk, command.payment_method_id):
            raise conflict("no payment method is known: name one")

    @workflow.update
    async def credit(self, command: CreditUnapplied) -> CommandResult:
        """Unapplied money becomes credit for coming invoices."""
        async with self._lock:
            self._refuse_when_over(command)
            credited = await credit_unapplied(self._desk, command)
            await self._desk.commit()
            await self._clock.place_credit()
            self._worked = True
            return self._result().model_copy(update={"settled": credited})

    @credit.validator
    def _may_credit(self, command: CreditUnapplied) -> None:
        self._refuse_when_over(command)

    async def _when_answered(self) -> CommandResult:
        """Once the caller can be told something. Asked again under the lock: while this waited for it,
        a failed try may have gone on to the next provider."""

        def answered() -> bool:
            told = self._clock.answered and not self._clock.has_news
            return self._desk.state.opened and told

        while True:
            await workflow.wait_condition(answered)
            async with self._lock:
                if answered():
                    return self._result()

    # Facts -----------------------------------------------------------------------------------

    @workflow.signal
    def provider_events(self, batch: ProviderEvents) -> None:
        """From the dispatcher. Applied once: ids that were dealt with are remembered."""
        applied = set(self._desk.state.applied_event_ids)
        known = {*applied, *(event.id for event in self._events)}
        self._events += [event for event in batch.events if event.id not in known]
        self._applied_before += [event.id for event in batch.events if event.id in applied]

    @workflow.signal
    def payment_issued(self, attempt: AttemptResult) -> None:
        """From the payment's own workflow, when a caller waits: there is something to pay now."""
        self._clock.hear_issued(attempt)

    @workflow.signal
    def payment_overdue(self, attempt: AttemptResult) -> None:
        """From the payment's own workflow: its end is late, or nobody knows when it comes."""
        self._clock.hear_overdue(attempt)

    @workflow.signal
    async def dispute_changed(self, news: DisputeNews) -> None:
        """From the dispute's own workflow, after it was written down."""
        await workflow.wait_condition(lambda: not self._clock.deaf)
        async with self._lock:
            await answer_dispute(self._desk, self._clock, news)
            await self._desk.commit()
            self._worked = True

    @workflow.query
    def explain(self) -> str:
        """Why it is in this state and what happens next, for a person."""
        desk = self._desk
        situation = Situation(
            desk.terms, desk.state, desk.next_moment(), self._clock.busy, desk.doubt
        )
        return str(explain(situation))

    def remembered(self) -> SubscriptionState:
        """Where `answering` keeps what commands came to."""
        return self._desk.state

    @workflow.query
    def state(self) -> SubscriptionState:
        """All that the workflow knows; the row must tell the same (invariant 5)."""
        return self._desk.state

    # The loop --------------------------------------------------------------------------------

    @property
    def _begins(self) -> bool:
        """The first try is on its way: how it ended is written together with how it began. Until then the
        row says `incomplete`, which is what it is, and the ledger has the try. Not while its outcome is
        asked for: that may take days."""
        provider_bills = self._desk.terms.clock is BillingClock.PROVIDER
        unwritten = self._desk.state.version == 0
        return provider_bills and unwritten and self._clock.busy and self._desk.doubt is None

    async def _wait(self) -> None:
        """Until something happens. Every long wait of a subscription is this one."""
        self._desk.show_attributes()
        workflow.set_current_details(self.explain())
        moment = self._desk.next_moment()
        seconds = self._seconds_until(moment)
        try:
            await workflow.wait_condition(
                lambda: self._stirred(moment),
                timeout=seconds,
                timeout_summary=moment.summary if moment else None,
            )
        except TimeoutError:
            return

    def _seconds_until(self, moment: Moment | None) -> float | None:
        if moment is None or self._clock.deaf:
            return None
        seconds = (moment.at - workflow.now()).total_seconds()
        if seconds <= 0 and moment == self._acted_on:
            return STUCK_SECONDS
        return max(0.0, seconds)

    def _stirred(self, moment: Moment | None) -> bool:
        """Something to do, or another moment to wait for than the one the timer was set to."""
        if self._lock.locked():
            return False
        heard = bool(self._events) and not self._clock.deaf
        ended = self._desk.over and not self._clock.busy
        changed = self._desk.next_moment() != moment
        unwritten = self._desk.is_touched and not self._begins
        unseen = unwritten or self._desk.shows_less
        news = heard or self._clock.has_news or bool(self._applied_before) or unseen
        return news or ended or changed or self._may_continue_as_new()

    async def _step(self) -> None:
        """What a provider refuses ends no subscription: webhooks are sent again, and the clock asks again."""
        try:
            await self._take_turns()
        except ActivityError as error:
            self._clock.refused(refusal_of(error))

    async def _take_turns(self) -> None:
        if self._clock.has_news:
            self._worked = True
            await self._clock.take_news()
        await self._hear()
        if self._applied_before:
            self._worked = True
            await self._acknowledge_again()
        moment = self._desk.next_moment()
        if moment is not None and moment.at <= workflow.now() and not self._clock.deaf:
            self._worked = True
            self._acted_on = moment
            await self._clock.act(moment.step)
            await self._hear()  # While it asked the provider, that told: one write for both.

    async def _hear(self) -> None:
        if self._events and not self._clock.deaf:
            self._worked = True
            events, self._events = self._events, []
            await self._clock.hear(events)

    async def _acknowledge_again(self) -> None:
        """The inbox sends what this workflow has applied: the inbox has lost that, as a database does
        that was restored from a backup."""
        again, self._applied_before = self._applied_before, []
        acknowledgement = Acknowledgement(
            events=[AppliedEvent(id=id_, disposition="applied_before") for id_ in again],
            at=workflow.now(),
        )
        await call_write(InboxRecords.acknowledge, acknowledgement, "acknowledge webhooks again")

    async def _finish_events(self) -> None:
        """Events that came while the end was written; later ones find the workflow closed."""
        while self._events:
            events, self._events = self._events, []
            try:
                await self._clock.hear(events)
            except ActivityError as error:
                workflow.logger.warning("webhooks are left for later: %s", refusal_of(error))
            await self._desk.commit()

    def _may_continue_as_new(self) -> bool:
        idle = not (
            self._clock.busy or self._clock.has_news or self._events or self._applied_before
        )
        written = not self._desk.is_touched
        return self._worked and idle and written and not self._desk.over and not self._lock.locked()

    def _continue_as_new(self) -> None:
        desk = self._desk
        forget_old_answers(desk.state)
        workflow.continue_as_new(
            SubscriptionInput(terms=desk.terms, state=desk.state),
            search_attributes=search_attributes(desk.terms, desk.state, desk.next_moment()),
        )

    def _result(self) -> CommandResult:
        settled = not self._desk.state.cancel_requested or self._desk.over
        return CommandResult(status=self._desk.state.status, settled=settled)

    def _refuse_when_over(self, _command: Command) -> None:
        if self._desk.over:
            raise conflict(f"the subscription is {self._desk.state.status}")
