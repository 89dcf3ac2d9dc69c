"""The Update and the query by which a subscription's plan changes; mixed into SubscriptionWorkflow."""

from __future__ import annotations

import asyncio
from datetime import datetime

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from models.change_rules import ChangeRefused, Decision, decide
    from models.commands import ChangePlan, CommandResult
    from workflows.collecting import BillingClockSteps
    from workflows.desk import Desk
    from workflows.operating import conflict

PAYMENT_REFUSED = "payment_refused"


class ChangeUpdates:
    """Expects of the workflow what stands here without a value."""

    _desk: Desk
    _clock: BillingClockSteps
    _lock: asyncio.Lock
    _worked: bool

    async def _when_answered(self) -> CommandResult:
        raise NotImplementedError

    def _result(self) -> CommandResult:
        raise NotImplementedError

    @workflow.update
    async def change(self, command: ChangePlan) -> CommandResult:
        """Answers when the change has taken effect, is scheduled, or there is a slip to pay for it."""
        async with self._lock:
            self._desk.change_declined = None
            try:
                waits = await self._clock.change(command)
            except ChangeRefused as refused:
                raise conflict(str(refused)) from None
            await self._desk.commit()
            self._worked = True
            if not waits:
                return self._result()
        result = await self._when_answered()
        declined = self._desk.change_declined
        if declined is not None:
            raise ApplicationError(declined, type=PAYMENT_REFUSED, non_retryable=True)
        return result

    @change.validator
    def _may_change(self, command: ChangePlan) -> None:
        if self._clock.deaf:
            raise conflict("a payment is on its way")
        self._decide_change(command, workflow.now())

    @workflow.query
    def preview_change(self, command: ChangePlan) -> Decision:
        """What `change` would come to at `command.at`. Raises what it would refuse."""
        return self._decide_change(command, command.at or workflow.now())

    def _decide_change(self, command: ChangePlan, now: datetime) -> Decision:
        try:
            return decide(self._desk.terms, self._desk.state, command, now)
        except ChangeRefused as refused:
            raise conflict(str(refused)) from None
