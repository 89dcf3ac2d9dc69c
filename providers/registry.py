"""The providers that this process can talk to. One without a key is simply not there."""

from __future__ import annotations

from collections.abc import Mapping

from models.outcomes import Instrument, ProviderName
from models.routing import ProviderAbility, TransactionType
from providers.capabilities import Capability
from providers.protocol import PaymentProvider

# What a provider must be able to do to collect an instrument for a subscription.
CAPABILITY_BY_INSTRUMENT: dict[Instrument, Capability] = {
    Instrument.CARD: Capability.CARD_SUBSCRIPTION,
    Instrument.OXXO: Capability.CASH_VOUCHER,
    Instrument.SPEI: Capability.BANK_TRANSFER,
}
# A purchase is paid on a page of the provider's; what can be used there is the page's business.
CAPABILITY_FOR_PURCHASE: dict[Instrument, Capability] = {
    Instrument.CHECKOUT: Capability.HOSTED_CHECKOUT,
}


class ProviderRegistry:
    """Looks providers up by name and tells routing what each can do."""

    def __init__(self, providers: Mapping[ProviderName, PaymentProvider]) -> None:
        self._providers = dict(providers)

    def get(self, name: ProviderName) -> PaymentProvider | None:
        """The adapter, or None when this provider has no key here."""
        return self._providers.get(name)

    def names(self) -> list[ProviderName]:
        return list(self._providers)

    def abilities(
        self, transaction_type: TransactionType = TransactionType.SUBSCRIPTION
    ) -> dict[ProviderName, ProviderAbility]:
        """What each provider can collect for this kind of transaction, for the routing rules."""
        needed = CAPABILITY_BY_INSTRUMENT
        if transaction_type is TransactionType.PURCHASE:
            needed = CAPABILITY_FOR_PURCHASE
        return {name: _ability(self._providers.get(name), needed) for name in ProviderName}

    async def load(self) -> None:
        """For a process that will make calls, before a caller waits for one."""
        for provider in self._providers.values():
            await provider.load()

    async def aclose(self) -> None:
        for provider in self._providers.values():
            await provider.aclose()


def _ability(
    provider: PaymentProvider | None, needed: Mapping[Instrument, Capability]
) -> ProviderAbility:
    if provider is None:
        return ProviderAbility(configured=False, instruments=frozenset())
    supports = provider.capabilities.supports
    return ProviderAbility(
        configured=True,
        instruments=frozenset(
            instrument for instrument, capability in needed.items() if capability in supports
        ),
        currencies=provider.capabilities.currencies,
    )
