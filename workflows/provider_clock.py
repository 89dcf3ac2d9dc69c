"""The provider's billing clock: stored cards.

The provider's subscription charges each period; the workflow follows by webhook, and looks by itself
when the webhook does not come. Retries after a decline are the engine's, not the provider's.
"""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.signatures.attempts import (
        AttemptResult,
        ProviderCalls,
    )
    from activities.signatures.subscriptions import ChangePaymentMethod, SubscriptionCalls
    from models.commands import ChangePlan, InboxEvent, Pause, SetPaymentMethod
    from models.moments import Step, paid_until
    from models.outcomes import OutcomeClass
    from models.snapshots import ProviderSubscriptionStatus
    from models.states import InvoiceStatus, SubscriptionEvent, SubscriptionStatus
    from models.subscription import OpenInvoice, ProviderPause
    from workflows import dunning, pausing, trialing
    from workflows.collecting import (
        choose_route,
        give_up,
        new_invoice,
        try_elsewhere,
    )
    from workflows.desk import Desk
    from workflows.options import call_subscription, refusal_of
    from workflows.provider_attempts import ProviderAttempts
    from workflows.provider_changing import ProviderChanges
    from workflows.provider_following import ProviderFollower
    from workflows.provider_pausing import ProviderPauses
    from workflows.step_changes import ENGINE_ACTOR
    from workflows.unpaid_pause import UnpaidPauses

UNPAID_STATUSES = frozenset({SubscriptionStatus.INCOMPLETE, SubscriptionStatus.PAST_DUE})


