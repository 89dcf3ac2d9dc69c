"""What a provider is asked to make, with what the workflow does not carry: names and e-mail addresses."""

from __future__ import annotations

from activities.customers import Customers
from activities.signatures.attempts import IssuePayment, OpenProviderSubscription
from providers.drafts import PaymentDraft, SubscriptionDraft
from providers.protocol import PaymentProvider


class Drafts:
    """The customer is made at the provider on first use. Both raise ProviderFailure."""

    def __init__(self, customers: Customers) -> None:
        self._customers = customers

    async def payment(
        self, provider: PaymentProvider, request: IssuePayment, retry: bool
    ) -> PaymentDraft:
        terms = request.terms
        customer = await self._customers.find(provider, terms.application_id, terms.organization_id)
        organization = customer.organization
        return PaymentDraft(
            attempt_id=str(request.attempt_id),
            subscription_id=str(terms.subscription_id) if terms.subscription_id else None,
            invoice_id=str(request.invoice.id),
            organization_id=str(terms.organization_id),
            provider_customer_id=await self._customers.ensure(
                provider, customer, retry=retry, at=request.started_at
            ),
            customer_name=organization.name,
            customer_email=organization.email,
            instrument=terms.instrument,
            amount_minor=request.invoice.amount_minor - request.invoice.amount_paid_minor,
            currency=request.invoice.currency,
            description=terms.description,
            created_at=request.started_at,
            expires_at=request.expires_at,
        )

    async def subscription(
        self,
        provider: PaymentProvider,
        request: OpenProviderSubscription,
        plan_id: str,
        retry: bool,
    ) -> SubscriptionDraft:
        terms = request.terms
        customer = await self._customers.find(
            provider, terms.application_id, terms.organization_id, request.payment_method_id
        )
        return SubscriptionDraft(
            subscription_id=str(terms.subscription_id),
            organization_id=str(terms.organization_id),
            invoice_id=str(request.invoice.id),
            attempt_id=str(request.attempt_id),
            provider_customer_id=await self._customers.ensure(
                provider, customer, retry=retry, at=request.started_at
            ),
            provider_plan_id=plan_id,
            plan_name=terms.plan_name,
            billing_interval=terms.billing_interval,
            amount_minor=terms.amount_minor,
            quantity=terms.quantity,
            currency=terms.currency,
            provider_payment_method_id=customer.provider_payment_method_id,
            trial_end=request.trial_end,
        )
