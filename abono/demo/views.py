"""What the demo reads of the answers: the client's own types, and what it tells of them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from abono_client.models import PayTransfer, PayVoucher, SubscriptionView


class Subscription(SubscriptionView):
    @property
    def reference(self) -> str | None:
        """What is paid with, at the till or by transfer."""
        action = self.next_action
        if isinstance(action, PayVoucher):
            return action.vouchers[0].reference
        return action.clabe if isinstance(action, PayTransfer) else None

    def summary(self) -> str:
        """Its state in a line, for a message about what was found instead."""
        waiting = f", waiting for {self.next_action.type}" if self.next_action else ""
        paid = f", period until {self.current_period_end}" if self.current_period_end else ""
        return f"{self.status} at {self.provider or 'no provider yet'}{waiting}{paid}"


class Payment(BaseModel):
    kind: str
    amount_minor: int
    currency: str


class Invoice(BaseModel):
    """As much of it as the books need."""

    id: str
    status: str
    amount_minor: int
    amount_paid_minor: int
    amount_refunded_minor: int
    currency: str
    payments: list[Payment] = []


class Movement(BaseModel):
    """One line of the book in which the sandbox writes what the simulated providers moved."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    provider: str
    id: str
    kind: str
    amount_minor: int
    currency: str
    status: str
    reference: str | None = None
    subscription_id: str | None = None
    invoice_id: str | None = None
