"""Subscriptions that a page started, and everything that Polar refuses by type."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from models.calendar import BillingInterval
from models.outcomes import Instrument
from models.snapshots import ProviderInvoiceStatus, ProviderSubscriptionStatus
from providers.capabilities import Capability
from providers.drafts import AttachPaymentMethod, PaymentDraft, PlanDraft, PreparedSubscription
from providers.failures import FailureKind
from providers.polar import PolarProvider
from tests.providers.polar.drafts import AMOUNT_MINOR, Buyer, failure_of
from tests.sandbox.polar.world import Json, World

CUSTOMER = "cus"


@pytest.fixture
async def subscription(world: World, buyer: Buyer) -> Json:
    """A paid monthly subscription, bought on a page."""
    price = {"amount_type": "fixed", "price_amount": AMOUNT_MINOR}
    body = {"name": "Club", "recurring_interval": "month", "prices": [price]}
    club = await world.post("/products/", body)
    checkout = {"products": [club["id"]], "customer_id": buyer.customer_id}
    await world.pay((await world.post("/checkouts/", checkout))["id"])
    found: Json = world.all("subscriptions")[0]
    return found


async def test_reading_one(provider: PolarProvider, buyer: Buyer, subscription: Json) -> None:
    found = await provider.get_subscription(CUSTOMER, subscription["id"])
    assert found.status is ProviderSubscriptionStatus.ACTIVE
    assert found.provider_customer_id == buyer.customer_id
    invoice = found.latest_invoice
    assert invoice is not None
    assert (invoice.status, invoice.first) == (ProviderInvoiceStatus.PAID, True)
    assert (invoice.amount_minor, invoice.currency) == (AMOUNT_MINOR, "USD")
    assert invoice.period_start == found.current_period_start
    assert invoice.period_end == found.current_period_end
    assert [capture.amount_minor for capture in invoice.captures] == [AMOUNT_MINOR]
    assert await provider.get_invoice(invoice.provider_invoice_id) == invoice


async def test_a_renewal_is_another_invoice(
    world: World, provider: PolarProvider, subscription: Json
) -> None:
    before = await provider.get_subscription(CUSTOMER, subscription["id"])
    await world.renew(subscription["id"], "failed")
    late = await provider.get_subscription(CUSTOMER, subscription["id"])
    assert late.status is ProviderSubscriptionStatus.PAST_DUE
    assert late.latest_invoice is not None
    assert late.latest_invoice.status is ProviderInvoiceStatus.OPEN
    assert (late.latest_invoice.captures, late.latest_invoice.first) == ([], False)
    assert late.latest_invoice.period_start == before.current_period_end
    await world.renew(subscription["id"])
    paid = await provider.get_subscription(CUSTOMER, subscription["id"])
    assert paid.latest_invoice is not None
    assert paid.latest_invoice.status is ProviderInvoiceStatus.PAID
    assert paid.status is ProviderSubscriptionStatus.ACTIVE


async def test_canceling_at_the_end_and_keeping_it(
    provider: PolarProvider, subscription: Json
) -> None:
    for _ in range(2):
        canceled = await provider.cancel_subscription(
            CUSTOMER, subscription["id"], at_period_end=True
        )
        assert canceled.status is ProviderSubscriptionStatus.ACTIVE
        assert canceled.cancel_at_period_end
    for _ in range(2):
        kept = await provider.keep_subscription(CUSTOMER, subscription["id"])
        assert not kept.cancel_at_period_end


async def test_canceling_now_is_for_ever(provider: PolarProvider, subscription: Json) -> None:
    for at_period_end in (False, False, True):
        canceled = await provider.cancel_subscription(
            CUSTOMER, subscription["id"], at_period_end=at_period_end
        )
        assert canceled.status is ProviderSubscriptionStatus.CANCELED
    failure = await failure_of(provider.keep_subscription(CUSTOMER, subscription["id"]))
    assert (failure.kind, failure.code) == (FailureKind.REJECTED, "AlreadyCanceledSubscription")


async def test_a_cancellation_that_is_not_read_back_is_unknown(
    world: World, provider: PolarProvider, subscription: Json
) -> None:
    await world.fault("orders.list", "rate_limit")
    failure = await failure_of(
        provider.cancel_subscription(CUSTOMER, subscription["id"], at_period_end=False)
    )
    assert failure.kind is FailureKind.UNKNOWN
    found = await provider.get_subscription(CUSTOMER, subscription["id"])
    assert found.status is ProviderSubscriptionStatus.CANCELED


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("incomplete", ProviderSubscriptionStatus.INCOMPLETE),
        ("trialing", ProviderSubscriptionStatus.TRIALING),
        ("paused", ProviderSubscriptionStatus.PAUSED),
        ("unpaid", ProviderSubscriptionStatus.CANCELED),
    ],
)
async def test_rarer_statuses(
    provider: PolarProvider,
    subscription: Json,
    status: str,
    expected: ProviderSubscriptionStatus,
) -> None:
    subscription["status"] = status
    assert (await provider.get_subscription(CUSTOMER, subscription["id"])).status is expected


async def test_a_status_that_nobody_knows_is_no_answer(
    provider: PolarProvider, subscription: Json
) -> None:
    subscription["status"] = "invented_yesterday"
    failure = await failure_of(provider.get_subscription(CUSTOMER, subscription["id"]))
    assert failure.kind is FailureKind.UNKNOWN


async def test_one_that_does_not_exist(provider: PolarProvider) -> None:
    for call in (
        provider.get_subscription(CUSTOMER, "x"),
        provider.get_invoice("x"),
        provider.keep_subscription(CUSTOMER, "x"),
        provider.cancel_subscription(CUSTOMER, "x", at_period_end=True),
        provider.cancel_subscription(CUSTOMER, "x", at_period_end=False),
    ):
        assert (await failure_of(call)).kind is FailureKind.NOT_FOUND


# The matrix

SUBSCRIPTION: Any = None  # Refused before anybody looks at it.
PAYMENT = PaymentDraft(
    attempt_id="att_1",
    subscription_id=None,
    invoice_id="inv_1",
    organization_id="org_1",
    provider_customer_id="cus",
    customer_name="Ana",
    customer_email="ana@example.com",
    instrument=Instrument.OXXO,
    amount_minor=1,
    currency="MXN",
    description="x",
    created_at=datetime.now(UTC),
    expires_at=datetime.now(UTC),
)
PREPARED = PreparedSubscription(provider_subscription_id="s", provider_invoice_id=None)
PLAN = PlanDraft(
    plan_id="p",
    name="Pro",
    billing_interval=BillingInterval.MONTHLY,
    amount_minor=1,
    currency="USD",
)
TOKEN = AttachPaymentMethod(payment_method_id="m", provider_customer_id="c", token="t")


@pytest.mark.parametrize(
    ("capability", "call"),
    [
        (Capability.CARD_SUBSCRIPTION, lambda p: p.ensure_plan(PLAN)),
        (Capability.CARD_SUBSCRIPTION, lambda p: p.prepare_subscription(SUBSCRIPTION)),
        (Capability.CARD_SUBSCRIPTION, lambda p: p.commit_subscription(SUBSCRIPTION, PREPARED)),
        (Capability.CARD_PAYMENT_METHOD, lambda p: p.attach_payment_method(TOKEN)),
        (Capability.CARD_PAYMENT_METHOD, lambda p: p.detach_payment_method("c", "m")),
        (Capability.CASH_VOUCHER, lambda p: p.prepare_payment(PAYMENT)),
        (Capability.BANK_TRANSFER, lambda p: p.commit_payment(PAYMENT, "x")),
        (
            Capability.RETRY_INVOICE,
            lambda p: p.retry_invoice("x", attempt_id="a", provider_payment_method_id=None),
        ),
    ],
)
async def test_what_polar_cannot_do_is_a_typed_refusal(
    provider: PolarProvider,
    capability: Capability,
    call: Callable[[PolarProvider], Awaitable[object]],
) -> None:
    failure = await failure_of(call(provider))
    assert failure.kind is FailureKind.UNSUPPORTED
    assert capability not in provider.capabilities.supports
    assert failure.message == provider.capabilities.refusals[capability]


def test_the_matrix_is_complete() -> None:
    provider = PolarProvider(api_key="k")
    row = provider.capabilities
    assert row.supports | set(row.refusals) == set(Capability)
    assert not row.supports & set(row.refusals)
    assert row.currencies is None
    assert (provider.name, provider.account) == ("polar", "default")
