"""Changing the plan, interval or quantity: what both billing clocks share, and the engine's steps.

What a change comes to is decided by pure rules, for the preview and for the change alike.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol
from uuid import UUID

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from models.billing_policy import BillingPolicy
    from models.calendar import BillingPeriod, period
    from models.change_rules import Decision, decide
    from models.commands import ChangePlan
    from models.plan_change import Offer, Proration, period_line, settle_lines
    from models.states import InvoiceStatus
    from models.subscription import OpenInvoice, PendingChange
    from workflows.desk import Desk
    from workflows.step_changes import ENGINE_ACTOR

PLAN_CHANGE, INVOICE_CREDIT = "plan_change", "invoice"


class Collector(Protocol):
    """The part of the engine's clock that a change needs."""

    @property
    def busy(self) -> bool: ...

    async def collect(self) -> None:
        """Have the open invoice paid."""

    async def void_running(self) -> None:
        """Make sure that the running slip cannot be paid any more."""


def settle_now(desk: Desk, command: ChangePlan, decision: Decision) -> None:
    """The change takes effect with nothing to collect: what is left over becomes credit."""
    state = desk.state
    if decision.lines:
        invoice = change_invoice(desk, decision)
        desk.invoice_credit(decision.credit_change_minor, PLAN_CHANGE, invoice.invoice_id)
        desk.invoice(invoice, InvoiceStatus.PAID, paid_at=workflow.now())
        desk.emit("invoice.paid", invoice_id=str(invoice.invoice_id))
    take_effect(
        desk,
        decision.offer,
        command.actor,
        prorated=command.proration is Proration.PRORATE and bool(decision.lines),
        anew=decision.period,
        policy=command.policy,
    )
    state.change = None


def take_effect(
    desk: Desk,
    offer: Offer,
    actor: str,
    *,
    prorated: bool,
    anew: BillingPeriod | None,
    policy: BillingPolicy | None,
) -> None:
    """`prorated`: what is paid is settled at the new price; otherwise it stays at the old one. `policy`:
    the new plan's rules, which hold from here on, also for an invoice that is being collected."""
    state, old_minor = desk.state, desk.terms.amount_minor
    if state.period_amount_minor is None:
        state.period_amount_minor = old_minor
    if state.ahead_amount_minor is None and state.paid_ahead_until is not None:
        state.ahead_amount_minor = old_minor
    if prorated:
        state.period_amount_minor = offer.amount_minor
        state.ahead_amount_minor = offer.amount_minor if state.paid_ahead_until else None
    if anew is not None:
        state.anchor_at, state.period_number = anew.start, anew.number
        state.current_period_start, state.current_period_end = anew.start, anew.end
        state.paid_ahead_until = state.ahead_amount_minor = None
    desk.change_terms(offer, actor, policy)


def change_invoice(desk: Desk, decision: Decision) -> OpenInvoice:
    """The invoice that shows the arithmetic of a change, also when there is nothing to pay."""
    now = workflow.now()
    end = decision.period.end if decision.period is not None else desk.state.current_period_end
    return OpenInvoice(
        invoice_id=workflow.uuid7(),
        amount_minor=decision.amount_due_minor,
        currency=desk.terms.currency,
        for_change=True,
        period_start=decision.at,
        period_end=end,
        due_at=decision.pay_by or now,
        created_at=now,
        lines=decision.lines,
        credit_change_minor=decision.credit_change_minor,
    )


def schedule(
    desk: Desk, command: ChangePlan, decision: Decision, invoice_id: UUID | None = None
) -> None:
    """`invoice_id`: what has to be paid before it takes effect."""
    before = desk.state.change
    desk.state.change = PendingChange(
        offer=decision.offer,
        proration=command.proration,
        actor=command.actor,
        at=None if invoice_id is not None else decision.takes_effect_at,
        invoice_id=invoice_id,
        period=decision.period,
        policy=command.policy,
    )
    desk.audit(
        command.actor,
        "change.scheduled",
        {"change": None if before is None else before.offer.model_dump(mode="json")},
        {"change": decision.offer.model_dump(mode="json")},
    )
    desk.emit("subscription.change_scheduled", **decision.offer.model_dump(mode="json"))


def take_back(desk: Desk, actor: str) -> None:
    desk.state.change = None
    desk.audit(actor, "change.taken_back", {}, {})
    desk.emit("subscription.change_unscheduled")


def lapse(desk: Desk) -> None:
    """Nobody paid for the change: everything stays as it is, and nothing is owed."""
    invoice = desk.state.invoice
    if invoice is not None:
        desk.invoice_credit(invoice.amount_paid_minor, "change_lapsed", invoice.invoice_id)
        desk.invoice(invoice, InvoiceStatus.VOID)
        desk.state.invoice = None
    desk.state.change = None
    desk.audit(ENGINE_ACTOR, "change.lapsed", {}, {})
    desk.emit("subscription.change_lapsed")


