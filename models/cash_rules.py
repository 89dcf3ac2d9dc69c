"""What happens to money that a customer sends by hand: cash vouchers and bank transfers.

Nobody can refuse such money when it comes late, twice, or in another amount. Each way in which it can
arrive is a case; each case has a rule; and a rule leaves a record, so that every minor unit is in one
place: it pays an invoice, it is credit, it went back, or it is held in sight for an operator.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from models.billing_policy import BillingPolicy
from models.outcomes import ProviderName
from models.projections import RefundProjection
from models.snapshots import Capture
from models.states import TERMINAL_STATUSES, SubscriptionStatus
from models.subscription import SubscriptionState, SubscriptionTerms


class MoneyAction(StrEnum):
    APPLY = "apply"  # Pays the invoice, as far as that is open.
    CREDIT = "credit"  # Pays coming invoices of the same subscription.
    REFUND = "refund"  # Goes back, by a refund of its own.
    HOLD = "hold"  # Stays in sight until an operator refunds or credits it.
    RECORD = "record"  # Nothing to decide: the provider moved it, the ledger follows.


class MoneyCase(StrEnum):
    """How money came, or went."""

    IN_TIME = "in_time"
    IN_GRACE = "in_grace"
    SAID_EXPIRED = "said_expired"
    AFTER_EXPIRY = "after_expiry"
    AFTER_REISSUE = "after_reissue"
    TOO_LITTLE = "too_little"
    TOO_MUCH = "too_much"
    PAID_TWICE = "paid_twice"
    WHILE_PAUSED = "while_paused"
    AFTER_VOID = "after_void"
    AFTER_END = "after_end"
    OTHER_CURRENCY = "other_currency"
    REFUNDED = "refunded"
    REVERSED = "reversed"


class CashRule(NamedTuple):
    """`setting`: the field of the plan's `billing_policy` that may say otherwise."""

    what: str
    action: MoneyAction
    record: str
    setting: str | None = None


CASH_RULES: dict[MoneyCase, CashRule] = {
    MoneyCase.IN_TIME: CashRule(
        "paid before the voucher or CLABE runs out", MoneyAction.APPLY, "capture, invoice `paid`"
    ),
    MoneyCase.IN_GRACE: CashRule(
        "paid in time, told within the grace after expiry",
        MoneyAction.APPLY,
        "capture, invoice `paid`; no second voucher is issued",
    ),
    MoneyCase.SAID_EXPIRED: CashRule(
        "the provider says expired although it was paid",
        MoneyAction.APPLY,
        "the payment is read before it is believed: capture, invoice `paid`",
    ),
    MoneyCase.AFTER_EXPIRY: CashRule(
        "paid after it ran out, the invoice is still open",
        MoneyAction.APPLY,
        "capture, attempt `succeeded` (`paid_late`), invoice `paid`",
    ),
    MoneyCase.AFTER_REISSUE: CashRule(
        "the old voucher is paid after a new one was issued",
        MoneyAction.APPLY,
        "capture, attempt `succeeded` (`paid_late`), invoice `paid`; the new voucher is voided",
    ),
    MoneyCase.TOO_LITTLE: CashRule(
        "a transfer of less than the invoice",
        MoneyAction.APPLY,
        "capture, `amount_paid_minor` grows; the next CLABE asks for the rest. With nothing left to ask "
        "for (the end): unapplied, as `after_end`",
    ),
    MoneyCase.TOO_MUCH: CashRule(
        "a transfer of more than the invoice",
        MoneyAction.HOLD,
        "the invoice takes its due; the rest is unapplied, `payment.unapplied`",
        "spare_money",
    ),
    MoneyCase.PAID_TWICE: CashRule(
        "the invoice is paid already (both references, or old and new voucher)",
        MoneyAction.HOLD,
        "capture with nothing applied, `payment.unapplied`",
        "spare_money",
    ),
    MoneyCase.WHILE_PAUSED: CashRule(
        "the subscription is paused, its invoice was voided",
        MoneyAction.HOLD,
        "capture with nothing applied, `payment.unapplied`",
        "spare_money",
    ),
    MoneyCase.AFTER_VOID: CashRule(
        "the invoice was voided or given up, the subscription goes on",
        MoneyAction.HOLD,
        "capture with nothing applied, `payment.unapplied`",
        "spare_money",
    ),
    MoneyCase.AFTER_END: CashRule(
        "the subscription was canceled or has expired",
        MoneyAction.HOLD,
        "capture with nothing applied, `payment.unapplied`; the subscription stays ended",
        "late_money",
    ),
    MoneyCase.OTHER_CURRENCY: CashRule(
        "money in another currency than the invoice",
        MoneyAction.HOLD,
        "capture with nothing applied, `payment.unapplied`",
    ),
    MoneyCase.REFUNDED: CashRule(
        "the provider paid back, in full or in part",
        MoneyAction.RECORD,
        "refund, `amount_refunded_minor`, `invoice.refunded`; spare money goes back first",
    ),
    MoneyCase.REVERSED: CashRule(
        "a store takes a cash payment back (`charge.reversed`)",
        MoneyAction.RECORD,
        "as a refund by the provider",
    ),
}


