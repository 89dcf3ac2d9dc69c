"""What an operator may have a subscription do: Updates that refuse what makes no sense.

Mixed into SubscriptionWorkflow. Each action writes down who and why, holds the lock to its end, and leaves
the invariants as they are: before anything new is collected the running slip is closed.
"""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from models.commands import CommandResult
    from models.money import Money
    from models.operations import MarkPaid, OperatorCommand, ReissueVoucher, RetryNow
    from models.snapshots import Capture
    from models.subscription import OpenInvoice
    from workflows.collecting import BillingClockSteps
    from workflows.desk import Desk
    from workflows.dunning import customer_acts, may_try_from
    from workflows.engine_clock import EngineClock

CONFLICT = "conflict"
PAID_MEANWHILE = "the customer paid the slip in this very moment; nothing was marked"


class OperatorUpdates:
    """Expects of the workflow what stands here without a value."""

    _desk: Desk
    _clock: BillingClockSteps
    _lock: asyncio.Lock
    _worked: bool

    async def _when_answered(self) -> CommandResult:
        raise NotImplementedError

    @workflow.update
    async def retry_now(self, command: RetryNow) -> CommandResult:
        async with self._lock:
            self._refuse_retry(command)
            self._note("operator.retry", command)
            customer_acts(self._desk, brought_method=False)
            await self._clock.retry(command.actor)
            await self._desk.commit()
        return await self._when_answered()

    @retry_now.validator
    def _refuse_retry(self, command: RetryNow) -> None:
        invoice = self._open_invoice()
        if self._clock.busy:
            raise conflict("a payment for the invoice is already on its way")
        if invoice.attempt_id is not None:
            raise conflict("the customer is still asked to confirm a payment at the bank")
        allowed = may_try_from(self._desk)
        if allowed is not None:
            raise conflict(f"card networks allow no more tries before {allowed:%Y-%m-%d %H:%M} UTC")

    @workflow.update
    async def reissue_voucher(self, command: ReissueVoucher) -> CommandResult:
        async with self._lock:
            clock = self._engine_clock()
            self._refuse_reissue(command)
            self._note("operator.reissue", command)
            await clock.close_slip()
            customer_acts(self._desk, brought_method=False)
            await clock.issue_another()
            await self._desk.commit()
            self._worked = True
        return await self._when_answered()

    @reissue_voucher.validator
    def _refuse_reissue(self, command: ReissueVoucher) -> None:
        self._engine_clock()
        self._open_invoice()

    @workflow.update
    async def mark_paid(self, command: MarkPaid) -> CommandResult:
        async with self._lock:
            clock = self._engine_clock()
            self._refuse_mark(command)
            invoice_id = self._open_invoice().invoice_id
            self._note(
                "operator.mark_paid",
                command,
                invoice_id=str(invoice_id),
                amount_minor=command.amount_minor,
                currency=command.currency,
                reference=command.reference,
            )
            await clock.close_slip()
            self._worked = True
            invoice = self._desk.state.invoice
            if invoice is None or invoice.invoice_id != invoice_id:
                raise conflict(PAID_MEANWHILE)
            self._refuse_mark(command)
            clock.book_outside(
                Capture(
                    provider_charge_id=command.reference,
                    amount_minor=command.amount_minor,
                    currency=command.currency,
                    captured_at=command.received_at,
                )
            )
            await self._desk.commit()
        return await self._when_answered()

    @mark_paid.validator
    def _refuse_mark(self, command: MarkPaid) -> None:
        self._engine_clock()
        invoice = self._open_invoice()
        lacking_minor = invoice.amount_minor - invoice.amount_paid_minor
        lacking = Money(amount_minor=lacking_minor, currency=invoice.currency)
        if command.currency != invoice.currency or not 0 < command.amount_minor <= lacking_minor:
            raise conflict(f"the invoice lacks {lacking}: mark that much or less, in that currency")
        if command.received_at > workflow.now():
            raise conflict("money that has not been received yet cannot be marked")
        if command.reference in self._desk.state.counted_charge_ids:
            raise conflict("this reference is booked already")

    def _note(self, action: str, command: OperatorCommand, **after: Any) -> None:
        self._desk.audit(command.actor, action, {}, {**after, "reason": command.reason})

    def _open_invoice(self) -> OpenInvoice:
        if self._desk.over:
            raise conflict(f"the subscription is {self._desk.state.status}")
        invoice = self._desk.state.invoice
        if invoice is None:
            raise conflict("the subscription has no open invoice")
        return invoice

    def _engine_clock(self) -> EngineClock:
        if not isinstance(self._clock, EngineClock):
            provider = self._desk.state.provider or "its provider"
            raise conflict(
                f"{provider} bills this card by its own clock: do it in its panel, the webhook is followed"
            )
        return self._clock


def conflict(message: str) -> ApplicationError:
    return ApplicationError(message, type=CONFLICT, non_retryable=True)
