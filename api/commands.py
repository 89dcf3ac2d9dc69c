"""The one place from which the API talks to Temporal.

A command is a Temporal Update. Three things can be said about it: it was carried out, it was accepted and
goes on, or it cannot be said to have been accepted. Only the caller of this module knows which of
these is good enough: an opening is in the database before it is sent, so it survives all three.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import structlog
from temporalio.client import (
    Client,
    RPCTimeoutOrCancelledError,
    WithStartWorkflowOperation,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateHandle,
    WorkflowUpdateStage,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from api.about import is_about_terms
from api.problems import log_unexpected
from models.change_rules import Decision
from models.commands import (
    TASK_QUEUE,
    AddPaymentMethodInput,
    BenefitChange,
    BenefitResult,
    ChangePlan,
    Command,
    CommandResult,
    DetachPaymentMethodInput,
    DetachPaymentMethodResult,
    DisputeInput,
    DisputeNews,
    Open,
    PaymentMethodResult,
    ProviderEvents,
    PurchaseInput,
    RefundInput,
    RefundResult,
    SubscriptionInput,
    benefit_workflow_id,
    detach_workflow_id,
    dispute_workflow_id,
    payment_method_workflow_id,
    purchase_workflow_id,
    refund_workflow_id,
    subscription_workflow_id,
)
from models.errors import AbonoError, Conflict, InvalidRequest, PaymentRefused, Unavailable
from models.money import Money
from models.purchase import PurchaseTerms, Terms
from models.subscription import SubscriptionState
from workflows.options import purchase_attributes, search_attributes

# An opening happens once in a subscription's life, whoever asks for it and however often.
OPEN_UPDATE_ID = "open"
# Starting something is quick or it is not happening: the database remembers to try again.
START_TIMEOUT = timedelta(seconds=5)
_RETRY_PAUSE_SECONDS = 0.1
_SUMMARY_LENGTH_MAX = 200

# A workflow task failed under the update, or the run is just being replaced by a fresh one: the same
# update, with the same id, is answered a moment later.
_PASSING = (
    "unexpected workflow task failure",
    "workflow is closing",
    "workflow operation can not be applied",
)
# How the server ends an accepted update whose run was over before it: the outcome is in the database.
_CUT_SHORT = "AcceptedUpdateCompletedWorkflow"
_AWAY = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
    }
)

_log = structlog.get_logger("abono.commands")
_Result = TypeVar("_Result")


class TemporalAway(Exception):
    """No answer, or none that says whether it was accepted."""


class WorkflowGone(Exception):
    """No open workflow has this id. `completed`: there was one, and it has ended."""

    def __init__(self, *, completed: bool) -> None:
        super().__init__("the workflow has ended" if completed else "there is no such workflow")
        self.completed = completed


@dataclass(frozen=True)
class Commands:
    client: Client
    wait_seconds: float

    async def open(self, terms: Terms, actor: str) -> CommandResult | None:
        """Start the workflow and wait for its first step; None when that is not known in time.

        Safe to repeat: the workflow is started once and opened once.
        """
        is_about_terms(terms)

        async def send() -> CommandResult:
            async with _starting(terms) as operation:
                result: CommandResult = await self.client.execute_update_with_start_workflow(
                    "open",
                    Open(actor=actor),
                    start_workflow_operation=operation,
                    id=OPEN_UPDATE_ID,
                    result_type=CommandResult,
                )
                return result

        try:
            return await self._within(self.wait_seconds, send)
        except (TemporalAway, WorkflowGone, WorkflowAlreadyStartedError, Conflict) as reason:
            _log.info("opening not settled here", reason=type(reason).__name__)
        except RPCError as error:
            # Ours to mend (an attribute that is not registered, a key that expired), not the caller's.
            log_unexpected(
                "Temporal refuses to open what was accepted", error, status=error.status.name
            )
        return None

    async def ensure_open(self, terms: Terms, actor: str) -> None:
        """As `open`, without waiting for the outcome. Raises TemporalAway."""

        async def send() -> None:
            async with _starting(terms) as operation:
                await self.client.start_update_with_start_workflow(
                    "open",
                    Open(actor=actor),
                    start_workflow_operation=operation,
                    wait_for_stage=WorkflowUpdateStage.ACCEPTED,
                    id=OPEN_UPDATE_ID,
                    result_type=CommandResult,
                )

        await self._within(START_TIMEOUT.total_seconds(), send)

    async def send(
        self, workflow_id: str, name: str, command: Command, update_id: str
    ) -> CommandResult | None:
        """Carry out a command of a subscription or purchase; for the rest see `ask`."""
        return await self.ask(workflow_id, name, command, update_id, CommandResult)

    async def ask(
        self,
        workflow_id: str,
        name: str,
        command: Command,
        update_id: str,
        result_type: type[_Result],
    ) -> _Result | None:
        """Carry out a command; None when it was accepted and its outcome is not known in time.

        Raises what the workflow refuses it with (Conflict), Unavailable when it cannot be said to
        have been accepted, WorkflowGone when nobody is there to accept it.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.wait_seconds
        handle = self.client.get_workflow_handle(workflow_id)

        async def start() -> WorkflowUpdateHandle[_Result]:
            return await handle.start_update(
                name,
                command,
                wait_for_stage=WorkflowUpdateStage.ACCEPTED,
                id=update_id,
                result_type=result_type,
            )

        try:
            update = await self._within(self.wait_seconds, start)
        except TemporalAway:
            raise Unavailable(
                "The command was not accepted in time. Send it again, with the same Idempotency-Key."
            ) from None
        try:
            return await self._within(deadline - loop.time(), update.result)
        except (TemporalAway, WorkflowGone):
            return None  # It was accepted: what became of it stands in the row.

    async def preview(self, workflow_id: str, change: ChangePlan) -> Decision:
        """What a change would come to, from the workflow's own state. Raises what it would refuse."""
        handle = self.client.get_workflow_handle(workflow_id)

        async def ask() -> Decision:
            try:
                found: Decision = await handle.query("preview_change", change, result_type=Decision)
            except WorkflowQueryFailedError as refused:
                raise Conflict(str(refused)) from None
            return found

        try:
            return await self._within(self.wait_seconds, ask)
        except TemporalAway:
            raise Unavailable("The preview was not answered in time. Ask again.") from None

    async def add_payment_method(
        self, request: AddPaymentMethodInput
    ) -> PaymentMethodResult | None:
        """Have the provider take the instrument; None when that is not known in time."""
        workflow_id = payment_method_workflow_id(request.payment_method_id)

        async def run() -> PaymentMethodResult:
            await self._start_payment_method(request)
            handle = self.client.get_workflow_handle(workflow_id, result_type=PaymentMethodResult)
            result: PaymentMethodResult = await handle.result()
            return result

        try:
            return await self._within(self.wait_seconds, run)
        except (TemporalAway, WorkflowGone) as reason:
            _log.info("payment method goes on later", reason=str(reason))
        except WorkflowFailureError:
            _log.error("payment method workflow failed", workflow_id=workflow_id)
        return None

    async def ensure_payment_method(self, request: AddPaymentMethodInput) -> None:
        """Start the workflow unless it runs or has run. Raises TemporalAway."""
        await self._within(
            START_TIMEOUT.total_seconds(), lambda: self._start_payment_method(request)
        )

    async def detach_payment_method(
        self, request: DetachPaymentMethodInput
    ) -> DetachPaymentMethodResult | None:
        """Have it forgotten here and at its provider; None when that goes on beyond our patience.

        Raises Unavailable when it cannot be said to have begun. Safe to repeat, also after it ended.
        """
        workflow_id = detach_workflow_id(request.payment_method_id)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.wait_seconds

        async def start() -> WorkflowHandle[Any, DetachPaymentMethodResult]:
            return await self.client.start_workflow(
                "DetachPaymentMethodWorkflow",
                request,
                id=workflow_id,
                task_queue=TASK_QUEUE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                result_type=DetachPaymentMethodResult,
                static_summary=f"Forget a payment method at {request.provider}",
            )

        try:
            handle = await self._within(self.wait_seconds, start)
        except TemporalAway:
            raise Unavailable("It was not begun. Send the request again.") from None
        try:
            return await self._within(deadline - loop.time(), handle.result)
        except TemporalAway as reason:
            _log.info("payment method is detached later", reason=str(reason))
        except WorkflowFailureError:
            _log.error("detaching a payment method failed", workflow_id=workflow_id)
        return None

    async def change_benefit(self, change: BenefitChange) -> BenefitResult | None:
        """Have a benefit given or taken away; None when that goes on beyond our patience.

        Raises Unavailable when it cannot be said to have begun. Safe to repeat, also after it ended.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.wait_seconds

        async def start() -> WorkflowUpdateHandle[BenefitResult]:
            async with _watched(_changing_benefit(change)) as operation:
                return await self.client.start_update_with_start_workflow(
                    "change",
                    change,
                    start_workflow_operation=operation,
                    wait_for_stage=WorkflowUpdateStage.ACCEPTED,
                    id=str(change.change_id),
                    result_type=BenefitResult,
                )

        try:
            update = await self._within(self.wait_seconds, start)
        except TemporalAway:
            raise Unavailable("It was not begun. Send the request again.") from None
        try:
            return await self._within(deadline - loop.time(), update.result)
        except (TemporalAway, WorkflowGone) as reason:
            _log.info("benefit is changed later", reason=str(reason))
        return None

    async def query_text(self, workflow_id: str, query: str, seconds: float) -> str | None:
        """What a workflow says of itself; None when it does not answer in time or is not known."""
        handle = self.client.get_workflow_handle(workflow_id)

        async def ask() -> str:
            answer: str = await handle.query(query, result_type=str)
            return answer

        try:
            return await self._within(seconds, ask)
        except (TemporalAway, WorkflowGone, WorkflowQueryFailedError, RPCError) as reason:
            _log.info("query not answered", workflow_id=workflow_id, reason=type(reason).__name__)
            return None

    async def carry_out_refund(self, order: RefundInput) -> RefundResult | None:
        """Have a reserved refund carried out; None when that is not known in time. Safe to repeat: the
        workflow is started once, and whoever sweeps pending refunds starts it again."""
        workflow_id = refund_workflow_id(order.refund_id)

        async def run() -> RefundResult:
            await self._start_refund(order, workflow_id)
            handle = self.client.get_workflow_handle(workflow_id, result_type=RefundResult)
            result: RefundResult = await handle.result()
            return result

        try:
            return await self._within(self.wait_seconds, run)
        except (TemporalAway, WorkflowGone) as reason:
            _log.info("refund goes on later", reason=str(reason))
        except WorkflowFailureError:
            _log.error("refund workflow failed", workflow_id=workflow_id)
        return None

    async def ensure_refund(self, order: RefundInput) -> None:
        """Start the workflow unless it runs or has run. Raises TemporalAway."""
        workflow_id = refund_workflow_id(order.refund_id)
        await self._within(
            START_TIMEOUT.total_seconds(), lambda: self._start_refund(order, workflow_id)
        )

    async def signal_events(self, workflow_id: str, events: ProviderEvents) -> None:
        """Raises WorkflowGone when nobody is there to hear, TemporalAway when it was not stored."""
        handle = self.client.get_workflow_handle(workflow_id)
        await self._within(
            START_TIMEOUT.total_seconds(), lambda: handle.signal("provider_events", events)
        )

    async def start_late_payment(self, workflow_id: str, events: ProviderEvents) -> None:
        """Money or news for something that has ended. Raises TemporalAway."""

        async def start() -> None:
            await _start_once(
                self.client,
                "LatePaymentWorkflow",
                events,
                workflow_id,
                f"Late {events.events[0].event.event_type}",
            )

        await self._within(START_TIMEOUT.total_seconds(), start)

    async def start_dispute(self, workflow_id: str, request: DisputeInput) -> None:
        """A dispute is reported; whose it is, its workflow finds out. Raises TemporalAway."""

        async def start() -> None:
            summary = f"Dispute at {request.seen.provider}"
            await _start_once(self.client, "DisputeWorkflow", request, workflow_id, summary)

        await self._within(START_TIMEOUT.total_seconds(), start)

    async def accept_dispute(self, dispute_id: UUID, request: DisputeInput) -> DisputeNews | None:
        """Have a dispute accepted; None when the provider has not answered yet: it goes on.

        Raises Unavailable when it cannot be said to have begun.
        """
        workflow_id = dispute_workflow_id(dispute_id)

        async def start() -> WorkflowHandle[Any, DisputeNews]:
            return await self.client.start_workflow(
                "DisputeWorkflow",
                request,
                id=workflow_id,
                task_queue=TASK_QUEUE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                result_type=DisputeNews,
                static_summary=f"Accept a dispute at {request.seen.provider}",
            )

        try:
            handle = await self._within(self.wait_seconds, start)
        except TemporalAway:
            raise Unavailable("It was not begun. Send the request again.") from None
        try:
            return await self._within(self.wait_seconds, handle.result)
        except TemporalAway as reason:
            _log.info("dispute is accepted later", reason=str(reason))
        return None

    async def is_reachable(self) -> bool:
        """Whether Temporal answers; never raises."""
        try:
            async with asyncio.timeout(2):
                return await self.client.service_client.check_health()
        except (RPCError, RuntimeError, TimeoutError):
            return False

    async def _start_refund(self, order: RefundInput, workflow_id: str) -> None:
        summary = f"Refund at {order.provider}"
        await _start_once(self.client, "RefundWorkflow", order, workflow_id, summary)

    async def _start_payment_method(self, request: AddPaymentMethodInput) -> None:
        workflow_id = payment_method_workflow_id(request.payment_method_id)
        summary = f"Add a {request.type} at {request.provider}"
        await _start_once(self.client, "PaymentMethodWorkflow", request, workflow_id, summary)

    async def _within(self, seconds: float, call: Callable[[], Awaitable[_Result]]) -> _Result:
        """`call`, repeated over passing trouble, its failures translated."""
        try:
            async with asyncio.timeout(max(seconds, 0.01)):
                while True:
                    try:
                        return await call()
                    except RPCError as error:
                        if not _is_passing(error):
                            raise
                    await asyncio.sleep(_RETRY_PAUSE_SECONDS)
        except WorkflowUpdateFailedError as error:
            raise _refusal(error) from None
        except RPCError as error:
            raise _translate(error) from error
        except (TimeoutError, RPCTimeoutOrCancelledError):
            raise TemporalAway("no answer in time") from None
        except RuntimeError as error:  # What a lazy client raises when it cannot connect.
            if "connect" not in str(error).lower():
                raise
            raise TemporalAway("cannot connect") from None


@asynccontextmanager
async def _starting(
    terms: Terms,
) -> AsyncIterator[WithStartWorkflowOperation[object, object]]:
    if isinstance(terms, PurchaseTerms):
        workflow, workflow_id = "PurchaseWorkflow", purchase_workflow_id(terms.purchase_id)
        argument: object = PurchaseInput(terms=terms)
        attributes = purchase_attributes(terms)
    else:
        workflow = "SubscriptionWorkflow"
        workflow_id = subscription_workflow_id(terms.subscription_id)
        argument = SubscriptionInput(terms=terms)
        attributes = search_attributes(terms, SubscriptionState(provider=terms.force_provider))
    # REJECT_DUPLICATE: whatever comes late, what has ended is never started again.
    operation: WithStartWorkflowOperation[object, object] = WithStartWorkflowOperation(
        workflow,
        argument,
        id=workflow_id,
        task_queue=TASK_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        search_attributes=attributes,
        static_summary=summary_of(terms),
    )
    async with _watched(operation):
        yield operation


def _changing_benefit(change: BenefitChange) -> WithStartWorkflowOperation[object, object]:
    return WithStartWorkflowOperation(
        "BenefitWorkflow",
        id=benefit_workflow_id(change.organization_id, change.benefit_id),
        task_queue=TASK_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=f"A benefit at {change.provider}",
    )


@asynccontextmanager
async def _watched(
    operation: WithStartWorkflowOperation[object, object],
) -> AsyncIterator[WithStartWorkflowOperation[object, object]]:
    # The operation keeps the error of a failed start for whoever asks for its handle. Somebody has to,
    # or asyncio logs it as lost.
    handle = asyncio.ensure_future(operation.workflow_handle())
    handle.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        yield operation
    finally:
        handle.cancel()


async def _start_once(
    client: Client, workflow: str, argument: object, workflow_id: str, summary: str
) -> None:
    try:
        await client.start_workflow(
            workflow,
            argument,
            id=workflow_id,
            task_queue=TASK_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            static_summary=summary,
        )
    except WorkflowAlreadyStartedError:
        return


def summary_of(terms: Terms) -> str:
    """`Pro monthly, 199.00 MXN by oxxo`."""
    price = Money(amount_minor=terms.amount_minor, currency=terms.currency)
    if isinstance(terms, PurchaseTerms):
        return f"{terms.product_name}, {price}"[:_SUMMARY_LENGTH_MAX]
    what = f"{terms.plan_name} {terms.billing_interval}, {price} by {terms.instrument}"
    return what[:_SUMMARY_LENGTH_MAX]


def _is_passing(error: RPCError) -> bool:
    message = error.message.lower()
    return any(sign in message for sign in _PASSING)


def _translate(error: RPCError) -> Exception:
    if error.status in _AWAY:
        return TemporalAway(f"{error.status.name}: {error.message}")
    if error.status is RPCStatusCode.NOT_FOUND:
        return WorkflowGone(completed="already completed" in error.message)
    return error


def _refusal(error: WorkflowUpdateFailedError) -> Exception:
    cause = error.cause
    if not isinstance(cause, ApplicationError):
        return error
    if cause.type == _CUT_SHORT:
        return TemporalAway("the run ended before the command did")
    by_type: dict[str | None, type[AbonoError]] = {
        "conflict": Conflict,
        "invalid_request": InvalidRequest,
        "payment_refused": PaymentRefused,
    }
    refusal = by_type.get(cause.type)
    return refusal(cause.message) if refusal else error
