"""What the API takes and answers: made from docs/openapi.json by `make docs`."""

from __future__ import annotations

from uuid import UUID
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, RootModel, StringConstraints
from typing import Annotated, Any, Literal


class AttemptView(BaseModel):
    """
    `outcome`: succeeded, declined, not_attempted, pending, or unknown (being found out).
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    provider: str
    instrument: str
    amount_minor: int
    currency: str
    outcome: str
    reason: str | None
    provider_object_id: str | None
    started_at: AwareDatetime
    finished_at: AwareDatetime | None


class AuditView(BaseModel):
    """
    `actor`: `engine`, `provider:…`, `key:…` or `operator:…`. `version` is the row's that it led to.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    subscription_id: UUID | None
    purchase_id: UUID | None
    version: int
    actor: str
    action: str
    before: dict[str, Any]
    after: dict[str, Any]
    at: AwareDatetime


class BenefitInput(BaseModel):
    """
    `properties` are Polar's own for this type, such as `guild_token` and `role_id` for Discord.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    type: Literal["custom", "discord", "github_repository", "downloadables", "license_keys"]
    description: str
    properties: dict[str, Any] | None = {}


class BenefitView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    type: str
    description: str
    properties: dict[str, Any]


class BillingAddress(BaseModel):
    """
    Where bills go. Its country decides the currency and the provider.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    line1: str
    line2: str | None = None
    city: str | None = None
    state: str | None = None
    postal_code: str | None = None
    country: str


class BookedPaymentView(BaseModel):
    """
    A payment by itself, with what it was for.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    attempt_id: UUID | None
    provider: str | None
    provider_charge_id: str
    kind: str
    amount_minor: int
    applied_minor: int
    currency: str
    occurred_at: AwareDatetime
    invoice_id: UUID
    subscription_id: UUID | None
    purchase_id: UUID | None


class BreakerView(BaseModel):
    """
    One account's circuit breaker, which all workers share. `open`: nobody asks, the next provider
    stands in. `half_open`: the next call is a probe, its answer closes it. `failures` is how many calls
    in a row had no good answer; `next_probe_at` is null when everybody may ask.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    account: str
    state: Literal["closed", "open", "half_open"]
    open_since: AwareDatetime | None
    failures: int
    last_failure_at: AwareDatetime | None
    last_reason: str | None
    next_probe_at: AwareDatetime | None


class CreateOrganization(BaseModel):
    """
    The billed customer. `billing_address.country` wins over `country`; without `time_zone`,
    Mexico is billed by Mexico City's clock and everybody else by UTC.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    external_id: str | None = None
    name: str
    email: str
    phone: str | None = None
    country: str | None = None
    billing_address: BillingAddress | None = None
    tax_id: str | None = None
    time_zone: str | None = None


class CreateProduct(BaseModel):
    """
    Something that is sold once. Its price never changes: make another product.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    name: str
    amount_minor: int
    currency: str
    benefits: Annotated[list[BenefitInput] | None, Field(validate_default=True)] = []


class CreatePurchase(BaseModel):
    """
    The customer pays on a page of the provider's and comes back to `success_url`.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    organization_id: UUID
    product_id: UUID
    success_url: str
    ip_address: str | None = None
    metadata: (
        dict[Annotated[str, StringConstraints(pattern=r"\S")], str | int | float | bool | None]
        | None
    ) = {}


class CreateWebhookEndpoint(BaseModel):
    """
    `event_types` are names of events, groups (`invoice.*`) or `*` for all, also those to come.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    url: str
    event_types: (
        list[
            Literal[
                "*",
                "benefit.*",
                "benefit.granted",
                "benefit.revoked",
                "credit.*",
                "credit.added",
                "dispute.*",
                "dispute.closed",
                "dispute.opened",
                "invoice.*",
                "invoice.collection_ended",
                "invoice.failed",
                "invoice.paid",
                "invoice.payment_failed",
                "invoice.refunded",
                "invoice.upcoming",
                "payment.*",
                "payment.expired",
                "payment.fallback",
                "payment.issued",
                "payment.reminder",
                "payment.unapplied",
                "purchase.*",
                "purchase.expired",
                "purchase.failed",
                "purchase.paid",
                "purchase.refunded",
                "refund.*",
                "refund.failed",
                "subscription.*",
                "subscription.active",
                "subscription.cancel_scheduled",
                "subscription.cancel_unscheduled",
                "subscription.canceled",
                "subscription.change_lapsed",
                "subscription.change_scheduled",
                "subscription.change_unscheduled",
                "subscription.changed",
                "subscription.expired",
                "subscription.past_due",
                "subscription.pause_failed",
                "subscription.pause_scheduled",
                "subscription.pause_unscheduled",
                "subscription.paused",
                "subscription.payment_method_changed",
                "subscription.resume_failed",
                "subscription.resumed",
                "subscription.trialing",
                "trial.*",
                "trial.will_end",
                "usage.*",
                "usage.limit_reached",
                "webhook.*",
                "webhook.test",
                "webhook_endpoint.*",
                "webhook_endpoint.disabled",
                "webhook_endpoint.paused",
            ]
        ]
        | None
    ) = ["*"]
    description: str | None = None
    enabled: bool | None = True


