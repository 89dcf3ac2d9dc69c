"""What came of a try at collecting money, in words that every provider shares."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

# The one account at each provider that an installation has today; rows name it, so that there can be more.
DEFAULT_ACCOUNT = "default"


class ProviderName(StrEnum):
    STRIPE = "stripe"
    CONEKTA = "conekta"
    POLAR = "polar"


class Instrument(StrEnum):
    """How the customer pays."""

    CARD = "card"
    OXXO = "oxxo"
    SPEI = "spei"
    CHECKOUT = "checkout"  # A page that the provider hosts: the customer chooses there.


# What the customer pays each time anew, on a slip or a page. The rest a stored instrument pays by itself.
PAID_BY_HAND = frozenset({Instrument.OXXO, Instrument.SPEI, Instrument.CHECKOUT})


class OutcomeClass(StrEnum):
    """The one idea that prevents double charging: *unknown* is its own answer."""

    SUCCEEDED = "succeeded"
    DECLINED = "declined"  # A definite no, or a voucher that closed without money.
    NOT_ATTEMPTED = "not_attempted"  # Known not to have charged: another try is safe, anywhere.
    PENDING = "pending"  # Waiting for the customer: voucher, transfer, 3-D Secure.
    UNKNOWN = "unknown"  # May have happened: nothing new starts until the provider was asked.


# From these an invoice must not get another attempt (invariant 1); a partial unique index says the same.
OPEN_OUTCOMES = frozenset({OutcomeClass.UNKNOWN, OutcomeClass.PENDING})

# A late truth may still arrive for a closed attempt (cash paid after expiry), so closed outcomes may
# become `succeeded`; nothing that succeeded ever becomes anything else.
OUTCOME_TRANSITIONS: dict[OutcomeClass, frozenset[OutcomeClass]] = {
    OutcomeClass.UNKNOWN: frozenset(OutcomeClass),
    OutcomeClass.PENDING: frozenset(
        {OutcomeClass.PENDING, OutcomeClass.SUCCEEDED, OutcomeClass.DECLINED}
    ),
    OutcomeClass.DECLINED: frozenset({OutcomeClass.DECLINED, OutcomeClass.SUCCEEDED}),
    OutcomeClass.NOT_ATTEMPTED: frozenset({OutcomeClass.NOT_ATTEMPTED, OutcomeClass.SUCCEEDED}),
    OutcomeClass.SUCCEEDED: frozenset({OutcomeClass.SUCCEEDED}),
}


class FallbackReason(StrEnum):
    PROVIDER_NOT_CONFIGURED = "provider_not_configured"
    API_ERROR = "api_error"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"


class DeclineClass(StrEnum):
    SOFT = "soft"  # Worth another try later: no funds today, issuer away.
    HARD = "hard"  # Never retried: stolen, closed, revoked.
    CUSTOMER_ACTION = "customer_action"  # Needs the customer: 3-D Secure, expired card.
    TECHNICAL = "technical"  # Nobody decided: an issuer or a network was out of order.


class Voucher(BaseModel):
    """One slip that the customer can pay; several slips of one payment are alternatives."""

    model_config = ConfigDict(frozen=True)

    network: str  # As the provider names it, for the screen; never to branch on.
    reference: str  # Up to 20 digits: longer than an int64.
    barcode_url: str | None = None
    agreement: str | None = None  # A cash machine of a bank asks for it beside the reference.
    instructions_url: str | None = None


class PayVoucher(BaseModel):
    model_config = ConfigDict(frozen=True)

    type: Literal["pay_voucher"] = "pay_voucher"
    instrument: Instrument = Instrument.OXXO
    vouchers: list[Voucher]
    amount_minor: int
    currency: str
    expires_at: AwareDatetime


class PayTransfer(BaseModel):
    model_config = ConfigDict(frozen=True)

    type: Literal["pay_transfer"] = "pay_transfer"
    instrument: Instrument = Instrument.SPEI
    clabe: str
    bank: str
    amount_minor: int
    currency: str
    expires_at: AwareDatetime


class Redirect(BaseModel):
    model_config = ConfigDict(frozen=True)

    type: Literal["redirect"] = "redirect"
    url: str
    expires_at: AwareDatetime | None = None


class ConfirmPayment(BaseModel):
    """The customer finishes in the browser. The client secret is meant for that browser alone."""

    model_config = ConfigDict(frozen=True)

    type: Literal["confirm_payment"] = "confirm_payment"
    provider: ProviderName
    client_secret: str


NextAction = Annotated[
    PayVoucher | PayTransfer | Redirect | ConfirmPayment, Field(discriminator="type")
]
