"""Stripe's row of the capability matrix."""

from __future__ import annotations

from providers.protocol import Capabilities, Capability
from providers.refusals import NO_BENEFITS

CAPABILITIES = Capabilities(
    supports=frozenset(set(Capability) - {Capability.CASH_REFUND, Capability.BENEFIT}),
    currencies=None,
    refusals={
        Capability.CASH_REFUND: "Stripe cannot return cash that was paid at an OXXO counter.",
        Capability.BENEFIT: NO_BENEFITS,
    },
)
