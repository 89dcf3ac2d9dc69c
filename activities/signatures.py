"""The activities as workflows see them: names and types, no code behind them.

Provider calls run on the queue of their provider, one remote activity each. Local activities run
inside the workflow's own worker: database writes, one transaction per step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict
from temporalio import activity

from models.commands import (
    AddPaymentMethodInput,
    BenefitChange,
    BenefitResult,
    CreditUnapplied,
    DetachPaymentMethodInput,
    DetachPaymentMethodResult,
    DisputeInput,
    DisputeNews,
    InboxEvent,
    PaymentMethodResult,
    RefundInput,
    RefundResult,
)
from models.outcomes import FallbackReason, Instrument, NextAction, OutcomeClass, ProviderName
from models.projections import AppliedEvent, InvoiceProjection, ProjectionBatch
from models.purchase import PurchaseBatch, PurchaseStatus, Terms
from models.routing import RoutingDecision
from models.snapshots import (
    Decline,
    DisputeSnapshot,
    InvoiceSnapshot,
    PaymentSnapshot,
    SubscriptionSnapshot,
)
from models.subscription import SubscriptionTerms


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True)


class AttemptRequest(_Message):
    """One try at one invoice: what the ledger has to say before the provider is called."""

    attempt_id: UUID
    provider: ProviderName
    terms: Terms
    invoice: InvoiceProjection
    started_at: AwareDatetime
    payment_method_id: UUID | None = None


class IssuePayment(AttemptRequest):
    """Make a voucher, a transfer or a page that the customer can pay until `expires_at`."""

    expires_at: AwareDatetime
    remind_at: AwareDatetime | None = None
    expiry_grace_seconds: int
    # Whether the parent has a caller to answer as soon as there is something to pay.
    somebody_waits: bool = True


class OpenProviderSubscription(AttemptRequest):
    terms: SubscriptionTerms
    trial_end: AwareDatetime | None = None


class RetryInvoice(AttemptRequest):
    terms: SubscriptionTerms
    provider_invoice_id: str
    provider_customer_id: str | None = None


class CollectChange(AttemptRequest):
    """Charge what a change of the plan costs: the invoice's own lines. `terms` are those that hold
    until it is paid."""

    terms: SubscriptionTerms
    provider_customer_id: str


class ChangeProviderSubscription(_Message):
    """Make the provider's subscription what `terms` say; repeated until it is. `restart`: a new period
    begins, paid for already. `credit_minor` is taken off the next renewal."""

    provider: ProviderName
    change_id: UUID
    terms: SubscriptionTerms
    provider_customer_id: str
    provider_subscription_id: str
    restart: bool = False
    credit_minor: int = 0


class SettleAttempt(_Message):
    """Ask the provider what became of an attempt whose answer was lost: adopt it or undo it."""

    attempt_id: UUID
    provider: ProviderName


class AttemptResult(_Message):
    """What came of an attempt. The snapshots are the provider's truth at that moment."""

    attempt_id: UUID
    provider: ProviderName
    outcome: OutcomeClass
    reason: str | None = None
    fallback_reason: FallbackReason | None = None
    provider_object_id: str | None = None
    decline: Decline | None = None
    next_action: NextAction | None = None
    payment: PaymentSnapshot | None = None
    invoice: InvoiceSnapshot | None = None
    subscription: SubscriptionSnapshot | None = None


class PaymentReference(_Message):
    provider: ProviderName
    provider_payment_id: str


class SubscriptionReference(_Message):
    provider: ProviderName
    provider_customer_id: str
    provider_subscription_id: str
    at_period_end: bool = False


class ResumeReference(SubscriptionReference):
    """`resume_id` names this end of a pause, however often it is asked for."""

    new_period: bool
    resume_id: UUID


class ChangePaymentMethod(SubscriptionReference):
    """Charge the coming periods with another stored instrument."""

    terms: SubscriptionTerms
    payment_method_id: UUID


class PendingPaymentResult(_Message):
    """How a voucher or transfer ended, for the workflow that asked for it."""

    attempt: AttemptResult
    event_ids: list[UUID] = []


class ClosePaymentMethod(_Message):
    """Write down that a payment method could not be added."""

    request: AddPaymentMethodInput
    failure_code: str


class Acknowledgement(_Message):
    """Inbox rows that a workflow has dealt with, although nothing changed."""

    events: list[AppliedEvent]
    at: AwareDatetime


