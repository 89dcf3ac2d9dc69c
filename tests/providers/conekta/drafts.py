"""What the engine asks of a provider, with the values that do not matter filled in."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest

from models.outcomes import Instrument, PayTransfer, PayVoucher
from models.snapshots import PaymentSnapshot, PaymentStatus
from providers.conekta import ConektaProvider
from providers.drafts import (
    AttachPaymentMethod,
    CustomerDraft,
    PaymentDraft,
    RefundDraft,
    SubscriptionDraft,
)
from providers.failures import ProviderFailure
from tests.sandbox.conekta.world import World

AMOUNT_MINOR = 34900
# Ours are UUIDs: what the id of a plan is made of.
SUBSCRIPTION_ID = "0199a1b2-0000-7000-8000-000000000001"
ATTEMPT_ID = "0199a1b2-0000-7000-8000-00000000000a"
GOOD_TOKEN = "tok_test_visa_4242"
BROKE_TOKEN = "tok_test_insufficient_funds"


class ProviderFactory(Protocol):
    def __call__(self, **settings: object) -> ConektaProvider: ...


def customer_draft(**change: Any) -> CustomerDraft:
    usual = {"organization_id": "org_1", "name": "Ana López", "email": "ana@example.com"}
    return CustomerDraft.model_validate({**usual, **change})


def payment_draft(customer_id: str, **change: Any) -> PaymentDraft:
    now = datetime.now(UTC).replace(microsecond=0)
    usual: dict[str, Any] = {
        "attempt_id": "att_1",
        "subscription_id": "sub_1",
        "invoice_id": "inv_1",
        "organization_id": "org_1",
        "provider_customer_id": customer_id,
        "customer_name": "Ana López",
        "customer_email": "ana@example.com",
        "instrument": Instrument.OXXO,
        "amount_minor": AMOUNT_MINOR,
        "currency": "MXN",
        "description": "Plan Pro, octubre",
        "created_at": now,
        "expires_at": now + timedelta(days=3),
    }
    return PaymentDraft.model_validate({**usual, **change})


def refund_draft(provider_payment_id: str, **change: Any) -> RefundDraft:
    usual = {
        "refund_id": "ref_1",
        "provider_payment_id": provider_payment_id,
        "amount_minor": AMOUNT_MINOR,
        "currency": "MXN",
        "reason": "requested_by_customer",
        "already_refunded_minor": 0,
    }
    return RefundDraft.model_validate({**usual, **change})


def card_request(customer_id: str, token: str = GOOD_TOKEN) -> AttachPaymentMethod:
    return AttachPaymentMethod(
        payment_method_id="pm_1", provider_customer_id=customer_id, token=token
    )


def subscription_draft(customer_id: str, card_id: str | None, **change: Any) -> SubscriptionDraft:
    usual: dict[str, Any] = {
        "subscription_id": SUBSCRIPTION_ID,
        "organization_id": "org_1",
        "invoice_id": "inv_1",
        "attempt_id": ATTEMPT_ID,
        "provider_customer_id": customer_id,
        "provider_plan_id": "plan_1",
        "plan_name": "Plan Pro",
        "billing_interval": "monthly",
        "amount_minor": AMOUNT_MINOR,
        "currency": "MXN",
        "provider_payment_method_id": card_id,
    }
    return SubscriptionDraft.model_validate({**usual, **change})


async def open_payment(provider: ConektaProvider, draft: PaymentDraft) -> PaymentSnapshot:
    """Both steps in order: the customer now has something to pay."""
    payment_id = await provider.prepare_payment(draft)
    return await provider.commit_payment(draft, payment_id)


def references(snapshot: PaymentSnapshot) -> list[str]:
    """What the customer can pay with."""
    action = snapshot.next_action
    if isinstance(action, PayVoucher):
        return [voucher.reference for voucher in action.vouchers]
    assert isinstance(action, PayTransfer)
    return [action.clabe]


async def paid_payment(
    provider: ConektaProvider, world: World, draft: PaymentDraft
) -> PaymentSnapshot:
    opened = await open_payment(provider, draft)
    await world.pay(references(opened)[0])
    paid = await provider.get_payment(opened.provider_payment_id)
    assert paid.status is PaymentStatus.SUCCEEDED
    return paid


async def failure_of(call: Awaitable[object]) -> ProviderFailure:
    with pytest.raises(ProviderFailure) as raised:
        await call
    return raised.value
