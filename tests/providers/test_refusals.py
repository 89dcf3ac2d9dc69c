"""What a provider cannot do is refused by type, with the sentence of its capability matrix."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from providers.conekta import ConektaProvider
from providers.protocol import (
    BenefitDraft,
    Capability,
    CheckoutDraft,
    FailureKind,
    GrantDraft,
    ProductDraft,
    ProviderFailure,
)

CHECKOUT = CheckoutDraft(
    attempt_id="a",
    invoice_id="i",
    organization_id="o",
    provider_customer_id="c",
    description="Book",
    amount_minor=1,
    currency="MXN",
    success_url="https://shop.example",
    expires_at=datetime.now(UTC),
)
PRODUCT = ProductDraft(product_id="p", name="Book", amount_minor=1, currency="MXN")
BENEFIT = BenefitDraft(benefit_id="b", type="custom", description="Note")
GRANT = GrantDraft(
    grant_id="g", organization_id="o", provider_customer_id="c", provider_benefit_id="b"
)


async def test_conekta_sells_no_products_and_hands_out_nothing() -> None:
    provider = ConektaProvider(api_key="k")
    for capability, call in (
        (Capability.PRODUCT, provider.ensure_product(PRODUCT)),
        (Capability.HOSTED_CHECKOUT, provider.create_checkout(CHECKOUT)),
        (Capability.BENEFIT, provider.ensure_benefit(BENEFIT)),
        (Capability.BENEFIT, provider.grant_benefit(GRANT)),
        (Capability.BENEFIT, provider.revoke_benefit(GRANT)),
        (Capability.BENEFIT, provider.list_grants("c")),
    ):
        with pytest.raises(ProviderFailure) as raised:
            await call
        assert raised.value.kind is FailureKind.UNSUPPORTED
        assert raised.value.message == provider.capabilities.refusals[capability]
    await provider.aclose()
