"""Stored instruments: handed to the provider once, kept as tokens and a few digits."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from activities.customers import Customers
from activities.provider_calls import retryable, server_time
from activities.signatures import ClosePaymentMethod, PaymentMethodCalls
from models.commands import AddPaymentMethodInput, PaymentMethodResult
from models.outcomes import Instrument
from models.snapshots import PaymentMethodSnapshot
from models.storage.engine import Sessions
from models.storage.tables import PaymentMethod
from providers.protocol import AttachPaymentMethod, FailureKind, PaymentProvider, ProviderFailure
from providers.registry import ProviderRegistry

# What the customer is told when an instrument is refused; the provider's own code goes beside it.
REFUSED_MESSAGE = "The provider did not accept this payment method."
_FINAL = {
    FailureKind.DECLINED,
    FailureKind.REJECTED,
    FailureKind.NOT_FOUND,
    FailureKind.UNSUPPORTED,
}


class PaymentMethodActivities(PaymentMethodCalls):
    def __init__(self, sessions: Sessions, providers: ProviderRegistry) -> None:
        self._sessions = sessions
        self._providers = providers
        self._customers = Customers(sessions)

    @activity.defn(name="add_payment_method")
    async def add_payment_method(self, request: AddPaymentMethodInput) -> PaymentMethodResult:
        """Attach the token that waits in the row. Safe to repeat: an attached method is returned."""
        row = await self._row(request)
        provider = self._providers.get(request.provider)
        if row.status != "pending":
            return PaymentMethodResult(status=row.status, failure_code=row.failure_code)
        if provider is None:
            return await self._failed(request, "provider_not_configured")
        try:
            snapshot = await self._attach(provider, request, row)
        except ProviderFailure as failure:
            if failure.kind not in _FINAL:
                raise retryable(failure) from None
            decline = failure.decline.code if failure.decline else None
            return await self._failed(request, decline or failure.code or str(failure.kind))
        await self._keep(request, snapshot, server_time())
        return PaymentMethodResult(status="active")

    @activity.defn(name="close_payment_method")
    async def close_payment_method(self, closing: ClosePaymentMethod) -> None:
        await self._failed(closing.request, closing.failure_code)

    async def _row(self, request: AddPaymentMethodInput) -> PaymentMethod:
        async with self._sessions() as session:
            found = await session.scalars(
                select(PaymentMethod).where(
                    PaymentMethod.id == request.payment_method_id,
                    PaymentMethod.application_id == request.application_id,
                )
            )
            return found.one()

    async def _attach(
        self, provider: PaymentProvider, request: AddPaymentMethodInput, row: PaymentMethod
    ) -> PaymentMethodSnapshot:
        organization = await self._customers.organization(
            request.application_id, request.organization_id
        )
        customer_id = await self._customers.ensure(
            provider, organization, retry=activity.info().attempt > 1, at=server_time()
        )
        return await provider.attach_payment_method(
            AttachPaymentMethod(
                payment_method_id=str(request.payment_method_id),
                provider_customer_id=customer_id,
                token=row.setup_token or "",
                type=Instrument(request.type),
            )
        )

    async def _keep(
        self, request: AddPaymentMethodInput, snapshot: PaymentMethodSnapshot, at: datetime
    ) -> None:
        async with self._sessions.begin() as session:
            first = not await _has_default(session, request.organization_id)
            make_default = first or request.set_as_default
            if make_default:
                await session.execute(
                    update(PaymentMethod)
                    .where(
                        PaymentMethod.organization_id == request.organization_id,
                        PaymentMethod.application_id == request.application_id,
                    )
                    .values(is_default=False)
                )
            await session.execute(
                update(PaymentMethod)
                .where(
                    PaymentMethod.id == request.payment_method_id,
                    PaymentMethod.application_id == request.application_id,
                )
                .values(
                    status="active",
                    setup_token=None,
                    is_default=make_default,
                    updated_at=at,
                    **snapshot.model_dump(exclude={"provider", "type"}),
                )
            )

    async def _failed(self, request: AddPaymentMethodInput, code: str) -> PaymentMethodResult:
        async with self._sessions.begin() as session:
            await session.execute(
                update(PaymentMethod)
                .where(
                    PaymentMethod.id == request.payment_method_id,
                    PaymentMethod.application_id == request.application_id,
                    PaymentMethod.status == "pending",
                )
                .values(
                    status="failed", setup_token=None, failure_code=code, updated_at=server_time()
                )
            )
        return PaymentMethodResult(
            status="failed", failure_code=code, failure_message=REFUSED_MESSAGE
        )


async def _has_default(session: AsyncSession, organization_id: UUID) -> bool:
    found = await session.scalar(
        select(PaymentMethod.id).where(
            PaymentMethod.organization_id == organization_id, PaymentMethod.is_default
        )
    )
    return found is not None
