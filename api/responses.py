"""What is answered. Amounts are integers in minor units, times are UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from models.outcomes import NextAction
from models.plan_change import InvoiceLine


class View(BaseModel):
    model_config = ConfigDict(from_attributes=True)


def with_example(**values: Any) -> ConfigDict:
    return ConfigDict(from_attributes=True, json_schema_extra={"examples": [values]})


class Problem(BaseModel):
    """RFC 9457 problem details. `code` is stable; `errors` points at fields or lists reasons."""

    model_config = with_example(
        type="/errors/conflict",
        title="The object's state does not allow this",
        status=409,
        detail="The subscription has ended.",
        code="conflict",
    )

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[dict[str, Any]] | None = None


class OrganizationView(View):
    id: UUID
    external_id: str | None
    name: str
    email: str
    phone: str | None
    country: str | None
    billing_address: dict[str, Any] | None
    tax_id: str | None
    time_zone: str
    created_at: datetime
    updated_at: datetime


class PlanPriceView(View):
    """`provider_plan_ids`: what the price is called at each provider that has billed it so far."""

    currency: str
    billing_interval: str
    amount_minor: int
    provider_plan_ids: dict[str, str]


class PlanView(View):
    """`provider_plan_ids`: by provider, then by `currency/interval`. `billing_policy`: what differs from
    the engine's own."""

    model_config = with_example(
        id="01890a5d-ac96-774b-bcce-b302099a8058",
        name="Pro",
        description="For teams",
        prices=[
            {
                "currency": "MXN",
                "billing_interval": "monthly",
                "amount_minor": 19900,
                "provider_plan_ids": {"stripe": "price_1QAbCd"},
            }
        ],
        provider_plan_ids={"stripe": {"MXN/monthly": "price_1QAbCd"}},
        features=["Priority support"],
        limits={"seats": 10},
        trial_days=14,
        billing_policy={"retry_after_days": [2, 3, 5], "on_unpaid": "pause"},
        is_active=True,
        created_at="2026-11-22T18:00:00Z",
        updated_at="2026-11-22T18:00:00Z",
    )

    id: UUID
    name: str
    description: str | None
    prices: list[PlanPriceView]
    provider_plan_ids: dict[str, dict[str, str]]
    features: list[str]
    limits: dict[str, int]
    trial_days: int
    billing_policy: dict[str, Any]
    is_active: bool
    created_at: datetime
    updated_at: datetime


class PaymentMethodView(View):
    """`status`: pending until the provider has answered, then active or failed."""

    id: UUID
    organization_id: UUID
    provider: str
    type: str
    status: str
    failure_code: str | None
    last4: str | None
    brand: str | None
    exp_month: int | None
    exp_year: int | None
    billing_address: dict[str, Any] | None
    is_default: bool
    created_at: datetime
    updated_at: datetime


class FallbackView(View):
    attempted_provider: str
    fallback_provider: str
    reason: str
    timestamp: datetime


