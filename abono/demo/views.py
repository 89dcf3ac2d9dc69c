"""What the demo reads of the answers, as an application of somebody else would: by the contract alone."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict


class _View(BaseModel):
    """More fields than these may come; they are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Plan(_View):
    id: str
    name: str


class Organization(_View):
    id: str
    name: str
    time_zone: str


class PaymentMethod(_View):
    id: str
    status: str
    brand: str | None = None
    last4: str | None = None


class Voucher(_View):
    network: str
    reference: str
    barcode_url: str | None = None


class NextAction(_View):
    """`vouchers` or `clabe` is filled, by `type`."""

    type: str
    vouchers: list[Voucher] = []
    clabe: str | None = None
    bank: str | None = None
    amount_minor: int = 0
    currency: str = "MXN"
    expires_at: datetime | None = None

    @property
    def reference(self) -> str | None:
        """What is paid with, at the till or by transfer."""
        return self.vouchers[0].reference if self.vouchers else self.clabe


class Fallback(_View):
    attempted_provider: str
    fallback_provider: str
    reason: str

    def told(self) -> str:
        return f"{self.attempted_provider} → {self.fallback_provider}: {self.reason}"


class Subscription(_View):
    id: str
    organization_id: str
    status: str
    provider: str | None
    provider_subscription_id: str | None
    amount_minor: int
    currency: str
    current_period_start: datetime | None
    current_period_end: datetime | None
    access_until: datetime | None
    next_action: NextAction | None
    fallback: Fallback | None
    workflow_id: str

    @property
    def reference(self) -> str | None:
        return self.next_action.reference if self.next_action else None

    def summary(self) -> str:
        """Its state in a line, for a message about what was found instead."""
        waiting = f", waiting for {self.next_action.type}" if self.next_action else ""
        paid = f", period until {self.current_period_end}" if self.current_period_end else ""
        return f"{self.status} at {self.provider or 'no provider yet'}{waiting}{paid}"


class Breaker(_View):
    state: str
    failures: int
    last_reason: str | None


class Provider(_View):
    name: str
    breakers: list[Breaker]


class Payment(_View):
    kind: str
    amount_minor: int
    currency: str


class Invoice(_View):
    id: str
    status: str
    amount_minor: int
    amount_paid_minor: int
    amount_refunded_minor: int
    currency: str
    payments: list[Payment] = []


class Movement(_View):
    """One line of the book in which the sandbox writes what the simulated providers moved."""

    provider: str
    id: str
    kind: str
    amount_minor: int
    currency: str
    status: str
    reference: str | None = None
    subscription_id: str | None = None
    invoice_id: str | None = None
