"""Changing the plan of a subscription that its provider bills.

What is owed is collected first, as an attempt like any other; the provider's subscription is changed
when it is paid, and that is repeated until it is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.signatures.attempts import AttemptResult, ProviderCalls
    from activities.signatures.plan_changes import (
        ChangeProviderSubscription,
        CollectChange,
        PlanChangeCalls,
    )
    from models.calendar import BillingPeriod
    from models.change_rules import ChangeRefused, Decision, decide
    from models.commands import ChangePlan
    from models.later_changes import (
        begins_at,
        is_prepared,
        needs_a_date,
        was_dropped,
    )
    from models.outcomes import OutcomeClass
    from models.plan_change import Offer
    from models.settlement import settle
    from models.snapshots import Capture, ProviderSubscriptionStatus, SubscriptionSnapshot
    from models.states import InvoiceStatus
    from models.subscription import OpenInvoice, PendingChange, ProviderPause
    from workflows.changing import (
        change_invoice,
        lapse,
        schedule,
        settle_now,
        take_back,
        take_effect,
    )
    from workflows.collecting import new_invoice
    from workflows.desk import Desk, paid_at
    from workflows.options import call_change, call_subscription, refusal_of
    from workflows.provider_attempts import ProviderAttempts
    from workflows.provider_following import ProviderFollower


class ProviderChanges:
    def __init__(self, desk: Desk, attempts: ProviderAttempts, follower: ProviderFollower) -> None:
        self._desk = desk
        self._attempts = attempts
        self._follower = follower

    async def make(self, command: ChangePlan) -> None:
        """Raises ChangeRefused, with nothing changed."""
        desk, state = self._desk, self._desk.state
        if self._attempts.busy:
            raise ChangeRefused("a payment is on its way")
        decision = decide(desk.terms, state, command, workflow.now())
        if decision.takes_back:
            await self.forget(command.actor)
        elif decision.amount_due_minor:
            # What waited is replaced, and must not come all the same if this is not paid.
            await self.forget(command.actor)
            self._collect(command, decision)
        elif decision.now:
            await self._at_once(command, decision)
        else:
            await self._with_next_period(command, decision)

    async def _at_once(self, command: ChangePlan, decision: Decision) -> None:
        restarts = decision.period is not None
        snapshot = await self._ask(decision.offer, decision.credit_minor, restarts=restarts)
        begun = _period_of(snapshot) if restarts else None
        settle_now(self._desk, command, decision.model_copy(update={"period": begun}))

    async def _with_next_period(self, command: ChangePlan, decision: Decision) -> None:
        """The provider bills it from its next renewal on; until then it is shown as pending."""
        desk = self._desk
        at = None if desk.state.is_held else decision.takes_effect_at
        snapshot = await self._ask(decision.offer, decision.credit_minor, begins_at=at)
        schedule(desk, command, decision)
        self._mark(snapshot)

    async def forget(self, actor: str) -> None:
        """A change that waits for the next period is not to come any more."""
        change, reference = self._desk.state.change, self._follower.reference()
        if change is None or change.at is None:
            return
        if change.replaces and reference is not None:
            await call_subscription(
                ProviderCalls.keep_subscription, reference, "go on with what there is"
            )
        else:
            await self._ask(self._desk.terms.offer, self._desk.state.credit_minor)
        take_back(self._desk, actor)

    async def make_way(self, actor: str) -> None:
        """Before a pause: a provider that was told a date cannot be paused, and one that was stopped
        would not know what for."""
        if is_prepared(self._desk.state.change):
            await self.forget(actor)

    def let_go(self) -> None:
        """The provider has forgotten the date, because the subscription ends with its period."""
        change = self._desk.state.change
        if change is not None and change.at_provider:
            self._desk.state.change = change.model_copy(update={"at_provider": False})
            self._desk.touch()

    async def hold_again(self, actor: str) -> None:
        """It goes on after all: a change that waited does so again, or is taken back if it cannot."""
        desk, change = self._desk, self._desk.state.change
        if change is None or change.at is None:
            return
        if not change.replaces and not needs_a_date(desk.terms, desk.state, change.offer):
            return
        try:
            snapshot = await self._ask(change.offer, desk.state.credit_minor, begins_at=change.at)
        except ChangeRefused:
            take_back(desk, actor)
            return
        self._mark(snapshot)

    def _mark(self, snapshot: SubscriptionSnapshot) -> None:
        """How the provider keeps the change that waits."""
        desk, change = self._desk, self._desk.state.change
        if change is None:
            return
        told = needs_a_date(desk.terms, desk.state, change.offer) and snapshot.holds_change
        stopped = snapshot.is_paused and not desk.state.is_held
        desk.state.change = change.model_copy(update={"at_provider": told, "replaces": stopped})
        desk.touch()

    async def _ask(
        self,
        offer: Offer,
        credit_minor: int,
        *,
        restarts: bool = False,
        begins_at: datetime | None = None,
    ) -> SubscriptionSnapshot:
        """As `_at_provider`, for a caller who waits. Raises ChangeRefused when the provider refuses."""
        try:
            return await self._at_provider(
                offer, credit_minor, restarts=restarts, begins_at=begins_at
            )
        except ActivityError as error:
            refusal = f"{self._desk.state.provider} refuses: {refusal_of(error)}"
            raise ChangeRefused(refusal) from None

    def _collect(self, command: ChangePlan, decision: Decision) -> None:
        desk = self._desk
        invoice = change_invoice(desk, decision)
        schedule(desk, command, decision, invoice.invoice_id)
        desk.invoice_credit(invoice.credit_change_minor, "invoice", invoice.invoice_id)
        desk.state.invoice = invoice
        desk.invoice(invoice, InvoiceStatus.PENDING)
        request = CollectChange(
            **self._attempts.attempt_fields(invoice),
            provider_customer_id=desk.state.provider_customer_id or "",
        )
        self._attempts.start(
            PlanChangeCalls.collect_change, request, "charge what the change of the plan costs"
        )

    async def ended(self, invoice: OpenInvoice, attempt: AttemptResult) -> None:
        """The attempt at collecting a change has ended: it takes effect, or it never was."""
        desk, change = self._desk, self._desk.state.change
        desk.close_attempt(invoice, attempt)
        if attempt.outcome is not OutcomeClass.SUCCEEDED or attempt.invoice is None:
            desk.change_declined = _why(attempt)
            lapse(desk)
            return
        self._book(invoice, attempt, attempt.invoice.captures)
        desk.state.invoice = desk.state.change = None
        if change is None:
            return
        restarts = change.period is not None
        try:
            snapshot = await self._at_provider(
                change.offer, desk.state.credit_minor, restarts=restarts
            )
        except ActivityError:
            # The provider's subscription is no more what it was: the money stays the customer's.
            desk.invoice_credit(invoice.amount_minor, "change_not_made", invoice.invoice_id)
            desk.change_declined = "the provider no longer changes this subscription"
            desk.emit("subscription.change_lapsed")
            return
        anew = _period_of(snapshot) if restarts else None
        take_effect(
            desk, change.offer, change.actor, prorated=True, anew=anew, policy=change.policy
        )

    def _book(
        self, invoice: OpenInvoice, attempt: AttemptResult, captures: Sequence[Capture]
    ) -> None:
        desk = self._desk
        new = desk.uncounted(captures)
        settlement = settle(invoice.amount_minor, invoice.amount_paid_minor, invoice.currency, new)
        invoice.amount_paid_minor = settlement.amount_paid_minor
        if attempt.invoice is not None:
            invoice.provider_invoice_id = attempt.invoice.provider_invoice_id
        desk.payments(invoice.invoice_id, attempt.attempt_id, attempt.provider, settlement)
        desk.invoice(invoice, InvoiceStatus.PAID, paid_at=paid_at(workflow.now(), new))
        desk.emit("invoice.paid", invoice_id=str(invoice.invoice_id))

    async def apply_due(self) -> None:
        """Before news of a period that begins with a change: it is the change's period."""
        at = begins_at(self._desk.state.change)
        if at is not None and at <= workflow.now():
            await self.apply_scheduled()

    async def apply_scheduled(self) -> OpenInvoice | None:
        """Its period has come. Whether the provider kept to what it was asked for, it says itself. An invoice
        is what has to be collected, by another subscription at the provider."""
        desk, change = self._desk, self._desk.state.change
        if change is None or change.at is None:
            return None
        snapshot = await self._follower.read() if is_prepared(change) else None
        if snapshot is not None and self._comes_to_nothing(change, snapshot):
            return None
        desk.state.change = None
        take_effect(
            desk, change.offer, change.actor, prorated=False, anew=None, policy=change.policy
        )
        if change.replaces:
            return self._replacement()
        if snapshot is not None:
            self._follower.apply_subscription(snapshot)
        return None

    def _comes_to_nothing(self, change: PendingChange, snapshot: SubscriptionSnapshot) -> bool:
        ended = snapshot.status is ProviderSubscriptionStatus.CANCELED
        if not ended and not was_dropped(change, snapshot):
            return False
        if not ended:
            take_back(self._desk, f"provider:{snapshot.provider}")
        self._follower.apply_subscription(snapshot)
        return True

    def _replacement(self) -> OpenInvoice:
        """The period that begins now, to be opened at the provider as another subscription: `unpaid_pause`
        ends the one that stands there before."""
        desk = self._desk
        desk.state.provider_pause = ProviderPause.REPLACED
        minor = desk.terms.amount_minor
        invoice = new_invoice(desk, due_at=workflow.now(), first=False, amount_minor=minor)
        invoice.candidate, invoice.stays = self._follower.candidate(), True
        desk.invoice(invoice, InvoiceStatus.PENDING)
        return invoice

    async def place_credit(self) -> None:
        """After a renewal took some of the credit: have the next one take the rest."""
        state = self._desk.state
        if self._desk.over or state.credit_minor == 0 == state.placed_credit_minor:
            return
        change = state.change
        offer = change.offer if change is not None else self._desk.terms.offer
        if state.placed_credit_minor == min(state.credit_minor, offer.amount_minor):
            return
        try:
            await self._at_provider(offer, state.credit_minor, begins_at=begins_at(change))
        except (ActivityError, ChangeRefused):
            # It stays in the ledger: not every provider takes something off, and one that is not there
            # yet is asked again with the next news.
            workflow.logger.warning("the provider takes no credit off its next renewal")

    async def _at_provider(
        self,
        offer: Offer,
        credit_minor: int,
        *,
        restarts: bool = False,
        begins_at: datetime | None = None,
    ) -> SubscriptionSnapshot:
        """Make the provider's subscription what it is to be, or have it made so."""
        desk, state = self._desk, self._desk.state
        if state.provider is None or state.provider_subscription_id is None:
            raise ChangeRefused("the provider has no subscription yet")
        placed_minor = min(credit_minor, offer.amount_minor)
        snapshot = await call_change(
            ChangeProviderSubscription(
                provider=state.provider,
                change_id=workflow.uuid4(),
                terms=desk.terms.with_offer(offer),
                provider_customer_id=state.provider_customer_id or "",
                provider_subscription_id=state.provider_subscription_id,
                restart=restarts,
                begins_at=begins_at,
                credit_minor=placed_minor,
            )
        )
        state.placed_credit_minor = placed_minor
        return snapshot


def _period_of(restarted: SubscriptionSnapshot) -> BillingPeriod:
    return BillingPeriod(
        number=0, start=restarted.current_period_start, end=restarted.current_period_end
    )


def _why(attempt: AttemptResult) -> str:
    code = attempt.decline.code if attempt.decline is not None else attempt.reason
    return f"The change was not paid ({code}): nothing has changed."
