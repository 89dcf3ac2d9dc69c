"""The provider's billing clock: stored cards.

The provider's subscription charges each period; the workflow follows by webhook, and looks by itself
when the webhook does not come. Retries after a decline are the engine's, not the provider's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import datetime
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.results import SubscriptionIds
    from activities.signatures import (
        AttemptRequest,
        AttemptResult,
        OpenProviderSubscription,
        ProviderCalls,
        RetryInvoice,
        SubscriptionReference,
    )
    from models.commands import InboxEvent
    from models.moments import Step, paid_until
    from models.outcomes import DeclineClass, OutcomeClass
    from models.settlement import settle
    from models.snapshots import (
        InvoiceSnapshot,
        ProviderInvoiceStatus,
        ProviderSubscriptionStatus,
        SubscriptionSnapshot,
    )
    from models.states import InvoiceStatus, SubscriptionEvent, SubscriptionStatus
    from models.subscription import InvoiceProjection, OpenInvoice
    from workflows.collecting import (
        FIRST_INVOICE,
        choose_route,
        give_up,
        new_invoice,
        resolve,
        try_elsewhere,
    )
    from workflows.desk import ENGINE_ACTOR, Desk, paid_at
    from workflows.options import call_attempt, call_subscription

UNPAID = frozenset({ProviderInvoiceStatus.OPEN, ProviderInvoiceStatus.UNCOLLECTIBLE})


class ProviderClock:
    """Steps of a subscription that its provider bills."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._news: AttemptResult | None = None
        self._running: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        return self._running is not None

    @property
    def has_news(self) -> bool:
        return self._news is not None

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
        # A trial opens with a bill of nothing, as the providers do it.
        amount_minor = 0 if terms.trial_days else terms.amount_minor
        invoice = new_invoice(desk, due_at=now, first=True, amount_minor=amount_minor)
        self._start_first(invoice)
        state.opened = True

    async def act(self, step: Step) -> None:
        desk, invoice = self._desk, self._desk.state.invoice
        if step is Step.TRY_AGAIN and invoice is not None:
            invoice.next_try_at = None
            self._try_open_invoice(invoice)
        elif step is Step.CHECK_PROVIDER:
            desk.state.provider_looked_at = workflow.now()
            desk.touch()
            await self._look()
        elif step is Step.GIVE_UP:
            await self._end_unpaid()
        elif step is Step.END:
            await self._look_at_the_end()

    async def hear(self, events: list[InboxEvent]) -> None:
        for inbox_event in events:
            event = inbox_event.event
            if event.invoice is not None:
                if event.invoice.status in UNPAID and event.invoice.decline is None:
                    # The webhook does not say why; whether to try again depends on it.
                    await self._look()
                disposition = self._apply_invoice(event.invoice)
            elif event.subscription is not None:
                disposition = self._apply_subscription(event.subscription)
            else:
                await self._look()
                disposition = "read_back"
            self._desk.acknowledge([inbox_event.id], disposition)

    def hear_issued(self, attempt: AttemptResult) -> None:
        """Vouchers are the other clock's."""

    def remind(self) -> None:
        """Nothing to remind of: the provider charges by itself."""

    async def cancel(self, *, immediately: bool, actor: str) -> None:
        """Cancelled at the provider first: it must not charge after we have said that it is over."""
        desk, state = self._desk, self._desk.state
        at_period_end = not immediately and paid_until(state) is not None
        desk.audit(actor, "cancel", {}, {"immediately": not at_period_end})
        if self.busy:
            state.cancel_requested = True
            return
        reference = self._reference(at_period_end=at_period_end)
        if reference is not None:
            if not at_period_end:
                state.cancel_requested = True
                await desk.commit()
            await call_subscription(
                ProviderCalls.cancel_subscription, reference, "cancel at the provider"
            )
        if at_period_end:
            state.cancel_at_period_end = True
            desk.emit("subscription.cancel_scheduled")
        else:
            self._ended(SubscriptionEvent.CANCELED, actor)

    async def resume(self, actor: str) -> None:
        desk, reference = self._desk, self._reference()
        if reference is not None:
            await call_subscription(
                ProviderCalls.keep_subscription, reference, "take the cancellation back"
            )
        desk.state.cancel_at_period_end = False
        desk.audit(actor, "resume", {"cancel_at_period_end": True}, {"cancel_at_period_end": False})
        desk.emit("subscription.cancel_unscheduled")

    async def retry(self, actor: str) -> None:
        invoice = self._desk.state.invoice
        self._desk.audit(actor, "retry", {}, {})
        if invoice is not None and not self.busy:
            invoice.next_try_at = None
            self._try_open_invoice(invoice)

    async def take_news(self) -> None:
        """An attempt of ours has ended; decide what follows."""
        attempt, self._news = self._news, None
        self._running = None
        desk, invoice = self._desk, self._desk.state.invoice
        if attempt is None or invoice is None:
            return
        if attempt.outcome is not OutcomeClass.PENDING:
            desk.close_attempt(invoice, attempt)
        self._remember_ids(invoice, attempt)
        if attempt.outcome is OutcomeClass.SUCCEEDED:
            self._apply_success(invoice, attempt)
        elif attempt.outcome is OutcomeClass.NOT_ATTEMPTED:
            if try_elsewhere(desk, invoice, attempt):
                await desk.commit()
                self._try_open_invoice(invoice)
            elif invoice.next_try_at is None:
                await self._end_unpaid()
        elif attempt.outcome is OutcomeClass.DECLINED:
            decline = attempt.decline
            self._declined(invoice, decline.decline_class if decline else None)
        if desk.state.invoice is invoice:
            desk.invoice(invoice, InvoiceStatus.PENDING)
        if desk.state.cancel_requested and not desk.over and not self.busy:
            await self.cancel(immediately=True, actor=ENGINE_ACTOR)

    # Trying ----------------------------------------------------------------------------------

    def _start_first(self, invoice: OpenInvoice) -> None:
        desk = self._desk
        if not desk.state.candidates:
            give_up(desk, invoice)
            return
        request = OpenProviderSubscription(
            **self._attempt_fields(invoice), trial_end=desk.state.trial_end
        )
        self._start(
            ProviderCalls.open_provider_subscription,
            request,
            f"open the subscription at {request.provider}",
        )

    def _try_open_invoice(self, invoice: OpenInvoice) -> None:
        if invoice.provider_invoice_id is None:
            self._start_first(invoice)
            return
        request = RetryInvoice(
            **self._attempt_fields(invoice), provider_invoice_id=invoice.provider_invoice_id
        )
        self._start(ProviderCalls.retry_invoice, request, "charge the open invoice again")

    def _attempt_fields(self, invoice: OpenInvoice) -> dict[str, Any]:
        state = self._desk.state
        state.provider = state.candidates[invoice.candidate]
        invoice.attempt_id = workflow.uuid7()
        self._desk.touch()
        return {
            "attempt_id": invoice.attempt_id,
            "provider": state.provider,
            "terms": self._desk.terms,
            "invoice": self._invoice_row(invoice),
            "started_at": workflow.now(),
            "payment_method_id": state.payment_method_id,
        }

    def _start(self, method: Any, request: AttemptRequest, summary: str) -> None:
        async def run() -> None:
            result = await call_attempt(method, request, summary)
            if result.outcome is OutcomeClass.UNKNOWN:
                result = await resolve(result)
            self._news = result

        self._spawn(run())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._running = asyncio.create_task(work)

    def _remember_ids(self, invoice: OpenInvoice, attempt: AttemptResult) -> None:
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
            self._paid(invoice, attempt.invoice, attempt)

    def _declined(self, invoice: OpenInvoice, decline_class: DeclineClass | None) -> None:
        """A hard decline is never retried; a soft one by schedule; and the customer may act first.
        The first payment is not retried by itself: nobody has been served yet."""
        desk = self._desk
        invoice.declines += 1
        desk.emit("invoice.payment_failed", invoice_id=str(invoice.invoice_id))
        retried = decline_class in {None, DeclineClass.SOFT} and not invoice.first
        policy = desk.terms.policy
        invoice.next_try_at = policy.retry_at(invoice.declines, workflow.now()) if retried else None
        desk.move(SubscriptionEvent.PAYMENT_FAILED)

    # Following -------------------------------------------------------------------------------

    def _apply_invoice(self, snapshot: InvoiceSnapshot) -> str:
        """What the provider says of one of its invoices; says what was done with it."""
        invoice = self._match(snapshot)
        if snapshot.status is ProviderInvoiceStatus.PAID:
            if not self._desk.uncounted(snapshot.captures) and not self._is_open(snapshot):
                return "nothing_new"
            self._paid(invoice, snapshot, None)
            return "applied"
        if snapshot.status not in UNPAID or self._is_stale(snapshot):
            return "stale"
        if snapshot.attempt_count <= invoice.declines:
            return "nothing_new"
        self._failed_by_provider(invoice, snapshot)
        return "applied"

    def _failed_by_provider(self, invoice: OpenInvoice, snapshot: InvoiceSnapshot) -> None:
        """The provider's own clock tried and was refused: an attempt that we could not announce."""
        desk = self._desk
        desk.state.invoice = invoice
        invoice.provider_invoice_id = snapshot.provider_invoice_id
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
        self._declined(invoice, snapshot.decline.decline_class if snapshot.decline else None)
        desk.invoice(invoice, InvoiceStatus.PENDING, hosted_invoice_url=snapshot.hosted_invoice_url)

    def _paid(
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

    def _advance(self, snapshot: InvoiceSnapshot) -> None:
        """A paid invoice for a later period moves the subscription on; an older one never back."""
        state = self._desk.state
        end = state.current_period_end
        if end is None or snapshot.period_end >= end:
            if end is not None and snapshot.period_end > end:
                state.period_number += 1
            state.current_period_start = snapshot.period_start
            state.current_period_end = snapshot.period_end
            state.provider_looked_at = None
        if state.invoice is None and not (
            state.status is SubscriptionStatus.TRIALING and snapshot.amount_minor == 0
        ):
            self._desk.move(SubscriptionEvent.PAYMENT_SUCCEEDED)

    def _apply_subscription(self, snapshot: SubscriptionSnapshot) -> str:
        desk, state = self._desk, self._desk.state
        disposition = "nothing_new"
        if snapshot.latest_invoice is not None:
            disposition = self._apply_invoice(snapshot.latest_invoice)
        if snapshot.status is ProviderSubscriptionStatus.CANCELED:
            event = SubscriptionEvent.CANCELED
            if state.status is SubscriptionStatus.INCOMPLETE and not state.cancel_requested:
                event = SubscriptionEvent.GAVE_UP
            self._ended(event, f"provider:{snapshot.provider}")
            return "applied"
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

    async def _look(self) -> SubscriptionSnapshot | None:
        """Ask the provider for the whole truth and apply it."""
        reference = self._reference()
        if reference is None:
            return None
        snapshot = await call_subscription(
            ProviderCalls.read_subscription, reference, "look at the provider"
        )
        self._apply_subscription(snapshot)
        return snapshot

    async def _look_at_the_end(self) -> None:
        """The period that was paid for is over. The provider ends it by itself; make sure of it."""
        snapshot = await self._look()
        if self._desk.over or not self._desk.state.cancel_at_period_end:
            return
        end = paid_until(self._desk.state)
        if end is None or end <= workflow.now() or snapshot is None:
            await self.cancel(immediately=True, actor=ENGINE_ACTOR)

    async def _end_unpaid(self) -> None:
        """The customer's time is up: stop the provider, then say that it is over."""
        desk, reference = self._desk, self._reference()
        if reference is not None:
            snapshot = await call_subscription(
                ProviderCalls.cancel_subscription, reference, "stop billing at the provider"
            )
            if snapshot.latest_invoice is not None:
                self._apply_invoice(snapshot.latest_invoice)
        if desk.state.status not in {SubscriptionStatus.INCOMPLETE, SubscriptionStatus.PAST_DUE}:
            return  # It was paid after all.
        if desk.state.invoice is not None:
            give_up(desk, desk.state.invoice)
        else:
            desk.move(SubscriptionEvent.GAVE_UP)

    def _ended(self, event: SubscriptionEvent, actor: str) -> None:
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
        )

    def _is_open(self, snapshot: InvoiceSnapshot) -> bool:
        invoice = self._desk.state.invoice
        if invoice is None:
            return False
        same = invoice.provider_invoice_id == snapshot.provider_invoice_id
        return same or (invoice.first and snapshot.first)

    def _is_stale(self, snapshot: InvoiceSnapshot) -> bool:
        """A failure told after its invoice was paid, or of a period that lies behind us."""
        end: datetime | None = self._desk.state.current_period_end
        return not self._is_open(snapshot) and end is not None and snapshot.period_end <= end

    def _reference(self, *, at_period_end: bool = False) -> SubscriptionReference | None:
        state = self._desk.state
        if state.provider is None or state.provider_subscription_id is None:
            return None
        return SubscriptionReference(
            provider=state.provider,
            provider_customer_id=state.provider_customer_id or "",
            provider_subscription_id=state.provider_subscription_id,
            at_period_end=at_period_end,
        )

    def _invoice_row(self, invoice: OpenInvoice) -> InvoiceProjection:
        return InvoiceProjection(
            id=invoice.invoice_id,
            provider=self._desk.state.provider,
            provider_invoice_id=invoice.provider_invoice_id,
            amount_minor=invoice.amount_minor,
            currency=invoice.currency,
            status=str(InvoiceStatus.PENDING),
            period_start=invoice.period_start,
            period_end=invoice.period_end,
            invoice_date=invoice.created_at,
            due_date=invoice.due_at,
        )
