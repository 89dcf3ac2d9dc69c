"""One product, bought once, on a page that a provider hosts."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import FailureError
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from activities.results import UNDONE_REASONS, still_unknown
    from activities.signatures.attempts import AttemptResult, IssuePayment, PendingPaymentResult
    from activities.signatures.records import Records, RouteRequest
    from activities.signatures.shop import BenefitCalls, BenefitCheck, PurchaseNews
    from models import explaining_payments
    from models.commands import (
        PROVIDER_TASK_QUEUES,
        CommandResult,
        InboxEvent,
        Open,
        ProviderEvents,
        PurchaseInput,
        payment_workflow_id,
    )
    from models.outcomes import FallbackReason, OutcomeClass, ProviderName
    from models.purchase import (
        BENEFIT_PROVIDERS,
        NO_BENEFITS_HERE,
        BenefitsDue,
        PurchaseStatus,
    )
    from models.routing import RoutingDecision
    from models.settlement import settle
    from models.states import InvoiceStatus
    from workflows.collecting import resolve, seconds
    from workflows.desk import paid_at
    from workflows.late_payment import follow_purchase, news_by_provider
    from workflows.options import READ_RETRY, READ_TIMEOUT, call_lookup, slip_attributes
    from workflows.pending_payment import LOOK_AGAIN, PendingPaymentWorkflow
    from workflows.purchase_desk import PurchaseDesk
    from workflows.step_changes import ENGINE_ACTOR

# The longest that Stripe keeps a page open, and what Polar always takes.
PAGE_LIFETIME = timedelta(hours=24)
# Polar sweeps pages that ran out every quarter of an hour; nobody knows before that they are closed.
EXPIRY_GRACE = timedelta(minutes=20)
# When no provider can open a page. The customer is waiting in front of one, so not for long.
RETRY_AFTER = (timedelta(seconds=30), timedelta(minutes=5), timedelta(hours=1))
# Benefits come seconds after the money; webhooks tell of them, and this looks in case they are lost.
BENEFIT_LOOKS = (
    timedelta(seconds=10),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(days=1),
)
UNDONE_RETRIES_MAX = 2


@workflow.defn
class PurchaseWorkflow:
    """Id `purchase/{id}`. Asks one provider after the other for a page, waits for the customer to pay
    on it, and looks after the benefits until they are there."""

    @workflow.init
    def __init__(self, start: PurchaseInput) -> None:
        self._terms = start.terms
        self._desk = PurchaseDesk(start.terms)
        self._events: list[InboxEvent] = []
        self._seen: set[UUID] = set()
        self._answered = False
        self._issued = False

    @workflow.run
    async def run(self, start: PurchaseInput) -> PurchaseStatus:
        candidates = await self._choose_route()
        news = await self._collect(candidates) if candidates else None
        await self._settle(news)
        self._show()
        self._answered = True
        if news is not None and _was_refunded(news.attempt):
            await self._follow(
                PurchaseNews(
                    purchase_id=self._terms.purchase_id,
                    provider=news.attempt.provider,
                    attempt_id=news.attempt.attempt_id,
                    at=workflow.now(),
                )
            )
        await self._book_late()
        if self._desk.status is PurchaseStatus.PAID and self._desk.provider in BENEFIT_PROVIDERS:
            await self._see_benefits_arrive(self._desk.provider)
        await workflow.wait_condition(workflow.all_handlers_finished)
        await self._book_late()
        return self._desk.status

    @workflow.update
    async def open(self, command: Open) -> CommandResult:
        """Answers as soon as there is a page, or it is known that there will be none."""
        await workflow.wait_condition(lambda: self._answered)
        settled = self._issued or self._desk.status is not PurchaseStatus.PENDING
        return CommandResult(status=self._desk.status, settled=settled)

    @workflow.signal
    async def payment_issued(self, attempt: AttemptResult) -> None:
        """The customer has a page to pay on."""
        self._issued = self._answered = True
        self._show()
        self._desk.emit("payment.issued", invoice_id=str(self._desk.invoice_id))
        await self._desk.commit()

    @workflow.signal
    def provider_events(self, batch: ProviderEvents) -> None:
        self._events += [event for event in batch.events if event.id not in self._seen]
        self._seen.update(event.id for event in batch.events)

    @workflow.query
    def status(self) -> PurchaseStatus:
        return self._desk.status

    def _show(self) -> None:
        """For whoever looks at this workflow in the Temporal UI."""
        desk = self._desk
        workflow.set_current_details(
            explaining_payments.purchase(
                self._terms, desk.status, desk.provider, page_open=self._issued
            )
        )

    async def _choose_route(self) -> list[ProviderName]:
        desk = self._desk
        decision: RoutingDecision = await call_lookup(
            Records.choose_route, RouteRequest(terms=self._terms), "choose the provider"
        )
        desk.audit(ENGINE_ACTOR, "route.chosen", {}, decision.audited())
        if decision.stands_in:
            reason = FallbackReason.PROVIDER_NOT_CONFIGURED
            desk.fallback(decision.preferred, decision.candidates[0], reason, None)
        return list(decision.candidates)

    async def _collect(self, candidates: list[ProviderName]) -> PendingPaymentResult:
        """Until a page has come to its end, or nobody could open one. Nothing is tried elsewhere
        unless it is known that the try before it cannot charge."""
        news = await self._ask_all(candidates)
        for pause in RETRY_AFTER:
            if not _may_try_again(news.attempt):
                break
            self._answered = True
            await workflow.sleep(pause, summary="try again to have a page opened")
            news = await self._ask_all(candidates)
        return news

    async def _ask_all(self, candidates: list[ProviderName]) -> PendingPaymentResult:
        asked, undone = 0, 0
        while True:
            provider = candidates[asked]
            news = await self._try(provider)
            attempt = news.attempt
            if attempt.outcome is not OutcomeClass.NOT_ATTEMPTED:
                return news
            self._desk.close_attempt(attempt)
            self._desk.acknowledge(news.event_ids, "applied")
            if attempt.reason in UNDONE_REASONS and undone < UNDONE_RETRIES_MAX:
                undone += 1
                continue
            asked += 1
            if attempt.fallback_reason is None or asked == len(candidates):
                # The attempt is closed; `_settle` and the next round find it so.
                await self._desk.commit()
                return news.model_copy(update={"event_ids": []})
            self._desk.fallback(
                provider, candidates[asked], attempt.fallback_reason, self._desk.invoice_id
            )

    async def _try(self, provider: ProviderName) -> PendingPaymentResult:
        desk, now = self._desk, workflow.now()
        attempt_id = workflow.uuid7()
        desk.provider = provider
        self._show()
        await desk.commit()
        request = IssuePayment(
            attempt_id=attempt_id,
            provider=provider,
            terms=self._terms,
            invoice=desk.invoice_row(InvoiceStatus.PENDING),
            started_at=now,
            expires_at=now + PAGE_LIFETIME,
            expiry_grace_seconds=seconds(EXPIRY_GRACE),
        )
        handle = await workflow.start_child_workflow(
            PendingPaymentWorkflow.run,
            request,
            id=payment_workflow_id(attempt_id),
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            parent_close_policy=ParentClosePolicy.ABANDON,
            search_attributes=slip_attributes(request),
            static_summary=f"page at {provider}",
        )
        try:
            news: PendingPaymentResult = await handle
        except FailureError:
            attempt = await self._find_out(still_unknown(attempt_id, provider))
            return PendingPaymentResult(attempt=attempt)
        return news

    async def _find_out(self, attempt: AttemptResult) -> AttemptResult:
        """The page's own workflow failed (it could not be closed, or was terminated): the provider says
        what becomes of it."""
        known = await resolve(attempt)
        while known.outcome is OutcomeClass.PENDING:
            self._answered = True
            await workflow.sleep(LOOK_AGAIN, summary="the page is still open: look again")
            known = await resolve(attempt)
        return known

    async def _settle(self, news: PendingPaymentResult | None) -> None:
        """The page has come to its end, or there never was one."""
        desk = self._desk
        if news is None or news.attempt.outcome is OutcomeClass.NOT_ATTEMPTED:
            if news is not None:
                desk.invoice(desk.invoice_row(InvoiceStatus.FAILED))
            desk.move(PurchaseStatus.FAILED)
            desk.emit("purchase.failed")
        elif news.attempt.outcome is OutcomeClass.SUCCEEDED:
            self._book(news)
        else:
            desk.close_attempt(news.attempt)
            desk.acknowledge(news.event_ids, "applied")
            desk.invoice(desk.invoice_row(InvoiceStatus.VOID))
            desk.move(PurchaseStatus.EXPIRED)
            desk.emit("purchase.expired", invoice_id=str(desk.invoice_id))
        await desk.commit()

    def _book(self, news: PendingPaymentResult) -> None:
        desk, terms, attempt = self._desk, self._terms, news.attempt
        captures = attempt.payment.captures if attempt.payment is not None else []
        settlement = settle(terms.amount_minor, 0, terms.currency, captures)
        paid = settlement.amount_paid_minor
        desk.close_attempt(attempt)
        desk.acknowledge(news.event_ids, "applied")
        desk.payments(attempt, settlement)
        if paid < terms.amount_minor:
            # The page asks for the whole amount, so this is for an operator to look at.
            desk.invoice(desk.invoice_row(InvoiceStatus.FAILED, amount_paid_minor=paid))
            desk.move(PurchaseStatus.FAILED)
            desk.emit("purchase.failed")
            return
        desk.paid_at = paid_at(workflow.now(), captures)
        desk.invoice(
            desk.invoice_row(InvoiceStatus.PAID, amount_paid_minor=paid, paid_at=desk.paid_at)
        )
        hands_out = attempt.provider in BENEFIT_PROVIDERS
        desk.benefits(
            BenefitsDue(
                product_id=terms.product_id,
                provider=attempt.provider,
                error_code=None if hands_out else NO_BENEFITS_HERE,
            )
        )
        desk.move(PurchaseStatus.PAID)
        desk.emit("purchase.paid", invoice_id=str(desk.invoice_id))

    async def _see_benefits_arrive(self, provider: ProviderName) -> None:
        for pause in BENEFIT_LOOKS:
            await workflow.sleep(pause, summary="look whether the benefits have arrived")
            await self._book_late()
            waiting = await workflow.execute_activity_method(
                BenefitCalls.check_benefits,
                BenefitCheck(
                    application_id=self._terms.application_id,
                    organization_id=self._terms.organization_id,
                    product_id=self._terms.product_id,
                    provider=provider,
                ),
                task_queue=PROVIDER_TASK_QUEUES[provider],
                start_to_close_timeout=READ_TIMEOUT,
                retry_policy=READ_RETRY,
                summary="read which benefits have been granted",
            )
            if waiting == 0:
                return

    async def _book_late(self) -> None:
        """Events that no page's workflow could hear: refunds, and money that was paid on another page than
        the one that counts, which stays in sight as unapplied."""
        while self._events:
            events, self._events = self._events, []
            for news in news_by_provider(self._terms.purchase_id, events, workflow.now()):
                await self._follow(news)

    async def _follow(self, news: PurchaseNews) -> None:
        """From here on the row is written there, not at the desk: it has come to its end."""
        self._desk.status = await follow_purchase(news)


def _may_try_again(attempt: AttemptResult) -> bool:
    away = attempt.fallback_reason is not None or attempt.reason in UNDONE_REASONS
    return attempt.outcome is OutcomeClass.NOT_ATTEMPTED and away


def _was_refunded(attempt: AttemptResult) -> bool:
    """Paid and paid back before anybody here had heard of the payment."""
    return attempt.payment is not None and attempt.payment.amount_refunded_minor > 0