class LastDeclineView(BaseModel):
    """`class`: soft, hard, customer_action or technical. `message` is fit for the customer; `code` is the
    provider's own and is not."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    decline_class: str = Field(alias="class")
    code: str
    message: str


class CollectionView(BaseModel):
    """How the collection of the open invoice stands. `ends_at`: when the engine gives up; null when nothing
    is tried by itself any more."""

    attempts_made: int
    attempts_left: int
    next_attempt_at: datetime | None
    last_decline: LastDeclineView | None
    ends_at: datetime | None


class SubscriptionView(View):
    """`next_action` is what the customer has to do now; `access_until` how long they may be let in, whatever
    the payment status. `collection` is null while nothing is being collected; `risk` says why an operator
    should look (`disputed`)."""

    model_config = with_example(
        id="01890a5d-ac96-774b-bcce-b302099a8060",
        organization_id="01890a5d-ac96-774b-bcce-b302099a8057",
        plan_id="01890a5d-ac96-774b-bcce-b302099a8058",
        status="incomplete",
        provider="conekta",
        provider_subscription_id=None,
        provider_customer_id="cus_2tYENskzTjjgkGQLt",
        billing_interval="monthly",
        payment_method_type="oxxo",
        currency="MXN",
        quantity=1,
        amount_minor=19900,
        credit_minor=0,
        current_period_start=None,
        current_period_end=None,
        trial_end=None,
        cancel_at_period_end=False,
        canceled_at=None,
        paused_at=None,
        resume_at=None,
        access_until=None,
        pending_change=None,
        collection={
            "attempts_made": 1,
            "attempts_left": 2,
            "next_attempt_at": None,
            "last_decline": None,
            "ends_at": "2026-12-01T18:00:00Z",
        },
        risk=None,
        latest_invoice_id="01890a5d-ac96-774b-bcce-b302099a8061",
        next_action={
            "type": "pay_voucher",
            "instrument": "oxxo",
            "vouchers": [{"network": "oxxo", "reference": "93000262276908"}],
            "amount_minor": 19900,
            "currency": "MXN",
            "expires_at": "2026-11-25T18:00:00Z",
        },
        fallback=None,
        workflow_id="subscription/01890a5d-ac96-774b-bcce-b302099a8060",
        metadata={"order": "8412"},
        created_at="2026-11-22T18:00:00Z",
        updated_at="2026-11-22T18:00:01Z",
    )

    id: UUID
    organization_id: UUID
    plan_id: UUID
    status: str
    provider: str | None
    provider_subscription_id: str | None
    provider_customer_id: str | None
    billing_interval: str
    payment_method_type: str
    payment_method_id: UUID | None
    currency: str
    quantity: int
    amount_minor: int
    credit_minor: int
    current_period_start: datetime | None
    current_period_end: datetime | None
    trial_end: datetime | None
    cancel_at_period_end: bool
    canceled_at: datetime | None
    paused_at: datetime | None
    resume_at: datetime | None
    access_until: datetime | None
    pending_change: dict[str, Any] | None
    collection: CollectionView | None
    risk: str | None
    latest_invoice_id: UUID | None
    next_action: NextAction | None
    fallback: FallbackView | None
    workflow_id: str
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class ChangePreview(View):
    """What a change would come to at `at`. `amount_due_minor` is collected now; `takes_effect_at` is
    null when the change waits for that to be paid. `credit_minor` is the customer's credit afterwards."""

    model_config = with_example(
        at="2026-11-22T18:00:00Z",
        proration="prorate",
        takes_effect_at="2026-11-22T18:00:00Z",
        plan_id="01890a5d-ac96-774b-bcce-b302099a8058",
        billing_interval="monthly",
        quantity=5,
        amount_minor=99500,
        currency="MXN",
        lines=[
            {
                "kind": "unused_time",
                "description": "Unused time on Pro",
                "quantity": 1,
                "amount_minor": -9950,
                "period_start": "2026-11-22T18:00:00Z",
                "period_end": "2026-12-07T18:00:00Z",
            },
            {
                "kind": "remaining_time",
                "description": "Remaining time on 5 × Pro",
                "quantity": 5,
                "amount_minor": 49750,
                "period_start": "2026-11-22T18:00:00Z",
                "period_end": "2026-12-07T18:00:00Z",
            },
        ],
        amount_due_minor=39800,
        credit_change_minor=0,
        credit_minor=0,
        pay_by=None,
        next_invoice_minor=99500,
        next_invoice_at="2026-12-07T18:00:00Z",
    )

    at: datetime
    proration: str
    takes_effect_at: datetime | None
    plan_id: UUID
    billing_interval: str
    quantity: int
    amount_minor: int
    currency: str
    lines: list[InvoiceLine]
    amount_due_minor: int
    credit_change_minor: int
    credit_minor: int
    pay_by: datetime | None
    next_invoice_minor: int | None
    next_invoice_at: datetime | None


class EventView(View):
    """What the app is told. `sequence` counts up from 1 within a subscription, a purchase, or an
    organization's benefit, without gaps."""

    id: UUID
    subscription_id: UUID | None
    purchase_id: UUID | None
    sequence: int
    type: str
    data: dict[str, Any]
    created_at: datetime


class WebhookAnswer(BaseModel):
    model_config = with_example(status="accepted")

    status: str
