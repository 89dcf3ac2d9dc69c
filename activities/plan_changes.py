"""Plan changes at a provider that bills by its own clock: collect what is owed, then change what is sold."""

from __future__ import annotations

from temporalio import activity

from activities import results
from activities.customers import Customers
from activities.plans import ProviderPlans
from activities.provider_calls import ProviderActivities
from activities.signatures.attempts import AttemptResult
from activities.signatures.plan_changes import (
    ChangeProviderSubscription,
    CollectChange,
    PlanChangeCalls,
)
from models.outcomes import OutcomeClass
from models.redaction import hide_subscription
from models.snapshots import InvoiceSnapshot, ProviderInvoiceStatus, SubscriptionSnapshot
from models.storage.engine import Sessions
from providers.drafts import ChangeDraft, SubscriptionChange
from providers.failures import FailureKind, ProviderFailure
from providers.protocol import PaymentProvider


class PlanChangeActivities(PlanChangeCalls):
    def __init__(self, sessions: Sessions, calls: ProviderActivities) -> None:
        self._calls = calls
        self._customers = Customers(sessions)
        self._plans = ProviderPlans(sessions)

    @activity.defn(name="collect_change")
    async def collect_change(self, request: CollectChange) -> AttemptResult:
        async def prepare(provider: PaymentProvider, retry: bool) -> str:
            invoice_id = await provider.prepare_change(
                await self._draft(provider, request), retry=retry
            )
            return results.change_object(invoice_id)

        async def commit(provider: PaymentProvider, object_id: str) -> AttemptResult:
            invoice_id = results.change_invoice_id(object_id)
            draft = await self._draft(provider, request)
            try:
                invoice = await provider.commit_change(draft, invoice_id)
            except ProviderFailure as failure:
                if failure.outcome is OutcomeClass.UNKNOWN:
                    raise
                invoice = await _void(provider, invoice_id)
                if invoice.status is not ProviderInvoiceStatus.PAID:
                    raise
            return results.of_invoice(request.attempt_id, invoice)

        return await self._calls.attempt(request, prepare, commit)

    @activity.defn(name="change_provider_subscription")
    async def change_provider_subscription(
        self, request: ChangeProviderSubscription
    ) -> SubscriptionSnapshot:
        def to(plan_id: str) -> SubscriptionChange:
            return SubscriptionChange(
                change_id=str(request.change_id),
                provider_customer_id=request.provider_customer_id,
                provider_subscription_id=request.provider_subscription_id,
                provider_plan_id=plan_id,
                billing_interval=request.terms.billing_interval,
                amount_minor=request.terms.amount_minor,
                quantity=request.terms.quantity,
                currency=request.terms.currency,
                restart=request.restart,
                begins_at=request.begins_at,
                credit_minor=request.credit_minor,
            )

        async def change(provider: PaymentProvider) -> SubscriptionSnapshot:
            return await self._plans.using(
                provider,
                request.terms,
                lambda plan_id: provider.change_subscription(to(plan_id)),
            )

        snapshot = await self._calls.ask(request.provider, change)
        return hide_subscription(snapshot) or snapshot

    async def _draft(self, provider: PaymentProvider, request: CollectChange) -> ChangeDraft:
        terms = request.terms
        return ChangeDraft(
            attempt_id=str(request.attempt_id),
            subscription_id=str(terms.subscription_id),
            invoice_id=str(request.invoice.id),
            provider_customer_id=request.provider_customer_id,
            provider_payment_method_id=await self._customers.payment_method(
                provider, terms, request.payment_method_id
            ),
            lines=tuple((line.description, line.amount_minor) for line in request.invoice.lines),
            amount_minor=request.invoice.amount_minor,
            currency=request.invoice.currency,
        )


async def _void(provider: PaymentProvider, invoice_id: str) -> InvoiceSnapshot:
    """What was refused must not be payable any more. Until that is sure, the outcome is not."""
    try:
        return await provider.cancel_invoice(invoice_id)
    except ProviderFailure as failure:
        message = f"refused, but not voided: {failure.message}"
        raise ProviderFailure(FailureKind.UNKNOWN, message, code=failure.code) from None
