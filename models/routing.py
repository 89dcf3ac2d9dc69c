"""Which provider collects, decided from data: total, explained, and the same every time.

Order of rules: a forced provider (no fallback), a product purchase goes to Polar, Mexico goes to
Conekta, everyone else to Stripe; Stripe is everybody's fallback. A stored instrument is charged where
it is kept, also when its owner has moved since.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from models.outcomes import Instrument, ProviderName


class TransactionType(StrEnum):
    SUBSCRIPTION = "subscription"
    PURCHASE = "purchase"


class CountrySource(StrEnum):
    """How a country came to be known: what the customer said comes before any guess."""

    BILLING_ADDRESS = "billing_address"
    ORGANIZATION = "organization"
    DATABASE = "database"
    IPAPI = "ipapi.co"
    IP_API = "ip-api.com"


class Located(BaseModel):
    model_config = ConfigDict(frozen=True)

    country: str  # ISO 3166-1 alpha-2.
    source: CountrySource


# The universal fallback.
STAND_IN = ProviderName.STRIPE


class ProviderAbility(BaseModel):
    """What one provider can do here and now. `currencies` None means any."""

    model_config = ConfigDict(frozen=True)

    configured: bool
    instruments: frozenset[Instrument]
    currencies: frozenset[str] | None = None


class RoutingFacts(BaseModel):
    model_config = ConfigDict(frozen=True)

    transaction_type: TransactionType = TransactionType.SUBSCRIPTION
    country: str | None  # ISO 3166-1 alpha-2.
    instrument: Instrument
    currency: str
    force_provider: ProviderName | None = None
    # A stored instrument belongs to one provider: a card token means nothing to another. The stand-in
    # has a page of its own on which the customer types the card again.
    payment_method_provider: ProviderName | None = None
    abilities: dict[ProviderName, ProviderAbility]


class Refusal(BaseModel):
    model_config = ConfigDict(frozen=True)

    provider: ProviderName
    code: str  # provider_not_configured | instrument | currency | payment_method
    detail: str


class RoutingDecision(BaseModel):
    """`candidates` in the order in which they are asked; empty means that nobody can collect."""

    model_config = ConfigDict(frozen=True)

    rule: str
    preferred: ProviderName
    candidates: list[ProviderName]
    refusals: list[Refusal]

    @property
    def stands_in(self) -> bool:
        """Whether the first candidate collects because the preferred one is not configured here."""
        return bool(self.candidates) and any(
            refusal.provider is self.preferred and refusal.code == "provider_not_configured"
            for refusal in self.refusals
        )

    def audited(self) -> dict[str, object]:
        """What the audit log keeps of it."""
        return {
            "rule": self.rule,
            "candidates": [str(candidate) for candidate in self.candidates],
            "refused": {str(refusal.provider): refusal.code for refusal in self.refusals},
        }


def decide_route(facts: RoutingFacts) -> RoutingDecision:
    """Apply the rules to the facts. Never raises and never guesses: what is refused says why."""
    rule, order = _preference(facts)
    refusals = [refusal for provider in order if (refusal := _refuse(facts, provider)) is not None]
    refused = {refusal.provider for refusal in refusals}
    return RoutingDecision(
        rule=rule,
        preferred=order[0],
        candidates=[provider for provider in order if provider not in refused],
        refusals=refusals,
    )


def _preference(facts: RoutingFacts) -> tuple[str, list[ProviderName]]:
    if facts.force_provider is not None:
        return "forced_provider", [facts.force_provider]
    if facts.transaction_type is TransactionType.PURCHASE:
        return "product_purchase", [ProviderName.POLAR, ProviderName.STRIPE]
    rule, order = "everyone_else", [ProviderName.STRIPE]
    if facts.country == "MX":
        rule, order = "mexico", [ProviderName.CONEKTA, ProviderName.STRIPE]
    owner = facts.payment_method_provider
    if owner is None or owner is order[0]:
        return rule, order
    return "stored_payment_method", [owner, *(name for name in order if name is not owner)]


def _has_page(facts: RoutingFacts, provider: ProviderName) -> bool:
    """Whether the customer can pay a first invoice there without what is stored elsewhere."""
    subscribes = facts.transaction_type is TransactionType.SUBSCRIPTION
    return (
        subscribes and provider is STAND_IN and facts.instrument is Instrument.CARD
    ) and facts.force_provider is None


def _refuse(facts: RoutingFacts, provider: ProviderName) -> Refusal | None:
    ability = facts.abilities.get(provider)
    if ability is None or not ability.configured:
        return Refusal(
            provider=provider,
            code="provider_not_configured",
            detail=f"{provider} has no API key here",
        )
    if facts.instrument not in ability.instruments:
        return Refusal(
            provider=provider,
            code="instrument",
            detail=f"{provider} cannot collect {facts.instrument} for a {facts.transaction_type}",
        )
    if ability.currencies is not None and facts.currency not in ability.currencies:
        return Refusal(
            provider=provider, code="currency", detail=f"{provider} does not take {facts.currency}"
        )
    kept_elsewhere = facts.payment_method_provider not in {None, provider}
    if kept_elsewhere and not _has_page(facts, provider):
        return Refusal(
            provider=provider,
            code="payment_method",
            detail=f"the stored payment method belongs to {facts.payment_method_provider}",
        )
    return None
