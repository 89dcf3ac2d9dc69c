"""Reading an order back: what every write at Conekta comes down to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from providers.conekta import failures, mapping
from providers.conekta.client import ConektaClient, Sdk
from providers.conekta.mapping import ConektaOrder
from providers.failures import ProviderFailure

if TYPE_CHECKING:
    import urllib3


async def read_order(client: ConektaClient, order_id: str) -> ConektaOrder:
    def send(sdk: Sdk) -> urllib3.HTTPResponse:
        return sdk.orders.get_order_by_id_without_preload_content(order_id, **sdk.options)

    answer = await client.call("orders.retrieve", send)
    return mapping.read_order("orders.retrieve", answer.body)


async def read_after_write(client: ConektaClient, order_id: str) -> ConektaOrder:
    """A read that fails here says nothing about the write before it: the failure is UNKNOWN."""
    try:
        return await read_order(client, order_id)
    except ProviderFailure as failure:
        raise failures.after_the_write(failure) from failure