class AttemptQuestion(_Message):
    """By our id, or by what the provider calls the payment: not every event carries ours."""

    attempt_id: UUID | None = None
    provider: ProviderName | None = None
    provider_payment_id: str | None = None


class AttemptFacts(_Message):
    """What the ledgers know of an attempt: for money that arrives after its workflow has ended."""

    attempt_id: UUID
    invoice_id: UUID
    provider: ProviderName
    instrument: Instrument
    amount_minor: int
    currency: str
    started_at: AwareDatetime
    known_charge_ids: list[str]
    invoice_status: str | None = None


class MoneyNews(_Message):
    """What a provider tells of money that no workflow waits for: it went back, or it came after the end."""

    provider: ProviderName
    events: list[InboxEvent]
    at: AwareDatetime


class MoneyFollowed(_Message):
    """Refunds that a plan's rule asks for: written down, and still to be carried out."""

    refunds: list[RefundInput] = []


class CreditOrder(_Message):
    """Turn unapplied money into credit of this subscription, in the transaction that locks it."""

    subscription_id: UUID
    command: CreditUnapplied
    at: AwareDatetime


class NoteAction(_Message):
    """An audit entry of what an operator had done about an attempt. `id` is the entry's."""

    id: UUID
    attempt_id: UUID
    actor: str
    action: str
    after: dict[str, str | None]
    at: AwareDatetime


class CheckDeclaration(_Message):
    """An operator says that the attempt succeeded as this object of the provider."""

    attempt_id: UUID
    provider: ProviderName
    provider_object_id: str


class DeclarationCheck(_Message):
    """`result` when the object is this attempt's and was paid; otherwise `refusal` says why not."""

    result: AttemptResult | None = None
    refusal: str = ""


class RouteRequest(_Message):
    terms: Terms


class BenefitCheck(_Message):
    """Ask the provider which of a purchase's benefits have arrived by now."""

    application_id: UUID
    organization_id: UUID
    product_id: UUID
    provider: ProviderName


class PurchaseNews(_Message):
    """Something moved at this provider after the purchase had come to its end: `events`, or what was
    seen of `attempt_id` when it ended."""

    purchase_id: UUID
    provider: ProviderName
    events: list[InboxEvent] = []
    attempt_id: UUID | None = None
    at: AwareDatetime


class ProviderCalls(ABC):
    """Remote activities, on the queue of the provider that they name."""

    @activity.defn(name="issue_payment")
    @abstractmethod
    async def issue_payment(self, request: IssuePayment) -> AttemptResult: ...

    @activity.defn(name="open_provider_subscription")
    @abstractmethod
    async def open_provider_subscription(
        self, request: OpenProviderSubscription
    ) -> AttemptResult: ...

    @activity.defn(name="retry_invoice")
    @abstractmethod
    async def retry_invoice(self, request: RetryInvoice) -> AttemptResult: ...

    @activity.defn(name="settle_attempt")
    @abstractmethod
    async def settle_attempt(self, request: SettleAttempt) -> AttemptResult: ...

    @activity.defn(name="read_payment")
    @abstractmethod
    async def read_payment(self, reference: PaymentReference) -> PaymentSnapshot: ...

    @activity.defn(name="void_payment")
    @abstractmethod
    async def void_payment(self, reference: PaymentReference) -> PaymentSnapshot: ...

    @activity.defn(name="read_subscription")
    @abstractmethod
    async def read_subscription(self, reference: SubscriptionReference) -> SubscriptionSnapshot: ...

    @activity.defn(name="cancel_subscription")
    @abstractmethod
    async def cancel_subscription(
        self, reference: SubscriptionReference
    ) -> SubscriptionSnapshot: ...

    @activity.defn(name="keep_subscription")
    @abstractmethod
    async def keep_subscription(self, reference: SubscriptionReference) -> SubscriptionSnapshot: ...


class SubscriptionCalls(ABC):
    """Remote activities about a subscription that runs at its provider, on the same queues."""

    @activity.defn(name="pause_subscription")
    @abstractmethod
    async def pause_subscription(
        self, reference: SubscriptionReference
    ) -> SubscriptionSnapshot: ...

    @activity.defn(name="resume_subscription")
    @abstractmethod
    async def resume_subscription(self, reference: ResumeReference) -> SubscriptionSnapshot: ...

    @activity.defn(name="change_payment_method")
    @abstractmethod
    async def change_payment_method(self, change: ChangePaymentMethod) -> None: ...


