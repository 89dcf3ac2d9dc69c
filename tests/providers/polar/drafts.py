"""What the engine asks of a provider, with the values that do not matter filled in."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest

from models.snapshots import PaymentSnapshot, PaymentStatus
from providers.drafts import (
    BenefitDraft,
    CheckoutDraft,
    CustomerDraft,
    GrantDraft,
    ProductDraft,
    RefundDraft,
)
from providers.failures import ProviderFailure
from providers.polar import PolarProvider
from tests.sandbox.polar.bodies import PROPERTIES_BY_TYPE
from tests.sandbox.polar.world import World

AMOUNT_MINOR = 1900


class ProviderFactory(Protocol):
    def __call__(self, **settings: object) -> PolarProvider: ...


@dataclass(frozen=True)
class Buyer:
    customer_id: str
    product_id: str


def customer_draft(**change: Any) -> CustomerDraft:
    usual = {"organization_id": "org_1", "name": "Ana López", "email": "ana@example.com"}
    return CustomerDraft.model_validate({**usual, **change})


def product_draft(**change: Any) -> ProductDraft:
    usual = {"product_id": "prod_1", "name": "E-book", "amount_minor": 1900, "currency": "USD"}
    return ProductDraft.model_validate({**usual, **change})


def benefit_draft(kind: str = "custom", **change: Any) -> BenefitDraft:
    usual = {
        "benefit_id": f"ben_{kind}",
        "type": kind,
        "description": f"A {kind} benefit",
        "properties": PROPERTIES_BY_TYPE[kind],
    }
    return BenefitDraft.model_validate({**usual, **change})


def checkout_draft(buyer: Buyer, **change: Any) -> CheckoutDraft:
    usual: dict[str, Any] = {
        "attempt_id": "att_1",
        "invoice_id": "inv_1",
        "organization_id": "org_1",
        "purchase_id": "pur_1",
        "provider_customer_id": buyer.customer_id,
        "provider_product_id": buyer.product_id,
        "description": "E-book",
        "amount_minor": AMOUNT_MINOR,
        "currency": "USD",
        "success_url": "https://shop.example/thanks",
        "expires_at": datetime.now(UTC) + timedelta(hours=24),
    }
    return CheckoutDraft.model_validate({**usual, **change})


def grant_draft(customer_id: str, benefit_id: str, **change: Any) -> GrantDraft:
    usual = {
        "grant_id": "grant_1",
        "organization_id": "org_1",
        "provider_customer_id": customer_id,
        "provider_benefit_id": benefit_id,
    }
    return GrantDraft.model_validate({**usual, **change})


def refund_draft(provider_payment_id: str, **change: Any) -> RefundDraft:
    usual = {
        "refund_id": "ref_1",
        "provider_payment_id": provider_payment_id,
        "amount_minor": AMOUNT_MINOR,
        "currency": "USD",
        "reason": "requested_by_customer",
        "already_refunded_minor": 0,
    }
    return RefundDraft.model_validate({**usual, **change})


async def paid_page(
    provider: PolarProvider, world: World, buyer: Buyer, **change: Any
) -> PaymentSnapshot:
    opened = await provider.create_checkout(checkout_draft(buyer, **change))
    await world.pay(opened.provider_payment_id)
    paid = await provider.get_payment(opened.provider_payment_id)
    assert paid.status is PaymentStatus.SUCCEEDED
    return paid


async def failure_of(call: Awaitable[object]) -> ProviderFailure:
    with pytest.raises(ProviderFailure) as raised:
        await call
    return raised.value
