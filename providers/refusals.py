"""Typed refusals for whole families of calls, shared by the adapters that cannot do them."""

from __future__ import annotations

from typing import Protocol

from models.snapshots import (
    DisputeSnapshot,
    GrantSnapshot,
    InvoiceSnapshot,
    PaymentSnapshot,
    SubscriptionSnapshot,
)
from providers.capabilities import Capabilities, Capability
from providers.drafts import (
    BenefitDraft,
    ChangeDraft,
    CheckoutDraft,
    GrantDraft,
    ProductDraft,
    SetupDraft,
    SubscriptionChange,
)
from providers.failures import FailureKind, ProviderFailure

NO_BENEFITS = "only Polar hands out benefits: sell the product through Polar"
NO_BROWSER_SETUP = "this provider's browser library needs its public key and nothing else"
NO_DISPUTE_ANSWER = "its API takes no answer to a dispute: answer it in the provider's own panel"
NO_INSTRUMENT_CHANGE = "a subscription keeps the payment method that it was opened with here"


def unsupported(message: str) -> ProviderFailure:
    return ProviderFailure(FailureKind.UNSUPPORTED, message, code="unsupported")


class NoBenefits:
    """A provider that moves money and hands out nothing."""

    async def ensure_benefit(self, draft: BenefitDraft, *, retry: bool = False) -> str:
        raise unsupported(NO_BENEFITS)

    async def grant_benefit(self, draft: GrantDraft, *, retry: bool = False) -> GrantSnapshot:
        raise unsupported(NO_BENEFITS)

    async def revoke_benefit(self, draft: GrantDraft) -> GrantSnapshot:
        raise unsupported(NO_BENEFITS)

    async def list_grants(self, provider_customer_id: str) -> list[GrantSnapshot]:
        raise unsupported(NO_BENEFITS)


class NoBrowserSetup:
    """A provider whose browser SDK works with the public key alone."""

    async def create_setup(self, draft: SetupDraft) -> str:
        raise unsupported(NO_BROWSER_SETUP)


class NoDisputeAnswer:
    """A provider that tells of disputes but takes no answer to them by API, or has none."""

    async def get_dispute(self, seen: DisputeSnapshot) -> DisputeSnapshot:
        return seen

    async def accept_dispute(self, provider_dispute_id: str) -> DisputeSnapshot:
        raise unsupported(NO_DISPUTE_ANSWER)


class NoInstrumentChange:
    async def change_payment_method(
        self,
        provider_customer_id: str,
        provider_subscription_id: str,
        provider_payment_method_id: str,
    ) -> None:
        raise unsupported(NO_INSTRUMENT_CHANGE)


class NoPause:
    """A provider whose subscriptions are not held here; its row of the capability matrix says why."""

    async def pause_subscription(
        self: _HasCapabilities,
        provider_customer_id: str,
        provider_subscription_id: str,
        *,
        unpaid: bool = False,
    ) -> SubscriptionSnapshot:
        raise unsupported(self.capabilities.refusals[Capability.PAUSE])

    async def resume_subscription(
        self: _HasCapabilities,
        provider_customer_id: str,
        provider_subscription_id: str,
        *,
        new_period: bool,
        resume_id: str,
    ) -> SubscriptionSnapshot:
        raise unsupported(self.capabilities.refusals[Capability.PAUSE])


class NoPlanChange:
    """A provider whose subscriptions stay as they were opened; its capabilities say why."""

    async def prepare_change(
        self: _HasCapabilities, draft: ChangeDraft, *, retry: bool = False
    ) -> str:
        raise unsupported(self.capabilities.refusals[Capability.PRORATE])

    async def commit_change(
        self: _HasCapabilities, draft: ChangeDraft, provider_invoice_id: str
    ) -> InvoiceSnapshot:
        raise unsupported(self.capabilities.refusals[Capability.PRORATE])

    async def cancel_invoice(self: _HasCapabilities, provider_invoice_id: str) -> InvoiceSnapshot:
        raise unsupported(self.capabilities.refusals[Capability.PRORATE])

    async def change_subscription(
        self: _HasCapabilities, change: SubscriptionChange
    ) -> SubscriptionSnapshot:
        raise unsupported(self.capabilities.refusals[Capability.CHANGE_PLAN])


class _HasCapabilities(Protocol):
    @property
    def capabilities(self) -> Capabilities: ...


class NoCheckout:
    """A provider without a hosted page; its row of the capability matrix says why."""

    async def ensure_product(
        self: _HasCapabilities,
        draft: ProductDraft,
        *,
        retry: bool = False,
        replaces: str | None = None,
    ) -> str:
        raise unsupported(self.capabilities.refusals[Capability.PRODUCT])

    async def create_checkout(
        self: _HasCapabilities, draft: CheckoutDraft, *, retry: bool = False
    ) -> PaymentSnapshot:
        raise unsupported(self.capabilities.refusals[Capability.HOSTED_CHECKOUT])
