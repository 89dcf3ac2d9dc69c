"""What is sold once, as a provider knows it: products, benefits and the page on which they are paid."""

from __future__ import annotations

from sqlalchemy import select, update

from activities.customers import Customers
from activities.plans import account_of
from activities.signatures.attempts import IssuePayment
from models.purchase import PurchaseTerms
from models.snapshots import PaymentSnapshot
from models.storage.engine import Sessions
from models.storage.tables import Benefit, Product, Purchase
from providers.capabilities import Capability
from providers.drafts import BenefitDraft, CheckoutDraft, ProductDraft
from providers.failures import NotOnSale
from providers.protocol import PaymentProvider


class Shop:
    """Every query names the application: an id from elsewhere finds nothing."""

    def __init__(self, sessions: Sessions, customers: Customers) -> None:
        self._sessions = sessions
        self._customers = customers

    async def _checkout_draft(
        self, provider: PaymentProvider, request: IssuePayment, terms: PurchaseTerms, retry: bool
    ) -> CheckoutDraft:
        """Everything that the page needs, made at the provider on first use. Raises ProviderFailure."""
        customer = await self._customers.find(provider, terms.application_id, terms.organization_id)
        async with self._sessions() as session:
            opening = await session.scalar(
                select(Purchase.opening).where(
                    Purchase.id == terms.purchase_id,
                    Purchase.application_id == terms.application_id,
                )
            )
        return CheckoutDraft(
            attempt_id=str(request.attempt_id),
            invoice_id=str(request.invoice.id),
            organization_id=str(terms.organization_id),
            purchase_id=str(terms.purchase_id),
            provider_customer_id=await self._customers.ensure(
                provider, customer, retry=retry, at=request.started_at
            ),
            provider_product_id=await self._ensure_product(provider, terms, retry),
            description=terms.description,
            amount_minor=request.invoice.amount_minor - request.invoice.amount_paid_minor,
            currency=request.invoice.currency,
            success_url=terms.success_url,
            expires_at=request.expires_at,
            customer_ip_address=(opening or {}).get("customer_ip_address"),
        )

    async def open_page(
        self, provider: PaymentProvider, request: IssuePayment, terms: PurchaseTerms, retry: bool
    ) -> PaymentSnapshot:
        """The page; once more when the product cannot be sold any more (somebody archived it in the
        provider's panel) and was put right. Raises ProviderFailure."""
        draft = await self._checkout_draft(provider, request, terms, retry)
        try:
            return await provider.create_checkout(draft, retry=retry)
        except NotOnSale:
            if draft.provider_product_id is None:
                raise
        product_id = await self._ensure_product(
            provider, terms, retry, replaces=draft.provider_product_id
        )
        repaired = draft.model_copy(update={"provider_product_id": product_id})
        return await provider.create_checkout(repaired, retry=retry)

    async def _ensure_product(
        self,
        provider: PaymentProvider,
        terms: PurchaseTerms,
        retry: bool,
        *,
        replaces: str | None = None,
    ) -> str:
        """With its benefits attached before anybody can buy it, where the provider hands them out."""
        key = account_of(provider)
        async with self._sessions() as session:
            mine = (
                Product.id == terms.product_id,
                Product.application_id == terms.application_id,
            )
            known = await session.scalar(select(Product.provider_product_ids).where(*mine))
            benefits = list(
                await session.scalars(
                    select(Benefit)
                    .where(
                        Benefit.product_id == terms.product_id,
                        Benefit.application_id == terms.application_id,
                    )
                    .order_by(Benefit.id)
                )
            )
        if known and key in known and replaces is None:
            return known[key]
        benefit_ids = []
        if Capability.BENEFIT in provider.capabilities.supports:
            benefit_ids = [await self.ensure_benefit(provider, one, retry) for one in benefits]
        made = await provider.ensure_product(
            ProductDraft(
                product_id=str(terms.product_id),
                name=terms.product_name,
                amount_minor=terms.amount_minor,
                currency=terms.currency,
                provider_benefit_ids=tuple(benefit_ids),
            ),
            retry=retry,
            replaces=replaces,
        )
        async with self._sessions.begin() as session:
            await session.execute(
                update(Product)
                .where(*mine)
                .values(provider_product_ids=Product.provider_product_ids.op("||")({key: made}))
            )
        return made

    async def ensure_benefit(self, provider: PaymentProvider, benefit: Benefit, retry: bool) -> str:
        key = account_of(provider)
        if key in benefit.provider_benefit_ids:
            return benefit.provider_benefit_ids[key]
        made = await provider.ensure_benefit(
            BenefitDraft(
                benefit_id=str(benefit.id),
                type=benefit.type,
                description=benefit.description,
                properties=benefit.properties,
            ),
            retry=retry,
        )
        async with self._sessions.begin() as session:
            await session.execute(
                update(Benefit)
                .where(Benefit.id == benefit.id)
                .values(provider_benefit_ids=Benefit.provider_benefit_ids.op("||")({key: made}))
            )
        return made
