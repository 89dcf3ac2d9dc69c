from __future__ import annotations

import pytest

from models.calendar import BillingInterval
from models.outcomes import Instrument, ProviderName
from providers.capabilities import Capability
from providers.drafts import AttachPaymentMethod, PlanDraft
from providers.failures import FailureKind, ProviderFailure
from providers.protocol import PaymentProvider
from providers.stripe.amounts import from_stripe, to_stripe
from tests.providers.stripe.conftest import Stage


async def test_the_adapter_is_a_payment_provider(stage: Stage) -> None:
    provider: PaymentProvider = stage.new_provider(account="second")
    assert provider.name is ProviderName.STRIPE
    assert provider.account == "second"
    assert Capability.CASH_VOUCHER in provider.capabilities.supports
    assert Capability.CASH_REFUND not in provider.capabilities.supports
    assert Capability.CASH_REFUND in provider.capabilities.refusals


async def test_an_organization_is_one_customer(stage: Stage) -> None:
    first = await stage.customer(organization_id="organization-a", phone="+525512345678")
    again = await stage.customer(organization_id="organization-a", phone="+525512345678")
    other = await stage.customer(organization_id="organization-b")
    assert first == again != other
    kept = stage.core.collection("stripe", "customers")[first]
    assert kept["metadata"] == {"organization_id": "organization-a"}
    assert kept["address"]["country"] == "MX"


@pytest.mark.parametrize("token", ["pm_card_visa", "tok_visa"])
async def test_a_card_is_attached_and_forgotten(stage: Stage, token: str) -> None:
    customer_id = await stage.customer()
    request = AttachPaymentMethod(
        payment_method_id="method-a", provider_customer_id=customer_id, token=token
    )
    attached = await stage.provider.attach_payment_method(request)
    assert attached.provider_payment_method_id.startswith("pm_1")
    assert (attached.type, attached.brand, attached.last4) == ("card", "visa", "4242")
    assert attached.provider_customer_id == customer_id
    assert await stage.provider.attach_payment_method(request) == attached

    for _ in range(2):
        await stage.provider.detach_payment_method(customer_id, attached.provider_payment_method_id)
    stage.core.collection("stripe", "idempotency").clear()
    await stage.provider.detach_payment_method(customer_id, attached.provider_payment_method_id)
    await stage.provider.detach_payment_method(customer_id, "pm_none")
    kept = stage.core.collection("stripe", "payment_methods")
    assert kept[attached.provider_payment_method_id]["customer"] is None


async def test_an_unknown_token_is_not_found(stage: Stage) -> None:
    customer_id = await stage.customer()
    with pytest.raises(ProviderFailure) as caught:
        await stage.card(customer_id, "pm_card_nonsense")
    assert caught.value.kind is FailureKind.NOT_FOUND


async def test_a_voucher_is_nothing_to_store(stage: Stage) -> None:
    with pytest.raises(ProviderFailure) as caught:
        await stage.provider.attach_payment_method(
            AttachPaymentMethod(
                payment_method_id="method-a",
                provider_customer_id="cus_1",
                token="pm_1",
                type=Instrument.OXXO,
            )
        )
    assert caught.value.kind is FailureKind.UNSUPPORTED


async def test_a_price_is_found_again_and_a_new_amount_is_a_new_price(stage: Stage) -> None:
    draft = PlanDraft(
        plan_id="plan-a",
        name="Pro",
        billing_interval=BillingInterval.MONTHLY,
        amount_minor=19_900,
        currency="MXN",
    )
    first = await stage.provider.ensure_plan(draft)
    assert await stage.provider.ensure_plan(draft) == first
    dearer = await stage.provider.ensure_plan(draft.model_copy(update={"amount_minor": 29_900}))
    yearly = await stage.provider.ensure_plan(
        draft.model_copy(update={"billing_interval": BillingInterval.YEARLY, "name": "Pro+"})
    )
    assert len({first, dearer, yearly}) == 3
    stage.core.collection("stripe", "idempotency").clear()
    dollars = await stage.provider.ensure_plan(draft.model_copy(update={"currency": "USD"}))
    price = stage.core.collection("stripe", "prices")[dollars]
    assert (price["product"], price["currency"], price["unit_amount"]) == ("plan-a", "usd", 19_900)
    assert list(stage.core.collection("stripe", "products")) == ["plan-a"]


@pytest.mark.parametrize(
    ("amount_minor", "currency", "at_stripe"),
    [
        (19_900, "MXN", 19_900),
        (500, "JPY", 500),
        (500, "ISK", 50_000),
        (500, "UGX", 50_000),
        (50_000, "MGA", 500),
        (1_230, "KWD", 1_230),
    ],
)
def test_amounts_are_converted_where_stripe_counts_otherwise(
    amount_minor: int, currency: str, at_stripe: int
) -> None:
    assert to_stripe(amount_minor, currency) == at_stripe
    assert from_stripe(at_stripe, currency) == amount_minor


def test_an_amount_that_stripe_cannot_express_is_rejected() -> None:
    with pytest.raises(ProviderFailure) as caught:
        to_stripe(50_050, "MGA")
    assert caught.value.kind is FailureKind.REJECTED
