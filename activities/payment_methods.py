"""Stored instruments: handed to the provider once, kept as tokens and a few digits."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.customers import Customers
from activities.provider_calls import retryable, server_time
from activities.signatures.payment_methods import ClosePaymentMethod, PaymentMethodCalls
from models.commands import (
    AddPaymentMethodInput,
    DetachPaymentMethodInput,
    DetachPaymentMethodResult,
    PaymentMethodResult,
)
from models.outcomes import Instrument
from models.snapshots import PaymentMethodSnapshot
from models.storage.engine import Sessions
from models.storage.payment_methods import (
    can_take_over,
    default_method,
    lock_organization,
    make_default,
    subscriptions_charged_with,
)
from models.storage.tables import PaymentMethod, Subscription
from providers.drafts import AttachPaymentMethod
from providers.failures import FailureKind, ProviderFailure
from providers.protocol import PaymentProvider
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
        try:
            await self._keep(request, snapshot, server_time())
        except IntegrityError:
            # The same token was handed over twice. Trying again would say so for ever, and the
            # instrument stays where it is: it belongs to the row that has it.
            return await self._failed(request, "already_stored")
        return PaymentMethodResult(status="active")

    @activity.defn(name="close_payment_method")
    async def close_payment_method(self, closing: ClosePaymentMethod) -> None:
        await self._failed(closing.request, closing.failure_code)

    @activity.defn(name="release_payment_method")
    async def release_payment_method(
        self, request: DetachPaymentMethodInput
    ) -> DetachPaymentMethodResult:
        """Move what is charged with it to the default, if there is another one at the same provider,
        and mark it detached. Safe to repeat."""
        row = await self._row(request)
        provider = self._providers.get(request.provider)
        if provider is None and row.provider_payment_method_id is not None:
            return DetachPaymentMethodResult(
                status="failed", failure_code="provider_not_configured"
            )
        async with self._sessions() as session:
            charged = await subscriptions_charged_with(session, row)
            default = await default_method(session, row.application_id, row.organization_id)
        ids = [subscription.id for subscription in charged]
        if charged and provider is not None:
            if default is None or not can_take_over(row, default):
                return DetachPaymentMethodResult(status="in_use", subscription_ids=ids)
            if not await _move(provider, charged, default):
                return DetachPaymentMethodResult(status="in_use", subscription_ids=ids)
        late = await self._mark_detached(row, set(ids))
        if late:
            return DetachPaymentMethodResult(status="in_use", subscription_ids=late)
        replaced_by = default.id if charged and default else None
        return DetachPaymentMethodResult(
            status="detached", subscription_ids=ids, replaced_by=replaced_by
        )

    @activity.defn(name="forget_payment_method")
    async def forget_payment_method(self, request: DetachPaymentMethodInput) -> None:
        """Have the provider forget it; one that is gone there is fine."""
        row = await self._row(request)
        provider = self._providers.get(request.provider)
        if row.provider_payment_method_id is None or row.provider_customer_id is None:
            return  # It never got there.
        if provider is None:
            raise ApplicationError("no API key here", type="provider_not_configured")
        try:
            await provider.detach_payment_method(
                row.provider_customer_id, row.provider_payment_method_id
            )
        except ProviderFailure as failure:
            if failure.kind is not FailureKind.NOT_FOUND:
                raise retryable(failure) from None

    async def _mark_detached(self, method: PaymentMethod, moved: set[UUID]) -> list[UUID]:
        """Unless a subscription was opened with it meanwhile: then these are returned.

        The lock waits for openings that are under way; whoever comes later finds it detached.
        """
        async with self._sessions.begin() as session:
            row = await session.get_one(PaymentMethod, method.id, with_for_update=True)
            charged = await subscriptions_charged_with(session, row)
            late = [each.id for each in charged if each.id not in moved]
            if not late and row.status != "detached":
                row.status = "detached"
                row.is_default = False
                row.setup_token = None
                row.updated_at = server_time()
        return late

    async def _row(
        self, request: AddPaymentMethodInput | DetachPaymentMethodInput
    ) -> PaymentMethod:
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
        customer = await self._customers.find(
            provider, request.application_id, request.organization_id
        )
        customer_id = await self._customers.ensure(
            provider, customer, retry=activity.info().attempt > 1, at=server_time()
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
        """Raises IntegrityError when another row has this very instrument."""
        owner = (request.application_id, request.organization_id)
        async with self._sessions.begin() as session:
            await lock_organization(session, *owner)
            first = await default_method(session, *owner) is None
            await session.execute(
                update(PaymentMethod)
                .where(
                    PaymentMethod.id == request.payment_method_id,
                    PaymentMethod.application_id == request.application_id,
                )
                .values(
                    status="active",
                    setup_token=None,
                    is_default=False,
                    updated_at=at,
                    **snapshot.model_dump(exclude={"provider", "type"}),
                )
            )
            if first or request.set_as_default:
                await make_default(session, *owner, request.payment_method_id, at)

    async def _failed(self, request: AddPaymentMethodInput, code: str) -> PaymentMethodResult:
        """Write the failure, unless an earlier run of this activity was heard of by the provider."""
        mine = (
            PaymentMethod.id == request.payment_method_id,
            PaymentMethod.application_id == request.application_id,
        )
        async with self._sessions.begin() as session:
            await session.execute(
                update(PaymentMethod)
                .where(*mine, PaymentMethod.status == "pending")
                .values(
                    status="failed",
                    setup_token=None,
                    failure_code=code,
                    is_default=False,
                    updated_at=server_time(),
                )
            )
            row = (await session.scalars(select(PaymentMethod).where(*mine))).one()
        if row.status != "failed":
            return PaymentMethodResult(status=row.status)
        return PaymentMethodResult(
            status="failed", failure_code=row.failure_code, failure_message=REFUSED_MESSAGE
        )


async def _move(
    provider: PaymentProvider, charged: list[Subscription], default: PaymentMethod
) -> bool:
    """Have the provider charge the default from now on; False when it cannot."""
    method_id = default.provider_payment_method_id
    for subscription in charged:
        customer_id = subscription.provider_customer_id
        subscription_id = subscription.provider_subscription_id
        if method_id is None or customer_id is None or subscription_id is None:
            return False  # It is just being opened with the other one.
        try:
            await provider.change_payment_method(customer_id, subscription_id, method_id)
        except ProviderFailure as failure:
            if failure.kind in _FINAL:
                return False
            raise retryable(failure) from None
    return True
