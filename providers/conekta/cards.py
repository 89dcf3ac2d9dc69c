"""Stored cards: payment sources of a customer, made from tokens of Conekta's browser SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.outcomes import Instrument, ProviderName
from models.snapshots import PaymentMethodSnapshot
from providers.conekta import failures, mapping
from providers.conekta.client import PAGE_SIZE, ConektaClient, Sdk
from providers.conekta.mapping import Tolerant
from providers.drafts import AttachPaymentMethod
from providers.failures import FailureKind, ProviderFailure

if TYPE_CHECKING:
    import urllib3

_CARD = "card"
# A token makes one card. Answered to a second try, it says that the first one went through.
_TOKEN_USED = "tokenization.used"  # noqa: S105
_CENTURY = 2000


class ConektaSource(Tolerant):
    id: str
    type: str | None = None
    created_at: int = 0
    last4: str | None = None
    brand: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None


class Cards:
    def __init__(self, client: ConektaClient) -> None:
        self._client = client

    async def attach(self, request: AttachPaymentMethod) -> PaymentMethodSnapshot:
        """A card carries nothing of ours, so a lost answer is found by what is there that was not
        there before, and a token that was used already by the customer's newest card: only a try of
        ours for this very token can have used it."""
        if request.type is not Instrument.CARD:
            raise failures.unsupported(f"{request.type} has no instrument that could be stored")
        customer_id = request.provider_customer_id
        known = {card.id for card in await self._list(customer_id)}
        try:
            made = await self._create(customer_id, request.token)
        except ProviderFailure as failure:
            if _TOKEN_USED in (failure.code or ""):
                return _snapshot(customer_id, _newest(await self._list(customer_id), failure))
            if failure.kind is not FailureKind.UNKNOWN:
                raise
            new = [card for card in await self._list(customer_id) if card.id not in known]
            return _snapshot(customer_id, _newest(new, failure))
        return _snapshot(customer_id, made)

    async def detach(self, customer_id: str, source_id: str) -> None:
        def send(sdk: Sdk) -> urllib3.HTTPResponse:
            return sdk.payment_methods.delete_customer_payment_methods_without_preload_content(
                customer_id, source_id, **sdk.options
            )

        try:
            await self._client.call("payment_sources.delete", send)
        except ProviderFailure as failure:
            if failure.kind is not FailureKind.NOT_FOUND:
                raise

    async def _create(self, customer_id: str, token: str) -> ConektaSource:
        def send(sdk: Sdk) -> urllib3.HTTPResponse:
            import conekta

            card = conekta.PaymentMethodTokenRequest(type=_CARD, token_id=token)
            return sdk.payment_methods.create_customer_payment_methods_without_preload_content(
                customer_id, conekta.CreateCustomerPaymentMethodsRequest(card), **sdk.options
            )

        answer = await self._client.call("payment_sources.create", send)
        return mapping.read(ConektaSource, "payment_sources.create", answer.body)

    async def _list(self, customer_id: str) -> list[ConektaSource]:
        """A page holds more cards than anybody has."""

        def send(sdk: Sdk) -> urllib3.HTTPResponse:
            return sdk.payment_methods.get_customer_payment_methods_without_preload_content(
                customer_id, limit=PAGE_SIZE, **sdk.options
            )

        answer = await self._client.call("payment_sources.list", send)
        found, _ = mapping.read_page(ConektaSource, "payment_sources.list", answer.body)
        return [source for source in found if source.type == _CARD]


def _newest(cards: list[ConektaSource], failure: ProviderFailure) -> ConektaSource:
    if not cards:
        raise failure
    return max(cards, key=lambda card: (card.created_at, card.id))


def _snapshot(customer_id: str, card: ConektaSource) -> PaymentMethodSnapshot:
    year = card.exp_year
    if year is not None and year < _CENTURY:
        year += _CENTURY  # Conekta writes 34 for 2034.
    return PaymentMethodSnapshot(
        provider=ProviderName.CONEKTA,
        provider_payment_method_id=card.id,
        provider_customer_id=customer_id,
        type=_CARD,
        last4=card.last4,
        brand=card.brand,
        exp_month=card.exp_month,
        exp_year=year,
    )
