"""Customers: made once per organization of ours, whose id is Polar's `external_id`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.outcomes import FallbackReason
from providers.drafts import CustomerDraft
from providers.failures import FailureKind, ProviderFailure
from providers.polar import failures, mapping
from providers.polar.client import PolarClient, path_value
from providers.polar.mapping import PolarCustomer

if TYPE_CHECKING:
    from polar.v2026_10.inputs import CustomerIndividualCreate


class Customers:
    def __init__(self, client: PolarClient) -> None:
        self._client = client

    async def ensure(self, draft: CustomerDraft) -> str:
        """Look, make, look again: `external_id` is unique, so a repetition or a race finds the one
        that is there. The look comes first because Polar has no idempotency keys."""
        external_id = path_value(draft.organization_id)
        known = await self._find(external_id)
        if known is not None:
            return known
        try:
            return await self._create(draft)
        except ProviderFailure as failure:
            if failure.kind is not FailureKind.REJECTED:
                raise
            made_meanwhile = await self._find(external_id)
            if made_meanwhile is not None:
                return made_meanwhile
            if failure.code != "body.email":
                raise
            return await self._link_by_email(draft, external_id, failure)

    async def _find(self, external_id: str) -> str | None:
        try:
            body = await self._client.call(
                "customers.get_external", lambda sdk: sdk.customers.get_external(external_id)
            )
        except ProviderFailure as failure:
            if failure.kind is FailureKind.NOT_FOUND:
                return None
            raise
        return mapping.read(PolarCustomer, "customers.get_external", body).id

    async def _create(self, draft: CustomerDraft) -> str:
        params: CustomerIndividualCreate = {
            "email": draft.email,
            "name": draft.name,
            "external_id": draft.organization_id,
            "metadata": {"organization_id": draft.organization_id},
        }
        if draft.country is not None:
            address: Any = {"country": draft.country}
            params["billing_address"] = address
        body = await self._client.call(
            "customers.create", lambda sdk: sdk.customers.create(**params)
        )
        return mapping.read(PolarCustomer, "customers.create", body).id

    async def _link_by_email(
        self, draft: CustomerDraft, external_id: str, refusal: ProviderFailure
    ) -> str:
        """The e-mail address is unique as well. Somebody who bought at Polar before we knew them has
        no external id yet and gets ours; one that has another is another organization of ours."""
        bodies = await self._client.pages(
            "customers.list", lambda sdk, page: sdk.customers.list(email=draft.email, page=page)
        )
        found = mapping.read_all(PolarCustomer, "customers.list", bodies)
        if not found:
            raise refusal
        if found[0].external_id is not None:
            raise failures.rejected(
                "the e-mail address belongs to another customer at Polar: give this organization "
                "an address of its own",
                "email_taken",
                fallback_reason=FallbackReason.UNAVAILABLE,
            )
        customer_id = path_value(found[0].id)
        await self._client.call(
            "customers.update",
            lambda sdk: sdk.customers.update(customer_id, external_id=external_id),
        )
        return customer_id
