"""Money for the invoices of the engine's clock: what a slip brought, what came too late, what an operator
saw; and what a paid invoice sets going."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.signatures.attempts import AttemptResult, PendingPaymentResult, ProviderCalls
    from activities.signatures.records import AttemptFacts, AttemptQuestion, InboxRecords
    from models.events import ProviderEvent
    from models.ids import our_id
    from models.outcomes import OutcomeClass, ProviderName
    from models.plan_change import period_line
    from models.settlement import settle
    from models.snapshots import Capture, PaymentSnapshot
    from models.states import InvoiceStatus, SubscriptionEvent
    from models.subscription import OpenInvoice
    from workflows import dunning
    from workflows.changing import EngineChanges
    from workflows.desk import Desk, paid_at
    from workflows.engine_periods import EnginePeriods
    from workflows.engine_slips import EngineSlips
    from workflows.options import call_lookup, call_payment


class EngineMoney:
    """Books money, and settles an invoice that lacks nothing any more."""

    def __init__(
        self, desk: Desk, slips: EngineSlips, periods: EnginePeriods, changes: EngineChanges
    ) -> None:
        self._desk = desk
        self._slips = slips
        self._periods = periods
        self._changes = changes

    def take(self, news: PendingPaymentResult) -> OpenInvoice | None:
        """Close the attempt and book what came. The invoice, when what follows is still to be decided."""
        collecting = self._slips.put_away()
        desk, attempt = self._desk, news.attempt
        if collecting is None:
            return None
        desk.acknowledge(news.event_ids, "applied")
        desk.close_attempt(collecting, attempt)
        invoice = desk.state.invoice
        if invoice is None or invoice.invoice_id != collecting.invoice_id:
            self._keep_in_sight(collecting, attempt)
            return None
        payment, paid = attempt.payment, attempt.outcome is OutcomeClass.SUCCEEDED
        if payment is not None and (paid or desk.uncounted(payment.captures)):
            # A slip that was closed may have brought something too: a transfer of too little.
            ends = desk.state.cancel_at_period_end and not invoice.for_change
            wanted = paid or not ends
            self._book(invoice, attempt.attempt_id, attempt.provider, payment, wanted=wanted)
            return invoice if not paid and desk.state.invoice is invoice else None
        return invoice

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

    def _keep_in_sight(self, collecting: OpenInvoice, attempt: AttemptResult) -> None:
        """The slip was paid although its invoice was settled in another way: unapplied money."""
        if attempt.payment is not None:
            captures = self._desk.uncounted(attempt.payment.captures)
            settlement = settle(0, 0, collecting.currency, captures)
            self._desk.payments(
                collecting.invoice_id, attempt.attempt_id, attempt.provider, settlement
            )

    def _book(
        self,
        invoice: OpenInvoice,
        attempt_id: UUID,
        provider: ProviderName,
        payment: PaymentSnapshot,
        *,
        wanted: bool = True,
    ) -> None:
        """Apply the money that a provider has told of. Not `wanted`: nothing is owed any more, so all of
        it is unapplied."""
        desk, state = self._desk, self._desk.state
        owed = invoice.amount_minor if wanted and not desk.over else 0
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
        self.settle(invoice, paid_at(workflow.now(), captures))

    def settle(self, invoice: OpenInvoice, when: datetime) -> None:
        """Nothing is lacking any more: what the invoice was for begins, or goes on."""
        desk, state = self._desk, self._desk.state
        if invoice.for_change:
            self._changes.paid(invoice, when)
            return
        if invoice.first:
            state.anchor_at = state.anchor_at or max(when, state.created_at or when)
        covered = self._periods.covered(invoice, when)
        invoice.period_start, invoice.period_end = covered.start, covered.end
        if invoice.first and not invoice.lines:
            invoice.lines = [period_line(desk.terms.offer, covered.start, covered.end)]
        desk.invoice(invoice, InvoiceStatus.PAID, paid_at=when)
        state.invoice = None
        self._periods.extend(covered, invoice.amount_minor - invoice.credit_change_minor)
        if invoice.outdated:
            self._changes.overtaken(invoice, covered)
        dunning.recover(desk)
        desk.move(SubscriptionEvent.PAYMENT_SUCCEEDED)
        desk.emit("invoice.paid", invoice_id=str(invoice.invoice_id))

    # Too late for the slip's own workflow -------------------------------------------------------

    async def hear(self, event: ProviderEvent) -> bool:
        """An event of a slip whose workflow has ended. Whether it told of money."""
        payment = event.payment
        if payment is None and event.provider_payment_id is not None:
            # It tells that something moved, and not what.
            payment = await call_payment(
                ProviderCalls.read_payment,
                event.provider,
                event.provider_payment_id,
                "read the payment that an event is about",
            )
        if payment is None:
            return False
        facts = await _attempt_facts(our_id(event.attempt_id), payment)
        return facts is not None and await self._book_late(facts, payment)

    async def _book_late(self, facts: AttemptFacts, payment: PaymentSnapshot) -> bool:
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
            await self._slips.void()
        else:
            settlement = settle(0, 0, facts.currency, new)
            desk.payments(
                facts.invoice_id,
                facts.attempt_id,
                facts.provider,
                settlement,
                facts.invoice_status,
            )
        return True


async def _attempt_facts(attempt_id: UUID | None, payment: PaymentSnapshot) -> AttemptFacts | None:
    question = AttemptQuestion(
        attempt_id=attempt_id,
        provider=payment.provider,
        provider_payment_id=payment.provider_payment_id,
    )
    facts: AttemptFacts | None = await call_lookup(
        InboxRecords.find_attempt, question, "which invoice was this money for"
    )
    return facts
