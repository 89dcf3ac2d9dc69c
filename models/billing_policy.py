"""How patient the engine is with a subscription, and what becomes of it and of its money."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class OnUnpaid(StrEnum):
    """What becomes of a subscription whose invoice nobody paid in all the time that it had."""

    CANCEL = "cancel"  # It ends as `expired`.
    PAUSE = "pause"  # Nothing is billed any more; a payment of the open invoice brings it back.
    KEEP_PAST_DUE = "keep_past_due"  # It stays `past_due` until the app or the customer acts.


class OnDispute(StrEnum):
    """What becomes of a subscription when the customer has a payment of it taken back."""

    KEEP = "keep"
    CANCEL_AT_PERIOD_END = "cancel_at_period_end"
    CANCEL_NOW = "cancel_now"


class SpareMoneyAction(StrEnum):
    """What a plan wants done with money that pays no invoice (`models.cash_rules`)."""

    HOLD = "hold"
    CREDIT = "credit"
    REFUND = "refund"


class BillingPolicy(BaseModel):
    """How patient the engine is. Data, so that a plan can have its own (models/dunning.py applies it).

    `retry_after_days`: from one soft decline to the next try; hard declines are never retried.
    Stripe's own default window is two weeks, and so is the sum of ours.
    """

    model_config = ConfigDict(frozen=True)

    lead: timedelta = timedelta(days=3)  # A voucher is issued this long before the period it pays.
    voucher_lifetime: timedelta = timedelta(days=3)  # OXXO's usual time to pay.
    transfer_lifetime: timedelta = timedelta(days=3)
    reminder_before_expiry: timedelta = timedelta(days=1)
    # Before a stored card is charged again, and before a trial ends; zero for never.
    reminder_before_renewal: timedelta = timedelta(days=7)
    reminder_before_trial_end: timedelta = timedelta(days=3)
    vouchers_max: int = 3  # Per invoice; then the engine gives up.
    expiry_grace: timedelta = timedelta(minutes=15)  # Conekta reports within 10 minutes.
    retry_after_days: tuple[int, ...] = (3, 5, 6)
    past_due_window: timedelta = timedelta(
        days=15
    )  # A day after the last retry the engine gives up.
    on_unpaid: OnUnpaid = OnUnpaid.CANCEL
    on_dispute: OnDispute = OnDispute.CANCEL_AT_PERIOD_END
    # A slip that was paid in time may be known to be only now; nobody is called late before that.
    due_grace: timedelta = timedelta(hours=1)
    access_grace: timedelta = timedelta(days=7)  # Access outlives the first missed payment.
    first_payment_window: timedelta = timedelta(hours=23)  # Stripe drops an unpaid start then.
    provider_check_grace: timedelta = timedelta(hours=2)  # Stripe finalises an invoice after 1 h.
    provider_check_again: timedelta = timedelta(hours=12)  # While the provider says nothing new.
    # A guess about a customer's money is worse than a question, so both wait for a decision.
    spare_money: SpareMoneyAction = SpareMoneyAction.HOLD  # Paid twice or too much, while it runs.
    late_money: SpareMoneyAction = SpareMoneyAction.HOLD  # Paid after the end; credit means hold.
    provider_unavailable_retries: tuple[timedelta, ...] = (
        timedelta(seconds=30),
        timedelta(minutes=5),
        timedelta(hours=1),
        timedelta(hours=6),
        timedelta(hours=24),
    )
