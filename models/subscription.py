"""A subscription as its workflow knows it: the terms it was opened on, and its state.

The state is also the argument of continue-as-new, so new fields need a default: an old history must
still decode.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from models.billing_policy import BillingPolicy
from models.calendar import BillingInterval, BillingPeriod
from models.outcomes import Instrument, ProviderName
from models.plan_change import InvoiceLine, Offer, Proration
from models.snapshots import Decline
from models.states import SubscriptionStatus


class BillingClock(StrEnum):
    """Who decides when the next period is charged."""

    PROVIDER = "provider"  # Cards: the provider's subscription charges, the workflow follows.
    ENGINE = "engine"  # Vouchers and transfers: the workflow makes the invoice and the voucher.


CLOCK_BY_INSTRUMENT: dict[Instrument, BillingClock] = {
    Instrument.CARD: BillingClock.PROVIDER,
    Instrument.OXXO: BillingClock.ENGINE,
    Instrument.SPEI: BillingClock.ENGINE,
    Instrument.CHECKOUT: BillingClock.ENGINE,
}


class SubscriptionTerms(BaseModel):
    """What is agreed: at the opening, and after each change of the plan. No personal data: names and
    addresses stay in PostgreSQL, where the activity that needs them looks them up."""

    model_config = ConfigDict(frozen=True)

    subscription_id: UUID
    application_id: UUID
    organization_id: UUID
    plan_id: UUID
    plan_name: str
    billing_interval: BillingInterval
    amount_minor: int  # Per period, for the whole quantity.
    quantity: int = 1
    currency: str
    instrument: Instrument
    payment_method_id: UUID | None = None
    country: str | None = None
    time_zone: str = "UTC"
    trial_days: int = 0
    force_provider: ProviderName | None = None
    policy: BillingPolicy = BillingPolicy()

    def trial_end(self, start: datetime) -> datetime:
        """When the trial that begins at `start` is over: whole days, whatever the clocks do."""
        return start + timedelta(days=self.trial_days)

    @property
    def purchase_id(self) -> None:
        return None

    @property
    def description(self) -> str:
        return self.plan_name

    @property
    def offer(self) -> Offer:
        return Offer(
            plan_id=self.plan_id,
            plan_name=self.plan_name,
            billing_interval=self.billing_interval,
            quantity=self.quantity,
            amount_minor=self.amount_minor,
        )

    def with_offer(self, offer: Offer, policy: BillingPolicy | None = None) -> SubscriptionTerms:
        """`policy` None: it stays, as it does where the plan stays."""
        return self.model_copy(update={**offer.model_dump(), "policy": policy or self.policy})

    @property
    def clock(self) -> BillingClock:
        return CLOCK_BY_INSTRUMENT[self.instrument]


class _Compact(BaseModel):
    """Written without what is as it was at the beginning: an idle subscription is a few KB for decades.
    So a default here never changes: old histories mean the old one."""

    @model_serializer(mode="wrap")
    def _without_defaults(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        return {
            name: value
            for name, value in write(self).items()
            if getattr(self, name) != fields[name].get_default(call_default_factory=True)
        }


class OpenInvoice(_Compact):
    """The one invoice that money is being collected for."""

    invoice_id: UUID
    provider_invoice_id: str | None = None
    amount_minor: int
    currency: str
    amount_paid_minor: int = 0
    first: bool = False
    period_number: int = 0
    period_start: AwareDatetime | None = None
    period_end: AwareDatetime | None = None
    due_at: AwareDatetime
    created_at: AwareDatetime
    attempt_id: UUID | None = None  # The attempt whose outcome is open.
    vouchers_issued: int = 0
    declines: int = 0
    provider_failures: int = 0
    candidate: int = 0  # Index into the routing decision's candidates.
    next_try_at: AwareDatetime | None = None
    # Dunning (models/dunning.py): when money was asked for, oldest first; where the schedule began anew;
    # and since when nothing is tried by itself any more.
    tried_at: list[AwareDatetime] = []
    last_decline: Decline | None = None
    declines_forgiven: int = 0
    collecting_since: AwareDatetime | None = None
    exhausted_at: AwareDatetime | None = None
    # When the slip that is out will have come to its end; nothing else need be set in motion before.
    ends_at: AwareDatetime | None = None
    after_trial: bool = False  # Its customer has been served already.
    lines: list[
        InvoiceLine
    ] = []  # They sum to the amount, as far as it is the engine that made it.
    credit_change_minor: int = 0  # Taken from the credit (negative) when the invoice was made.
    offer: Offer | None = None  # What is sold with it, as far as it was made for a period.
    for_change: bool = False  # It pays a change of the plan, not a period.
    stays: bool = False  # Nobody is there to pay elsewhere: only who keeps the card is asked.
    outdated: bool = False  # Made at a price that no longer holds: its slip is being voided.


class PendingChange(BaseModel):
    """A change of the plan that was accepted and has not taken effect."""

    model_config = ConfigDict(frozen=True)

    offer: Offer
    proration: Proration
    actor: str
    at: AwareDatetime | None = None  # With this period; None: when its invoice is paid.
    invoice_id: UUID | None = None
    period: BillingPeriod | None = None  # The period that begins with it, for another interval.
    policy: BillingPolicy | None = None  # The new plan's, from the change's effect on.
    at_provider: bool = False  # The provider was told `at`, and makes it by itself.
    replaces: bool = (
        False  # The provider was stopped; at `at` another subscription is opened there.
    )


class ProviderPause(StrEnum):
    """How the provider was stopped when nobody paid."""

    COLLECTABLE = "collectable"  # The invoice that is open can still be paid there.
    REPLACED = "replaced"  # Whoever pays gets another subscription there: see `unpaid_pause`.


class UpdateAnswer(_Compact):
    """What a command came to: its result, or (`refusal`) the error that it ended with."""

    update_id: str
    at: AwareDatetime
    status: SubscriptionStatus
    settled: bool = True
    detail: str | None = None
    refusal: str | None = None
    refusal_type: str | None = None


class SubscriptionState(_Compact):
    """Everything that the workflow remembers from one run to the next."""

    version: int = 0
    status: SubscriptionStatus = SubscriptionStatus.INCOMPLETE
    opened: bool = False
    candidates: list[ProviderName] = []
    provider: ProviderName | None = None
    provider_subscription_id: str | None = None
    provider_customer_id: str | None = None
    payment_method_id: UUID | None = None
    anchor_at: AwareDatetime | None = None
    period_number: int = 0
    current_period_start: AwareDatetime | None = None
    current_period_end: AwareDatetime | None = None
    paid_ahead_until: AwareDatetime | None = None
    trial_end: AwareDatetime | None = None
    created_at: AwareDatetime | None = None
    cancel_at_period_end: bool = False
    cancel_requested: bool = (
        False  # While a payment is on its way, and until the provider confirmed.
    )
    cancel_keeps_period: bool = False  # The request is for the end of what is then paid.
    canceled_at: AwareDatetime | None = None
    # The provider refused what the engine has to ask of it: until it is asked again nothing else is begun.
    refused_at: AwareDatetime | None = None
    access_until: AwareDatetime | None = None
    pause_at: AwareDatetime | None = None  # A pause is agreed on and begins then.
    paused_at: AwareDatetime | None = None
    resume_at: AwareDatetime | None = None  # The pause ends by itself then.
    invoice: OpenInvoice | None = None
    credit_minor: int = (
        0  # Pays coming invoices; the ledger `credit_entries` says where it is from.
    )
    answers: list[UpdateAnswer] = []  # Newest last: a command sent again gets its first answer.
    credit_command_ids: list[UUID] = []  # Newest last: a command heard twice counts once.
    provider_looked_at: AwareDatetime | None = None
    past_due_since: AwareDatetime | None = None
    suspended_at: AwareDatetime | None = None  # Paused because its invoice was not paid.
    provider_pause: ProviderPause | None = None  # Set from then on until the provider bills again.
    open_dispute_ids: list[str] = []
    closed_dispute_ids: list[str] = []  # Newest last; a late report does not open them again.
    reminded_for: AwareDatetime | None = None  # The period end that a reminder is scheduled for.
    change: PendingChange | None = None
    placed_credit_minor: int = 0  # Of it, what the provider takes off its next renewal.
    # What the current period, and one that was paid ahead, are paid at; None: at the terms' price.
    period_amount_minor: int | None = None
    ahead_amount_minor: int | None = None
    # Ids of provider events already applied, newest last: bounded, because the inbox has the last word.
    applied_event_ids: list[UUID] = []
    # Provider ids of money already counted, newest last: heard of twice, it is counted once.
    counted_charge_ids: list[str] = []

    @property
    def is_held(self) -> bool:
        """Nothing is billed: paused on request, or billed up to the moment at which that begins."""
        asked_for = self.status is SubscriptionStatus.PAUSED and self.suspended_at is None
        return asked_for or self.pause_at is not None


DISPUTE_IDS_MAX = 20
CREDIT_COMMAND_IDS_MAX = 20
# A caller that never heard the answer sends its command again within minutes; a day is what we promise.
UPDATE_ANSWERS_MAX = 8
UPDATE_ANSWER_AGE_MAX = timedelta(hours=24)
# Of an idle subscription's four kilobytes. The database has the last word on what is older.
COUNTED_CHARGE_IDS_MAX = 16
APPLIED_EVENT_IDS_MAX = 16
