"""Benefits: given and taken away on request, and our rows kept at what the provider says."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.customers import Customers
from activities.plans import account_of
from activities.provider_calls import retryable, server_time
from activities.shop import Shop
from activities.signatures.shop import BenefitCalls, BenefitCheck
from activities.webhook_queue import hand_out
from models.benefits import GrantStatus, HeardGrant, best_of, read_heard
from models.commands import BenefitChange, BenefitResult
from models.snapshots import GrantSnapshot
from models.storage.engine import Sessions
from models.storage.tables import (
    AuditEntry,
    Benefit,
    BenefitGrant,
    OutboundEvent,
    ProviderCustomer,
    new_id,
)
from providers.drafts import GrantDraft
from providers.failures import FailureKind, ProviderFailure
from providers.protocol import PaymentProvider
from providers.registry import ProviderRegistry

NOT_GRANTED, REFUSED = "not_granted", "refused"
# The adapters' words for what asking again would not change.
_REFUSAL_BY_CODE = {"granted_by_purchase": "granted_by_purchase", "no_grant": NOT_GRANTED}
_FINAL = {
    FailureKind.DECLINED,
    FailureKind.REJECTED,
    FailureKind.NOT_FOUND,
    FailureKind.UNSUPPORTED,
}
_TOLD = {GrantStatus.GRANTED: "benefit.granted", GrantStatus.REVOKED: "benefit.revoked"}


class BenefitActivities(BenefitCalls):
    def __init__(self, sessions: Sessions, providers: ProviderRegistry) -> None:
        self._sessions = sessions
        self._providers = providers
        self._customers = Customers(sessions)
        self._shop = Shop(sessions, self._customers)

    @activity.defn(name="check_benefits")
    async def check_benefits(self, check: BenefitCheck) -> int:
        """Read what the provider has granted, should its webhooks be lost; how many still wait."""
        provider = self._providers.get(check.provider)
        if provider is not None:
            try:
                await read_grants(
                    self._sessions, provider, check.application_id, check.organization_id
                )
            except ProviderFailure as failure:
                activity.logger.warning("grants could not be read: %s", failure)
        waiting = (
            select(BenefitGrant.id)
            .join(Benefit, Benefit.id == BenefitGrant.benefit_id)
            .where(
                Benefit.product_id == check.product_id,
                BenefitGrant.application_id == check.application_id,
                BenefitGrant.organization_id == check.organization_id,
                BenefitGrant.status == GrantStatus.WAITING,
            )
        )
        async with self._sessions() as session:
            return len((await session.scalars(waiting)).all())

    @activity.defn(name="change_benefit")
    async def change_benefit(self, change: BenefitChange) -> BenefitResult:
        """Have the provider give or take away. Safe to repeat: it finds what an earlier call did, and a
        wish that was carried out once is not carried out again after a later one."""
        provider = self._providers.get(change.provider)
        if provider is None:
            return BenefitResult(refusal="provider_not_configured")
        async with self._sessions() as session:
            if await session.get(AuditEntry, change.change_id) is not None:
                return BenefitResult()
        try:
            grant = await self._ask(provider, change)
        except ProviderFailure as failure:
            refusal = _REFUSAL_BY_CODE.get(failure.code or "", REFUSED)
            if failure.kind not in _FINAL:
                raise retryable(failure) from None
            if refusal == NOT_GRANTED and await self._withdraw(change):
                return BenefitResult()
            return BenefitResult(refusal=refusal, detail=failure.message)
        async with self._sessions.begin() as session:
            await write_grant(session, provider.account, grant, server_time())
            _note(session, change, server_time())
        return BenefitResult()

    async def _ask(self, provider: PaymentProvider, change: BenefitChange) -> GrantSnapshot:
        async with self._sessions() as session:
            benefit = (
                await session.scalars(
                    select(Benefit).where(
                        Benefit.id == change.benefit_id,
                        Benefit.application_id == change.application_id,
                    )
                )
            ).one()
        if not change.granted and account_of(provider) not in benefit.provider_benefit_ids:
            raise ProviderFailure(
                FailureKind.NOT_FOUND, "the provider does not know the benefit", code="no_grant"
            )
        again = activity.info().attempt > 1
        customer = await self._customers.find(
            provider, change.application_id, change.organization_id
        )
        draft = GrantDraft(
            grant_id=str(change.change_id),
            organization_id=str(change.organization_id),
            provider_customer_id=await self._customers.ensure(
                provider, customer, retry=again, at=server_time()
            ),
            provider_benefit_id=await self._shop.ensure_benefit(provider, benefit, again),
        )
        if change.granted:
            return await provider.grant_benefit(draft, retry=again)
        return await provider.revoke_benefit(draft)

    async def _withdraw(self, change: BenefitChange) -> bool:
        """The provider has given nothing, but we said that it would: somebody who bought from another
        provider waits. False when nobody does."""
        async with self._sessions.begin() as session:
            row = await session.scalar(
                select(BenefitGrant)
                .where(
                    BenefitGrant.application_id == change.application_id,
                    BenefitGrant.organization_id == change.organization_id,
                    BenefitGrant.benefit_id == change.benefit_id,
                    BenefitGrant.status == GrantStatus.WAITING,
                )
                .with_for_update()
            )
            if row is None:
                return False
            row.error_code = None
            await _change(session, row, GrantStatus.REVOKED, server_time(), change.actor)
            _note(session, change, server_time())
        return True


def _note(session: AsyncSession, change: BenefitChange, at: datetime) -> None:
    """Who wished for what; its id says later that this wish was carried out."""
    session.add(
        AuditEntry(
            id=change.change_id,
            application_id=change.application_id,
            version=0,
            actor=change.actor,
            action="benefit.grant" if change.granted else "benefit.revoke",
            before={},
            after={
                "benefit_id": str(change.benefit_id),
                "organization_id": str(change.organization_id),
            },
            at=at,
        )
    )


async def read_grants(
    sessions: Sessions, provider: PaymentProvider, application_id: UUID, organization_id: UUID
) -> None:
    """Everything that the customer has or had, as it is now. Raises ProviderFailure."""
    async with sessions() as session:
        customer_id = await session.scalar(
            select(ProviderCustomer.provider_customer_id).where(
                ProviderCustomer.application_id == application_id,
                ProviderCustomer.organization_id == organization_id,
                ProviderCustomer.provider == provider.name,
                ProviderCustomer.account == provider.account,
            )
        )
    if customer_id is None:
        return
    for grant in await provider.list_grants(customer_id):
        async with sessions.begin() as session:
            await write_grant(session, provider.account, grant, server_time())


async def write_grant(
    session: AsyncSession,
    account: str,
    grant: GrantSnapshot,
    at: datetime,
) -> bool:
    """Bring our row up to what the provider says; False when customer or benefit are not ours.

    Each grant is remembered by itself: an older word than the one that is known changes nothing, and
    access ends only when no grant gives it any more.
    """
    row = await _row_of(session, account, grant, at)
    if row is None:
        return False
    heard = read_heard(row.grants)
    word = HeardGrant.of(grant)
    if not word.is_news_after(heard.get(grant.provider_grant_id)):
        return True
    heard[grant.provider_grant_id] = word
    row.grants = {id_: one.model_dump(mode="json") for id_, one in heard.items()}
    row.provider = grant.provider
    row.provider_grant_id, best = best_of(heard)
    row.error_code = best.error_code
    await _change(session, row, best.status, at, f"provider:{grant.provider}")
    return True


async def _row_of(
    session: AsyncSession, account: str, grant: GrantSnapshot, at: datetime
) -> BenefitGrant | None:
    """The row, locked; made when this is the first that is heard of it."""
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
        return None
    key = f"{grant.provider}:{account}"
    benefit_id: UUID | None = await session.scalar(
        select(Benefit.id).where(
            Benefit.application_id == owner.application_id,
            Benefit.provider_benefit_ids[key].astext == grant.provider_benefit_id,
        )
    )
    if benefit_id is None:
        return None
    await session.execute(
        insert(BenefitGrant)
        .values(
            id=new_id(),
            application_id=owner.application_id,
            organization_id=owner.organization_id,
            benefit_id=benefit_id,
            provider=grant.provider,
            status=GrantStatus.WAITING,
            updated_at=at,
        )
        .on_conflict_do_nothing()
    )
    return await session.scalar(
        select(BenefitGrant)
        .where(
            BenefitGrant.organization_id == owner.organization_id,
            BenefitGrant.benefit_id == benefit_id,
        )
        .with_for_update()
        .execution_options(populate_existing=True)
    )


async def _change(
    session: AsyncSession, row: BenefitGrant, status: GrantStatus, at: datetime, actor: str
) -> None:
    """Write the status; a new one goes into the audit log and to the app."""
    before, row.status, row.updated_at = row.status, status, at
    if status == before:
        return
    row.version += 1
    about = {
        "benefit_id": str(row.benefit_id),
        "organization_id": str(row.organization_id),
        "purchase_id": str(row.purchase_id) if row.purchase_id else None,
    }
    session.add(
        AuditEntry(
            application_id=row.application_id,
            version=row.version,
            actor=actor,
            action="benefit.status",
            before={**about, "status": before},
            after={**about, "status": status},
            at=at,
        )
    )
    if status in _TOLD:
        event = OutboundEvent(
            id=new_id(),
            application_id=row.application_id,
            sequence=row.version,
            type=_TOLD[status],
            data={**about, "status": status},
            created_at=at,
        )
        session.add(event)
        await session.flush()
        await hand_out(session, [event.id])
    await session.flush()