class Arrival(NamedTuple):
    """What has to be known of a capture that does not pay its invoice in full."""

    same_currency: bool
    applied_minor: int
    subscription_over: bool
    subscription_paused: bool
    invoice_status: str  # As in models.states.InvoiceStatus.


def case_of(arrival: Arrival) -> MoneyCase:
    """Why there is spare money. The first reason that fits: a stronger one stands above a weaker."""
    if not arrival.same_currency:
        return MoneyCase.OTHER_CURRENCY
    if arrival.applied_minor > 0:
        return MoneyCase.TOO_MUCH
    if arrival.invoice_status in {"paid", "refunded"}:
        return MoneyCase.PAID_TWICE
    if arrival.subscription_over:
        return MoneyCase.AFTER_END
    if arrival.subscription_paused:
        return MoneyCase.WHILE_PAUSED
    return MoneyCase.AFTER_VOID


def action_for(case: MoneyCase, policy: BillingPolicy, *, subscription_over: bool) -> MoneyAction:
    """The plan's word where it has one. Credit needs coming invoices: without them it is held."""
    rule = CASH_RULES[case]
    if rule.setting is None:
        return rule.action
    # Ended in the meantime: whatever the case was, the rule for late money holds.
    setting = "late_money" if subscription_over else rule.setting
    action = MoneyAction(getattr(policy, setting).value)
    if action is MoneyAction.CREDIT and subscription_over:
        return MoneyAction.HOLD
    return action


def rule_for(
    terms: SubscriptionTerms,
    state: SubscriptionState,
    capture: Capture,
    applied_minor: int,
    invoice_status: str | None = None,
) -> tuple[MoneyCase, MoneyAction]:
    """For a subscription whose workflow lives, as it is at this moment. `invoice_status`: of the invoice
    that the money was meant for, where the ledger was asked; the workflow forgets what is settled."""
    over = state.status in TERMINAL_STATUSES
    ended = over or state.status is SubscriptionStatus.PAUSED
    case = case_of(
        Arrival(
            same_currency=capture.currency == terms.currency,
            applied_minor=applied_minor,
            subscription_over=over,
            subscription_paused=state.status is SubscriptionStatus.PAUSED,
            invoice_status=invoice_status or ("void" if ended else "paid"),
        )
    )
    return case, action_for(case, terms.policy, subscription_over=over)


class SpareMoney(NamedTuple):
    """The part of a capture that pays nothing."""

    invoice_id: UUID
    payment_id: UUID
    provider: ProviderName
    capture: Capture
    applied_minor: int

    @property
    def amount_minor(self) -> int:
        return self.capture.amount_minor - self.applied_minor

    def refund(self, refund_id: UUID, reason: str) -> RefundProjection:
        return RefundProjection(
            id=refund_id,
            invoice_id=self.invoice_id,
            payment_id=self.payment_id,
            provider=self.provider,
            amount_minor=self.amount_minor,
            currency=self.capture.currency,
            reason=reason,
        )
