"""Products and benefits: found again by our reference in their metadata, made when there is none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from providers.drafts import BenefitDraft, ProductDraft
from providers.polar import mapping
from providers.polar.client import PAGE_SIZE, PolarClient, path_value
from providers.polar.mapping import PolarBenefit, PolarProduct

if TYPE_CHECKING:
    from polar.v2026_10.inputs import ProductPriceFixedCreate

REFERENCE = "ref"

NAME_LENGTH_MIN, NAME_LENGTH_MAX = 3, 64
DESCRIPTION_LENGTH_MIN, DESCRIPTION_LENGTH_MAX = 3, 42

# What Polar requires and our callers may leave out, with the choice that takes the least away.
_PROPERTIES_DEFAULT: dict[str, dict[str, Any]] = {
    "discord": {"kick_member": False},
    "github_repository": {"permission": "pull"},
}


class Catalog:
    def __init__(self, client: PolarClient) -> None:
        self._client = client

    async def ensure_product(self, draft: ProductDraft) -> str:
        """The page says the price anew each time, so a product is good whatever its own price is."""
        found = await self.find_product(draft.product_id)
        if found is None:
            price = fixed_price(draft.amount_minor, draft.currency)
            body = await self._client.call(
                "products.create",
                lambda sdk: sdk.products.create(
                    name=fitted(draft.name, NAME_LENGTH_MIN, NAME_LENGTH_MAX),
                    prices=[price],
                    # It is sold by us, not in a shop window of Polar's.
                    visibility="private",
                    metadata={REFERENCE: draft.product_id},
                ),
            )
            found = mapping.read(PolarProduct, "products.create", body)
        await self.attach(found, draft.provider_benefit_ids)
        return found.id

    async def ensure_benefit(self, draft: BenefitDraft) -> str:
        bodies = await self._client.pages(
            "benefits.list",
            lambda sdk, page: sdk.benefits.list(
                metadata={REFERENCE: draft.benefit_id}, page=page, limit=PAGE_SIZE
            ),
        )
        known = mapping.oldest(
            [
                benefit
                for benefit in mapping.read_all(PolarBenefit, "benefits.list", bodies)
                if benefit.reference(REFERENCE) == draft.benefit_id
            ]
        )
        if known is not None:
            return known
        # Whatever type Polar knows: the SDK has one signature for each, so it cannot be typed here.
        params: dict[str, Any] = {
            "type": draft.type,
            "description": fitted(
                draft.description, DESCRIPTION_LENGTH_MIN, DESCRIPTION_LENGTH_MAX
            ),
            "properties": {**_PROPERTIES_DEFAULT.get(draft.type, {}), **draft.properties},
            "metadata": {REFERENCE: draft.benefit_id},
        }
        body = await self._client.call("benefits.create", lambda sdk: sdk.benefits.create(**params))
        return mapping.read(PolarBenefit, "benefits.create", body).id

    async def find_product(self, reference: str) -> PolarProduct | None:
        bodies = await self._client.pages(
            "products.list",
            lambda sdk, page: sdk.products.list(
                metadata={REFERENCE: reference}, is_archived=False, page=page, limit=PAGE_SIZE
            ),
        )
        found = {
            product.id: product
            for product in mapping.read_all(PolarProduct, "products.list", bodies)
            if product.reference(REFERENCE) == reference
        }
        chosen = mapping.oldest(list(found.values()))
        return found[chosen] if chosen is not None else None

    async def attach(self, product: PolarProduct, benefit_ids: Iterable[str]) -> None:
        """Add what is missing. The call replaces the whole list, so what is there goes along; it
        also grants to everybody who bought the product before. Nothing is ever detached here."""
        attached = [benefit.id for benefit in product.benefits]
        missing = [benefit_id for benefit_id in benefit_ids if benefit_id not in attached]
        if not missing:
            return
        product_id = path_value(product.id)
        await self._client.call(
            "products.update_benefits",
            lambda sdk: sdk.products.update_benefits(product_id, benefits=[*attached, *missing]),
        )


def fixed_price(amount_minor: int, currency: str) -> ProductPriceFixedCreate:
    """Tax goes on top: our invoice asks for the price, and the tax is Polar's business."""
    presentment: Any = currency.lower()
    return {
        "amount_type": "fixed",
        "price_amount": amount_minor,
        "price_currency": presentment,
        "tax_behavior": "exclusive",
    }


def fitted(text: str, length_min: int, length_max: int) -> str:
    """The text within Polar's limits; what is too short is filled up with dots."""
    cut = text.strip()[:length_max].rstrip()
    return cut.ljust(length_min, ".")
