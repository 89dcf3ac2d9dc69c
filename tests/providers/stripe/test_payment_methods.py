"""Cards set up in a browser, and subscriptions that go on with another card."""

from __future__ import annotations

import pytest

from models.outcomes import ProviderName
from providers.conekta import ConektaProvider
from providers.drafts import SetupDraft
from providers.failures import FailureKind, ProviderFailure
from providers.polar import PolarProvider
from tests.providers.stripe.conftest import Stage


async def test_a_setup_is_for_later_charges_and_belongs_to_nobody_yet(stage: Stage) -> None:
    secret = await stage.provider.create_setup(SetupDraft(organization_id="organization-1"))
    (made,) = stage.core.state["stripe"]["setup_intents"].values()
    assert secret == made["client_secret"]
    assert made["client_secret"].startswith(made["id"] + "_secret_")
    assert (made["customer"], made["usage"], made["payment_method_types"]) == (
        None,
        "off_session",
        ["card"],
    )
    assert [event["type"] for event in stage.events("setup_intent.created")]


@pytest.mark.parametrize(("mode", "kind"), [("down", "unknown"), ("rate_limit", "unavailable")])
async def test_a_setup_that_fails_is_classified(stage: Stage, mode: str, kind: str) -> None:
    await stage.fault("setup_intents.create", mode)
    with pytest.raises(ProviderFailure) as raised:
        await stage.provider.create_setup(SetupDraft(organization_id="organization-1"))
    assert raised.value.kind == kind


async def test_a_subscription_goes_on_with_another_card(stage: Stage) -> None:
    draft, prepared = await stage.subscribed()
    subscription_id = prepared.provider_subscription_id
    other = await stage.card(draft.provider_customer_id)
    charges = await stage.charges()
    for _ in range(2):
        await stage.provider.change_payment_method(
            draft.provider_customer_id, subscription_id, other
        )
    assert await stage.charges() == charges, "nothing is charged now"

    assert draft.provider_payment_method_id is not None
    await stage.provider.detach_payment_method(
        draft.provider_customer_id, draft.provider_payment_method_id
    )
    await stage.control(f"subscriptions/stripe/{subscription_id}/renew", {"outcome": "paid"})
    paid = [charge for charge in await stage.charges() if charge["status"] == "paid"]
    assert len(paid) == len(charges) + 1
    kept = stage.core.state["stripe"]["subscriptions"][subscription_id]
    assert kept["default_payment_method"] == other


async def test_a_card_of_another_customer_is_refused(stage: Stage) -> None:
    draft, prepared = await stage.subscribed()
    strange = await stage.card(await stage.customer())
    with pytest.raises(ProviderFailure) as raised:
        await stage.provider.change_payment_method(
            draft.provider_customer_id, prepared.provider_subscription_id, strange
        )
    assert raised.value.kind in {FailureKind.REJECTED, FailureKind.NOT_FOUND}


@pytest.mark.parametrize("name", [ProviderName.CONEKTA, ProviderName.POLAR])
async def test_the_others_refuse_by_type(name: ProviderName) -> None:
    provider = (
        ConektaProvider(api_key="key_x")
        if name is ProviderName.CONEKTA
        else PolarProvider(api_key="polar_oat_x")
    )
    with pytest.raises(ProviderFailure) as setup:
        await provider.create_setup(SetupDraft(organization_id="organization-1"))
    await provider.aclose()
    assert setup.value.kind is FailureKind.UNSUPPORTED
