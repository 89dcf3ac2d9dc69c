"""Workflows of the right names that do what a test tells them: the seam is Temporal's address.

What a stand-in does is decided by the plan's name, which is in the terms.
"""

from __future__ import annotations

from uuid import UUID

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from activities.signatures.attempts import SettleAttempt
from models.change_rules import Decision
from models.commands import (
    AddPaymentMethodInput,
    Cancel,
    ChangePlan,
    CommandResult,
    CreditUnapplied,
    DisputeInput,
    DisputeNews,
    Open,
    Pause,
    PaymentMethodResult,
    ProviderEvents,
    PurchaseInput,
    RefundInput,
    RefundResult,
    Resume,
    RetryPayment,
    SetPaymentMethod,
    SubscriptionInput,
)
from models.operations import (
    AskNow,
    DecidedBy,
    Declare,
    MarkPaid,
    OperatorCommand,
    ReissueVoucher,
    Resolution,
    RetryNow,
)
from models.outcomes import OutcomeClass
from models.purchase import PurchaseStatus
from models.states import SubscriptionStatus

UNLUCKY = 13  # So many are refused.
SLOW_PLAN = "Slow"  # Its opening is not known before `release`.


@workflow.defn(name="SubscriptionWorkflow")
class StandInSubscription:
    @workflow.init
    def __init__(self, start: SubscriptionInput) -> None:
        self._slow = start.terms.plan_name == SLOW_PLAN
        self._released = False
        self._over = False
        self._batches: list[list[UUID]] = []
        self._said: list[str] = []

    @workflow.run
    async def run(self, start: SubscriptionInput) -> str:
        await workflow.wait_condition(lambda: self._over)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return start.terms.plan_name

    @workflow.update
    async def open(self, command: Open) -> CommandResult:
        self._said.append(f"open by {command.actor}")
        if self._slow:
            await workflow.wait_condition(lambda: self._released)
        return CommandResult(status=SubscriptionStatus.ACTIVE, settled=True)

    @workflow.update
    async def cancel(self, command: Cancel) -> CommandResult:
        self._said.append(f"cancel by {command.actor}")
        self._over = command.immediately
        return CommandResult(status=SubscriptionStatus.CANCELED, settled=True)

    @workflow.update
    async def resume(self, command: Resume) -> CommandResult:
        return CommandResult(status=SubscriptionStatus.ACTIVE, settled=True)

    @resume.validator
    def _refuse(self, command: Resume) -> None:
        raise ApplicationError("there is nothing to take back", type="conflict", non_retryable=True)

    @workflow.update
    async def pause(self, command: Pause) -> CommandResult:
        self._said.append(f"pause {command.at} until {command.resume_at}")
        return CommandResult(status=SubscriptionStatus.PAUSED, settled=True)

    @workflow.update
    async def set_payment_method(self, command: SetPaymentMethod) -> CommandResult:
        self._said.append(f"pay with {command.payment_method_id}")
        return CommandResult(status=SubscriptionStatus.ACTIVE, settled=True)

    @workflow.update
    async def retry_payment(self, command: RetryPayment) -> CommandResult:
        await workflow.wait_condition(lambda: self._released)
        return CommandResult(status=SubscriptionStatus.ACTIVE, settled=True)

    @workflow.update
    async def retry_now(self, command: RetryNow) -> CommandResult:
        return self._operated("retry_now", command)

    @workflow.update
    async def reissue_voucher(self, command: ReissueVoucher) -> CommandResult:
        return self._operated("reissue_voucher", command)

    @workflow.update
    async def mark_paid(self, command: MarkPaid) -> CommandResult:
        return self._operated(f"mark_paid {command.amount_minor} {command.reference}", command)

    def _operated(self, what: str, command: OperatorCommand) -> CommandResult:
        self._said.append(f"{what} by {command.actor}: {command.reason}")
        return CommandResult(status=SubscriptionStatus.ACTIVE, settled=True)

    @workflow.update
    async def credit(self, command: CreditUnapplied) -> CommandResult:
        self._said.append(f"credit {command.amount_minor} {command.currency}")
        return CommandResult(status=SubscriptionStatus.ACTIVE, settled=True)

    @workflow.update
    async def change(self, command: ChangePlan) -> CommandResult:
        offer = command.offer
        rules = f", spare money: {command.policy.spare_money}" if command.policy else ""
        said = f"change to {offer.title} for {offer.amount_minor} {command.proration}{rules}"
        self._said.append(said)
        return CommandResult(status=SubscriptionStatus.ACTIVE, settled=True)

    @change.validator
    def _refuse_thirteen(self, command: ChangePlan) -> None:
        if command.offer.quantity == UNLUCKY:
            raise ApplicationError("not thirteen", type="conflict", non_retryable=True)

    @workflow.query
    def preview_change(self, command: ChangePlan) -> Decision:
        self._refuse_thirteen(command)
        at = command.at or workflow.now()
        return Decision(
            offer=command.offer,
            at=at,
            takes_effect_at=at,
            amount_due_minor=command.offer.amount_minor,
            credit_minor=0,
        )

    @workflow.signal
    def provider_events(self, batch: ProviderEvents) -> None:
        self._batches.append([event.id for event in batch.events])
        self._said += [f"{e.event.event_type} of {e.event.subscription_id}" for e in batch.events]

    @workflow.signal
    def release(self) -> None:
        self._released = True

    @workflow.query
    def explain(self) -> str:
        return "**Because the stand-in says so**"

    @workflow.query
    def batches(self) -> list[list[UUID]]:
        return self._batches

    @workflow.query
    def said(self) -> list[str]:
        return self._said


