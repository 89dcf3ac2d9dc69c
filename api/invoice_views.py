"""Bills, the tries at collecting them, the money that came and the money that was taken back."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from api.responses import View, with_example
from models.plan_change import InvoiceLine

PaymentKind = Literal[
    "capture", "out_of_band", "refund", "refund_reversal", "dispute", "dispute_reversal"
]


class AttemptView(View):
    """`outcome`: succeeded, declined, not_attempted, pending, or unknown (being found out)."""

    id: UUID
    provider: str
    instrument: str
    amount_minor: int
    currency: str
    outcome: str
    reason: str | None
    provider_object_id: str | None
    started_at: datetime
    finished_at: datetime | None


class PaymentView(View):
    """`kind`: capture, refund, refund_reversal, dispute, dispute_reversal, or out_of_band (an operator's
    booking: `provider` is null). What `applied_minor` leaves of `amount_minor` is unapplied money."""

    id: UUID
    attempt_id: UUID | None
    provider: str | None
    provider_charge_id: str
    kind: str
    amount_minor: int
    applied_minor: int
    currency: str
    occurred_at: datetime


class BookedPaymentView(PaymentView):
    """A payment by itself, with what it was for."""

    invoice_id: UUID
    subscription_id: UUID | None
    purchase_id: UUID | None


class InvoiceView(View):
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
    period_start: datetime | None
    period_end: datetime | None
    invoice_date: datetime
    due_date: datetime
    paid_at: datetime | None
    lines: list[InvoiceLine]
    hosted_invoice_url: str | None
    invoice_pdf: str | None


class DisputeView(View):
    """`status`: open, won or lost. While it is open, and when it is lost, its money is a payment of the kind
    `dispute` at the invoice; won, there is one of the kind `dispute_reversal` beside it. `evidence_due_at`:
    until when the provider takes evidence, in its own panel."""

    model_config = with_example(
        id="01890a5d-ac96-774b-bcce-b302099a8070",
        organization_id="01890a5d-ac96-774b-bcce-b302099a8057",
        subscription_id="01890a5d-ac96-774b-bcce-b302099a8060",
        purchase_id=None,
        invoice_id="01890a5d-ac96-774b-bcce-b302099a8061",
        payment_id="01890a5d-ac96-774b-bcce-b302099a8062",
        provider="stripe",
        provider_dispute_id="du_1QAbCdEf",
        amount_minor=1900,
        currency="USD",
        reason="fraudulent",
        status="open",
        evidence_due_at="2026-12-01T18:00:00Z",
        opened_at="2026-11-22T18:00:00Z",
        closed_at=None,
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
    evidence_due_at: datetime | None
    opened_at: datetime
    closed_at: datetime | None


class InvoiceWithMoney(InvoiceView):
    attempts: list[AttemptView]
    payments: list[PaymentView]
    disputes: list[DisputeView]