class CreditRequest(BaseModel):
    """
    Without `amount_minor`: all that is left of the payment.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    amount_minor: int | None = None


class CurrencyFigures(BaseModel):
    """
    Amounts are in minor units. `docs/figures.md` defines each.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    currency: str
    start_mrr_minor: int
    end_mrr_minor: int
    new_mrr_minor: int
    resumed_mrr_minor: int
    expansion_mrr_minor: int
    contraction_mrr_minor: int
    paused_mrr_minor: int
    churned_mrr_minor: int
    paying_at_start: int
    new_count: int
    churned_count: int
    churn_rate: Annotated[float | None, Field(description="Null when there is nothing to count")]
    dunning_recovered_count: int
    dunning_lost_count: int
    dunning_recovery_rate: Annotated[
        float | None, Field(description="Null when there is nothing to count")
    ]
    payment_success_rate: Annotated[
        float | None, Field(description="Null when there is nothing to count")
    ]
    voucher_conversion_rate: Annotated[
        float | None, Field(description="Null when there is nothing to count")
    ]


class DetachedPaymentMethodView(BaseModel):
    """
    `replaced_by` is the default that took over `subscription_ids`, when it was still charged.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
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
    created_at: AwareDatetime
    updated_at: AwareDatetime
    replaced_by: UUID | None = None
    subscription_ids: list[UUID] | None = None


class DisputeStatus(RootModel[Literal["open", "won", "lost"]]):
    root: Literal["open", "won", "lost"]


class DisputeView(BaseModel):
    """
    `status`: open, won or lost. While it is open, and when it is lost, its money is a payment of the kind
    `dispute` at the invoice; won, there is one of the kind `dispute_reversal` beside it. `evidence_due_at`:
    until when the provider takes evidence, in its own panel.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    organization_id: UUID
    subscription_id: UUID | None
    purchase_id: UUID | None
    invoice_id: UUID | None
    payment_id: UUID | None
    provider: str
    provider_dispute_id: str
    amount_minor: int
    currency: str
    reason: str | None
    status: str
    evidence_due_at: AwareDatetime | None
    opened_at: AwareDatetime
    closed_at: AwareDatetime | None


class EntitledBenefitView(BaseModel):
    """
    `purchase_id` is null for one that was given without a sale.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    product_id: UUID
    type: str
    description: str
    purchase_id: UUID | None


class EntitledSubscriptionView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    plan_id: UUID
    plan_name: str
    status: str
    access_until: AwareDatetime


class ErrorCodeView(BaseModel):
    """
    `statuses`: the HTTP statuses that the code comes with.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    code: str
    statuses: list[int]
    cause: str
    cure: str


class EventView(BaseModel):
    """
    What the app is told. `sequence` counts up from 1 within a subscription, a purchase, or an
    organization's benefit, without gaps.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    subscription_id: UUID | None
    purchase_id: UUID | None
    sequence: int
    type: str
    data: dict[str, Any]
    created_at: AwareDatetime


class ExplanationView(BaseModel):
    """
    `text` is Markdown: why, what next, and what an operator could do.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    subscription_id: UUID
    status: str
    text: str
    told_by: str


class FallbackView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    attempted_provider: str
    fallback_provider: str
    reason: str
    timestamp: AwareDatetime


class FeatureCheckView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    name: str
    granted: bool


class GrantedBenefitView(BaseModel):
    """
    `status`: null before it is paid for, then waiting, granted or revoked; `error_code` says why it
    waits.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    type: str
    description: str
    status: str | None
    provider: str | None
    error_code: str | None


class Health(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    status: str


class InboxEventView(BaseModel):
    """
    A webhook as it was received, without what was in it. `state`: `applied`; `failed` when delivering
    it left a `last_error`; else `unapplied`.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    provider: str
    provider_event_id: str
    event_type: str
    state: str
    disposition: str | None
    workflow_id: str | None
    tries: int
    last_error: str | None
    received_at: AwareDatetime
    applied_at: AwareDatetime | None
    next_try_at: AwareDatetime | None


class InboxState(RootModel[Literal["unapplied", "failed", "applied"]]):
    root: Literal["unapplied", "failed", "applied"]


class InvoiceStatus(RootModel[Literal["pending", "paid", "failed", "refunded", "void"]]):
    root: Literal["pending", "paid", "failed", "refunded", "void"]


class LastDeclineView(BaseModel):
    """
    `class`: soft, hard, customer_action or technical. `message` is fit for the customer; `code` is the
    provider's own and is not.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    class_: Annotated[str, Field(alias="class")]
    code: str
    message: str


class LocationView(BaseModel):
    """
    `country` is null for addresses that nobody outside can know (private, reserved), and when no
    source knows or answers. `ip_address` null: the request named none and no trusted proxy did.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    ip_address: str | None
    country: str | None
    country_source: (
        Literal["billing_address", "organization", "database", "ipapi.co", "ip-api.com"] | None
    )


class MarkPaidRequest(BaseModel):
    """
    `reference` finds the money in the bank's books; an invoice takes each reference once.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    reason: Annotated[str, Field(description="Why, in a sentence: it stands in the audit log.")]
    amount_minor: int
    currency: str
    reference: str
    received_at: AwareDatetime


class MonthFigures(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    month: Annotated[str, Field(description="In UTC")]
    currencies: list[CurrencyFigures]


class NextStep(BaseModel):
    """
    What happens next by itself, and when; both null when it waits for somebody.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    what: str | None
    at: AwareDatetime | None


class NowView(BaseModel):
    """
    `why` is Markdown for people. `told_by`: `workflow`, or `row` when Temporal did not answer.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    status: str
    since: AwareDatetime | None
    why: str
    told_by: str


class OperatorAction(BaseModel):
    """
    The audit log keeps the reason beside the key that acted.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    reason: Annotated[str, Field(description="Why, in a sentence: it stands in the audit log.")]