@workflow.defn(name="PendingPaymentWorkflow")
class StandInPayment:
    @workflow.init
    def __init__(self) -> None:
        self._batches: list[list[UUID]] = []
        self._over = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self._over)

    @workflow.signal
    def provider_events(self, batch: ProviderEvents) -> None:
        self._batches.append([event.id for event in batch.events])

    @workflow.signal
    def finish(self) -> None:
        self._over = True

    @workflow.query
    def batches(self) -> list[list[UUID]]:
        return self._batches


@workflow.defn(name="ResolveAttemptWorkflow")
class StandInResolve:
    """Knows the outcome when it is declared, and not before."""

    @workflow.init
    def __init__(self, request: SettleAttempt) -> None:
        self._request = request
        self._over = False

    @workflow.run
    async def run(self, request: SettleAttempt) -> None:
        await workflow.wait_condition(lambda: self._over)

    @workflow.update
    async def ask_now(self, command: AskNow) -> Resolution:
        return self._answer(OutcomeClass.UNKNOWN, DecidedBy.NOBODY, command.reason)

    @workflow.update
    async def declare(self, command: Declare) -> Resolution:
        self._over = True
        return self._answer(OutcomeClass.NOT_ATTEMPTED, DecidedBy.OPERATOR, command.reason)

    def _answer(self, outcome: OutcomeClass, decided_by: DecidedBy, detail: str) -> Resolution:
        return Resolution(
            attempt_id=self._request.attempt_id,
            provider=self._request.provider,
            outcome=outcome,
            decided_by=decided_by,
            detail=detail,
        )


@workflow.defn(name="PurchaseWorkflow")
class StandInPurchase:
    """Has its page at once."""

    @workflow.init
    def __init__(self, start: PurchaseInput) -> None:
        self._batches: list[list[UUID]] = []

    @workflow.run
    async def run(self, start: PurchaseInput) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.update
    async def open(self, command: Open) -> CommandResult:
        return CommandResult(status=PurchaseStatus.PENDING, settled=True)

    @workflow.signal
    def provider_events(self, batch: ProviderEvents) -> None:
        self._batches.append([event.id for event in batch.events])

    @workflow.query
    def batches(self) -> list[list[UUID]]:
        return self._batches


@workflow.defn(name="PaymentMethodWorkflow")
class StandInPaymentMethod:
    """Waits for a verdict: the test plays the activity that writes the row."""

    def __init__(self) -> None:
        self._result: PaymentMethodResult | None = None

    @workflow.run
    async def run(self, request: AddPaymentMethodInput) -> PaymentMethodResult:
        await workflow.wait_condition(lambda: self._result is not None)
        return self._result or PaymentMethodResult(status="failed")

    @workflow.signal
    def decide(self, result: PaymentMethodResult) -> None:
        self._result = result


@workflow.defn(name="LatePaymentWorkflow")
class StandInLatePayment:
    @workflow.run
    async def run(self, events: ProviderEvents) -> list[str]:
        return [f"{e.event.event_type} of {e.event.subscription_id}" for e in events.events]


@workflow.defn(name="DisputeWorkflow")
class StandInDispute:
    @workflow.run
    async def run(self, request: DisputeInput) -> DisputeNews:
        return DisputeNews(status=request.seen.status)


@workflow.defn(name="RefundWorkflow")
class StandInRefund:
    """The provider has it, and has not paid it out yet."""

    @workflow.run
    async def run(self, order: RefundInput) -> RefundResult:
        return RefundResult(status="pending")


STANDINS = [
    StandInDispute,
    StandInRefund,
    StandInSubscription,
    StandInPayment,
    StandInPurchase,
    StandInResolve,
    StandInPaymentMethod,
    StandInLatePayment,
]