class PlanChangeCalls(ABC):
    """Remote activities about the plan of a subscription, on the same queues."""

    @activity.defn(name="collect_change")
    @abstractmethod
    async def collect_change(self, request: CollectChange) -> AttemptResult: ...

    @activity.defn(name="change_provider_subscription")
    @abstractmethod
    async def change_provider_subscription(
        self, request: ChangeProviderSubscription
    ) -> SubscriptionSnapshot: ...


class PaymentMethodCalls(ABC):
    """Remote activities about stored instruments, on the same queues."""

    @activity.defn(name="add_payment_method")
    @abstractmethod
    async def add_payment_method(self, request: AddPaymentMethodInput) -> PaymentMethodResult: ...

    @activity.defn(name="close_payment_method")
    @abstractmethod
    async def close_payment_method(self, closing: ClosePaymentMethod) -> None: ...

    @activity.defn(name="release_payment_method")
    @abstractmethod
    async def release_payment_method(
        self, request: DetachPaymentMethodInput
    ) -> DetachPaymentMethodResult: ...

    @activity.defn(name="forget_payment_method")
    @abstractmethod
    async def forget_payment_method(self, request: DetachPaymentMethodInput) -> None: ...


class BenefitCalls(ABC):
    """Remote activities about what was bought, on the same queues."""

    @activity.defn(name="check_benefits")
    @abstractmethod
    async def check_benefits(self, check: BenefitCheck) -> int: ...

    @activity.defn(name="change_benefit")
    @abstractmethod
    async def change_benefit(self, change: BenefitChange) -> BenefitResult: ...


class PurchaseCalls(ABC):
    """Remote activities about the money of a purchase that has come to its end, on the same queues."""

    @activity.defn(name="follow_purchase")
    @abstractmethod
    async def follow_purchase(self, news: PurchaseNews) -> PurchaseStatus: ...


class OperatorRecords(ABC):
    """Local activities: what operators did."""

    @activity.defn(name="note_action")
    @abstractmethod
    async def note_action(self, note: NoteAction) -> None: ...


class OperatorCalls(ABC):
    """Remote activities that an operator asked for, on the queue of the provider that they name."""

    @activity.defn(name="check_declaration")
    @abstractmethod
    async def check_declaration(self, check: CheckDeclaration) -> DeclarationCheck: ...


class DisputeRecord(_Message):
    """Write down how a dispute stands."""

    seen: DisputeSnapshot
    account: str
    event_id: UUID | None = None
    at: AwareDatetime


class DisputeCalls(ABC):
    """Remote activities about disputes, on the queue of the provider that has them."""

    @activity.defn(name="read_dispute")
    @abstractmethod
    async def read_dispute(self, request: DisputeInput) -> DisputeSnapshot: ...

    @activity.defn(name="accept_dispute")
    @abstractmethod
    async def accept_dispute(self, request: DisputeInput) -> DisputeSnapshot: ...


class DisputeRecords(ABC):
    """What becomes of a dispute in our books."""

    @activity.defn(name="record_dispute")
    @abstractmethod
    async def record_dispute(self, record: DisputeRecord) -> DisputeNews | None: ...


class MoneyCalls(ABC):
    """Remote activities about money that goes back or came late, on the same queues."""

    @activity.defn(name="send_refund")
    @abstractmethod
    async def send_refund(self, order: RefundInput) -> RefundResult: ...

    @activity.defn(name="follow_money")
    @abstractmethod
    async def follow_money(self, news: MoneyNews) -> MoneyFollowed: ...


class CreditRecords(ABC):
    """Local activities about credit."""

    @activity.defn(name="credit_unapplied")
    @abstractmethod
    async def credit_unapplied(self, command: CreditOrder) -> int: ...


class Records(ABC):
    """Local activities: PostgreSQL only."""

    @activity.defn(name="record")
    @abstractmethod
    async def record(self, batch: ProjectionBatch) -> None: ...

    @activity.defn(name="record_purchase")
    @abstractmethod
    async def record_purchase(self, batch: PurchaseBatch) -> None: ...

    @activity.defn(name="choose_route")
    @abstractmethod
    async def choose_route(self, request: RouteRequest) -> RoutingDecision: ...


class InboxRecords(ABC):
    """Local activities: what becomes of events that change no subscription by themselves."""

    @activity.defn(name="acknowledge")
    @abstractmethod
    async def acknowledge(self, acknowledgement: Acknowledgement) -> None: ...

    @activity.defn(name="find_attempt")
    @abstractmethod
    async def find_attempt(self, question: AttemptQuestion) -> AttemptFacts | None: ...
