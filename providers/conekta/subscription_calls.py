"""Conekta's calls about subscriptions, one method each; what they mean together is elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from providers.conekta import mapping
from providers.conekta.billing import ConektaSubscription
from providers.conekta.client import PAGE_SIZE, Answer, ConektaClient, Sdk
from providers.drafts import SubscriptionDraft

if TYPE_CHECKING:
    import urllib3


class SubscriptionCalls:
    """Only the plural paths: the singular ones know one subscription per customer."""

    def __init__(self, client: ConektaClient) -> None:
        self._client = client

    async def create(self, draft: SubscriptionDraft, plan_id: str) -> ConektaSubscription:
        """Charges the card. Posted twice it would charge twice."""
        trial_end = None if draft.trial_end is None else int(draft.trial_end.timestamp())

        def send(sdk: Sdk) -> urllib3.HTTPResponse:
            from conekta import SubscriptionRequest

            request = SubscriptionRequest(
                plan_id=plan_id, card_id=draft.provider_payment_method_id, trial_end=trial_end
            )
            return sdk.subscriptions.subscription_create_without_preload_content(
                draft.provider_customer_id, request, **sdk.options
            )

        return _read("subscriptions.create", await self._client.call("subscriptions.create", send))

    async def get(self, customer_id: str, subscription_id: str) -> ConektaSubscription:
        def send(sdk: Sdk) -> urllib3.HTTPResponse:
            return sdk.subscriptions.subscriptions_get_without_preload_content(
                customer_id, subscription_id, **sdk.options
            )

        answer = await self._client.call("subscriptions.retrieve", send)
        return _read("subscriptions.retrieve", answer)

    async def find_all(self, customer_id: str) -> list[ConektaSubscription]:
        """All of a customer's, also those that are over."""
        found: list[ConektaSubscription] = []
        has_more = True
        while has_more:
            cursor = found[-1].id if found else None

            def send(sdk: Sdk, cursor: str | None = cursor) -> urllib3.HTTPResponse:
                return sdk.subscriptions.subscription_list_without_preload_content(
                    customer_id, limit=PAGE_SIZE, next=cursor, **sdk.options
                )

            answer = await self._client.call("subscriptions.list", send)
            page, more = mapping.read_page(ConektaSubscription, "subscriptions.list", answer.body)
            found += page
            has_more = more and bool(page)
        return found

    async def set_card(self, customer_id: str, subscription_id: str, card_id: str) -> None:
        def send(sdk: Sdk) -> urllib3.HTTPResponse:
            from conekta import UpdatesASubscription

            return sdk.subscriptions.subscription_update_without_preload_content(
                customer_id, subscription_id, UpdatesASubscription(card_id=card_id), **sdk.options
            )

        await self._client.call("subscriptions.update", send)

    async def pause(self, customer_id: str, subscription_id: str) -> ConektaSubscription:
        def send(sdk: Sdk) -> urllib3.HTTPResponse:
            return sdk.subscriptions.subscription_pause_without_preload_content(
                customer_id, subscription_id, **sdk.options
            )

        return _read("subscriptions.pause", await self._client.call("subscriptions.pause", send))

    async def resume(self, customer_id: str, subscription_id: str) -> ConektaSubscription:
        def send(sdk: Sdk) -> urllib3.HTTPResponse:
            return sdk.subscriptions.subscription_resume_without_preload_content(
                customer_id, subscription_id, **sdk.options
            )

        return _read("subscriptions.resume", await self._client.call("subscriptions.resume", send))

    async def cancel(self, customer_id: str, subscription_id: str) -> ConektaSubscription:
        def send(sdk: Sdk) -> urllib3.HTTPResponse:
            return sdk.subscriptions.subscription_cancel_without_preload_content(
                customer_id, subscription_id, **sdk.options
            )

        return _read("subscriptions.cancel", await self._client.call("subscriptions.cancel", send))

    async def retry(self, customer_id: str, subscription_id: str) -> ConektaSubscription:
        """Charges the card again for the cycle that is unpaid."""

        def send(sdk: Sdk) -> urllib3.HTTPResponse:
            return sdk.subscriptions.subscriptions_retry_without_preload_content(
                customer_id, subscription_id, **sdk.options
            )

        return _read("subscriptions.retry", await self._client.call("subscriptions.retry", send))


def _read(operation: str, answer: Answer) -> ConektaSubscription:
    return mapping.read(ConektaSubscription, operation, answer.body)
