"""The desk at which a subscription's workflow works: its state, and what this step has changed.

Everything that one step changes is collected here and committed as one batch with a new version
number: row, ledgers, audit, outbound events and the inbox's acknowledgements (invariant 5).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.signatures.attempts import AttemptResult
    from models.billing_policy import BillingPolicy
    from models.cash_rules import MoneyAction, SpareMoney, rule_for
    from models.dunning import access_until
    from models.explaining import Doubt
    from models.ids import derived_id
    from models.moments import Moment, next_moment, paid_until, reminder_at
    from models.outcomes import OutcomeClass, ProviderName
    from models.plan_change import Offer
    from models.projections import (
        AttemptProjection,
        CreditProjection,
        InvoiceProjection,
        ProjectionBatch,
        RefundProjection,
        ReminderKind,
        ReminderProjection,
    )
    from models.settlement import Settlement
    from models.snapshots import Capture
    from models.states import (
        TERMINAL_STATUSES,
        InvoiceStatus,
        SubscriptionEvent,
        SubscriptionStatus,
        may,
        next_status,
    )
    from models.subscription import (
        APPLIED_EVENT_IDS_MAX,
        COUNTED_CHARGE_IDS_MAX,
        OpenInvoice,
        SubscriptionState,
        SubscriptionTerms,
    )
    from models.subscription_row import subscription_row
    from workflows.options import call_record, moved_attributes
    from workflows.step_changes import CAPTURE, ENGINE_ACTOR, OUT_OF_BAND, StepChanges

OUTBOUND_BY_STATUS: dict[SubscriptionStatus, str] = {
    SubscriptionStatus.TRIALING: "subscription.trialing",
    SubscriptionStatus.ACTIVE: "subscription.active",
    SubscriptionStatus.PAST_DUE: "subscription.past_due",
    SubscriptionStatus.PAUSED: "subscription.paused",
    SubscriptionStatus.CANCELED: "subscription.canceled",
    SubscriptionStatus.EXPIRED: "subscription.expired",
}


class Desk(StepChanges):
    """State plus the changes of the step at hand. Nothing here waits but `commit`."""

    def __init__(self, terms: SubscriptionTerms, state: SubscriptionState) -> None:
        self.terms = terms
        self.state = state
        self.change_declined: str | None = None  # Why the last change could not be collected.
        # While the provider is asked what became of an attempt. Not in the state: it ends with the run.
        self.doubt: Doubt | None = None
        self.on_doubt: Callable[[], None] = lambda: None
        self.shows_less = False  # Operators see what was before, until the attributes are shown.
        super().__init__()

    def _clear(self) -> None:
        super()._clear()
        self._invoices: dict[UUID, InvoiceProjection] = {}
        self._credits: list[CreditProjection] = []
        self._refunds: list[RefundProjection] = []

    @property
    def is_touched(self) -> bool:
        """Something is still to be written."""
        return self._touched

    @property
    def over(self) -> bool:
        return self.state.status in TERMINAL_STATUSES

    def next_moment(self) -> Moment | None:
        return next_moment(self.terms, self.state)

    def id_for(self, name: str, at: datetime | None = None) -> UUID:
        """An id that is the same whenever the same thing is heard of again; `at` is when it began
        (by default when the subscription did)."""
        began = at or self.state.created_at or workflow.now()
        return derived_id(self.terms.subscription_id, name, began)

    def set_doubt(self, provider: ProviderName | None) -> None:
        """Say whom a lost answer is being asked of; None once it is known."""
        self.doubt = Doubt(provider, workflow.now()) if provider is not None else None
        self.on_doubt()

    def show_attributes(self) -> None:
        """Have operators see what changed. A run that is followed by another leaves it to that one, which
        is given its attributes for nothing: here they are an action, and a write of the server's."""
        if self.shows_less:
            self.shows_less = False
            changed = moved_attributes(self.terms, self.state, self.next_moment())
            workflow.upsert_search_attributes(changed)

    def _told_of(self) -> dict[str, str]:
        return {
            "subscription_id": str(self.terms.subscription_id),
            "organization_id": str(self.terms.organization_id),
            "status": str(self.state.status),
        }

    # What changed -----------------------------------------------------------------------------

    def move(self, event: SubscriptionEvent, actor: str = ENGINE_ACTOR, **data: Any) -> bool:
        """Change the status by the table; a move that the table lacks is a stale event, not ours. `data`
        goes with what the app is told."""
        before = self.state.status
        if not may(before, event):
            workflow.logger.info("ignored %s while %s", event, before)
            return False
        after = next_status(before, event)
        self.touch()
        if after is before:
            return True
        self.state.status = after
        now = workflow.now()
        self.state.past_due_since = now if after is SubscriptionStatus.PAST_DUE else None
        self.state.paused_at = now if after is SubscriptionStatus.PAUSED else None
        if after is SubscriptionStatus.CANCELED:
            self.state.canceled_at = now
        self.audit(actor, str(event), {"status": before}, {"status": after})
        self.emit(OUTBOUND_BY_STATUS[after], **data)
        self.shows_less = True
        return True

    def change_terms(
        self, offer: Offer, actor: str, policy: BillingPolicy | None = None, **data: Any
    ) -> None:
        """The subscription is for another plan, interval or quantity from this moment on."""
        before, after = (
            one.model_dump(mode="json", exclude={"plan_name"}) for one in (self.terms.offer, offer)
        )
        self.terms = self.terms.with_offer(offer, policy)
        self.audit(actor, "change", before, after)
        self.emit("subscription.changed", before=before, after=after, **data)
        self.shows_less = True

    def invoice_credit(self, amount_minor: int, reason: str, invoice_id: UUID) -> None:
        """Credit that an invoice gives, or takes (negative); nothing is no entry."""
        if amount_minor:
            self.credit(amount_minor, self.terms.currency, reason, invoice_id=invoice_id)

    def invoice_row(
        self, invoice: OpenInvoice, status: InvoiceStatus, **changes: Any
    ) -> InvoiceProjection:
        """The invoice's row as it is now."""
        return InvoiceProjection(
            id=invoice.invoice_id,
            provider=self.state.provider,
            provider_invoice_id=invoice.provider_invoice_id,
            amount_minor=invoice.amount_minor,
            currency=invoice.currency,
            amount_paid_minor=invoice.amount_paid_minor,
            status=str(status),
            period_start=invoice.period_start,
            period_end=invoice.period_end,
            invoice_date=invoice.created_at,
            due_date=invoice.due_at,
            lines=invoice.lines,
            **changes,
        )

    def invoice(self, invoice: OpenInvoice, status: InvoiceStatus, **changes: Any) -> None:
        """Put the invoice's row into the batch. One that will not be paid gives back its credit."""
        if status in {InvoiceStatus.VOID, InvoiceStatus.FAILED}:
            reserved, invoice.credit_change_minor = invoice.credit_change_minor, 0
            self.invoice_credit(-reserved, "invoice_given_up", invoice.invoice_id)
        self._invoices[invoice.invoice_id] = self.invoice_row(invoice, status, **changes)
        self.touch()

    def attempt(
        self,
        attempt_id: UUID,
        invoice: OpenInvoice,
        outcome: OutcomeClass,
        *,
        provider: ProviderName,
        reason: str | None = None,
        provider_object_id: str | None = None,
    ) -> None:
        now = workflow.now()
        self._attempts.append(
            AttemptProjection(
                id=attempt_id,
                invoice_id=invoice.invoice_id,
                provider=provider,
                instrument=self.terms.instrument,
                amount_minor=invoice.amount_minor,
                currency=invoice.currency,
                outcome=outcome,
                reason=reason,
                provider_object_id=provider_object_id,
                started_at=now,
                finished_at=None if outcome is OutcomeClass.PENDING else now,
            )
        )
        self.touch()

    def payments(
        self,
        invoice_id: UUID,
        attempt_id: UUID | None,
        provider: ProviderName,
        settlement: Settlement,
        invoice_status: str | None = None,
    ) -> None:
        """Write every movement of money into the ledger; what pays nothing is told as unapplied.
        `invoice_status`: of an invoice that this workflow has settled and forgotten."""
        for capture, applied_minor in settlement.applied:
            id_ = self._payment(invoice_id, attempt_id, provider, capture, applied_minor)
            if capture.amount_minor > applied_minor:
                spare = SpareMoney(invoice_id, id_, provider, capture, applied_minor)
                self._deal_with_spare(spare, invoice_status)

    def _deal_with_spare(self, spare: SpareMoney, invoice_status: str | None) -> None:
        """Money that pays nothing is told, and goes where its rule says."""
        case, action = rule_for(
            self.terms, self.state, spare.capture, spare.applied_minor, invoice_status
        )
        told = {"invoice_id": str(spare.invoice_id), "case": str(case), "action": str(action)}
        self.audit(
            f"provider:{spare.provider}",
            "payment.unapplied",
            {},
            {**told, "unapplied_minor": spare.amount_minor},
        )
        self.emit(
            "payment.unapplied",
            **told,
            payment_id=str(spare.payment_id),
            amount_minor=spare.amount_minor,
            currency=spare.capture.currency,
        )
        if action is MoneyAction.CREDIT:
            currency = spare.capture.currency
            self.credit(spare.amount_minor, currency, str(case), payment_id=spare.payment_id)
        elif action is MoneyAction.REFUND:
            # Its row is all: whoever starts what waits (`api.starter`) starts its workflow too.
            self._refunds.append(spare.refund(workflow.uuid7(), str(case)))
            self.touch()

    def credit(
        self,
        amount_minor: int,
        currency: str,
        reason: str,
        *,
        id: UUID | None = None,
        invoice_id: UUID | None = None,
        payment_id: UUID | None = None,
    ) -> None:
        """An entry of the credit ledger: + is given, - pays an invoice."""
        self.state.credit_minor += amount_minor
        self._credits.append(
            CreditProjection(
                id=id or workflow.uuid7(),
                amount_minor=amount_minor,
                currency=currency,
                reason=reason,
                invoice_id=invoice_id,
                payment_id=payment_id,
            )
        )
        self.touch()

    def _payment(
        self,
        invoice_id: UUID,
        attempt_id: UUID | None,
        provider: ProviderName | None,
        capture: Capture,
        applied_minor: int,
        kind: str = CAPTURE,
    ) -> UUID:
        counted = [*self.state.counted_charge_ids, capture.provider_charge_id]
        self.state.counted_charge_ids = counted[-COUNTED_CHARGE_IDS_MAX:]
        return super()._payment(invoice_id, attempt_id, provider, capture, applied_minor, kind)

    def outside_payment(self, invoice_id: UUID, capture: Capture) -> None:
        """Write down money that no provider saw: in our ledger, in no provider's book."""
        self._payment(invoice_id, None, None, capture, capture.amount_minor, OUT_OF_BAND)

    def uncounted(self, captures: Sequence[Capture]) -> list[Capture]:
        """Those that this workflow has not booked yet."""
        counted = set(self.state.counted_charge_ids)
        return [capture for capture in captures if capture.provider_charge_id not in counted]

    def acknowledge(self, event_ids: Sequence[UUID], disposition: str) -> None:
        super().acknowledge(event_ids, disposition)
        kept = [*self.state.applied_event_ids, *event_ids]
        self.state.applied_event_ids = kept[-APPLIED_EVENT_IDS_MAX:]

    def close_attempt(self, invoice: OpenInvoice, result: AttemptResult) -> None:
        """The invoice's open attempt came to its end."""
        self.attempt(
            result.attempt_id,
            invoice,
            result.outcome,
            provider=result.provider,
            reason=result.reason,
            provider_object_id=result.provider_object_id,
        )
        if invoice.attempt_id == result.attempt_id:
            invoice.attempt_id = invoice.ends_at = None

    def drop_open_attempt(self, invoice: OpenInvoice, reason: str) -> None:
        """Close an attempt that waits for a customer whose time is up."""
        if invoice.attempt_id is not None and self.state.provider is not None:
            self.attempt(
                invoice.attempt_id,
                invoice,
                OutcomeClass.DECLINED,
                provider=self.state.provider,
                reason=reason,
            )
            invoice.attempt_id = invoice.ends_at = None

    def refused(self, reason: str) -> None:
        """The provider refuses what the engine has to know or do: no reason to end, and none to go on."""
        if self.state.refused_at is None:
            self.audit(ENGINE_ACTOR, "provider.refused", {}, {"reason": reason})
        self.state.refused_at = workflow.now()
        self.touch()

    def answered(self) -> None:
        """The provider does what it is asked."""
        if self.state.refused_at is not None:
            self.state.refused_at = None
            self.audit(ENGINE_ACTOR, "provider.answered", {}, {})

    # Committing ------------------------------------------------------------------------------

    async def commit(self) -> None:
        """Write what changed as the next version; does nothing when nothing did."""
        if not self._touched:
            return
        self.state.version += 1
        self.state.access_until = access_until(
            self.terms.policy, self.state, paid_until(self.state), workflow.now()
        )
        batch = ProjectionBatch(
            application_id=self.terms.application_id,
            organization_id=self.terms.organization_id,
            subscription=subscription_row(self.terms, self.state),
            invoices=list(self._invoices.values()),
            attempts=self._attempts,
            payments=self._payments,
            fallbacks=self._fallbacks,
            audit=self._audit,
            outbound=self._outbound,
            reminders=self._reminders(),
            applied_events=self._applied,
            credits=self._credits,
            refunds=self._refunds,
            recorded_at=workflow.now(),
        )
        self._clear()
        await call_record(batch)
        workflow.logger.info("%s, version %s", self.state.status, self.state.version)

    def _reminders(self) -> list[ReminderProjection]:
        """One for each period, written when the period is known."""
        end, due_at = self.state.current_period_end, reminder_at(self.terms, self.state)
        if due_at is None or end is None or self.state.reminded_for == end:
            return []
        self.state.reminded_for = end
        trial = self.state.status is SubscriptionStatus.TRIALING
        if due_at <= workflow.now() and not trial:
            return []
        id_ = self.id_for(f"renewal#{end.isoformat()}", due_at)
        kind = ReminderKind.TRIAL_END if trial else ReminderKind.RENEWAL
        return [ReminderProjection(id=id_, kind=kind, due_at=due_at, valid_for=end)]


def paid_at(now: datetime, captures: Sequence[Capture]) -> datetime:
    """When the money came in, as far as the provider says; never in the future."""
    return min([now, *(capture.captured_at for capture in captures)])