class OperatorAttemptView(BaseModel):
    """
    An attempt with what it was for. `age_seconds` counts from its start.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    provider: str
    instrument: str
    amount_minor: int
    currency: str
    outcome: str
    reason: str | None
    provider_object_id: str | None
    started_at: AwareDatetime
    finished_at: AwareDatetime | None
    subscription_id: UUID | None
    purchase_id: UUID | None
    invoice_id: UUID
    age_seconds: int


class Order(RootModel[Literal["newest_first", "oldest_first"]]):
    root: Literal["newest_first", "oldest_first"]


class OrganizationBenefitView(BaseModel):
    """
    `status`: waiting (for the provider, or for the customer: `error_code` says why), granted or
    revoked; null when the organization never had it.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    benefit_id: UUID
    organization_id: UUID
    type: str
    description: str
    status: str | None
    provider: str | None
    error_code: str | None
    purchase_id: UUID | None
    updated_at: AwareDatetime | None


class OrganizationView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    external_id: str | None
    name: str
    email: str
    phone: str | None
    country: str | None
    billing_address: dict[str, Any] | None
    tax_id: str | None
    time_zone: str
    created_at: AwareDatetime
    updated_at: AwareDatetime


class PageAuditView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[AuditView]
    has_more: bool
    next_cursor: str | None


class PageBookedPaymentView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[BookedPaymentView]
    has_more: bool
    next_cursor: str | None


class PageDisputeView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[DisputeView]
    has_more: bool
    next_cursor: str | None


class PageEventView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[EventView]
    has_more: bool
    next_cursor: str | None


class PageInboxEventView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[InboxEventView]
    has_more: bool
    next_cursor: str | None


class PageOperatorAttemptView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[OperatorAttemptView]
    has_more: bool
    next_cursor: str | None


class PageOrganizationBenefitView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[OrganizationBenefitView]
    has_more: bool
    next_cursor: str | None


class PageOrganizationView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[OrganizationView]
    has_more: bool
    next_cursor: str | None


class PauseRequest(BaseModel):
    """
    `period_end`: it goes on being active until what was paid for ends. Nothing is billed either way.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    at: Literal["now", "period_end"] | None = "now"
    resume_at: AwareDatetime | None = None


class PayTransfer(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    type: Literal["pay_transfer"] = "pay_transfer"
    instrument: Annotated[
        Literal["card", "oxxo", "spei", "checkout"] | None,
        Field(description="How the customer pays."),
    ] = "spei"
    clabe: str
    bank: str
    amount_minor: int
    currency: str
    expires_at: AwareDatetime


class PaymentMethodView(BaseModel):
    """
    `status`: pending until the provider has answered, then active or failed.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
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
    created_at: AwareDatetime
    updated_at: AwareDatetime


class PaymentView(BaseModel):
    """
    `kind`: capture, refund, refund_reversal, dispute, dispute_reversal, or out_of_band (an operator's
    booking: `provider` is null). What `applied_minor` leaves of `amount_minor` is unapplied money.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    attempt_id: UUID | None
    provider: str | None
    provider_charge_id: str
    kind: str
    amount_minor: int
    applied_minor: int
    currency: str
    occurred_at: AwareDatetime


class PlanPriceInput(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    currency: str
    billing_interval: Literal["monthly", "yearly"]
    amount_minor: int


class PlanPriceView(BaseModel):
    """
    `provider_plan_ids`: what the price is called at each provider that has billed it so far.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    currency: str
    billing_interval: str
    amount_minor: int
    provider_plan_ids: dict[str, str]