class EngineChanges:
    """The engine's billing clock: what is owed is paid by a slip before the change takes effect."""

    def __init__(self, desk: Desk, collector: Collector) -> None:
        self._desk = desk
        self._collector = collector

    async def make(self, command: ChangePlan) -> bool:
        """Whether another slip is on its way. Raises ChangeRefused, with nothing changed."""
        desk, state = self._desk, self._desk.state
        decision = decide(desk.terms, state, command, workflow.now())
        if decision.takes_back:
            await self._take_back(command.actor)
        elif decision.takes_effect_at is None:
            await self._collect(command, decision)
            return True
        elif decision.now:
            settle_now(desk, command, decision)
        else:
            schedule(desk, command, decision)
        return await self._reprice()

    async def _take_back(self, actor: str) -> None:
        state = self._desk.state
        if state.change is None:
            return
        if state.change.at is not None:
            take_back(self._desk, actor)
        elif self._collector.busy:
            # It lapses when the slip is known to be void; a customer who was faster has the change.
            self._desk.audit(actor, "change.taken_back", {}, {})
            await self._collector.void_running()
        else:
            self.lapse()

    async def _collect(self, command: ChangePlan, decision: Decision) -> None:
        desk = self._desk
        invoice = change_invoice(desk, decision)
        schedule(desk, command, decision, invoice.invoice_id)
        desk.invoice_credit(invoice.credit_change_minor, INVOICE_CREDIT, invoice.invoice_id)
        desk.state.invoice = invoice
        desk.invoice(invoice, InvoiceStatus.PENDING)
        await desk.commit()
        await self._collector.collect()

    def paid(self, invoice: OpenInvoice, when: datetime) -> None:
        """The slip of a change was paid: it takes effect."""
        desk, change = self._desk, self._desk.state.change
        desk.invoice(invoice, InvoiceStatus.PAID, paid_at=when)
        desk.state.invoice = None
        desk.state.change = None
        if change is not None:
            take_effect(
                desk,
                change.offer,
                change.actor,
                prorated=True,
                anew=change.period,
                policy=change.policy,
            )
        desk.emit("invoice.paid", invoice_id=str(invoice.invoice_id))

    def lapse(self) -> None:
        lapse(self._desk)

    def apply_scheduled(self) -> None:
        """The period has come with which a change takes effect."""
        desk, state, change = self._desk, self._desk.state, self._desk.state.change
        if change is None or change.at is None:
            return
        state.change = None
        anew = change.offer.billing_interval is not desk.terms.billing_interval
        take_effect(
            desk, change.offer, change.actor, prorated=False, anew=None, policy=change.policy
        )
        if anew:
            state.anchor_at = change.at
            if state.paid_ahead_until is None:
                state.period_number = -1  # The period that begins now is number 0 of the new count.

    # The coming period's invoice ---------------------------------------------------------------

    def offer_for(self, starts_at: datetime) -> Offer:
        """What is sold for the period that begins then."""
        change = self._desk.state.change
        if change is not None and change.at is not None and change.at <= starts_at:
            return change.offer
        return self._desk.terms.offer

    def following(self, by_present_terms: BillingPeriod) -> BillingPeriod:
        """The next period, as a change that takes effect with it makes it."""
        offer = self.offer_for(by_present_terms.start)
        if offer.billing_interval is self._desk.terms.billing_interval:
            return by_present_terms
        zone = self._desk.terms.time_zone
        return period(by_present_terms.start, zone, offer.billing_interval, 0)

    def price(self, invoice: OpenInvoice, covered: BillingPeriod) -> None:
        """Make the invoice of a coming period say what that period costs today."""
        desk = self._desk
        desk.invoice_credit(-invoice.credit_change_minor, INVOICE_CREDIT, invoice.invoice_id)
        invoice.offer = self.offer_for(covered.start)
        line = period_line(invoice.offer, covered.start, covered.end)
        settled = settle_lines([line], desk.state.credit_minor)
        invoice.amount_minor, invoice.lines = settled.amount_due_minor, settled.lines
        invoice.credit_change_minor = settled.credit_change_minor
        invoice.period_number = covered.number
        invoice.period_start, invoice.period_end = covered.start, covered.end
        desk.invoice_credit(settled.credit_change_minor, INVOICE_CREDIT, invoice.invoice_id)
        if settled.credit_change_minor or invoice.outdated:
            desk.invoice(invoice, InvoiceStatus.PENDING)
        invoice.outdated = False

    async def _reprice(self) -> bool:
        """A slip for the coming period that is out at an older price is voided first: one open attempt
        for an invoice."""
        invoice = self._desk.state.invoice
        if invoice is None or invoice.for_change or invoice.period_start is None:
            return False
        if invoice.period_start <= workflow.now():
            return False
        due = self.offer_for(invoice.period_start)
        if invoice.offer is not None and invoice.offer.same_as(due):
            return False
        invoice.outdated = True
        if self._collector.busy:
            await self._collector.void_running()
        else:
            self.renew_price(invoice)
        return True

    def renew_price(self, invoice: OpenInvoice) -> None:
        terms, start = self._desk.terms, invoice.period_start or invoice.due_at
        number = invoice.period_number
        anchor = self._desk.state.anchor_at or start
        self.price(
            invoice, self.following(period(anchor, terms.time_zone, terms.billing_interval, number))
        )

    def overtaken(self, invoice: OpenInvoice, covered: BillingPeriod) -> None:
        """The customer was faster than the voiding: what was paid for holds."""
        desk, change = self._desk, self._desk.state.change
        invoice.outdated = False
        paid_for = invoice.offer or desk.terms.offer
        if paid_for.billing_interval is not desk.terms.billing_interval:
            desk.state.change = PendingChange(
                offer=paid_for,
                proration=Proration.NEXT_PERIOD,
                actor=ENGINE_ACTOR,
                at=covered.start,
            )
        elif change is not None:
            desk.state.change = change.model_copy(update={"at": covered.end})
        paid = {"invoice_id": str(invoice.invoice_id)}
        desk.audit(ENGINE_ACTOR, "change.overtaken", {}, paid)
