"""Following a subscription that its provider bills: what the provider says becomes ours.

Used by the provider's clock for webhooks, for its own looks, and for the answers to its tries.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.signatures.attempts import AttemptResult, ProviderCalls
    from activities.signatures.subscriptions import SubscriptionReference
    from models.events import ProviderEvent
    from models.later_changes import was_dropped
    from models.outcomes import OutcomeClass
    from models.plan_change import period_line, settle_lines
    from models.settlement import settle
    from models.snapshots import (
        InvoiceSnapshot,
        ProviderInvoiceStatus,
        ProviderSubscriptionStatus,
        SubscriptionSnapshot,
    )
    from models.states import InvoiceStatus, SubscriptionEvent, SubscriptionStatus
    from models.subscription import OpenInvoice, ProviderPause
    from workflows import dunning, pausing, trialing
    from workflows.changing import take_back
    from workflows.collecting import FIRST_INVOICE
    from workflows.desk import Desk, paid_at
    from workflows.options import call_subscription

# Between the provider's clock, in whole seconds, and ours.
CLOCK_SKEW = timedelta(minutes=1)
UNPAID = frozenset({ProviderInvoiceStatus.OPEN, ProviderInvoiceStatus.UNCOLLECTIBLE})


class ProviderFollower:
    """Applies snapshots of the provider's subscription and invoices to the desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def apply_invoice(self, snapshot: InvoiceSnapshot) -> str:
        """What the provider says of one of its invoices; says what was done with it."""
        invoice = self._match(snapshot)
        if snapshot.status is ProviderInvoiceStatus.PAID:
            if not self._desk.uncounted(snapshot.captures) and not self._is_news(snapshot):
                return "nothing_new"
            self.paid(invoice, snapshot, None)
            return "applied"
        if snapshot.status not in UNPAID or self._is_stale(snapshot):
            return "stale"
        # An attempt of ours that is open waits for the customer: asked to confirm is not refused.
        confirming = invoice.attempt_id is not None and snapshot.decline is None
        if confirming or snapshot.attempt_count <= invoice.declines:
            return "nothing_new"
        self._failed_by_provider(invoice, snapshot)
        return "applied"

    def lacks_reason(self, snapshot: InvoiceSnapshot) -> bool:
        """Whether it failed and nobody says why. Of what was paid since then nothing more is to be known."""
        unpaid = snapshot.status in UNPAID and snapshot.decline is None
        return unpaid and not self._is_stale(snapshot)

    def _failed_by_provider(self, invoice: OpenInvoice, snapshot: InvoiceSnapshot) -> None:
        """The provider's own clock tried and was refused: an attempt that we could not announce."""
        desk = self._desk
        dunning.take_over(desk, invoice)
        desk.state.invoice = invoice
        invoice.provider_invoice_id = snapshot.provider_invoice_id
        dunning.count_try(invoice, workflow.now())
        invoice.declines = snapshot.attempt_count - 1
        desk.attempt(
            desk.id_for(
                f"{snapshot.provider_invoice_id}#{snapshot.attempt_count}", snapshot.created_at
            ),
            invoice,
            OutcomeClass.DECLINED,
            provider=snapshot.provider,
            reason=snapshot.decline.code if snapshot.decline else "declined",
            provider_object_id=snapshot.provider_invoice_id,
        )
        dunning.declined(desk, invoice, snapshot.decline)
        desk.invoice(invoice, InvoiceStatus.PENDING, hosted_invoice_url=snapshot.hosted_invoice_url)

    def paid(
        self, invoice: OpenInvoice, snapshot: InvoiceSnapshot, attempt: AttemptResult | None
    ) -> None:
        desk, state = self._desk, self._desk.state
        captures = desk.uncounted(snapshot.captures)
        settlement = settle(
            snapshot.amount_minor, invoice.amount_paid_minor, snapshot.currency, captures
        )
        invoice.amount_minor = snapshot.amount_minor
        invoice.amount_paid_minor = settlement.amount_paid_minor
        invoice.provider_invoice_id = snapshot.provider_invoice_id
        invoice.period_start, invoice.period_end = snapshot.period_start, snapshot.period_end
        attempt_id = attempt.attempt_id if attempt is not None else invoice.attempt_id
        when = paid_at(workflow.now(), captures)
        if attempt is None and captures:
            attempt_id = attempt_id or desk.id_for(
                f"{snapshot.provider_invoice_id}#paid", snapshot.created_at
            )
            desk.attempt(
                attempt_id,
                invoice,
                OutcomeClass.SUCCEEDED,
                provider=snapshot.provider,
                provider_object_id=snapshot.provider_invoice_id,
            )
        desk.payments(invoice.invoice_id, attempt_id, snapshot.provider, settlement)
        self._explain(invoice, snapshot)
        desk.invoice(
            invoice,
            InvoiceStatus.PAID,
            paid_at=when,
            hosted_invoice_url=snapshot.hosted_invoice_url,
            invoice_pdf=snapshot.invoice_pdf,
        )
        if state.invoice is not None and state.invoice.invoice_id == invoice.invoice_id:
            state.invoice = None
        self._advance(snapshot)
        desk.emit("invoice.paid", invoice_id=str(invoice.invoice_id))

    def _explain(self, invoice: OpenInvoice, snapshot: InvoiceSnapshot) -> None:
        """What the provider billed, as lines; credit that it took off is spent."""
        applied = snapshot.credit_applied_minor
        price = self._desk.terms.offer.model_copy(
            update={"amount_minor": snapshot.amount_minor + applied}
        )
        line = period_line(price, snapshot.period_start, snapshot.period_end)
        invoice.lines = settle_lines([line], applied).lines
        state = self._desk.state
        state.placed_credit_minor = max(0, state.placed_credit_minor - applied)
        self._desk.invoice_credit(-applied, "invoice", invoice.invoice_id)

    def _advance(self, snapshot: InvoiceSnapshot) -> None:
        """A paid invoice for a later period moves the subscription on; an older one never back."""
        state = self._desk.state
        end = state.current_period_end
        if end is None or snapshot.period_end >= end:
            if end is not None and snapshot.period_end > end:
                state.period_number += 1
            state.current_period_start = snapshot.period_start
            state.current_period_end = snapshot.period_end
            state.period_amount_minor = snapshot.amount_minor + snapshot.credit_applied_minor
            state.provider_looked_at = None
        if state.invoice is None and not (
            state.status is SubscriptionStatus.TRIALING and snapshot.amount_minor == 0
        ):
            dunning.recover(self._desk)
            self._desk.move(SubscriptionEvent.PAYMENT_SUCCEEDED)

    def apply_subscription(self, snapshot: SubscriptionSnapshot) -> str:
        desk, state = self._desk, self._desk.state
        disposition = "nothing_new"
        if snapshot.latest_invoice is not None:
            disposition = self.apply_invoice(snapshot.latest_invoice)
        if self._is_another(snapshot):
            return disposition
        if snapshot.status is ProviderSubscriptionStatus.CANCELED:
            if state.provider_pause is ProviderPause.REPLACED:
                return "stale"  # Whoever pays gets another one there.
            if trialing.drop_dead_start(desk):
                return "applied"
            event = SubscriptionEvent.CANCELED
            if state.status is SubscriptionStatus.INCOMPLETE and not state.cancel_requested:
                event = SubscriptionEvent.GAVE_UP
            self.ended(event, f"provider:{snapshot.provider}")
            return "applied"
        if snapshot.is_paused or state.is_held:
            return self._follow_pause(snapshot) or disposition
        if was_dropped(state.change, snapshot):
            # There, too: the provider does not make the change that waits.
            take_back(desk, f"provider:{snapshot.provider}")
            disposition = "applied"
        if snapshot.cancel_at_period_end != state.cancel_at_period_end:
            # Somebody used the provider's own dashboard or portal.
            state.cancel_at_period_end = snapshot.cancel_at_period_end
            desk.audit(
                f"provider:{snapshot.provider}",
                "cancel" if snapshot.cancel_at_period_end else "resume",
                {},
                {"cancel_at_period_end": snapshot.cancel_at_period_end},
            )
            return "applied"
        return disposition

    def _is_another(self, snapshot: SubscriptionSnapshot) -> bool:
        """Of a start that was undone after its answer got lost, or that came to nothing: its end, which
        may be told late, is not the end of the one that is billed. Money on it is looked at all the same."""
        state = self._desk.state
        ours = (state.provider, state.provider_subscription_id)
        return ours != (snapshot.provider, snapshot.provider_subscription_id)

    def doubts(self, event: ProviderEvent) -> bool:
        """Whether the event says another thing about a pause or a change to come than we know, or that one
        has ended which another one replaced. It may be from before, or somebody used the provider's own
        dashboard: only the provider can tell."""
        state = self._desk.state
        if event.subscription is not None:
            if self._was_replaced(event.subscription):
                return True
            if was_dropped(state.change, event.subscription):
                return True
            known = state.is_held or state.cancel_at_period_end
            return event.subscription.is_paused is not known and (
                event.subscription.is_paused or state.is_held
            )
        return event.invoice is not None and state.is_held

    def _was_replaced(self, snapshot: SubscriptionSnapshot) -> bool:
        ended = snapshot.status is ProviderSubscriptionStatus.CANCELED
        served = self._desk.state.status is not SubscriptionStatus.INCOMPLETE
        billed = self._desk.state.provider_subscription_id is not None
        return ended and served and billed and self._is_another(snapshot)

    def _follow_pause(self, snapshot: SubscriptionSnapshot) -> str | None:
        """Somebody paused or resumed it in the provider's own dashboard, where it is not as we left it.
        A provider that cannot cancel at a period's end is paused for that: then we know."""
        desk, state, actor = self._desk, self._desk.state, f"provider:{snapshot.provider}"
        if snapshot.is_paused:
            served = state.status in {SubscriptionStatus.ACTIVE, SubscriptionStatus.TRIALING}
            replaced = state.change is not None and state.change.replaces
            ours = state.cancel_at_period_end or state.provider_pause is not None
            stopped_by_us = ours or replaced
            if state.is_held or stopped_by_us or not served:
                return None
            pausing.take_effect(desk, actor)
        elif state.status is SubscriptionStatus.PAUSED:
            self.leave_pause(actor)
        else:
            pausing.unschedule(desk, actor)
        return "applied"

    def leave_pause(self, actor: str) -> None:
        """It runs again at the provider: paid, or with an invoice that is not."""
        paid = self._desk.state.invoice is None and pausing.still_paid(self._desk.state)
        event = SubscriptionEvent.RESUMED if paid else SubscriptionEvent.RESUMED_UNPAID
        pausing.leave(self._desk, event, actor)

    def is_untried(self, snapshot: InvoiceSnapshot) -> bool:
        """An invoice that waits for us: nobody has asked for its money yet."""
        return snapshot.status is ProviderInvoiceStatus.OPEN and snapshot.attempt_count == 0

    def open_invoice(self, snapshot: InvoiceSnapshot) -> OpenInvoice:
        """Ours for the provider's, to be collected where it is."""
        invoice = self._match(snapshot)
        invoice.candidate = self.candidate()
        return invoice

    async def look(self) -> SubscriptionSnapshot | None:
        """Ask the provider for the whole truth and apply it."""
        snapshot = await self.read()
        if snapshot is not None:
            self.apply_subscription(snapshot)
        return snapshot

    async def read(self) -> SubscriptionSnapshot | None:
        """The whole truth, for whoever has to do something before it is applied."""
        reference = self.reference()
        if reference is None:
            return None
        snapshot = await call_subscription(
            ProviderCalls.read_subscription, reference, "look at the provider"
        )
        self._desk.answered()
        return snapshot

    def ended(self, event: SubscriptionEvent, actor: str) -> None:
        desk, state = self._desk, self._desk.state
        if state.invoice is not None:
            desk.drop_open_attempt(state.invoice, str(event))
            desk.invoice(state.invoice, InvoiceStatus.VOID)
            state.invoice = None
        state.cancel_at_period_end = state.cancel_requested = False
        desk.move(event, actor)

    # Looking things up -----------------------------------------------------------------------

    def _match(self, snapshot: InvoiceSnapshot) -> OpenInvoice:
        """Our invoice for the provider's: the open one, or the same id whenever it is heard of."""
        state = self._desk.state
        if self._is_open(snapshot) and state.invoice is not None:
            return state.invoice
        invoice_id = (
            self._desk.id_for(FIRST_INVOICE)
            if snapshot.first
            else self._desk.id_for(snapshot.provider_invoice_id, snapshot.created_at)
        )
        return OpenInvoice(
            invoice_id=invoice_id,
            provider_invoice_id=snapshot.provider_invoice_id,
            amount_minor=snapshot.amount_minor,
            currency=snapshot.currency,
            first=snapshot.first,
            period_start=snapshot.period_start,
            period_end=snapshot.period_end,
            due_at=snapshot.created_at,
            created_at=snapshot.created_at,
            candidate=self.candidate(),
        )

    def candidate(self) -> int:
        """Whoever billed it collects it, also where that is the fallback."""
        state = self._desk.state
        return state.candidates.index(state.provider) if state.provider in state.candidates else 0

    def _is_open(self, snapshot: InvoiceSnapshot) -> bool:
        invoice = self._desk.state.invoice
        if invoice is None:
            return False
        same = invoice.provider_invoice_id == snapshot.provider_invoice_id
        # What is opened anew at a provider has a first invoice there, which is not our first; but what it
        # replaces had one too, long before.
        replaces = self._desk.state.provider_pause is ProviderPause.REPLACED
        after = snapshot.created_at > invoice.created_at - CLOCK_SKEW
        return same or (snapshot.first and (invoice.first or (replaces and after)))

    def _is_news(self, snapshot: InvoiceSnapshot) -> bool:
        """A paid invoice without money: it was open, or credit paid all of the next period."""
        end: datetime | None = self._desk.state.current_period_end
        by_credit = snapshot.credit_applied_minor > 0
        later = end is not None and snapshot.period_end > end
        return self._is_open(snapshot) or (by_credit and later)

    def _is_stale(self, snapshot: InvoiceSnapshot) -> bool:
        """A failure told after its invoice was paid, or of a period that lies behind us."""
        end: datetime | None = self._desk.state.current_period_end
        return not self._is_open(snapshot) and end is not None and snapshot.period_end <= end

    def reference(self, *, at_period_end: bool = False) -> SubscriptionReference | None:
        state = self._desk.state
        if state.provider is None or state.provider_subscription_id is None:
            return None
        return SubscriptionReference(
            provider=state.provider,
            provider_customer_id=state.provider_customer_id or "",
            provider_subscription_id=state.provider_subscription_id,
            at_period_end=at_period_end,
        )
