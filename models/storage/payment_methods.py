"""What the API and the activities both do with stored instruments, each in a transaction of its own."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from models.states import TERMINAL_STATUSES, SubscriptionStatus
from models.storage.billing import Subscription
from models.storage.tenants import Organization, PaymentMethod


async def make_default(
    session: AsyncSession,
    application_id: UUID,
    organization_id: UUID,
    method_id: UUID,
    at: datetime,
) -> None:
    """The only default of its organization, also when two callers each make one at the same time."""
    await lock_organization(session, application_id, organization_id)
    of_organization = (
        PaymentMethod.application_id == application_id,
        PaymentMethod.organization_id == organization_id,
    )
    await session.execute(
        update(PaymentMethod)
        .where(*of_organization, PaymentMethod.is_default, PaymentMethod.id != method_id)
        # A wish that waits for the provider's answer is still a wish.
        .where(PaymentMethod.status != "pending")
        .values(is_default=False, updated_at=at)
    )
    await session.execute(
        update(PaymentMethod)
        .where(*of_organization, PaymentMethod.id == method_id, ~PaymentMethod.is_default)
        .values(is_default=True, updated_at=at)
    )


async def lock_organization(
    session: AsyncSession, application_id: UUID, organization_id: UUID
) -> None:
    """One at a time decides about an organization's payment methods; rows that merely refer to the
    organization are still written."""
    await session.execute(
        select(Organization.id)
        .where(Organization.id == organization_id, Organization.application_id == application_id)
        .with_for_update(key_share=True)
    )


async def default_method(
    session: AsyncSession, application_id: UUID, organization_id: UUID
) -> PaymentMethod | None:
    """The usable one; of several, left by an older version, the newest."""
    return await session.scalar(
        select(PaymentMethod)
        .where(
            PaymentMethod.application_id == application_id,
            PaymentMethod.organization_id == organization_id,
            PaymentMethod.status == "active",
            PaymentMethod.is_default,
        )
        .order_by(PaymentMethod.id.desc())
        .limit(1)
    )


async def subscriptions_charged_with(
    session: AsyncSession, method: PaymentMethod
) -> list[Subscription]:
    """Those that may charge it again. One that is paid and ends with its period will not.

    A subscription whose own method was detached is charged with what took over then; which one that
    was is not written down, so it counts for each that it may be.
    """
    its_own = select(PaymentMethod.id).where(
        PaymentMethod.application_id == method.application_id,
        PaymentMethod.organization_id == method.organization_id,
        PaymentMethod.provider == method.provider,
        PaymentMethod.account == method.account,
        (PaymentMethod.id == method.id) | (PaymentMethod.status == "detached"),
    )
    found = await session.scalars(
        select(Subscription)
        .where(
            Subscription.application_id == method.application_id,
            Subscription.payment_method_id.in_(its_own),
            Subscription.status.not_in(TERMINAL_STATUSES),
            ~(
                Subscription.cancel_at_period_end
                & Subscription.status.in_([SubscriptionStatus.ACTIVE, SubscriptionStatus.TRIALING])
            ),
        )
        .order_by(Subscription.id)
    )
    return list(found)


def can_take_over(method: PaymentMethod, default: PaymentMethod | None) -> bool:
    """Whether the default may be charged instead: a provider charges only what it keeps itself."""
    return (
        default is not None
        and default.id != method.id
        and (default.provider, default.account, default.type)
        == (method.provider, method.account, method.type)
    )
