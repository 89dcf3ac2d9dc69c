"""The billed organization as a provider knows it: looked up here, so that no name or e-mail address
ever travels through a workflow's history."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Select, and_, bindparam, select
from sqlalchemy.dialects.postgresql import insert

from models.storage.engine import Sessions
from models.storage.tables import (
    Organization,
    PaymentMethod,
    ProviderCustomer,
    new_id,
)
from models.subscription import SubscriptionTerms
from providers.drafts import CustomerDraft
from providers.protocol import PaymentProvider


class Customer(NamedTuple):
    """An organization, and what a provider calls it and the stored instrument that was asked for; None
    for what it does not know."""

    organization: Organization
    provider_customer_id: str | None
    provider_payment_method_id: str | None


@cache
def _known() -> Select[Organization, str | None, str | None]:
    """Built once: each try at collecting money begins with it."""
    known_as, method = ProviderCustomer, PaymentMethod
    return (
        select(
            Organization,
            known_as.provider_customer_id,
            method.provider_payment_method_id,
        )
        .outerjoin(
            known_as,
            and_(
                known_as.application_id == Organization.application_id,
                known_as.organization_id == Organization.id,
                known_as.provider == bindparam("named"),
                known_as.account == bindparam("account_named"),
            ),
        )
        .outerjoin(
            method,
            and_(
                method.id == bindparam("method"),
                method.application_id == Organization.application_id,
                method.organization_id == Organization.id,
                method.provider == bindparam("named"),
                method.account == bindparam("account_named"),
                method.status == "active",
            ),
        )
        .where(
            Organization.id == bindparam("organization"),
            Organization.application_id == bindparam("application"),
        )
    )


class Customers:
    """Every query names the application: an id from elsewhere finds nothing."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def find(
        self,
        provider: PaymentProvider,
        application_id: UUID,
        organization_id: UUID,
        payment_method_id: UUID | None = None,
    ) -> Customer:
        """In one look, as each try at collecting money begins with it."""
        values = {
            "named": provider.name,
            "account_named": provider.account,
            "application": application_id,
            "organization": organization_id,
            "method": payment_method_id,
        }
        async with self._sessions() as session:
            return Customer(*(await session.execute(_known(), values)).one())

    async def ensure(
        self, provider: PaymentProvider, customer: Customer, *, retry: bool, at: datetime
    ) -> str:
        """The provider's customer id, made on first use. Raises ProviderFailure."""
        if customer.provider_customer_id is not None:
            return customer.provider_customer_id
        organization = customer.organization
        made = await provider.ensure_customer(
            CustomerDraft(
                organization_id=str(organization.id),
                name=organization.name,
                email=organization.email,
                phone=organization.phone,
                country=organization.country,
            ),
            retry=retry,
        )
        return await self._keep(provider, organization, made, at)

    async def _keep(
        self, provider: PaymentProvider, organization: Organization, made: str, at: datetime
    ) -> str:
        """Store the id; when two activities made one each, both go on with the first."""
        key = {
            "application_id": organization.application_id,
            "organization_id": organization.id,
            "provider": provider.name,
            "account": provider.account,
        }
        async with self._sessions.begin() as session:
            await session.execute(
                insert(ProviderCustomer)
                .values(id=new_id(), provider_customer_id=made, created_at=at, **key)
                .on_conflict_do_nothing()
            )
            kept = await session.scalar(
                select(ProviderCustomer.provider_customer_id).filter_by(**key)
            )
        return kept or made

    async def payment_method(
        self, provider: PaymentProvider, terms: SubscriptionTerms, id_: UUID | None
    ) -> str | None:
        """The provider's id of a stored instrument of this organization, if this provider keeps it."""
        if id_ is None:
            return None
        async with self._sessions() as session:
            return await session.scalar(
                select(PaymentMethod.provider_payment_method_id).where(
                    PaymentMethod.id == id_,
                    PaymentMethod.application_id == terms.application_id,
                    PaymentMethod.organization_id == terms.organization_id,
                    PaymentMethod.provider == provider.name,
                    PaymentMethod.account == provider.account,
                    PaymentMethod.status == "active",
                )
            )
