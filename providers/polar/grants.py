"""Benefits given and taken away without a sale.

Polar has no call that grants a benefit. A grant is always the consequence of an order, a subscription
or a seat. What comes nearest, and what is done here: one private product per benefit that costs nothing
and renews every year carries the benefit; a subscription to it grants, revoking that subscription
revokes. The customer sees that subscription in Polar's portal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from models.snapshots import GrantSnapshot
from providers.drafts import GrantDraft
from providers.failures import FailureKind, ProviderFailure
from providers.polar import failures, mapping
from providers.polar.catalog import (
    NAME_LENGTH_MAX,
    NAME_LENGTH_MIN,
    REFERENCE,
    Catalog,
    fitted,
    fixed_price,
)
from providers.polar.client import PAGE_SIZE, PolarClient, path_value
from providers.polar.mapping import PolarBenefit, PolarGrant, PolarProduct, PolarSubscription
from providers.polar.subscriptions import Subscriptions

# Polar grants and revokes in the background, usually within a second.
LOOKS_AFTER_SECONDS = (0.0, 0.4, 1.2)
# The mark in the metadata of a subscription that exists only to carry a benefit.
GRANT_REFERENCE = "grant_id"


class Grants:
    """`default_currency` is the organization's at Polar: a product must have a price in it.
    `looks_after_seconds` are the pauses before each look for what Polar does in the background."""

    def __init__(
        self,
        client: PolarClient,
        catalog: Catalog,
        subscriptions: Subscriptions,
        *,
        default_currency: str,
        looks_after_seconds: Sequence[float],
    ) -> None:
        self._client = client
        self._catalog = catalog
        self._subscriptions = subscriptions
        self._default_currency = default_currency
        self._looks_after_seconds = tuple(looks_after_seconds)

    async def grant(self, draft: GrantDraft) -> GrantSnapshot:
        """Raises ProviderFailure(UNKNOWN, code `grant_pending`) while Polar has not made the grant
        yet: the call can be repeated, and then finds what it did."""
        carrier = await self._ensure_carrier(draft.provider_benefit_id)
        known = await self._carried(carrier.id, draft.provider_customer_id)
        source_ids = {found.id for found in known if not found.is_over}
        if not source_ids:
            source_ids = {await self._subscribe(carrier.id, draft)}

        grants = await self._wait_until(draft, lambda grants: bool(_living(grants, source_ids)))
        living = _living(grants, source_ids)
        if not living:
            raise self._pending("made")
        return mapping.grant_snapshot(living[0])

    async def revoke(self, draft: GrantDraft) -> GrantSnapshot:
        """Ends what `grant` started, then tells what is left. A grant that came with a purchase stays:
        it goes with a refund of the order in full, or when the subscription ends."""
        carrier = await self._catalog.find_product(_reference(draft.provider_benefit_id))
        carried = await self._carried(carrier.id, draft.provider_customer_id) if carrier else []
        for subscription in carried:
            if not subscription.is_over:
                await self._subscriptions.revoke(subscription.id)
        ours = {subscription.id for subscription in carried}
        grants = await self._wait_until(draft, lambda grants: not _living(grants, ours))
        if _living(grants, ours):
            raise self._pending("taken away")
        return self._what_is_left(grants, ours)

    async def of_customer(self, customer_id: str) -> list[GrantSnapshot]:
        return [mapping.grant_snapshot(grant) for grant in await self._all(customer_id)]

    def _what_is_left(self, grants: Sequence[PolarGrant], ours: set[str]) -> GrantSnapshot:
        """The grant that ended last, ours if there was one; raises ProviderFailure when another one
        goes on."""
        others = [grant for grant in grants if not grant.is_revoked]
        if others:
            by_order = others[0].order_id is not None
            source = "an order: refund it in full" if by_order else "a subscription: cancel that"
            raise failures.unsupported(
                f"the benefit came with {source}; it cannot be taken away alone",
                "granted_by_purchase",
                provider_object_id=others[0].order_id or others[0].subscription_id,
            )
        if not grants:
            raise ProviderFailure(
                FailureKind.NOT_FOUND, "the customer never had this benefit", code="no_grant"
            )
        never = datetime.min.replace(tzinfo=UTC)
        return mapping.grant_snapshot(
            max(grants, key=lambda g: (g.subscription_id in ours, g.revoked_at or never, g.id))
        )

    async def _ensure_carrier(self, benefit_id: str) -> PolarProduct:
        found = await self._catalog.find_product(_reference(benefit_id))
        if found is None:
            known_id = path_value(benefit_id)
            body = await self._client.call("benefits.get", lambda sdk: sdk.benefits.get(known_id))
            benefit = mapping.read(PolarBenefit, "benefits.get", body)
            found = await self._create_carrier(benefit)
        await self._catalog.attach(found, [benefit_id])
        return found

    async def _create_carrier(self, benefit: PolarBenefit) -> PolarProduct:
        price = fixed_price(0, self._default_currency)
        body = await self._client.call(
            "products.create",
            lambda sdk: sdk.products.create(
                # The customer reads this name in Polar's portal.
                name=fitted(benefit.description or "", NAME_LENGTH_MIN, NAME_LENGTH_MAX),
                recurring_interval="year",
                prices=[price],
                visibility="private",
                metadata={REFERENCE: _reference(benefit.id)},
            ),
        )
        return mapping.read(PolarProduct, "products.create", body)

    async def _carried(self, product_id: str, customer_id: str) -> list[PolarSubscription]:
        bodies = await self._client.pages(
            "subscriptions.list",
            lambda sdk, page: sdk.subscriptions.list(
                product_id=product_id, customer_id=customer_id, page=page, limit=PAGE_SIZE
            ),
        )
        found = mapping.read_all(PolarSubscription, "subscriptions.list", bodies)
        return [s for s in found if (s.customer_id, s.product_id) == (customer_id, product_id)]

    async def _subscribe(self, product_id: str, draft: GrantDraft) -> str:
        metadata: dict[str, Any] = {
            GRANT_REFERENCE: draft.grant_id,
            "organization_id": draft.organization_id,
        }
        body = await self._client.call(
            "subscriptions.create",
            lambda sdk: sdk.subscriptions.create(
                product_id=product_id, customer_id=draft.provider_customer_id, metadata=metadata
            ),
        )
        return mapping.read(PolarSubscription, "subscriptions.create", body).id

    async def _wait_until(
        self, draft: GrantDraft, enough: Callable[[Sequence[PolarGrant]], bool]
    ) -> Sequence[PolarGrant]:
        """The customer's grants of the benefit, as they are when it is enough or after a while."""
        grants: Sequence[PolarGrant] = ()
        for seconds in self._looks_after_seconds:
            await asyncio.sleep(seconds)
            try:
                grants = await self._all(draft.provider_customer_id)
            except ProviderFailure as failure:
                raise failures.after_the_write(failure) from failure
            grants = [grant for grant in grants if grant.benefit_id == draft.provider_benefit_id]
            if enough(grants):
                break
        return grants

    async def _all(self, customer_id: str) -> list[PolarGrant]:
        bodies = await self._client.pages(
            "benefit_grants.list",
            lambda sdk, page: sdk.benefit_grants.list(
                customer_id=customer_id, page=page, limit=PAGE_SIZE
            ),
        )
        grants = mapping.read_all(PolarGrant, "benefit_grants.list", bodies)
        return [grant for grant in grants if grant.customer_id == customer_id]

    def _pending(self, what: str) -> ProviderFailure:
        return ProviderFailure(
            FailureKind.UNKNOWN,
            f"Polar has not {what} the grant yet: ask again",
            code="grant_pending",
            retry_after_seconds=2.0,
        )


def _living(grants: Sequence[PolarGrant], subscription_ids: set[str]) -> list[PolarGrant]:
    """Those of these subscriptions that are not over, also when they wait for the customer."""
    return [g for g in grants if g.subscription_id in subscription_ids and not g.is_revoked]


def _reference(benefit_id: str) -> str:
    return f"grant:{benefit_id}"
