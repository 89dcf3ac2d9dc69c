"""What is sold once, as a provider knows it: products, benefits and the page on which they are paid."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.customers import Customers
from activities.signatures import BenefitCalls, BenefitCheck, IssuePayment
from models.purchase import PurchaseTerms
from models.snapshots import GrantSnapshot
from models.storage.engine import Sessions
from models.storage.tables import Benefit, BenefitGrant, Product, ProviderCustomer, Purchase, new_id
from providers.protocol import (
    BenefitDraft,
    Capability,
    CheckoutDraft,
    PaymentProvider,
    ProductDraft,
    ProviderFailure,
)
from providers.registry import ProviderRegistry

WAITING, GRANTED, REVOKED = "waiting", "granted", "revoked"


class Shop:
    """Every query names the application: an id from elsewhere finds nothing."""

    def __init__(self, sessions: Sessions, customers: Customers) -> None:
        self._sessions = sessions
        self._customers = customers

    async def checkout_draft(
        self, provider: PaymentProvider, request: IssuePayment, terms: PurchaseTerms, retry: bool
    ) -> CheckoutDraft:
        """Everything that the page needs, made at the provider on first use. Raises ProviderFailure."""
        organization = await self._customers.organization(
            terms.application_id, terms.organization_id
        )
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
                provider, organization, retry=retry, at=request.started_at
            ),
            provider_product_id=await self._ensure_product(provider, terms, retry),
            description=terms.description,
            amount_minor=request.invoice.amount_minor - request.invoice.amount_paid_minor,
            currency=request.invoice.currency,
            success_url=terms.success_url,
            expires_at=request.expires_at,
            customer_ip_address=(opening or {}).get("customer_ip_address"),
        )

    async def _ensure_product(
        self, provider: PaymentProvider, terms: PurchaseTerms, retry: bool
    ) -> str:
        """With its benefits attached before anybody can buy it, where the provider hands them out."""
        key = account_key(provider)
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
        if known and key in known:
            return known[key]
        benefit_ids = []
        if Capability.BENEFIT in provider.capabilities.supports:
            benefit_ids = [await self._ensure_benefit(provider, one, retry) for one in benefits]
        made = await provider.ensure_product(
            ProductDraft(
                product_id=str(terms.product_id),
                name=terms.product_name,
                amount_minor=terms.amount_minor,
                currency=terms.currency,
                provider_benefit_ids=tuple(benefit_ids),
            ),
            retry=retry,
        )
        async with self._sessions.begin() as session:
            await session.execute(
                update(Product)
                .where(*mine)
                .values(provider_product_ids=Product.provider_product_ids.op("||")({key: made}))
            )
        return made

    async def _ensure_benefit(
        self, provider: PaymentProvider, benefit: Benefit, retry: bool
    ) -> str:
        key = account_key(provider)
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


class BenefitActivities(BenefitCalls):
    def __init__(self, sessions: Sessions, providers: ProviderRegistry) -> None:
        self._sessions = sessions
        self._providers = providers

    @activity.defn(name="check_benefits")
    async def check_benefits(self, check: BenefitCheck) -> int:
        """Read what the provider has granted, should its webhooks be lost; how many still wait."""
        provider = self._providers.get(check.provider)
        customer_id = None
        if provider is not None:
            customer_id = await self._customer(provider, check)
        if provider is not None and customer_id is not None:
            try:
                grants = await provider.list_grants(customer_id)
            except ProviderFailure as failure:
                activity.logger.warning("grants could not be read: %s", failure)
                grants = []
            for grant in grants:
                async with self._sessions.begin() as session:
                    await write_grant(session, provider.account, grant)
        waiting = (
            select(BenefitGrant.id)
            .join(Benefit, Benefit.id == BenefitGrant.benefit_id)
            .where(
                Benefit.product_id == check.product_id,
                BenefitGrant.application_id == check.application_id,
                BenefitGrant.organization_id == check.organization_id,
                BenefitGrant.status == WAITING,
            )
        )
        async with self._sessions() as session:
            return len((await session.scalars(waiting)).all())

    async def _customer(self, provider: PaymentProvider, check: BenefitCheck) -> str | None:
        async with self._sessions() as session:
            return await session.scalar(
                select(ProviderCustomer.provider_customer_id).where(
                    ProviderCustomer.application_id == check.application_id,
                    ProviderCustomer.organization_id == check.organization_id,
                    ProviderCustomer.provider == provider.name,
                    ProviderCustomer.account == provider.account,
                )
            )


def account_key(provider: PaymentProvider) -> str:
    return f"{provider.name}:{provider.account}"


async def write_grant(session: AsyncSession, account: str, grant: GrantSnapshot) -> bool:
    """Bring our row up to what the provider says; False when customer or benefit are not ours.

    The same benefit may come from several purchases: access ends only with the grant that we know as
    the one that gives it. Heard of twice, nothing changes.
    """
    owner = (
        await session.execute(
            select(ProviderCustomer.application_id, ProviderCustomer.organization_id).where(
                ProviderCustomer.provider == grant.provider,
                ProviderCustomer.account == account,
                ProviderCustomer.provider_customer_id == grant.provider_customer_id,
            )
        )
    ).first()
    if owner is None:
        return False
    key = f"{grant.provider}:{account}"
    benefit_id: UUID | None = await session.scalar(
        select(Benefit.id).where(
            Benefit.application_id == owner.application_id,
            Benefit.provider_benefit_ids[key].astext == grant.provider_benefit_id,
        )
    )
    if benefit_id is None:
        return False
    status = GRANTED if grant.is_granted else REVOKED if grant.is_revoked else WAITING
    statement = insert(BenefitGrant).values(
        id=new_id(),
        application_id=owner.application_id,
        organization_id=owner.organization_id,
        benefit_id=benefit_id,
        provider=grant.provider,
        provider_grant_id=grant.provider_grant_id,
        status=status,
        error_code=grant.error_code,
        updated_at=func.now(),
    )
    names = ("provider", "provider_grant_id", "status", "error_code", "updated_at")
    its_own = BenefitGrant.provider_grant_id == grant.provider_grant_id
    better = BenefitGrant.status != GRANTED
    if status == REVOKED:
        better = BenefitGrant.provider_grant_id.is_(None) & (BenefitGrant.status == REVOKED)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[BenefitGrant.organization_id, BenefitGrant.benefit_id],
            set_={name: statement.excluded[name] for name in names},
            where=its_own | better,
        )
    )
    return True