class ProviderClock:
    """Steps of a subscription that its provider bills."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._follower = ProviderFollower(desk)
        self._attempts = ProviderAttempts(desk)
        self._changes = ProviderChanges(desk, self._attempts, self._follower)
        self._pauses = ProviderPauses(desk, self._attempts, self._changes, self._follower)
        self._unpaid = UnpaidPauses(desk, self._follower)

    @property
    def busy(self) -> bool:
        return self._attempts.busy

    @property
    def has_news(self) -> bool:
        return self._attempts.ended

    @property
    def deaf(self) -> bool:
        """While an attempt of ours is on its way its answer tells more than any webhook of it."""
        return self.busy

    @property
    def answered(self) -> bool:
        return not self.busy

    async def open(self) -> None:
        desk, now = self._desk, workflow.now()
        state, terms = desk.state, desk.terms
        state.created_at = now
        state.payment_method_id = terms.payment_method_id
        state.trial_end = terms.trial_end(now) if terms.trial_days else None
        await choose_route(desk)
        if terms.trial_days and terms.payment_method_id is None:
            trialing.begin_without_card(desk)
            state.opened = True
            return
        # A trial opens with a bill of nothing, as the providers do it.
        amount_minor = 0 if terms.trial_days else terms.amount_minor
        invoice = new_invoice(desk, due_at=now, first=True, amount_minor=amount_minor)
        self._attempts.open_subscription(invoice)
        state.opened = True

    async def act(self, step: Step) -> None:
        desk, invoice = self._desk, self._desk.state.invoice
        if step is Step.TRY_AGAIN and invoice is not None:
            await self._try_again(invoice)
        elif step is Step.ASK_AGAIN:
            await self._follower.look()
            await self._cancel_as_requested()
        elif step is Step.CHECK_PROVIDER:
            desk.state.provider_looked_at = workflow.now()
            desk.touch()
            await self._follower.look()
            await self._changes.place_credit()
        elif step is Step.APPLY_CHANGE:
            replacement = await self._changes.apply_scheduled()
            if replacement is not None:
                # Should the provider refuse to end what stands there, this is tried again.
                replacement.next_try_at = workflow.now()
                await desk.commit()
                await self._collect(replacement)
                replacement.next_try_at = None
        elif step is Step.GIVE_UP:
            await self._end_unpaid()
        elif step is Step.END:
            await self._look_at_the_end()
        elif step is Step.BEGIN_BILLING:
            invoice = trialing.first_bill(desk)
            if desk.state.payment_method_id is not None:
                self._attempts.collect(invoice)
        elif step is Step.PAUSE:
            pausing.take_effect(desk, ENGINE_ACTOR)
        elif step is Step.RESUME:
            await self._pauses.end_by_itself()
        await self._unpaid.go_on()

    async def hear(self, events: list[InboxEvent]) -> None:
        await self._changes.apply_due()
        for inbox_event in events:
            event = inbox_event.event
            doubted = self._follower.doubts(event)
            if doubted:
                # While nothing is billed, or so we think, the provider is asked before it is believed.
                await self._follower.look()
            if doubted and event.subscription is not None:
                disposition = "read_back"
            elif event.invoice is not None:
                if self._follower.lacks_reason(event.invoice):
                    # The webhook does not say why; whether to try again depends on it.
                    await self._follower.look()
                disposition = self._follower.apply_invoice(event.invoice)
            elif event.subscription is not None:
                disposition = self._follower.apply_subscription(event.subscription)
            else:
                await self._follower.look()
                disposition = "read_back"
            self._desk.acknowledge([inbox_event.id], disposition)
        await self._unpaid.go_on()
        await self._changes.place_credit()

    def hear_issued(self, attempt: AttemptResult) -> None:
        """Vouchers are the other clock's."""

    def hear_overdue(self, attempt: AttemptResult) -> None:
        """Vouchers are the other clock's."""

    def refused(self, reason: str) -> None:
        self._desk.refused(reason)

    async def cancel(self, *, immediately: bool, actor: str) -> None:
        """Cancelled at the provider first: it must not charge after we have said that it is over."""
        desk, state = self._desk, self._desk.state
        at_period_end = not immediately and paid_until(state) is not None
        desk.audit(actor, "cancel", {}, {"immediately": not at_period_end})
        if self.busy:
            at_once = immediately or (state.cancel_requested and not state.cancel_keeps_period)
            state.cancel_requested, state.cancel_keeps_period = True, not at_once
            return
        reference = self._follower.reference(at_period_end=at_period_end)
        if reference is not None and not (at_period_end and state.is_held):
            if not at_period_end:
                state.cancel_requested = True
                await desk.commit()
            try:
                await call_subscription(
                    ProviderCalls.cancel_subscription, reference, "cancel at the provider"
                )
            except ActivityError as error:
                if at_period_end:
                    raise
                desk.refused(refusal_of(error))  # It is asked again until it has ended there.
                return
        if at_period_end:
            self._changes.let_go()
            state.cancel_at_period_end = True
            desk.emit("subscription.cancel_scheduled")
        else:
            self._follower.ended(SubscriptionEvent.CANCELED, actor)

    async def resume(self, actor: str) -> None:
        desk, reference = self._desk, self._follower.reference()
        if reference is not None and not desk.state.is_held:
            await call_subscription(
                ProviderCalls.keep_subscription, reference, "take the cancellation back"
            )
        desk.state.cancel_at_period_end = False
        desk.audit(actor, "resume", {"cancel_at_period_end": True}, {"cancel_at_period_end": False})
        desk.emit("subscription.cancel_unscheduled")
        await self._changes.hold_again(actor)

    async def place_credit(self) -> None:
        await self._changes.place_credit()

    async def change(self, command: ChangePlan) -> bool:
        await self._changes.make(command)
        return self.busy

    async def retry(self, actor: str) -> None:
        invoice = self._desk.state.invoice
        self._desk.audit(actor, "retry", {}, {})
        if invoice is not None and not self.busy:
            invoice.next_try_at = None
            if trialing.lacks_provider(self._desk):
                await trialing.route_to(self._desk)
            await self._collect(invoice)

    async def pause(self, command: Pause) -> None:
        await self._pauses.pause(command)

    async def end_pause(self, actor: str) -> None:
        await self._pauses.end(actor)

    async def set_payment_method(self, command: SetPaymentMethod) -> None:
        desk, state = self._desk, self._desk.state
        if self.busy:
            raise pausing.conflict("a payment is on its way: try again in a moment")
        reference = self._follower.reference()
        if reference is not None and state.provider_pause is not ProviderPause.REPLACED:
            change = ChangePaymentMethod(
                **reference.model_dump(),
                terms=desk.terms,
                payment_method_id=command.payment_method_id,
            )
            await pausing.ask(
                SubscriptionCalls.change_payment_method, change, "charge another card from now on"
            )
        before, state.payment_method_id = state.payment_method_id, command.payment_method_id
        if trialing.lacks_provider(desk):
            await trialing.route_to(desk)
        desk.audit(
            command.actor,
            "set_payment_method",
            {"payment_method_id": str(before) if before else None},
            {"payment_method_id": str(command.payment_method_id)},
        )
        desk.emit(
            "subscription.payment_method_changed", payment_method_id=str(command.payment_method_id)
        )
        unpaid = state.status is SubscriptionStatus.PAST_DUE or state.suspended_at is not None
        if unpaid and state.invoice is not None and dunning.may_try_from(desk) is None:
            dunning.customer_acts(desk, brought_method=True)
            await self._collect(state.invoice)

    async def _collect(self, invoice: OpenInvoice) -> None:
        if await self._unpaid.make_way(invoice):
            self._attempts.collect(invoice)
        else:
            await self._unpaid.go_on()

    async def take_news(self) -> None:
        await self._take_end()
        await self._unpaid.go_on()

    async def _take_end(self) -> None:
        """An attempt of ours has ended; decide what follows."""
        attempt = self._attempts.take_end()
        desk, invoice = self._desk, self._desk.state.invoice
        if attempt is None or invoice is None:
            return
        if invoice.for_change:
            await self._changes.ended(invoice, attempt)
            await self._cancel_as_requested()
            return
        if attempt.outcome is not OutcomeClass.PENDING:
            desk.close_attempt(invoice, attempt)
        if desk.state.is_held:
            paid = attempt.outcome is OutcomeClass.SUCCEEDED
            event = SubscriptionEvent.RESUMED if paid else SubscriptionEvent.RESUMED_UNPAID
            pausing.leave(desk, event, ENGINE_ACTOR)
        self._attempts.remember_ids(invoice, attempt)
        if attempt.outcome is OutcomeClass.SUCCEEDED:
            self._apply_success(invoice, attempt)
        elif attempt.outcome is OutcomeClass.NOT_ATTEMPTED:
            if try_elsewhere(desk, invoice, attempt):
                await desk.commit()
                await self._collect(invoice)
            elif invoice.next_try_at is None:
                await self._end_unpaid()
        elif attempt.outcome is OutcomeClass.DECLINED:
            dunning.declined(desk, invoice, attempt.decline)
            if invoice.provider_invoice_id is None:
                trialing.drop_dead_start(desk)
        if desk.state.invoice is invoice:
            desk.invoice(invoice, InvoiceStatus.PENDING)
        await self._cancel_as_requested()

    async def _cancel_as_requested(self) -> None:
        """Somebody canceled while the payment was on its way. What it paid for is kept by who asked for the
        period's end."""
        state = self._desk.state
        if state.cancel_requested and not self._desk.over and not self.busy:
            keeps, state.cancel_keeps_period = state.cancel_keeps_period, False
            state.cancel_requested = not keeps
            await self.cancel(immediately=not keeps, actor=ENGINE_ACTOR)

    async def _try_again(self, invoice: OpenInvoice) -> None:
        """A provider lets go of a first payment after a day; after a trial ours waits longer."""
        if invoice.first and self._desk.state.status is SubscriptionStatus.PAST_DUE:
            await self._follower.look()
        if self._desk.state.invoice is invoice:
            await self._collect(invoice)
            invoice.next_try_at = None

    def _apply_success(self, invoice: OpenInvoice, attempt: AttemptResult) -> None:
        desk, state, snapshot = self._desk, self._desk.state, attempt.subscription
        if snapshot is not None and snapshot.status is ProviderSubscriptionStatus.TRIALING:
            desk.invoice(invoice, InvoiceStatus.PAID, paid_at=workflow.now())
            state.invoice = None
            state.trial_end = snapshot.trial_end
            state.current_period_start = snapshot.current_period_start
            state.current_period_end = snapshot.current_period_end
            desk.move(SubscriptionEvent.TRIAL_STARTED)
        elif attempt.invoice is not None:
            self._follower.paid(invoice, attempt.invoice, attempt)

    async def _look_at_the_end(self) -> None:
        """The period that was paid for is over. The provider ends it by itself; make sure of it."""
        snapshot = await self._follower.look()
        if self._desk.over or not self._desk.state.cancel_at_period_end:
            return
        end = paid_until(self._desk.state)
        if end is None or end <= workflow.now() or snapshot is None:
            await self.cancel(immediately=True, actor=ENGINE_ACTOR)

    async def _end_unpaid(self) -> None:
        """The customer's time is up: stop the provider, then say that it is over."""
        desk, reference = self._desk, self._follower.reference()
        replaced = desk.state.provider_pause is ProviderPause.REPLACED
        served = desk.state.status is SubscriptionStatus.ACTIVE and replaced
        if desk.state.status is SubscriptionStatus.TRIALING or served:
            # Nobody could be asked when the period began. The customer has the time of who is past due.
            desk.move(SubscriptionEvent.PAYMENT_FAILED)
            return
        if self._may_be_paid():
            await self._follower.look()
        if desk.state.status not in UNPAID_STATUSES:
            return  # It was paid after all.
        if not dunning.ends_unpaid(desk):
            stopped = await self._unpaid.stop()
            if desk.state.status in UNPAID_STATUSES and desk.state.invoice is not None:
                dunning.exhaust(desk, desk.state.invoice, stopped=stopped)
            return
        if reference is not None:
            snapshot = await call_subscription(
                ProviderCalls.cancel_subscription, reference, "stop billing at the provider"
            )
            if snapshot.latest_invoice is not None:
                self._follower.apply_invoice(snapshot.latest_invoice)
        if desk.state.status not in UNPAID_STATUSES:
            return  # It was paid in this very moment.
        if desk.state.invoice is not None:
            give_up(desk, desk.state.invoice)
        else:
            desk.move(SubscriptionEvent.GAVE_UP)

    def _may_be_paid(self) -> bool:
        """Whether the customer had a way to pay that only a webhook, perhaps lost, tells of."""
        state = self._desk.state
        confirming = state.invoice is not None and state.invoice.attempt_id is not None
        return confirming or state.status is SubscriptionStatus.PAST_DUE