class PlanView(BaseModel):
    """
    `provider_plan_ids`: by provider, then by `currency/interval`. `billing_policy`: what differs from
    the engine's own.
    """

    model_config = ConfigDict(
        extra="ignore",
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
    created_at: AwareDatetime
    updated_at: AwareDatetime


class ProductView(BaseModel):
    """
    `provider_product_ids`: what it is called at each provider that has sold it so far.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    name: str
    amount_minor: int
    currency: str
    benefits: list[BenefitView]
    is_active: bool
    provider_product_ids: dict[str, str]
    created_at: AwareDatetime


class ProviderView(BaseModel):
    """
    A row of the capability matrix. `currencies` null: every currency of the account. A provider
    that is not configured is shown with what it could do. `breakers`: one for each account.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    name: Literal["stripe", "conekta", "polar"]
    configured: bool
    currencies: list[str] | None
    payment_method_types: list[Literal["card", "oxxo", "spei", "checkout"]]
    capabilities: list[
        Literal[
            "card_subscription",
            "card_payment_method",
            "change_payment_method",
            "browser_setup",
            "first_payment_in_browser",
            "change_plan",
            "change_plan_later",
            "change_interval",
            "change_interval_later",
            "prorate",
            "cash_voucher",
            "bank_transfer",
            "refund",
            "cash_refund",
            "cancel_at_period_end",
            "pause",
            "trial",
            "retry_invoice",
            "hosted_checkout",
            "cancel_checkout",
            "accept_dispute",
            "product",
            "benefit",
        ]
    ]
    refusals: dict[str, str]
    breakers: list[BreakerView]


class PurchaseExpansion(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    product: ProductView | None = None
    organization: OrganizationView | None = None


class PurchaseStatus(RootModel[Literal["pending", "paid", "expired", "refunded", "failed"]]):
    root: Literal["pending", "paid", "expired", "refunded", "failed"]


class Readiness(BaseModel):
    """
    `missing` names the checks that are `unavailable`.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    status: str
    checks: dict[str, str]
    missing: list[str]


class Redirect(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    type: Literal["redirect"] = "redirect"
    url: str
    expires_at: AwareDatetime | None = None


class RefundRequest(BaseModel):
    """
    Without `amount_minor`: everything that is left. `reason`: your words; `duplicate`, `fraudulent` and
    `requested_by_customer` are passed on to the provider.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    amount_minor: int | None = None
    reason: str | None = None


class RefundView(BaseModel):
    """
    `status`: pending (its amount is reserved), succeeded or failed; `failure_code` says why.
    `payment_id` is the capture that it gives back. `actor`: who ordered it, here or at the provider.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    organization_id: UUID
    subscription_id: UUID | None
    purchase_id: UUID | None
    invoice_id: UUID
    payment_id: UUID
    provider: str
    provider_refund_id: str | None
    amount_minor: int
    currency: str
    reason: str | None
    status: str
    failure_code: str | None
    actor: str
    created_at: AwareDatetime
    updated_at: AwareDatetime


class Refusal(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    provider: Literal["stripe", "conekta", "polar"]
    code: str
    detail: str


class ReplayView(BaseModel):
    """
    `has_more`: send the same again with `after` = `last_event_id`.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    queued: int
    has_more: bool
    last_event_id: UUID | None


class ReplayWebhookEvents(BaseModel):
    """
    Events from `since` on (and before `until`) that the endpoint's `event_types` choose; with
    `undelivered_only` those that never arrived. `after` goes on behind the `last_event_id` of the
    answer before.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    since: AwareDatetime
    until: AwareDatetime | None = None
    after: UUID | None = None
    undelivered_only: bool | None = False


class ReportUsage(BaseModel):
    """
    `event_id` names what happened in your books: the same one is counted once. With `enforce` a report
    that would pass the limit is not counted.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    metric: str
    quantity: int | None = 1
    event_id: str | None = None
    occurred_at: AwareDatetime | None = None
    enforce: bool | None = False


class ResolutionView(BaseModel):
    """
    `outcome` `unknown`: nobody knows yet, and the provider goes on being asked. `decided_by`:
    `provider`, `operator` (whose word was taken while the provider is away) or `nobody`.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    attempt_id: UUID
    provider: str
    outcome: Annotated[
        Literal["succeeded", "declined", "not_attempted", "pending", "unknown"],
        Field(
            description="The one idea that prevents double charging: *unknown* is its own answer."
        ),
    ]
    decided_by: Literal["provider", "operator", "nobody"]
    detail: str


class ResolveRequest(BaseModel):
    """
    Without `declared` the provider is asked now. `declared` is what its panel shows; a success names
    the provider's object, which is read before it is believed.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    reason: Annotated[str, Field(description="Why, in a sentence: it stands in the audit log.")]
    declared: Literal["not_executed", "succeeded"] | None = None
    provider_object_id: str | None = None


class RetryPaymentRequest(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    payment_method_id: UUID | None = None


class RotateWebhookSecret(BaseModel):
    """
    For `overlap_hours` both secrets sign, so that the receiver can change over in peace.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    overlap_hours: int | None = 24


class RoutingDecisionView(BaseModel):
    """
    `provider` is asked first and null when nobody can collect: `refused` says why. `fallback` is who
    is asked when it fails. `payment_method_types`: all that it could collect by in this currency.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    provider: Literal["stripe", "conekta", "polar"] | None
    currency: str
    payment_method_types: list[Literal["card", "oxxo", "spei", "checkout"]]
    rule: str
    country: str | None
    country_source: (
        Literal["billing_address", "organization", "database", "ipapi.co", "ip-api.com"] | None
    )
    candidates: list[Literal["stripe", "conekta", "polar"]]
    refused: list[Refusal]
    fallback: Literal["stripe", "conekta", "polar"] | None


class RunView(BaseModel):
    """
    A run at one provider. `status`: running, finished, or cut_off (the next run goes on): `stopped_by`
    says why.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    provider: Literal["stripe", "conekta", "polar"]
    account: str
    dry_run: bool
    status: str
    stopped_by: str | None
    since: AwareDatetime
    started_at: AwareDatetime
    finished_at: AwareDatetime | None
    objects: int
    repaired: int
    left: int


class SetPaymentMethodRequest(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    payment_method_id: UUID


class SetupView(BaseModel):
    """
    What a front end needs for this customer. `client_secret` belongs to one customer's browser; where
    it is null, `detail` says why: most cards can be tokenised with the public key alone.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    provider: Literal["stripe", "conekta", "polar"]
    public_key: str | None
    payment_method_types: list[Literal["card", "oxxo", "spei", "checkout"]]
    client_secret: str | None
    detail: str | None


class SubscriptionStatus(
    RootModel[
        Literal["incomplete", "trialing", "active", "past_due", "paused", "canceled", "expired"]
    ]
):
    root: Literal["incomplete", "trialing", "active", "past_due", "paused", "canceled", "expired"]


class TimelineEntry(BaseModel):
    """
    `title` is for people, `details` holds the ids. `actor`: `engine`, `provider:…`, `key:…`,
    `operator:…` or `customer`.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    at: AwareDatetime
    kind: Literal[
        "audit",
        "invoice",
        "attempt",
        "payment",
        "refund",
        "credit",
        "dispute",
        "fallback",
        "webhook",
        "event",
    ]
    title: str
    actor: str
    details: dict[str, Any]


class TimelinePage(BaseModel):
    """
    `now` says in which state it is and why, `next` what happens next by itself.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[TimelineEntry]
    has_more: bool
    next_cursor: str | None
    now: NowView
    next: NextStep


class UnappliedPaymentView(BaseModel):
    """
    Money that pays no invoice. `case` says how it came to that and `rule` what its plan does about it;
    `unapplied_minor` is what is left to refund or to credit.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    payment_id: UUID
    organization_id: UUID
    subscription_id: UUID | None
    purchase_id: UUID | None
    invoice_id: UUID
    provider: str
    amount_minor: int
    applied_minor: int
    refunded_minor: int
    credited_minor: int
    unapplied_minor: int
    currency: str
    case: str
    rule: str
    occurred_at: AwareDatetime


class UpdateOrganization(BaseModel):
    """
    Only the fields that are sent change. Running subscriptions keep the terms they have.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    name: str | None = None
    email: str | None = None
    phone: str | None = None
    country: str | None = None
    billing_address: BillingAddress | None = None
    tax_id: str | None = None
    time_zone: str | None = None


class UpdateWebhookEndpoint(BaseModel):
    """
    Only the fields that are sent change. `enabled: true` also ends a pause: what was kept is sent now.
    With `enabled: false` nothing is kept; see `replay`.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    url: str | None = ""
    event_types: (
        list[
            Literal[
                "*",
                "benefit.*",
                "benefit.granted",
                "benefit.revoked",
                "credit.*",
                "credit.added",
                "dispute.*",
                "dispute.closed",
                "dispute.opened",
                "invoice.*",
                "invoice.collection_ended",
                "invoice.failed",
                "invoice.paid",
                "invoice.payment_failed",
                "invoice.refunded",
                "invoice.upcoming",
                "payment.*",
                "payment.expired",
                "payment.fallback",
                "payment.issued",
                "payment.reminder",
                "payment.unapplied",
                "purchase.*",
                "purchase.expired",
                "purchase.failed",
                "purchase.paid",
                "purchase.refunded",
                "refund.*",
                "refund.failed",
                "subscription.*",
                "subscription.active",
                "subscription.cancel_scheduled",
                "subscription.cancel_unscheduled",
                "subscription.canceled",
                "subscription.change_lapsed",
                "subscription.change_scheduled",
                "subscription.change_unscheduled",
                "subscription.changed",
                "subscription.expired",
                "subscription.past_due",
                "subscription.pause_failed",
                "subscription.pause_scheduled",
                "subscription.pause_unscheduled",
                "subscription.paused",
                "subscription.payment_method_changed",
                "subscription.resume_failed",
                "subscription.resumed",
                "subscription.trialing",
                "trial.*",
                "trial.will_end",
                "usage.*",
                "usage.limit_reached",
                "webhook.*",
                "webhook.test",
                "webhook_endpoint.*",
                "webhook_endpoint.disabled",
                "webhook_endpoint.paused",
            ]
        ]
        | None
    ) = ["*"]
    description: str | None = None
    enabled: bool | None = True


class UsageView(BaseModel):
    """
    One limit in its current period. `resets_at` is null where no period is known yet.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    name: str
    limit: int
    used: int
    left: int
    reached: bool
    resets_at: AwareDatetime | None


class Voucher(BaseModel):
    """
    One slip that the customer can pay; several slips of one payment are alternatives.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    network: str
    reference: str
    barcode_url: str | None = None
    agreement: str | None = None
    instructions_url: str | None = None


class WebhookAnswer(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    status: str


class WebhookDeliveryView(BaseModel):
    """
    One event at one endpoint. `next_attempt_at` is null while an earlier event of the same
    subscription has to arrive first (`waits_for`), and when nothing more is tried.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    event_id: UUID
    event_type: str
    subscription_id: UUID | None
    purchase_id: UUID | None
    sequence: int
    status: Literal["pending", "delivered", "failed", "skipped"]
    attempts: int
    error: str | None
    response_status: int | None
    response_excerpt: str | None
    last_attempt_at: AwareDatetime | None
    next_attempt_at: AwareDatetime | None
    delivered_at: AwareDatetime | None
    waits_for: UUID | None
    created_at: AwareDatetime


class WebhookSecretView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    created_at: AwareDatetime
    expires_at: AwareDatetime | None


class WebhookTryView(BaseModel):
    """
    What an endpoint answered to a try. `error` is null when it was a 2xx.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    delivered: bool
    response_status: int | None
    response_excerpt: str | None
    error: str | None


class Problem(BaseModel):
    """
    RFC 9457 problem details. `code` is stable; `errors` points at fields or lists reasons.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[dict[str, Any]] | None = None


class AddPaymentMethod(BaseModel):
    """
    `token` is what the provider's browser library made of the card. Never a card number.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    organization_id: UUID
    provider: Literal["stripe", "conekta", "polar"] | None = None
    token: str
    type: Annotated[
        Literal["card", "oxxo", "spei", "checkout"] | None,
        Field(description="How the customer pays."),
    ] = "card"
    billing_address: BillingAddress | None = None
    set_as_default: bool | None = False


class BillingPolicyInput(BaseModel):
    """
    How a plan's subscriptions are collected. What is left out is the engine's own: retries after 3, 5 and
    6 days, 15 days until it gives up, 7 days of access after a missed payment, up to 3 vouchers.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    retry_after_days: list[int] | None = None
    past_due_window_days: int | None = None
    access_grace_days: int | None = None
    on_unpaid: Literal["cancel", "pause", "keep_past_due"] | None = None
    on_dispute: Literal["keep", "cancel_at_period_end", "cancel_now"] | None = None
    spare_money: Annotated[
        Literal["hold", "credit", "refund"] | None,
        Field(description="What becomes of money that pays nothing, while the subscription runs"),
    ] = None
    late_money: Annotated[
        Literal["hold", "credit", "refund"] | None,
        Field(description="What becomes of money that comes after the end; credit means hold"),
    ] = None
    lead_days: int | None = None
    voucher_lifetime_days: int | None = None
    transfer_lifetime_hours: int | None = None
    vouchers_max: int | None = None


class ChangeSubscription(BaseModel):
    """
    What is not named stays. `proration`: `prorate` settles the difference now, by the second;
    `none` changes now and bills the new price from the next period on; `next_period` changes with it.
    `proration_date` is the `at` of a preview: the change then costs exactly what was previewed. Naming
    what there is already takes a pending change back.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    plan_id: UUID | None = None
    billing_interval: Literal["monthly", "yearly"] | None = None
    quantity: int | None = None
    proration: Annotated[
        Literal["prorate", "none", "next_period"] | None,
        Field(
            description="When a change takes effect, and what becomes of the period that is paid."
        ),
    ] = "prorate"
    proration_date: AwareDatetime | None = None


class CollectionView(BaseModel):
    """
    How the collection of the open invoice stands. `ends_at`: when the engine gives up; null when nothing
    is tried by itself any more.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    attempts_made: int
    attempts_left: int
    next_attempt_at: AwareDatetime | None
    last_decline: LastDeclineView | None
    ends_at: AwareDatetime | None


class ConfirmPayment(BaseModel):
    """
    The customer finishes in the browser. The client secret is meant for that browser alone.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    type: Literal["confirm_payment"] = "confirm_payment"
    provider: Literal["stripe", "conekta", "polar"]
    client_secret: str


class CreatePlan(BaseModel):
    """
    A plan with at most one price for each currency and interval.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    name: str
    description: str | None = None
    prices: list[PlanPriceInput]
    features: list[str] | None = []
    limits: dict[Annotated[str, StringConstraints(pattern=r"\S")], int] | None = {}
    trial_days: int | None = 0
    billing_policy: Annotated[BillingPolicyInput | None, Field(validate_default=True)] = {}


class CreateSubscription(BaseModel):
    """
    Without `payment_method_id`, a card subscription uses the organization's default card.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    organization_id: UUID
    plan_id: UUID
    billing_interval: Literal["monthly", "yearly"]
    quantity: int | None = 1
    payment_method_id: UUID | None = None
    payment_method_type: Literal["card", "oxxo", "spei", "checkout"] | None = None
    trial_days: int | None = None
    force_provider: Literal["stripe", "conekta", "polar"] | None = None
    billing_address: BillingAddress | None = None
    ip_address: str | None = None
    success_url: str | None = None
    metadata: (
        dict[Annotated[str, StringConstraints(pattern=r"\S")], str | int | float | bool | None]
        | None
    ) = {}


class EntitlementsView(BaseModel):
    """
    `access_until` is the latest of the subscriptions'. `feature` answers `?feature=`, else it is null.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    organization_id: UUID
    has_access: bool
    access_until: AwareDatetime | None
    features: list[str]
    feature: FeatureCheckView | None
    limits: list[UsageView]
    benefits: list[EntitledBenefitView]
    subscriptions: list[EntitledSubscriptionView]


class FallbackEventView(BaseModel):
    """
    One provider could not, another one was asked. `reason`: provider_not_configured, api_error,
    timeout or unavailable.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    attempted_provider: Literal["stripe", "conekta", "polar"]
    fallback_provider: Literal["stripe", "conekta", "polar"]
    reason: Literal["provider_not_configured", "api_error", "timeout", "unavailable"]
    timestamp: AwareDatetime
    subscription_id: UUID | None
    purchase_id: UUID | None
    invoice_id: UUID | None


class Figures(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    read_at: AwareDatetime
    months: list[MonthFigures]


class FindingView(BaseModel):
    """
    One thing that the two books see differently. `webhook_id` is the event that told its owner.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    run_id: UUID
    dry_run: bool
    provider: Literal["stripe", "conekta", "polar"]
    kind: Literal[
        "money_not_booked",
        "refund_not_booked",
        "ended_at_provider",
        "subscription_differs",
        "invoice_differs",
        "unknown_money",
        "orphan",
        "still_payable",
        "still_billed",
        "amount_differs",
        "refund_unknown_there",
        "unknown_there",
        "dispute_differs",
        "not_on_sale",
    ]
    object_id: str
    subscription_id: UUID | None
    purchase_id: UUID | None
    theirs: str
    ours: str
    status: Literal["found", "signalled", "repaired", "left"]
    webhook_id: UUID | None
    found_at: AwareDatetime
    settled_at: AwareDatetime | None


class InvoiceLine(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    kind: Literal["period", "unused_time", "remaining_time", "credit_applied", "credit_granted"]
    description: str
    quantity: int | None = 1
    amount_minor: int
    period_start: AwareDatetime | None = None
    period_end: AwareDatetime | None = None


class InvoiceView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    organization_id: UUID
    subscription_id: UUID | None
    provider: str | None
    provider_invoice_id: str | None
    amount_minor: int
    amount_paid_minor: int
    amount_refunded_minor: int
    currency: str
    status: str
    period_start: AwareDatetime | None
    period_end: AwareDatetime | None
    invoice_date: AwareDatetime
    due_date: AwareDatetime
    paid_at: AwareDatetime | None
    lines: list[InvoiceLine]
    hosted_invoice_url: str | None
    invoice_pdf: str | None


class NewWebhookEndpointView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    url: str
    description: str | None
    event_types: list[str]
    enabled: bool
    status: Literal["enabled", "paused", "disabled"]
    status_reason: Literal["by_request", "gone", "failing"] | None
    status_changed_at: AwareDatetime
    consecutive_failures: int
    failing_since: AwareDatetime | None
    last_success_at: AwareDatetime | None
    last_failure_at: AwareDatetime | None
    last_error: str | None
    secrets: list[WebhookSecretView]
    created_at: AwareDatetime
    updated_at: AwareDatetime
    secret: str | None


class PageFallbackEventView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[FallbackEventView]
    has_more: bool
    next_cursor: str | None


class PageFindingView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[FindingView]
    has_more: bool
    next_cursor: str | None


class PagePaymentMethodView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[PaymentMethodView]
    has_more: bool
    next_cursor: str | None


class PagePlanView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[PlanView]
    has_more: bool
    next_cursor: str | None


class PageProductView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[ProductView]
    has_more: bool
    next_cursor: str | None


class PageProviderView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[ProviderView]
    has_more: bool
    next_cursor: str | None


class PageRefundView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[RefundView]
    has_more: bool
    next_cursor: str | None


class PageRunView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[RunView]
    has_more: bool
    next_cursor: str | None


class PageUnappliedPaymentView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[UnappliedPaymentView]
    has_more: bool
    next_cursor: str | None


class PageWebhookDeliveryView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[WebhookDeliveryView]
    has_more: bool
    next_cursor: str | None


class PayVoucher(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    type: Literal["pay_voucher"] = "pay_voucher"
    instrument: Annotated[
        Literal["card", "oxxo", "spei", "checkout"] | None,
        Field(description="How the customer pays."),
    ] = "oxxo"
    vouchers: list[Voucher]
    amount_minor: int
    currency: str
    expires_at: AwareDatetime


class PreviewRouting(BaseModel):
    """
    What would be decided for a subscription or purchase like this one. The billing address wins
    over the organization's country, and that over the IP address. Without `currency` it is what the
    country pays in.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    transaction_type: Literal["subscription", "purchase"] | None = "subscription"
    organization_id: UUID | None = None
    billing_address: BillingAddress | None = None
    ip_address: str | None = None
    payment_method_type: Literal["card", "oxxo", "spei", "checkout"] | None = None
    payment_method_id: UUID | None = None
    currency: str | None = None
    force_provider: Literal["stripe", "conekta", "polar"] | None = None


class PurchaseDetail(BaseModel):
    """
    A purchase, with what was asked for beside it.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    organization_id: UUID
    product_id: UUID
    status: str
    provider: str | None
    amount_minor: int
    currency: str
    next_action: PayVoucher | PayTransfer | Redirect | ConfirmPayment | None
    fallback: FallbackView | None
    benefits: list[GrantedBenefitView]
    paid_at: AwareDatetime | None
    workflow_id: str
    metadata: dict[str, Any]
    created_at: AwareDatetime
    updated_at: AwareDatetime
    expanded: Annotated[
        PurchaseExpansion | None,
        Field(description="What `expand` asked for; left out when nothing was."),
    ] = None


class PurchaseView(BaseModel):
    """
    `status`: pending, paid, expired, refunded or failed. `next_action` leads to the page.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    organization_id: UUID
    product_id: UUID
    status: str
    provider: str | None
    amount_minor: int
    currency: str
    next_action: PayVoucher | PayTransfer | Redirect | ConfirmPayment | None
    fallback: FallbackView | None
    benefits: list[GrantedBenefitView]
    paid_at: AwareDatetime | None
    workflow_id: str
    metadata: dict[str, Any]
    created_at: AwareDatetime
    updated_at: AwareDatetime


class RefundAnswer(BaseModel):
    """
    What one request gives back: money that came in several payments goes back in several refunds.
    `status` is pending as long as one of them is, failed when one failed.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    invoice_id: UUID
    amount_minor: int
    currency: str
    status: str
    refunds: list[RefundView]


class SubscriptionExpansion(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    plan: PlanView | None = None
    organization: OrganizationView | None = None
    payment_method: PaymentMethodView | None = None
    latest_invoice: InvoiceView | None = None


class SubscriptionView(BaseModel):
    """
    `next_action` is what the customer has to do now; `access_until` how long they may be let in, whatever
    the payment status. `collection` is null while nothing is being collected; `risk` says why an operator
    should look (`disputed`).
    """

    model_config = ConfigDict(
        extra="ignore",
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
    current_period_start: AwareDatetime | None
    current_period_end: AwareDatetime | None
    trial_end: AwareDatetime | None
    cancel_at_period_end: bool
    canceled_at: AwareDatetime | None
    paused_at: AwareDatetime | None
    resume_at: AwareDatetime | None
    access_until: AwareDatetime | None
    pending_change: dict[str, Any] | None
    collection: CollectionView | None
    risk: str | None
    latest_invoice_id: UUID | None
    next_action: PayVoucher | PayTransfer | Redirect | ConfirmPayment | None
    fallback: FallbackView | None
    workflow_id: str
    metadata: dict[str, Any]
    created_at: AwareDatetime
    updated_at: AwareDatetime


class UpdatePlan(BaseModel):
    """
    Only the fields that are sent change, each as a whole: `prices` is the list from now on. Running
    subscriptions keep the price, the trial and the billing policy that they agreed to; `features` and
    `limits` are everybody's at once. `is_active: false` takes the plan off sale, and `true` puts it back.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    name: str | None = None
    description: str | None = None
    prices: list[PlanPriceInput] | None = None
    features: list[str] | None = None
    limits: dict[Annotated[str, StringConstraints(pattern=r"\S")], int] | None = None
    trial_days: int | None = None
    billing_policy: BillingPolicyInput | None = None
    is_active: bool | None = None


class UsageListView(BaseModel):
    """
    Every limit of the subscriptions that give access now.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[UsageView]


class UsageReportView(BaseModel):
    """
    `allowed`: the limit is not passed with it. `recorded`: it was counted, now or before.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    allowed: bool
    recorded: bool
    duplicate: bool
    usage: UsageView


class WebhookEndpointView(BaseModel):
    """
    `status`: `enabled`; `paused` by us after it has failed for long (events are kept); `disabled` by
    request or because it answered 410 (events are not kept). `secret` is there once: in the answer that
    made it. `secrets` says which ones sign, newest first.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    url: str
    description: str | None
    event_types: list[str]
    enabled: bool
    status: Literal["enabled", "paused", "disabled"]
    status_reason: Literal["by_request", "gone", "failing"] | None
    status_changed_at: AwareDatetime
    consecutive_failures: int
    failing_since: AwareDatetime | None
    last_success_at: AwareDatetime | None
    last_failure_at: AwareDatetime | None
    last_error: str | None
    secrets: list[WebhookSecretView]
    created_at: AwareDatetime
    updated_at: AwareDatetime


class ChangePreview(BaseModel):
    """
    What a change would come to at `at`. `amount_due_minor` is collected now; `takes_effect_at` is
    null when the change waits for that to be paid. `credit_minor` is the customer's credit afterwards.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    at: AwareDatetime
    proration: str
    takes_effect_at: AwareDatetime | None
    plan_id: UUID
    billing_interval: str
    quantity: int
    amount_minor: int
    currency: str
    lines: list[InvoiceLine]
    amount_due_minor: int
    credit_change_minor: int
    credit_minor: int
    pay_by: AwareDatetime | None
    next_invoice_minor: int | None
    next_invoice_at: AwareDatetime | None


class InvoiceExpansion(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    subscription: SubscriptionView | None = None
    organization: OrganizationView | None = None


class InvoiceListed(BaseModel):
    """
    An invoice without its attempts and payments, with what was asked for beside it.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    organization_id: UUID
    subscription_id: UUID | None
    provider: str | None
    provider_invoice_id: str | None
    amount_minor: int
    amount_paid_minor: int
    amount_refunded_minor: int
    currency: str
    status: str
    period_start: AwareDatetime | None
    period_end: AwareDatetime | None
    invoice_date: AwareDatetime
    due_date: AwareDatetime
    paid_at: AwareDatetime | None
    lines: list[InvoiceLine]
    hosted_invoice_url: str | None
    invoice_pdf: str | None
    expanded: Annotated[
        InvoiceExpansion | None,
        Field(description="What `expand` asked for; left out when nothing was."),
    ] = None


class PageInvoiceListed(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[InvoiceListed]
    has_more: bool
    next_cursor: str | None


class PagePurchaseDetail(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[PurchaseDetail]
    has_more: bool
    next_cursor: str | None


class PageWebhookEndpointView(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[WebhookEndpointView]
    has_more: bool
    next_cursor: str | None


class SubscriptionDetail(BaseModel):
    """
    A subscription, with what was asked for beside it.
    """

    model_config = ConfigDict(
        extra="ignore",
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
    current_period_start: AwareDatetime | None
    current_period_end: AwareDatetime | None
    trial_end: AwareDatetime | None
    cancel_at_period_end: bool
    canceled_at: AwareDatetime | None
    paused_at: AwareDatetime | None
    resume_at: AwareDatetime | None
    access_until: AwareDatetime | None
    pending_change: dict[str, Any] | None
    collection: CollectionView | None
    risk: str | None
    latest_invoice_id: UUID | None
    next_action: PayVoucher | PayTransfer | Redirect | ConfirmPayment | None
    fallback: FallbackView | None
    workflow_id: str
    metadata: dict[str, Any]
    created_at: AwareDatetime
    updated_at: AwareDatetime
    expanded: Annotated[
        SubscriptionExpansion | None,
        Field(description="What `expand` asked for; left out when nothing was."),
    ] = None


class InvoiceDetail(BaseModel):
    """
    An invoice with all that belongs to it, and what was asked for beside it.
    """

    model_config = ConfigDict(
        extra="ignore",
    )
    id: UUID
    organization_id: UUID
    subscription_id: UUID | None
    provider: str | None
    provider_invoice_id: str | None
    amount_minor: int
    amount_paid_minor: int
    amount_refunded_minor: int
    currency: str
    status: str
    period_start: AwareDatetime | None
    period_end: AwareDatetime | None
    invoice_date: AwareDatetime
    due_date: AwareDatetime
    paid_at: AwareDatetime | None
    lines: list[InvoiceLine]
    hosted_invoice_url: str | None
    invoice_pdf: str | None
    attempts: list[AttemptView]
    payments: list[PaymentView]
    disputes: list[DisputeView]
    expanded: Annotated[
        InvoiceExpansion | None,
        Field(description="What `expand` asked for; left out when nothing was."),
    ] = None


class PageSubscriptionDetail(BaseModel):
    model_config = ConfigDict(
        extra="ignore",
    )
    data: list[SubscriptionDetail]
    has_more: bool
    next_cursor: str | None