"""Stripe's row of the capability matrix."""

from __future__ import annotations

from providers.capabilities import Capabilities, Capability
from providers.refusals import NO_BENEFITS

NO_CASH_REFUND = (
    "Stripe cannot return cash that was paid at a counter: credit it, or pay it back by transfer"
)

CAPABILITIES = Capabilities(
    supports=frozenset(set(Capability) - {Capability.CASH_REFUND, Capability.BENEFIT}),
    currencies=None,
    refusals={
        Capability.CASH_REFUND: NO_CASH_REFUND,
        Capability.BENEFIT: NO_BENEFITS,
    },
    notes={
        Capability.CASH_VOUCHER: "OXXO for MXN; a voucher lives for whole days, seven at most",
        Capability.BANK_TRANSFER: (
            "SPEI for MXN; the CLABE stays with the customer and never expires, so the engine keeps the "
            "deadline"
        ),
        Capability.CHANGE_INTERVAL_LATER: (
            "by a subscription schedule, which Stripe lets go of after the first period of the new price"
        ),
        Capability.PAUSE: "Stripe's own pause, without credit for what is left of the period",
        Capability.HOSTED_CHECKOUT: "Stripe Checkout, open for 30 minutes to 24 hours",
    },
)
