"""What workflows put on themselves for operators to search by, and a server that has to know it."""

from __future__ import annotations

from collections.abc import Iterable

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError

from workflows.options import SEARCH_ATTRIBUTE_KEYS

# By name; the type as the server's API and, with `kind`, as its command line call it.
TYPES = {
    key.name: IndexedValueType.ValueType(int(key.indexed_value_type))
    for key in SEARCH_ATTRIBUTE_KEYS
}


def kind(name: str) -> str:
    """Keyword, Datetime: as `temporal operator search-attribute create --type` takes it."""
    return IndexedValueType.Name(TYPES[name]).removeprefix("INDEXED_VALUE_TYPE_").capitalize()


async def missing(client: Client) -> list[str]:
    """Raises RuntimeError when the server refuses to say."""
    try:
        answer = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
    except RPCError as problem:
        raise RuntimeError(problem.message) from problem
    return [name for name in TYPES if name not in answer.custom_attributes]


async def register(client: Client) -> list[str]:
    """Those that were missing. Raises RuntimeError when the server refuses."""
    new = await missing(client)
    if new:
        await add(client, new)
    return new


async def add(client: Client, names: Iterable[str] = TYPES) -> None:
    """None of them may be there yet. Raises RuntimeError when the server refuses."""
    request = AddSearchAttributesRequest(
        namespace=client.namespace, search_attributes={name: TYPES[name] for name in names}
    )
    try:
        await client.operator_service.add_search_attributes(request)
    except RPCError as problem:
        raise RuntimeError(problem.message) from problem
