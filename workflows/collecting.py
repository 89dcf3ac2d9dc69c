"""What both billing clocks share: the route, the open invoice, and what follows a failed try."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from temporalio import workflow
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from activities.results import UNDONE_REASONS
    from activities.signatures.attempts import AttemptResult, SettleAttempt
    from activities.signatures.records import Records, RouteRequest
    from models.commands import (
        ChangePlan,
        InboxEvent,
        Pause,
        SetPaymentMethod,
        resolve_workflow_id,
    )
    from models.moments import Step, unavailable_retry_at
    from models.outcomes import FallbackReason
    from models.routing import RoutingDecision
    from models.states import InvoiceStatus, SubscriptionEvent
    from models.subscription import OpenInvoice
    from workflows.desk import Desk
    from workflows.options import call_lookup, provider_attributes
    from workflows.resolve_attempt import ResolveAttemptWorkflow
    from workflows.step_changes import ENGINE_ACTOR

FIRST_INVOICE = "first-invoice"
# An attempt that a dying worker left half done was undone, and the provider answered while we did so: it is
# there, and is asked again at once before anybody else is.
UNDONE_RETRIES_MAX = 2


class BillingClockSteps(Protocol):
    """What a billing clock does when something happens. Each call leaves the desk ready to commit."""

    @property
    def busy(self) -> bool:
        """An attempt is on its way whose end this run has to wait for."""

    @property
    def has_news(self) -> bool:
        """That attempt has ended; `take_news` decides what follows."""

    @property
    def deaf(self) -> bool:
        """Provider events have to wait."""

    @property
    def answered(self) -> bool:
        """Whether a waiting caller can be told something."""

    async def open(self) -> None:
        """Begin: choose the provider and start the first payment."""

    async def take_news(self) -> None: ...

    async def act(self, step: Step) -> None:
        """The next moment has come."""

    async def hear(self, events: list[InboxEvent]) -> None:
        """Provider events, in the order in which they were received."""

    def refused(self, reason: str) -> None:
        """The provider refused what a step had to ask of it."""

    def hear_issued(self, attempt: AttemptResult) -> None: ...

    def hear_overdue(self, attempt: AttemptResult) -> None: ...

    async def cancel(self, *, immediately: bool, actor: str) -> None: ...

    async def resume(self, actor: str) -> None:
        """Take a scheduled cancellation back."""

    async def pause(self, command: Pause) -> None:
        """Raises ApplicationError when it is not to be."""

    async def end_pause(self, actor: str) -> None: ...

    async def set_payment_method(self, command: SetPaymentMethod) -> None:
        """Raises ApplicationError when it is not to be."""

    async def retry(self, actor: str) -> None:
        """Collect the open invoice now."""

    async def place_credit(self) -> None:
        """The credit has grown: have the next renewal take it off, whoever makes that."""

    async def change(self, command: ChangePlan) -> bool:
        """Change what is sold; whether the caller has something to wait for. Raises ChangeRefused, with
        nothing changed."""


async def choose_route(desk: Desk, payment_method_id: UUID | None = None) -> None:
    """Ask the rules who collects, once; each new invoice starts again at the first candidate. With
    `payment_method_id` for an instrument that came later."""
    terms = desk.terms
    if payment_method_id is not None:
        terms = terms.model_copy(update={"payment_method_id": payment_method_id})
    decision: RoutingDecision = await call_lookup(
        Records.choose_route, RouteRequest(terms=terms), "choose the provider"
    )
    desk.state.candidates = decision.candidates
    desk.audit(ENGINE_ACTOR, "route.chosen", {}, decision.audited())
    if decision.stands_in:
        reason = FallbackReason.PROVIDER_NOT_CONFIGURED
        desk.fallback(decision.preferred, decision.candidates[0], reason, None)


def new_invoice(desk: Desk, *, due_at: datetime, first: bool, amount_minor: int) -> OpenInvoice:
    invoice = OpenInvoice(
        invoice_id=desk.id_for(FIRST_INVOICE) if first else workflow.uuid7(),
        amount_minor=amount_minor,
        currency=desk.terms.currency,
        first=first,
        due_at=due_at,
        created_at=min(workflow.now(), due_at),
    )
    desk.state.invoice = invoice
    desk.touch()
    return invoice


def try_elsewhere(desk: Desk, invoice: OpenInvoice, result: AttemptResult) -> bool:
    """The provider is known not to have charged. True when another one is to be asked at once;
    otherwise the next try, or the end, is set as a moment. A decline never comes here."""
    state = desk.state
    if result.reason in UNDONE_REASONS and invoice.provider_failures < UNDONE_RETRIES_MAX:
        invoice.provider_failures += 1
        desk.touch()
        return True
    following = invoice.candidate + 1
    elsewhere = following < len(state.candidates) and not invoice.stays
    if result.fallback_reason is not None and elsewhere:
        desk.fallback(
            result.provider,
            state.candidates[following],
            result.fallback_reason,
            invoice.invoice_id,
        )
        invoice.candidate = following
        return True
    invoice.candidate = invoice.candidate if invoice.stays else 0
    invoice.provider_failures += 1
    invoice.next_try_at = unavailable_retry_at(desk.terms, invoice, workflow.now())
    desk.touch()
    return False


async def resolve(result: AttemptResult) -> AttemptResult:
    """Nothing new starts from an unknown outcome: wait until the provider has said what happened."""
    known: AttemptResult = await workflow.execute_child_workflow(
        ResolveAttemptWorkflow.run,
        SettleAttempt(attempt_id=result.attempt_id, provider=result.provider),
        id=resolve_workflow_id(result.attempt_id),
        parent_close_policy=ParentClosePolicy.ABANDON,
        search_attributes=provider_attributes(result.provider),
        static_summary=f"what became of an attempt at {result.provider}",
    )
    return known


def give_up(desk: Desk, invoice: OpenInvoice) -> None:
    """The last chance has passed: the invoice failed and the subscription ends."""
    desk.drop_open_attempt(invoice, "gave_up")
    desk.invoice(invoice, InvoiceStatus.FAILED)
    desk.state.invoice = None
    desk.emit("invoice.failed", invoice_id=str(invoice.invoice_id))
    desk.move(SubscriptionEvent.GAVE_UP)


def seconds(duration: timedelta) -> int:
    return int(duration.total_seconds())
