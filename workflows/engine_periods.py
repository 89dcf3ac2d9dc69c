"""The periods of a subscription that the engine bills: which one an invoice is for, which one runs."""

from __future__ import annotations

from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from models.calendar import BillingPeriod, period
    from models.subscription import OpenInvoice
    from workflows.desk import Desk


class EnginePeriods:
    """Counted from the anchor, never from the last date."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def number(self, number: int) -> BillingPeriod:
        terms, state = self._desk.terms, self._desk.state
        anchor: datetime = state.anchor_at or workflow.now()
        return period(anchor, terms.time_zone, terms.billing_interval, number)

    def covered(self, invoice: OpenInvoice, paid: datetime) -> BillingPeriod:
        """The period that the invoice is for. Who was paused for want of money pays for the period in
        which he pays: those that he was not served in are not billed."""
        start, end = invoice.period_start, invoice.period_end
        covered = self.number(invoice.period_number)
        if not invoice.first and start is not None and end is not None:
            covered = BillingPeriod(number=invoice.period_number, start=start, end=end)
        while self._desk.state.suspended_at is not None and covered.end <= paid:
            covered = self.number(covered.number + 1)
        return covered

    def extend(self, covered: BillingPeriod, amount_minor: int) -> None:
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

    def roll(self) -> None:
        """A period that was paid ahead has begun."""
        state = self._desk.state
        if state.paid_ahead_until is not None:
            state.current_period_start = state.current_period_end
            state.current_period_end = state.paid_ahead_until
            state.period_amount_minor = state.ahead_amount_minor
            state.paid_ahead_until = state.ahead_amount_minor = None
            self._desk.touch()

    def anew(self, invoice: OpenInvoice) -> None:
        """The invoice is for a period from now on, with an anchor of its own."""
        now = workflow.now()
        self._desk.state.anchor_at = now
        following = self.number(0)
        invoice.due_at = now
        invoice.period_number = following.number
        invoice.period_start, invoice.period_end = following.start, following.end
