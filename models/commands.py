"""What the API may tell a workflow, and what it hears back. Commands are Temporal Updates."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from models.billing_policy import BillingPolicy
from models.events import ProviderEvent
from models.outcomes import Instrument, ProviderName
from models.plan_change import Offer, Proration
from models.purchase import PurchaseStatus, PurchaseTerms
from models.snapshots import DisputeSnapshot, DisputeStatus
from models.states import SubscriptionStatus
from models.subscription import SubscriptionState, SubscriptionTerms

# Names on the wire, fixed: histories and callers refer to them.
TASK_QUEUE = "abono"
PROVIDER_TASK_QUEUES: dict[ProviderName, str] = {
    provider: f"{TASK_QUEUE}-{provider}" for provider in ProviderName
}


def subscription_workflow_id(subscription_id: UUID) -> str:
    return f"subscription/{subscription_id}"


def purchase_workflow_id(purchase_id: UUID) -> str:
    return f"purchase/{purchase_id}"


def payment_workflow_id(attempt_id: UUID) -> str:
    return f"payment/{attempt_id}"


def resolve_workflow_id(attempt_id: UUID) -> str:
    return f"resolve/{attempt_id}"


def dispute_workflow_id(id_: UUID) -> str:
    """Of an inbox row, or of the dispute that is to be accepted."""
    return f"dispute/{id_}"


def payment_method_workflow_id(payment_method_id: UUID) -> str:
    return f"payment-method/{payment_method_id}"


def detach_workflow_id(payment_method_id: UUID) -> str:
    return f"payment-method/{payment_method_id}/detach"


def benefit_workflow_id(organization_id: UUID, benefit_id: UUID) -> str:
    return f"benefit/{organization_id}/{benefit_id}"


def late_workflow_id(inbox_id: UUID) -> str:
    return f"late/{inbox_id}"


def refund_workflow_id(refund_id: UUID) -> str:
    return f"refund/{refund_id}"


class SubscriptionInput(BaseModel):
    """The argument of SubscriptionWorkflow, at its start and at every continue-as-new."""

    terms: SubscriptionTerms
    state: SubscriptionState = SubscriptionState()


class PurchaseInput(BaseModel):
    """The argument of PurchaseWorkflow."""

    terms: PurchaseTerms


class Command(BaseModel):
    """`actor` is who asked (`key:<prefix>`, `operator:<name>`), for the audit log."""

    model_config = ConfigDict(frozen=True)

    actor: str


class Open(Command):
    """Update `open`: returns when the first step is known, or leaves it running."""


class Cancel(Command):
    """Update `cancel`."""

    immediately: bool = False


class PauseAt(StrEnum):
    NOW = "now"
    PERIOD_END = "period_end"


class Pause(Command):
    """Update `pause`: bill nothing from now on. Repeated, it sets `resume_at` anew (None: not by itself)."""

    at: PauseAt = PauseAt.NOW
    resume_at: AwareDatetime | None = None


class Resume(Command):
    """Update `resume`: whatever keeps the subscription from going on is taken back."""


class SetPaymentMethod(Command):
    """Update `set_payment_method`: the stored card that pays from now on."""

    payment_method_id: UUID


class RetryPayment(Command):
    """Update `retry_payment`: charge the open invoice now, optionally with another stored card."""

    payment_method_id: UUID | None = None


class CreditUnapplied(Command):
    """Update `credit`: turn unapplied money of one capture into credit for coming invoices."""

    credit_id: UUID
    payment_id: UUID
    amount_minor: int
    currency: str


class ChangePlan(Command):
    """Update `change` and query `preview_change`: sell `offer` from now on, or from the next period.

    `at` is the instant that the difference is computed for, as a preview named it; None is now.
    `policy` is the new plan's; None: the plan stays, and so does what was agreed with it.
    """

    offer: Offer
    policy: BillingPolicy | None = None
    proration: Proration = Proration.PRORATE
    at: AwareDatetime | None = None


class CommandResult(BaseModel):
    """`settled` is false while a provider has not answered yet: the API says 202 then."""

    status: SubscriptionStatus | PurchaseStatus
    settled: bool
    detail: str | None = None


class DisputeInput(BaseModel):
    """The argument of DisputeWorkflow. `accept`: do not contest it, as an operator asked; otherwise it is
    only followed. `event_id` is the inbox row that told of it."""

    seen: DisputeSnapshot
    account: str
    event_id: UUID | None = None
    accept: bool = False


class DisputeNews(BaseModel):
    """Signal `dispute_changed`, and the result of DisputeWorkflow: the dispute as our books have it now.
    `refusal` says why the provider would not do what was asked."""

    dispute_id: UUID | None = None
    subscription_id: UUID | None = None
    status: DisputeStatus = DisputeStatus.OPEN
    refusal: str | None = None


class InboxEvent(BaseModel):
    """A provider event with the id of its inbox row: the acknowledgement goes to that row."""

    id: UUID
    event: ProviderEvent


class ProviderEvents(BaseModel):
    """Signal `provider_events`: everything that is due for one workflow, in the order received."""

    events: list[InboxEvent]


class AddPaymentMethodInput(BaseModel):
    """The argument of PaymentMethodWorkflow. The browser's token is not in it: it waits in the row's
    `setup_token` until the provider has taken it, so that no history ever holds it."""

    payment_method_id: UUID
    application_id: UUID
    organization_id: UUID
    provider: ProviderName
    type: Instrument
    set_as_default: bool = False


class PaymentMethodResult(BaseModel):
    """`status`: active | failed. `failure_code` and `failure_message` are fit for the customer."""

    status: str
    failure_code: str | None = None
    failure_message: str | None = None


class DetachPaymentMethodInput(BaseModel):
    """The argument of DetachPaymentMethodWorkflow."""

    payment_method_id: UUID
    application_id: UUID
    organization_id: UUID
    provider: ProviderName


class DetachPaymentMethodResult(BaseModel):
    """`status`: detached, in_use (nothing was detached: `subscription_ids` are charged with it) or failed
    (`failure_code` says why). When another method took over, `replaced_by` is it and
    `subscription_ids` are those that it will pay for."""

    status: str
    subscription_ids: list[UUID] = []
    replaced_by: UUID | None = None
    failure_code: str | None = None


class BenefitChange(Command):
    """Update `change` of BenefitWorkflow: give the benefit, or take it away. `change_id` is its update id
    too."""

    change_id: UUID
    application_id: UUID
    organization_id: UUID
    benefit_id: UUID
    provider: ProviderName
    granted: bool


class BenefitResult(BaseModel):
    """`refusal` says why nothing changed: granted_by_purchase, not_granted, provider_not_configured, or
    refused by the provider, whose word on it is `detail`."""

    refusal: str | None = None
    detail: str | None = None


class RefundInput(BaseModel):
    """The argument of RefundWorkflow; everything else stands in the refund's row."""

    refund_id: UUID
    provider: ProviderName


class RefundResult(BaseModel):
    """`status`: pending (the provider has it and has not paid it out yet), succeeded or failed."""

    status: str
    failure_code: str | None = None
