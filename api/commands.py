"""Commands to subscriptions and purchases: each is an Update of its workflow.

An opening is in the database before it is sent, so it survives whatever becomes of the sending.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import structlog
from temporalio.client import (
    WithStartWorkflowOperation,
    WorkflowQueryFailedError,
    WorkflowUpdateHandle,
    WorkflowUpdateStage,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from api.about import is_about_terms
from api.problems import log_unexpected
from api.temporal_calls import (
    START_TIMEOUT_SECONDS,
    TemporalAway,
    TemporalCalls,
    WorkflowGone,
    watched,
)
from models.change_rules import Decision
from models.commands import (
    TASK_QUEUE,
    ChangePlan,
    Command,
    CommandResult,
    Open,
    ProviderEvents,
    PurchaseInput,
    SubscriptionInput,
    purchase_workflow_id,
    subscription_workflow_id,
)
from models.errors import Conflict, Unavailable
from models.money import Money
from models.purchase import PurchaseTerms, Terms
from models.subscription import SubscriptionState
from workflows.options import purchase_attributes, search_attributes

# An opening happens once in a subscription's life, whoever asks for it and however often.
OPEN_UPDATE_ID = "open"
NOT_ACCEPTED = "The command was not accepted in time. Send it again, with the same Idempotency-Key."
_SUMMARY_LENGTH_MAX = 200

_log = structlog.get_logger("abono.commands")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Commands(TemporalCalls):
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
            return await self.within(self.wait_seconds, send)
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

        await self.within(START_TIMEOUT_SECONDS, send)

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
        handle = self.client.get_workflow_handle(workflow_id)

        async def start() -> WorkflowUpdateHandle[_Result]:
            return await handle.start_update(
                name,
                command,
                wait_for_stage=WorkflowUpdateStage.ACCEPTED,
                id=update_id,
                result_type=result_type,
            )

        return await self.carry_out(start, NOT_ACCEPTED)

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
            return await self.within(self.wait_seconds, ask)
        except TemporalAway:
            raise Unavailable("The preview was not answered in time. Ask again.") from None

    async def query_text(self, workflow_id: str, query: str, seconds: float) -> str | None:
        """What a workflow says of itself; None when it does not answer in time or is not known."""
        handle = self.client.get_workflow_handle(workflow_id)

        async def ask() -> str:
            answer: str = await handle.query(query, result_type=str)
            return answer

        try:
            return await self.within(seconds, ask)
        except (TemporalAway, WorkflowGone, WorkflowQueryFailedError, RPCError) as reason:
            _log.info("query not answered", workflow_id=workflow_id, reason=type(reason).__name__)
            return None

    async def signal_events(self, workflow_id: str, events: ProviderEvents) -> None:
        """Raises WorkflowGone when nobody is there to hear, TemporalAway when it was not stored."""
        handle = self.client.get_workflow_handle(workflow_id)
        await self.within(START_TIMEOUT_SECONDS, lambda: handle.signal("provider_events", events))

    async def is_reachable(self) -> bool:
        """Whether Temporal answers; never raises."""
        try:
            async with asyncio.timeout(2):
                return await self.client.service_client.check_health()
        except (RPCError, RuntimeError, TimeoutError):
            return False


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
    async with watched(operation):
        yield operation


def summary_of(terms: Terms) -> str:
    """`Pro monthly, 199.00 MXN by oxxo`."""
    price = Money(amount_minor=terms.amount_minor, currency=terms.currency)
    if isinstance(terms, PurchaseTerms):
        return f"{terms.product_name}, {price}"[:_SUMMARY_LENGTH_MAX]
    what = f"{terms.plan_name} {terms.billing_interval}, {price} by {terms.instrument}"
    return what[:_SUMMARY_LENGTH_MAX]
